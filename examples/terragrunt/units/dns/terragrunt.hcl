# One record for each machine of the unit at values.machines_path: one unit for the whole map, since Terragrunt
# has no for_each over units. The key's secret comes from TF_VAR_dns_key_secret.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/dns-records"
}

dependency "machines" {
  config_path = values.machines_path

  # Machines without addresses: a plan can be made with them. It cannot be applied, also not from a saved plan file:
  # a record without an address fails.
  mock_outputs                            = { vm_target_ips = { for key, vm in values.vms : key => null } }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan"]
}

inputs = {
  zone       = values.zone
  server     = values.server
  key_name   = values.key_name
  target_ips = dependency.machines.outputs.vm_target_ips
  records    = { for key, vm in values.vms : key => { name = vm.vm_name, vm_identifier = key } }
}
