# One machine or many, with the variables that configurations have had since there was no map.

mock_provider "proxmox" {}
mock_provider "hactl" {}

variables {
  app = "pg"
  env = "prod"
}

run "nothing_given" {
  command         = plan
  expect_failures = [var.instances]
}

run "a_target_alone_is_one_machine" {
  command = plan
  variables {
    vm_target_ip = "192.168.1.60/24"
    gateway      = "192.168.1.1"
  }
  assert {
    condition     = output.vm_hostnames == { default = "pg-prod-${substr(sha256("pg/prod/192.168.1.60/24"), 0, 4)}" }
    error_message = "Its key is default, and its name ends with four digits that follow from the target."
  }
}

run "a_target_beside_no_entries_too" {
  command = plan
  variables {
    instances       = {}
    vm_target_ip    = "dhcp"
    hostname_suffix = "3f1a"
    gateway         = "192.168.1.1"
  }
  assert {
    condition     = output.vm_hostnames == { default = "pg-prod-3f1a" }
    error_message = "hostname_suffix must be the last part of the name."
  }
}

run "no_entries_alone_are_no_machines" {
  command = plan
  variables {
    instances = {}
    pool_id   = "example-multi-vm-pool"
    dns       = { zone = "home.sflab.io.", server = "192.0.2.53", key_name = "ddnskey." }
  }
  assert {
    condition     = length(output.vms) == 0 && length(output.vm_ids) == 0 && length(output.resource_ids) == 0 && length(output.vm_target_ips) == 0 && length(module.dns[0].records) == 0
    error_message = "Without entries there must be neither machines nor records."
  }
  assert {
    condition     = length(module.pool) == 1 && module.pool[0].pool_id == "example-multi-vm-pool"
    error_message = "The pool must be made all the same."
  }
}

run "a_map_is_many_machines_whatever_the_target" {
  command = plan
  variables {
    vm_target_ip = "192.168.1.60/24"
    gateway      = "192.168.1.1"
    instances    = { web01 = { vm_name = "web01" }, node2 = {} }
  }
  assert {
    condition     = output.vm_hostnames == { web01 = "web01", node2 = "pg-prod-node2" }
    error_message = "Names must be app, env and key, or vm_name."
  }
}

run "the_count_may_agree" {
  command = plan
  variables {
    instances      = { a = {}, b = {}, c = {} }
    instance_count = 3
  }
  assert {
    condition     = length(output.vms) == 3
    error_message = "The map says how many machines there are."
  }
}

run "the_count_may_not_differ" {
  command = plan
  variables {
    instances      = { a = {}, b = {} }
    instance_count = 3
  }
  expect_failures = [var.instance_count]
}

run "the_count_may_not_be_many_for_one_target" {
  command = plan
  variables {
    vm_target_ip   = "dhcp"
    instance_count = 3
  }
  expect_failures = [var.instance_count]
}

run "the_count_of_a_target_is_one" {
  command = plan
  variables {
    vm_target_ip   = "dhcp"
    instance_count = 1
  }
}

run "an_empty_target_is_none" {
  command = plan
  variables {
    vm_target_ip = ""
  }
  expect_failures = [var.instances]
}

run "an_empty_target_beside_a_map_is_ignored" {
  command = plan
  variables {
    vm_target_ip   = ""
    instances      = { a = {}, b = {} }
    instance_count = 2
  }
  assert {
    condition     = keys(output.vms) == ["a", "b"]
    error_message = "Old files have vm_target_ip = \"\" beside instances."
  }
}

run "a_target_without_a_prefix_has_24" {
  command = plan
  variables {
    vm_target_ip = "192.168.1.60"
    gateway      = "192.168.1.1"
  }
  assert {
    condition     = local.machines.default.address == "192.168.1.60/24" && local.machines.default.gateway == "192.168.1.1"
    error_message = "A bare address must be a fixed address with the prefix 24."
  }
  assert {
    condition     = output.vm_hostnames == { default = "pg-prod-${substr(sha256("pg/prod/192.168.1.60"), 0, 4)}" }
    error_message = "Its name must follow from the address as it is written."
  }
}

run "a_target_must_be_an_address" {
  command = plan
  variables {
    vm_target_ip = "web01"
  }
  expect_failures = [var.vm_target_ip]
}

run "a_target_by_dhcp_is_named_after_its_state" {
  variables {
    vm_target_ip = "dhcp"
  }
  assert {
    condition     = output.vm_hostnames == { default = "pg-prod-${substr(sha256(terraform_data.suffix[0].id), 0, 4)}" }
    error_message = "Two machines by DHCP must not get one name."
  }
}

run "the_count_may_be_ten" {
  command = plan
  variables {
    instances      = { for index in range(10) : "n${index}" => {} }
    instance_count = 10
  }
}

run "the_count_may_not_be_eleven" {
  command = plan
  variables {
    instances      = { for index in range(11) : "n${index}" => {} }
    instance_count = 11
  }
  expect_failures = [var.instance_count]
}

run "the_count_may_not_be_none" {
  command = plan
  variables {
    instances      = {}
    instance_count = 0
  }
  expect_failures = [var.instance_count]
}

run "max_instances_allows_a_higher_count" {
  command = plan
  variables {
    instances      = { for index in range(11) : "n${index}" => {} }
    instance_count = 11
    max_instances  = 11
  }
}

run "more_machines_than_ten_need_no_count" {
  command = plan
  variables {
    instances = { for index in range(11) : "n${index}" => {} }
  }
}

run "a_suffix_is_four_digits" {
  command = plan
  variables {
    vm_target_ip    = "dhcp"
    hostname_suffix = "xyz"
  }
  expect_failures = [var.hostname_suffix]
}

run "a_renamed_machine_needs_its_move" {
  command = plan
  variables {
    instances = { node1 = { renamed_from = "default" } }
  }
  expect_failures = [var.instances]
}
