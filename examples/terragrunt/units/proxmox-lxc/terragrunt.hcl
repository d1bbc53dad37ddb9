# Containers by key. Values: vms, authorized_keys; pool_id, if they belong to a pool; pool_unit_path, if a unit of the
# stack makes that pool.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/proxmox-lxc"
}

# Makes the pool first. Its name is known before the pool exists.
dependency "pool" {
  enabled     = can(values.pool_unit_path)
  config_path = try(values.pool_unit_path, "../pool")

  mock_outputs                            = { pool_id = try(values.pool_id, "") }
  mock_outputs_allowed_terraform_commands = ["init", "validate", "plan"]
}

inputs = {
  # A container's own pool takes precedence.
  vms             = { for key, vm in values.vms : key => merge({ pool_id = try(dependency.pool.outputs.pool_id, values.pool_id, "") }, vm) }
  authorized_keys = values.authorized_keys
}
