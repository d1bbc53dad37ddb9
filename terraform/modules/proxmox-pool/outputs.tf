output "pool_id" {
  description = "The pool's name, for example \"example-multi-vm-pool\". Set it as the machines' pool_id, so that they are made after the pool."
  value       = proxmox_virtual_environment_pool.this.pool_id
}
