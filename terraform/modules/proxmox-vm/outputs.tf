locals {
  # Every address that the guest agent reports and that other machines can reach, with the MAC of its interface.
  reachable = {
    for key, vm in proxmox_virtual_environment_vm.this : key => flatten([
      for index, addresses in vm.ipv4_addresses : [
        for address in addresses : { address = address, mac = lower(try(vm.mac_addresses[index], "")) }
        if !startswith(address, "127.") && !startswith(address, "169.254.")
      ]
    ])
  }

  # The fixed address where it is reported, else one of the first network device, else any: a guest
  # lists its interfaces in an order of its own, with bridges and tunnels between them. Of a machine whose
  # agent is silent the fixed address is known all the same.
  ipv4 = {
    for key, vm in proxmox_virtual_environment_vm.this : key => try(concat(
      [for found in local.reachable[key] : found.address if found.address == split("/", var.vms[key].address)[0]],
      [for found in local.reachable[key] : found.address if found.mac != "" && found.mac == try(lower(vm.network_device[0].mac_address), "")],
      [for found in local.reachable[key] : found.address],
      [for address in [split("/", var.vms[key].address)[0]] : address if address != "dhcp"],
    )[0], null)
  }
}

output "vms" {
  description = "The machines by their key; hactl reads this output, for example { web01 = { id = \"100\", name = \"web01\", ipv4 = \"192.168.1.60\", ssh_host = null, ssh_port = null, host_key = null, data_device = null } }. ipv4 is null if the machine has no fixed address and its guest agent reports none. data_device is the data disk in the machine."
  value = {
    for key, vm in proxmox_virtual_environment_vm.this : key => {
      id       = vm.id
      name     = vm.name
      ipv4     = local.ipv4[key]
      ssh_host = null
      ssh_port = null
      host_key = null
      # As QEMU names the disk scsi1.
      data_device = var.vms[key].data_disk_gb == null ? null : "/dev/disk/by-id/scsi-0QEMU_QEMU_HARDDISK_drive-scsi1"
    }
  }
}

output "vm_ids" {
  description = "The machines' ids as numbers, by key, for example { web01 = 100 }."
  value       = { for key, vm in proxmox_virtual_environment_vm.this : key => vm.vm_id }
}

output "resource_ids" {
  description = "The machines' ids as Terraform's provider writes them, by key, for example { web01 = \"100\" }."
  value       = { for key, vm in proxmox_virtual_environment_vm.this : key => vm.id }
}

output "vm_target_ips" {
  description = "The machines' IPv4 addresses by key, null if the guest agent reports none, for example { web01 = \"192.168.1.60\" }."
  value       = local.ipv4
}

output "vm_hostnames" {
  description = "The machines' host names by key, for example { web01 = \"web01\" }."
  value       = { for key, vm in proxmox_virtual_environment_vm.this : key => vm.name }
}
