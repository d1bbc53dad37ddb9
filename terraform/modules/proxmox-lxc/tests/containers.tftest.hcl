# What holds for all containers: values that would fail at Proxmox.

mock_provider "proxmox" {}

variables {
  vms = { web01 = { vm_name = "web01" } }
}

run "uuid_must_be_one" {
  command = plan
  variables {
    cluster_uuid = "1234"
  }
  expect_failures = [var.cluster_uuid]
}

run "keys_must_be_public_keys" {
  command = plan
  variables {
    authorized_keys = ["-----BEGIN OPENSSH PRIVATE KEY-----"]
  }
  expect_failures = [var.authorized_keys]
}

run "nameservers_must_be_addresses" {
  command = plan
  variables {
    nameservers = ["ns1.home.sflab.io"]
  }
  expect_failures = [var.nameservers]
}

run "search_domain_must_be_one" {
  command = plan
  variables {
    search_domain = "home..io"
  }
  expect_failures = [var.search_domain]
}
