module "nodes" {
  source = "../../modules/local-node"

  cluster         = var.cluster
  cluster_uuid    = var.cluster_uuid
  image           = var.image
  subnet          = var.subnet
  nodes           = var.nodes
  authorized_keys = var.authorized_keys
}

# After the machines, whose addresses it takes; before them when all is destroyed.
module "dns" {
  source = "../../modules/dns-records"
  count  = var.dns == null ? 0 : 1

  zone          = var.dns.zone
  server        = var.dns.server
  port          = var.dns.port
  ttl           = var.dns.ttl
  key_name      = var.dns.key_name
  key_algorithm = var.dns.key_algorithm
  cluster_uuid  = var.cluster_uuid
  target_ips    = { for key, vm in module.nodes.vms : key => vm.ipv4 }
  records       = { for key, node in var.nodes : key => { name = node.hostname, vm_identifier = key, kind = "container" } }
}
