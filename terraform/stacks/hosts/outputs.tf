output "vms" {
  description = "The machines by their key: the one thing that hactl reads."
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
