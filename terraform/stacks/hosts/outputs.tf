output "vms" {
  description = "The machines by their key. hactl reads this output."
  value = {
    for key, instance in var.instances : key => {
      id       = instance.address
      name     = instance.hostname
      ipv4     = instance.address
      ssh_host = instance.ssh_host
      ssh_port = instance.ssh_port
    }
  }
}

output "entries" {
  description = "The id of each machine's entry in the state, by the machine's key. Another id means another machine."
  value       = { for key, entry in terraform_data.host : key => entry.id }
}

output "record" {
  description = "What hactl keeps in the state for runs on other machines: the roles and choices behind vms, for example \"\" without hactl."
  value       = var.record
}
