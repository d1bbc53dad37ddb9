# What holds for all machines: values that would fail at Proxmox, or at the first login.

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

run "cpu_type_must_be_a_name" {
  command = plan
  variables {
    cpu_type = ""
  }
  expect_failures = [var.cpu_type]
}

run "agent_timeout_must_have_a_unit" {
  command = plan
  variables {
    agent_timeout = "180"
  }
  expect_failures = [var.agent_timeout]
}

run "ssh_user_must_be_one" {
  command = plan
  variables {
    ssh_user = "Some Body"
  }
  expect_failures = [var.ssh_user]
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
