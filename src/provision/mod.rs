//! Plan -> Outputs: Terraform's working directory, init, plan, guard, apply, output, destroy.
