# The location of the state, for all units. Replace it with your own backend.
# Without one, Terragrunt keeps the state in its cache, which is not safe from deletion.
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
