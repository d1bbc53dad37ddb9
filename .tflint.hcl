# tflint's own rules for Terraform alone: none asks a provider.
plugin "terraform" {
  enabled = true
  preset  = "all"
}
