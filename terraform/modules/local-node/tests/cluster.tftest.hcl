# What names the cluster and its network. A subnet with host bits set was once taken as it is, and
# then differed from what the engine made of it.

variables {
  cluster         = "t-tf-rules"
  cluster_uuid    = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11"
  image           = "debian:12"
  authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test"]
  nodes           = { node1 = { hostname = "a", slot = 10, memory = 512, cores = 1 } }
}

run "cluster_must_be_a_label" {
  command = plan
  variables {
    cluster = "PG_prod"
  }
  expect_failures = [var.cluster]
}

run "uuid_must_be_one" {
  command = plan
  variables {
    cluster_uuid = "1234"
  }
  expect_failures = [var.cluster_uuid]
}

run "image_must_be_a_name" {
  command = plan
  variables {
    image = ""
  }
  expect_failures = [var.image]
}

run "subnet_must_have_no_host_bits" {
  command = plan
  variables {
    subnet = "10.89.0.5/24"
  }
  expect_failures = [var.subnet]
}

run "subnet_must_have_room" {
  command = plan
  variables {
    subnet = "10.89.0.0/29"
  }
  expect_failures = [var.subnet]
}

run "a_key_must_be_given" {
  command = plan
  variables {
    authorized_keys = []
  }
  expect_failures = [var.authorized_keys]
}

run "names_and_addresses_are_known_before_apply" {
  command = plan
  variables {
    subnet = "10.89.0.0/24"
  }
  assert {
    condition     = output.network.name == "hactl-t-tf-rules" && output.volumes.node1 == "t-tf-rules-node1-pgdata"
    error_message = "Names follow from the cluster's and must be known when planning."
  }
  assert {
    condition     = output.vms.node1.name == "t-tf-rules-node1" && output.vms.node1.ipv4 == "10.89.0.10"
    error_message = "The address is the slot's place in the subnet."
  }
}
