# One container that an older configuration made without a key, or by count, is the container "default".
# A chain: two moves to one address would be refused as ambiguous.

moved {
  from = proxmox_virtual_environment_container.this
  to   = proxmox_virtual_environment_container.this[0]
}

moved {
  from = proxmox_virtual_environment_container.this[0]
  to   = proxmox_virtual_environment_container.this["default"]
}
