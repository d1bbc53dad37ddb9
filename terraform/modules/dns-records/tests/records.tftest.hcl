# Values of `records` that would otherwise fail late, at the server, or make two machines fight over
# one name. One run per rule of the variable.

variables {
  zone     = "home.sflab.io."
  server   = "192.0.2.53"
  key_name = "ddnskey."
}

run "name_must_be_relative" {
  command = plan
  variables {
    records = { a = { name = "node1.home.sflab.io.", addresses = ["192.0.2.1"] } }
  }
  expect_failures = [var.records]
}

run "names_must_differ" {
  command = plan
  variables {
    records = {
      a = { name = "node1", addresses = ["192.0.2.1"] }
      b = { name = "NODE1", addresses = ["192.0.2.2"] }
    }
  }
  expect_failures = [var.records]
}

run "identifier_must_be_a_machine" {
  command = plan
  variables {
    target_ips = { node1 = "192.0.2.1" }
    records    = { a = { name = "node2", vm_identifier = "node2" } }
  }
  expect_failures = [var.records]
}

run "something_must_give_the_address" {
  command = plan
  variables {
    records = { a = { name = "node1" } }
  }
  expect_failures = [var.records]
}

run "kind_must_be_known" {
  command = plan
  variables {
    records = { a = { name = "node1", addresses = ["192.0.2.1"], kind = "pod" } }
  }
  expect_failures = [var.records]
}

run "no_records_is_allowed" {
  command = plan
  variables {
    records = {}
  }
  assert {
    condition     = length(output.records) == 0
    error_message = "Without machines there must be no records."
  }
}

run "addresses_come_from_the_map_or_as_they_are" {
  command = plan
  variables {
    target_ips = { node1 = "192.0.2.1", node2 = null }
    records = {
      node1 = { name = "Node1", vm_identifier = "node1", addresses = ["2001:db8::1"] }
      node2 = { name = "node2", vm_identifier = "node2" }
      db    = { name = "db", addresses = ["192.0.2.9"] }
    }
  }
  assert {
    condition     = output.records.node1.addresses == toset(["192.0.2.1", "2001:db8::1"])
    error_message = "Both addresses of node1 must be there."
  }
  assert {
    condition     = length(output.records.node2.addresses) == 0
    error_message = "A machine without an address plans a record without one: it fails in apply, alone."
  }
  assert {
    condition     = join(" ", values(output.fqdns)) == "db.home.sflab.io. node1.home.sflab.io. node2.home.sflab.io."
    error_message = "Full names must be known before apply."
  }
}
