# Which of the reported addresses is the container's. Each run has a container of its own: values are
# given when it is made.

mock_provider "proxmox" {}

run "none_before_dhcp_answers" {
  variables {
    vms = { a = { vm_name = "a" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = {} }
  }
  assert {
    condition     = output.lxc_ips.a == null && output.vms.a.ipv4 == null
    error_message = "A container that reports nothing has no address."
  }
}

run "neither_loopback_nor_link_local" {
  variables {
    vms = { b = { vm_name = "b" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = { lo = "127.0.0.1", eth0 = "169.254.10.1", eth1 = "" } }
  }
  assert {
    condition     = output.lxc_ips.b == null
    error_message = "Nobody reaches a container under its loopback or link-local address."
  }
}

run "an_ipv6_address_beside_it_is_no_hindrance" {
  variables {
    vms = { c = { vm_name = "c" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = { lo = "127.0.0.1", eth0 = "192.168.1.60" }, ipv6 = { lo = "::1", eth0 = "2001:db8::1" } }
  }
  assert {
    condition     = output.lxc_ips.c == "192.168.1.60"
    error_message = "The IPv4 address is the one that is wanted."
  }
}

run "of_eth0_not_of_a_bridge_in_it" {
  variables {
    vms = { d = { vm_name = "d" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = { docker0 = "172.17.0.1", eth0 = "192.168.1.60", lo = "127.0.0.1" } }
  }
  assert {
    condition     = output.lxc_ips.d == "192.168.1.60"
    error_message = "The address of the container's own interface is its address."
  }
}

run "of_another_interface_where_eth0_has_none" {
  variables {
    vms = { e = { vm_name = "e" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = { ens18 = "192.168.1.60", lo = "127.0.0.1" } }
  }
  assert {
    condition     = output.lxc_ips.e == "192.168.1.60"
    error_message = "An imported container may have named its interface otherwise."
  }
}

run "the_fixed_one_where_it_is_reported" {
  variables {
    vms = { f = { vm_name = "f", address = "192.168.1.61/24" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = { eth0 = "10.0.0.9", eth1 = "192.168.1.61" } }
  }
  assert {
    condition     = output.lxc_ips.f == "192.168.1.61"
    error_message = "The configured address is the container's wherever it is."
  }
}

run "the_fixed_one_of_a_container_that_reports_nothing" {
  variables {
    vms = { g = { vm_name = "g", address = "192.168.1.62/24" } }
  }
  override_resource {
    target = proxmox_virtual_environment_container.this
    values = { ipv4 = {} }
  }
  assert {
    condition     = output.lxc_ips.g == "192.168.1.62" && output.vms.g.ipv4 == "192.168.1.62"
    error_message = "The configuration has the address."
  }
}
