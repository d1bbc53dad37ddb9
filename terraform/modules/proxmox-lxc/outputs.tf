locals {
  # Every address that other machines can reach, with its interface.
  reachable = {
    for key, container in proxmox_virtual_environment_container.this : key => [
      for name, address in container.ipv4 : { address = address, name = name }
      if address != "" && !startswith(address, "127.") && !startswith(address, "169.254.")
    ]
  }

  # The fixed address where it is there, else that of eth0, else any: a container can have bridges
  # and tunnels of its own. Of a container that reports nothing the fixed address is known all the same.
  ipv4 = {
    for key, container in proxmox_virtual_environment_container.this : key => try(concat(
      [for found in local.reachable[key] : found.address if found.address == split("/", var.vms[key].address)[0]],
      [for found in local.reachable[key] : found.address if found.name == "eth0"],
      [for found in local.reachable[key] : found.address],
      [for address in [split("/", var.vms[key].address)[0]] : address if address != "dhcp"],
    )[0], null)
  }

  hostnames = { for key, container in proxmox_virtual_environment_container.this : key => container.initialization[0].hostname }
}

output "vms" {
  description = "The containers by their key; hactl reads this output, for example { web01 = { id = \"100\", name = \"web01\", ipv4 = \"192.168.1.60\", ssh_host = null, ssh_port = null, host_key = null, data_device = null } }. ipv4 is null if the container has neither a fixed address nor another one yet. data_device is always null: Proxmox mounts the data disk."
  value = {
    for key, container in proxmox_virtual_environment_container.this : key => {
      id          = container.id
      name        = local.hostnames[key]
      ipv4        = local.ipv4[key]
      ssh_host    = null
      ssh_port    = null
      host_key    = null
      data_device = null
    }
  }
}

output "lxc_ids" {
  description = "The containers' ids as numbers, by key, for example { web01 = 100 }."
  value       = { for key, container in proxmox_virtual_environment_container.this : key => container.vm_id }
}

output "lxc_ips" {
  description = "The containers' IPv4 addresses by key, null for a container without an address yet, for example { web01 = \"192.168.1.60\" }."
  value       = local.ipv4
}

output "lxc_hostnames" {
  description = "The containers' host names by key, for example { web01 = \"web01\" }."
  value       = local.hostnames
}

output "resource_ids" {
  description = "The containers' ids as Terraform's provider writes them, by key, for example { web01 = \"100\" }."
  value       = { for key, container in proxmox_virtual_environment_container.this : key => container.id }
}
