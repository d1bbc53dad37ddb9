terraform {
  required_version = ">= 1.9"

  required_providers {
    proxmox = {
      source = "registry.terraform.io/bpg/proxmox"
      # Every 0.x minor may change names and types.
      version = "~> 0.111.1"
    }

    # The modules use it.
    # tflint-ignore: terraform_unused_required_providers
    hactl = {
      # Served by hactl itself; for plain Terraform run `hactl terraform install` once.
      source  = "hactl.local/hactl/hactl"
      version = ">= 0.1.0"
    }
  }
}

# Endpoint and API token come from PROXMOX_VE_ENDPOINT and PROXMOX_VE_API_TOKEN, so that they are in
# no file, plan or state.
provider "proxmox" {}
