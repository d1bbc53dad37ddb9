# The pool's name: what Proxmox would refuse in apply is refused in the plan.

mock_provider "proxmox" {}

run "name_must_not_be_empty" {
  command = plan
  variables {
    pool_id = ""
  }
  expect_failures = [var.pool_id]
}

run "name_must_have_no_spaces" {
  command = plan
  variables {
    pool_id = "my pool"
  }
  expect_failures = [var.pool_id]
}

run "nesting_ends_at_three" {
  command = plan
  variables {
    pool_id = "a/b/c/d"
  }
  expect_failures = [var.pool_id]
}

run "name_is_known_before_apply" {
  command = plan
  variables {
    pool_id = "example-multi-vm-pool"
  }
  assert {
    condition     = output.pool_id == "example-multi-vm-pool"
    error_message = "Machines must be planned with the pool's name."
  }
}

run "is_made" {
  variables {
    pool_id = "parent/child"
    comment = "PostgreSQL, production"
  }
  assert {
    condition     = proxmox_virtual_environment_pool.this.pool_id == "parent/child" && proxmox_virtual_environment_pool.this.comment == "PostgreSQL, production"
    error_message = "Name and comment must reach the pool."
  }
}
