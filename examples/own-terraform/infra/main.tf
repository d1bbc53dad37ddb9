# A root module with the outputs that hactl reads. What makes the machines
# here is terraform_data, which makes nothing: put the resource of your provider
# in its place, with the same for_each.

terraform {
  required_version = ">= 1.9"

  # For runs on more than one machine, with its settings:
  # backend "s3" {}
}

variable "instances" {
  description = "The machines, by their key: `instances` of the cluster file, as hactl passes it."
  type = map(object({
    hostname = string
    memory   = number
    cores    = number
    roles    = list(string)
  }))
  nullable = false
}

variable "authorized_keys" {
  description = "Public SSH keys that the machines must let in, as hactl passes them."
  type        = list(string)
  nullable    = false
}

variable "record" {
  description = "What hactl keeps in the state for its runs elsewhere, as it passes it."
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
  # The same machine keeps its address when others come: give it where it is known.
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
  description = "The machines by their key: what hactl reads."
  value = {
    for key, machine in terraform_data.machine : key => {
      id   = machine.id
      name = machine.output.name
      ipv4 = machine.output.address
    }
  }
}

output "record" {
  description = "What hactl has passed, for its runs elsewhere."
  value       = var.record
}
