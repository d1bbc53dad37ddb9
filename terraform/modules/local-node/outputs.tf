output "vms" {
  description = "The machines by their key. hactl reads this output. ipv4 is the address that cluster members use, ssh_host and ssh_port say where your computer reaches SSH."
  value = {
    for key, node in hactl_node.this : key => {
      id       = node.id
      name     = node.name
      ipv4     = node.address
      ssh_host = node.ssh_host
      ssh_port = node.ssh_port
      host_key = node.host_key
    }
  }
}

output "network" {
  description = "The cluster's network: its name, subnet and gateway."
  value = {
    name    = hactl_network.this.name
    subnet  = hactl_network.this.subnet
    gateway = hactl_network.this.gateway
  }
}

output "volumes" {
  description = "The name of each node's data volume, by the node's key."
  value       = { for key, volume in hactl_volume.data : key => volume.name }
}

output "images" {
  description = "The image that each node was made from, by the node's key."
  value       = { for key, node in hactl_node.this : key => node.image }
}
