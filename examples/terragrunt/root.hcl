# What all units share: where their state is. Replace it by a backend of yours:
# without one, Terragrunt keeps the state in its cache, which anybody may delete.
remote_state {
  backend = "local"
  generate = {
    path      = "backend.tf"
    if_exists = "overwrite"
  }
  config = {
    path = "${get_parent_terragrunt_dir("root")}/state/${path_relative_to_include("root")}/terraform.tfstate"
  }
}
