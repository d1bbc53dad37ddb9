# The virtual machines by key, in the pool of the unit at values.pool_path.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/proxmox-vm"
}

dependency "pool" {
  config_path = values.pool_path

  # The pool's name is known before the pool exists. This block makes sure that the pool is made first.
  mock_outputs                            = { pool_id = values.pool_id }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan"]
}

inputs = {
  # A machine's own pool takes precedence.
  vms             = { for key, vm in values.vms : key => merge({ pool_id = dependency.pool.outputs.pool_id }, vm) }
  authorized_keys = values.authorized_keys
}
