# Which of the reported addresses is the machine's. Taking the first one of the second interface once
# gave none on machines that had an IPv6 address first. Each run has a machine of its own: values are
# given when it is made.

mock_provider "proxmox" {}

run "none_while_the_agent_is_silent" {
  variables {
    vms = { a = { vm_name = "a" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [], mac_addresses = [] }
  }
  assert {
    condition     = output.vm_target_ips.a == null && output.vms.a.ipv4 == null
    error_message = "A machine that reports nothing has no address."
  }
}

run "neither_loopback_nor_link_local" {
  variables {
    vms = { b = { vm_name = "b" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [["127.0.0.1"], ["169.254.10.1"], []], mac_addresses = ["00:00:00:00:00:00", "bc:24:11:00:00:01", "bc:24:11:00:00:02"] }
  }
  assert {
    condition     = output.vm_target_ips.b == null
    error_message = "Nobody reaches a machine under its loopback or link-local address."
  }
}

run "an_interface_with_ipv6_alone_is_no_hindrance" {
  variables {
    vms = { c = { vm_name = "c" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [["127.0.0.1"], [], ["192.168.1.60"]], ipv6_addresses = [["::1"], ["2001:db8::1", "fe80::1"], ["fe80::2"]], mac_addresses = ["00:00:00:00:00:00", "bc:24:11:00:00:01", "bc:24:11:00:00:02"] }
  }
  assert {
    condition     = output.vm_target_ips.c == "192.168.1.60"
    error_message = "The address counts, not where in the list it is."
  }
}

run "before_loopback" {
  variables {
    vms = { d = { vm_name = "d" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [["192.168.1.60"], ["127.0.0.1"]], mac_addresses = ["bc:24:11:00:00:01", "00:00:00:00:00:00"] }
  }
  assert {
    condition     = output.vm_target_ips.d == "192.168.1.60"
    error_message = "Not every guest lists its loopback first."
  }
}

run "the_fixed_one_where_it_is_reported" {
  variables {
    vms = { f = { vm_name = "f", address = "192.168.1.61/24" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [["127.0.0.1"], ["192.168.1.200", "192.168.1.61"]], mac_addresses = ["00:00:00:00:00:00", "bc:24:11:00:00:01"] }
  }
  assert {
    condition     = output.vm_target_ips.f == "192.168.1.61"
    error_message = "A virtual address beside it is not the machine's."
  }
}

run "the_fixed_one_of_a_machine_that_reports_nothing" {
  variables {
    vms = { g = { vm_name = "g", address = "192.168.1.62/24" } }
  }
  override_resource {
    target = proxmox_virtual_environment_vm.this
    values = { ipv4_addresses = [], mac_addresses = [] }
  }
  assert {
    condition     = output.vm_target_ips.g == "192.168.1.62" && output.vms.g.ipv4 == "192.168.1.62"
    error_message = "The configuration has the address."
  }
}
