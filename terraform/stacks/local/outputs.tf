output "vms" {
  description = "The machines by their key. hactl reads this output."
  value       = module.nodes.vms
}

output "network" {
  description = "The cluster's network: its name, subnet and gateway."
  value       = module.nodes.network
}

output "volumes" {
  description = "The name of each node's data volume, by the node's key."
  value       = module.nodes.volumes
}

output "images" {
  description = "The image that each node was made from, by the node's key. hactl keeps using it for as long as the node exists."
  value       = module.nodes.images
}

output "record" {
  description = "What hactl keeps in the state for runs on other machines: the roles and choices behind vms, for example \"\" without hactl."
  value       = var.record
}
