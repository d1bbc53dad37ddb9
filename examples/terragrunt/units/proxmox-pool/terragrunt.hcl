# The pool for the machines.
include "root" {
  path = find_in_parent_folders("root.hcl")
}

terraform {
  source = "${get_repo_root()}/terraform/modules/proxmox-pool"
}

inputs = {
  pool_id = values.pool_id
}
