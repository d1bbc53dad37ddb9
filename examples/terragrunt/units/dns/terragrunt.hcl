# One record for each machine of the unit at values.machines_path. One unit takes the whole map, because Terragrunt
# has no for_each over units. Set the key's secret in TF_VAR_dns_key_secret.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/dns-records"
}

dependency "machines" {
  config_path = values.machines_path

  # Machines without addresses: you can make a plan with them, but not apply it, not even from a saved plan file,
  # because a record without an address fails.
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
