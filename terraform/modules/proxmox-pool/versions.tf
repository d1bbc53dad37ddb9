terraform {
  required_version = ">= 1.9"

  required_providers {
    proxmox = {
      source = "registry.terraform.io/bpg/proxmox"
      # Every 0.x minor may change names and types.
      version = "~> 0.111.1"
    }
  }
}
