# The machine of a configuration that had the resource in its root, one alone or by count. The module
# goes on from there: two moves to one address would be refused as ambiguous.

moved {
  from = proxmox_virtual_environment_vm.this
  to   = proxmox_virtual_environment_vm.this[0]
}

moved {
  from = proxmox_virtual_environment_vm.this[0]
  to   = module.machines.proxmox_virtual_environment_vm.this
}
