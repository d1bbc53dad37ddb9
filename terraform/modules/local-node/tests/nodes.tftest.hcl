# Values of `nodes` that would otherwise fail late, at the engine, or quietly give two nodes one
# address. One run per rule of the variable.

variables {
  cluster         = "t-tf-rules"
  cluster_uuid    = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11"
  image           = "debian:12"
  authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test"]
}

run "key_must_be_a_label" {
  command = plan
  variables {
    nodes = { Node_1 = { hostname = "a", slot = 10, memory = 512, cores = 1 } }
  }
  expect_failures = [var.nodes]
}

run "hostname_must_be_one_label" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a.example.com", slot = 10, memory = 512, cores = 1 } }
  }
  expect_failures = [var.nodes]
}

run "slot_must_lie_within_a_subnet" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 1, memory = 512, cores = 1 } }
  }
  expect_failures = [var.nodes]
}

run "slots_must_differ" {
  command = plan
  variables {
    nodes = {
      node1 = { hostname = "a", slot = 10, memory = 512, cores = 1 }
      node2 = { hostname = "b", slot = 10, memory = 512, cores = 1 }
    }
  }
  expect_failures = [var.nodes]
}

run "memory_must_be_whole" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 10, memory = 512.5, cores = 1 } }
  }
  expect_failures = [var.nodes]
}

run "memory_must_be_enough_for_systemd" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 10, memory = 64, cores = 1 } }
  }
  expect_failures = [var.nodes]
}

run "cores_must_be_at_least_one" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 10, memory = 512, cores = 0 } }
  }
  expect_failures = [var.nodes]
}

run "disk_gb_must_be_whole" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 10, memory = 512, cores = 1, disk_gb = 0.5 } }
  }
  expect_failures = [var.nodes]
}

run "a_disk_needs_a_volume_to_lie_on" {
  command = plan
  variables {
    nodes = { node1 = { hostname = "a", slot = 10, memory = 512, cores = 1, disk_gb = 1, data_volume = false } }
  }
  expect_failures = [var.nodes]
}

run "no_nodes_is_a_network_alone" {
  command = plan
  variables {
    nodes = {}
  }
  assert {
    condition     = length(output.vms) == 0
    error_message = "Without nodes there must be no machines."
  }
}
