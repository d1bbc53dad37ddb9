# The record of one machine. Values: zone, name, dns_server, key_name; vm_unit_path or lxc_unit_path, the unit that has the
# machine; vm_identifier, its key there; dns_port, key_algorithm and ttl, if they are not the module's defaults. Set the
# key's secret in TF_VAR_dns_key_secret.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/dns-records"
}

dependency "machines" {
  config_path = try(values.vm_unit_path, values.lxc_unit_path)

  # A machine without an address: you can make a plan with it, but not apply it, not even from a saved plan file, because
  # a record without an address fails.
  mock_outputs                            = { vm_target_ips = { (values.vm_identifier) = null }, lxc_ips = { (values.vm_identifier) = null } }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan"]
}

inputs = {
  zone          = values.zone
  server        = values.dns_server
  port          = try(values.dns_port, 53)
  key_name      = values.key_name
  key_algorithm = try(values.key_algorithm, "hmac-sha256")
  ttl           = try(values.ttl, 300)
  target_ips    = can(values.vm_unit_path) ? dependency.machines.outputs.vm_target_ips : dependency.machines.outputs.lxc_ips
  records       = { (values.vm_identifier) = { name = values.name, vm_identifier = values.vm_identifier, kind = can(values.vm_unit_path) ? "vm" : "container" } }
}
