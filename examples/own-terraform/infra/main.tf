# A root module with the outputs that hactl reads. The resource terraform_data
# is a placeholder for the machines, and creates nothing. Replace it with the
# resource of your provider, with the same for_each.

terraform {
  required_version = ">= 1.9"

  # Add a backend to run hactl on more than one machine, for example:
  # backend "s3" {}
}

variable "instances" {
  description = "The machines by key: `instances` of the cluster file, as hactl passes them."
  type = map(object({
    hostname = string
    memory   = number
    cores    = number
    roles    = list(string)
  }))
  nullable = false
}

variable "authorized_keys" {
  description = "Public SSH keys that the machines must accept, as hactl passes them."
  type        = list(string)
  nullable    = false
}

variable "record" {
  description = "What hactl keeps in the state for its runs on other machines, as hactl passes it."
  type        = string
  default     = ""
  nullable    = false
}

variable "network" {
  description = "The machines' network, for example \"192.168.1.0/24\"."
  type        = string
  default     = "192.168.1.0/24"
}

locals {
  # An address here can change when instances are added or removed. Use addresses that stay the same.
  addresses = { for index, key in sort(keys(var.instances)) : key => cidrhost(var.network, 21 + index) }
}

resource "terraform_data" "machine" {
  for_each = var.instances

  input = {
    name    = each.value.hostname
    memory  = each.value.memory
    cores   = each.value.cores
    address = local.addresses[each.key]
    keys    = var.authorized_keys
  }
}

output "vms" {
  description = "The machines by key, which hactl reads."
  value = {
    for key, machine in terraform_data.machine : key => {
      id   = machine.id
      name = machine.output.name
      ipv4 = machine.output.address
    }
  }
}

output "record" {
  description = "The record that hactl passed, for its runs on other machines."
  value       = var.record
}
