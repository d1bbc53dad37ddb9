output "vms" {
  description = "The machines by their key; hactl reads this output, for example { web01 = { id = \"100\", name = \"app-prod-web01\", ipv4 = \"192.168.1.60\", ssh_host = null, ssh_port = null, host_key = null, data_device = null } }."
  value       = module.machines.vms
}

output "vm_ids" {
  description = "The machines' ids as numbers, by key, for example { web01 = 100 }."
  value       = module.machines.lxc_ids
}

output "resource_ids" {
  description = "The machines' ids as Terraform's provider writes them, by key, for example { web01 = \"100\" }."
  value       = module.machines.resource_ids
}

output "vm_target_ips" {
  description = "The machines' IPv4 addresses by key, null for a machine without an address, for example { web01 = \"192.168.1.60\" }."
  value       = module.machines.lxc_ips
}

output "vm_hostnames" {
  description = "The machines' host names by key, for example { web01 = \"app-prod-web01\" }."
  value       = module.machines.lxc_hostnames
}

output "lxc_ids" {
  description = "The same as vm_ids, for example { web01 = 100 }."
  value       = module.machines.lxc_ids
}

output "lxc_ips" {
  description = "The same as vm_target_ips, for example { web01 = \"192.168.1.60\" }."
  value       = module.machines.lxc_ips
}

output "lxc_hostnames" {
  description = "The same as vm_hostnames, for example { web01 = \"app-prod-web01\" }."
  value       = module.machines.lxc_hostnames
}

output "record" {
  description = "What hactl keeps in the state for runs on other machines: the roles and choices behind vms, for example \"\" without hactl."
  value       = var.record
}
