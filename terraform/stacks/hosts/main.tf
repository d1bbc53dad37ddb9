# Machines that exist: nothing is made of them. Their entries are in the state, so that a plan shows which machine
# comes and goes, and hactl's guard sees it as on any other platform.
resource "terraform_data" "host" {
  for_each = var.instances

  # Under another address it is another machine.
  triggers_replace = each.value.address
}

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
  target_ips    = { for key, instance in var.instances : key => instance.address }
  records       = { for key, instance in var.instances : key => { name = instance.hostname, vm_identifier = key } }
}
