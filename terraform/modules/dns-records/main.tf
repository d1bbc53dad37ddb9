locals {
  # In the spelling that DNS servers answer with: lower case, and a dot at the end.
  zone     = "${trimsuffix(lower(var.zone), ".")}."
  key_name = "${trimsuffix(lower(var.key_name), ".")}."
}

resource "hactl_dns_record_set" "this" {
  for_each = var.records

  server              = var.server
  port                = var.port
  zone                = local.zone
  name                = lower(each.value.name)
  ttl                 = var.ttl
  key_name            = local.key_name
  key_algorithm       = var.key_algorithm
  key_secret_variable = var.key_secret_variable
  cluster_uuid        = var.cluster_uuid
  machine             = coalesce(each.value.vm_identifier, each.key)
  machine_kind        = each.value.kind

  # Empty where the machine has no address: that record fails in apply, and no other.
  addresses = [
    for address in concat(
      each.value.vm_identifier == null ? [] : [var.target_ips[each.value.vm_identifier]],
      each.value.addresses,
    ) : address if address != null
  ]
}
