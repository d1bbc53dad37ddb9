# The module of the scenarios: three machines, and a volume whose creation can fail or hang.

variable "machines" {
  type = map(object({ ipv4 = string, ssh_port = number }))
}

variable "record" {
  type    = string
  default = ""
}

variable "quota" {
  type    = string
  default = "enough"
}

variable "formats_for" {
  type    = number
  default = 0
}

resource "terraform_data" "machine" {
  for_each = var.machines

  input            = each.value
  triggers_replace = each.value.ipv4
}

resource "terraform_data" "quota" {
  input = var.quota
}

resource "terraform_data" "volume" {
  depends_on = [terraform_data.machine]

  lifecycle {
    precondition {
      condition     = terraform_data.quota.output == "enough"
      error_message = "no space left on the storage"
    }
  }

  provisioner "local-exec" {
    command = "sleep ${var.formats_for}"
  }
}

output "vms" {
  value = {
    for key, machine in terraform_data.machine : key => {
      id       = machine.id
      name     = "pg-prod-${key}"
      ipv4     = machine.output.ipv4
      ssh_port = machine.output.ssh_port
    }
  }
}

output "record" {
  value = var.record
}
