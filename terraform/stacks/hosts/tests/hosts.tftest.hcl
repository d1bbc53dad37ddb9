# Machines that exist: entries in the state, the output that hactl reads, and records.

mock_provider "hactl" {}

variables {
  cluster_uuid = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11"
  instances = {
    node1 = { hostname = "pg-prod-node1", address = "192.0.2.21" }
    node2 = { hostname = "pg-prod-node2", address = "192.0.2.22", ssh_host = "nat.example.org", ssh_port = 2202 }
  }
}

run "what_is_said_comes_out" {
  command = plan
  assert {
    condition     = jsonencode(output.vms["node1"]) == jsonencode({ id = "192.0.2.21", name = "pg-prod-node1", ipv4 = "192.0.2.21", ssh_host = null, ssh_port = null })
    error_message = "vms must have the shape of every stack."
  }
  assert {
    condition     = output.vms["node2"].ssh_host == "nat.example.org" && output.vms["node2"].ssh_port == 2202
    error_message = "Where SSH answers must come out."
  }
  assert {
    condition     = join(" ", keys(terraform_data.host)) == "node1 node2" && length(module.dns) == 0
    error_message = "Every machine has an entry, and without dns none has a record."
  }
}

run "each_has_a_record" {
  command = plan
  variables {
    dns = { zone = "home.sflab.io.", server = "192.0.2.53", key_name = "ddnskey." }
  }
  assert {
    condition     = length(module.dns) == 1 && length(module.dns[0].records) == 2
    error_message = "With dns every machine has a record."
  }
}

run "made" {
  command = apply
}

run "under_another_address_it_is_another_machine" {
  command = apply
  variables {
    instances = {
      node1 = { hostname = "pg-prod-node1", address = "192.0.2.29" }
      node2 = { hostname = "pg-prod-node2", address = "192.0.2.22" }
    }
  }
  assert {
    condition     = terraform_data.host["node1"].id != run.made.entries["node1"] && terraform_data.host["node2"].id == run.made.entries["node2"]
    error_message = "Another address replaces the entry, another port does not."
  }
}

run "no_machines" {
  command = plan
  variables {
    instances = {}
  }
  assert {
    condition     = length(output.vms) == 0
    error_message = "No instances are no machines."
  }
}

run "an_address_is_one" {
  command = plan
  variables {
    instances = { node1 = { hostname = "a", address = "db.example.org" } }
  }
  expect_failures = [var.instances]
}
