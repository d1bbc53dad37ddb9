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

variable "addresses" {
  description = "The addresses by key. An instance that is added gets a line of its own, so the others keep theirs."
  type        = map(string)
  default = {
    node1 = "192.168.1.21"
    node2 = "192.168.1.22"
    node3 = "192.168.1.23"
  }
  nullable = false
}

resource "terraform_data" "machine" {
  for_each = var.instances

  input = {
    name    = each.value.hostname
    memory  = each.value.memory
    cores   = each.value.cores
    address = var.addresses[each.key]
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
