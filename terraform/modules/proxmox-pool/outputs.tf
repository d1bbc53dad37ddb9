output "pool_id" {
  description = "The pool's name, for example \"example-multi-vm-pool\": give this to machines, so that they are made after it."
  value       = proxmox_virtual_environment_pool.this.pool_id
}
