terraform {
  required_version = ">= 1.9"

  required_providers {
    # The module uses it.
    # tflint-ignore: terraform_unused_required_providers
    hactl = {
      # Served by hactl itself; for plain Terraform run `hactl terraform install` once.
      source  = "hactl.local/hactl/hactl"
      version = ">= 0.1.0"
    }
  }
}
