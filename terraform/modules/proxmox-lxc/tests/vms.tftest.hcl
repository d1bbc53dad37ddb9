# Values of `vms` that would otherwise fail late, at Proxmox, or quietly make two containers fight over
# one name or address. One run per rule.

mock_provider "proxmox" {}

run "key_must_be_a_label" {
  command = plan
  variables {
    vms = { Web_1 = { vm_name = "a" } }
  }
  expect_failures = [var.vms]
}

run "vm_name_must_be_one_label" {
  command = plan
  variables {
    vms = { a = { vm_name = "web_01" } }
  }
  expect_failures = [var.vms]
}

run "vm_names_must_differ" {
  command = plan
  variables {
    vms = { a = { vm_name = "web" }, b = { vm_name = "web" } }
  }
  expect_failures = [var.vms]
}

run "memory_must_be_whole" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", memory = 512.5 } }
  }
  expect_failures = [var.vms]
}

run "memory_must_be_enough" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", memory = 2 } }
  }
  expect_failures = [var.vms]
}

run "cores_must_be_at_least_one" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", cores = 0 } }
  }
  expect_failures = [var.vms]
}

run "disk_gb_must_be_whole" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", disk_gb = 0.5 } }
  }
  expect_failures = [var.vms]
}

run "template_must_be_a_file_in_a_storage" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", template_file_id = "9002" } }
  }
  expect_failures = [var.vms]
}

run "vlan_must_be_a_tag" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", vlan = 4095 } }
  }
  expect_failures = [var.vms]
}

run "address_must_have_a_prefix" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", address = "192.168.1.21" } }
  }
  expect_failures = [var.vms]
}

run "addresses_must_differ" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", address = "192.168.1.21/24" }, b = { vm_name = "b", address = "192.168.1.21/16" } }
  }
  expect_failures = [var.vms]
}

run "gateway_needs_a_fixed_address" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", gateway = "192.168.1.1" } }
  }
  expect_failures = [var.vms]
}

run "gateway_must_be_an_address" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", address = "192.168.1.21/24", gateway = "router" } }
  }
  expect_failures = [var.vms]
}

run "tags_must_be_what_proxmox_takes" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", tags = ["Web Server"] } }
  }
  expect_failures = [var.vms]
}

run "vm_id_must_be_an_id" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", vm_id = 7 } }
  }
  expect_failures = [var.vms]
}

run "vm_ids_must_differ" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", vm_id = 120 }, b = { vm_name = "b", vm_id = 120 } }
  }
  expect_failures = [var.vms]
}

run "data_disk_gb_must_be_whole" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", data_disk_gb = 0.5 } }
  }
  expect_failures = [var.vms]
}

run "data_datastore_needs_a_data_disk" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", data_datastore = "ceph" } }
  }
  expect_failures = [var.vms]
}

run "mtu_must_be_one" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", mtu = 90 } }
  }
  expect_failures = [var.vms]
}

run "vlan_of_an_extra_nic_must_be_a_tag" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", extra_nic = { bridge = "vmbr1", vlan = 4095 } } }
  }
  expect_failures = [var.vms]
}

run "address_of_an_extra_nic_must_have_a_prefix" {
  command = plan
  variables {
    vms = { a = { vm_name = "a", extra_nic = { bridge = "vmbr1", address = "10.0.0.21" } } }
  }
  expect_failures = [var.vms]
}

run "none_is_allowed" {
  command = plan
  assert {
    condition     = length(output.vms) == 0 && length(output.lxc_ids) == 0 && length(output.lxc_ips) == 0
    error_message = "Without entries there must be no containers."
  }
}

run "one_with_all_defaults" {
  command = plan
  variables {
    vms = { web01 = { vm_name = "web01" } }
  }
  assert {
    condition     = output.lxc_hostnames == { web01 = "web01" }
    error_message = "Names must be known before apply."
  }
  assert {
    condition = alltrue([
      for container in [proxmox_virtual_environment_container.this["web01"]] :
      container.node_name == "pve1" && container.memory[0].dedicated == 2048 && container.memory[0].swap == 0 && container.cpu[0].cores == 2 && container.disk[0].size == 8 && container.pool_id == null
    ])
    error_message = "The defaults must be those of the variable's description."
  }
  assert {
    condition     = proxmox_virtual_environment_container.this["web01"].operating_system[0].type == "debian"
    error_message = "The type must follow from the template: unmanaged, a container has no network and no keys."
  }
  assert {
    condition     = proxmox_virtual_environment_container.this["web01"].unprivileged && proxmox_virtual_environment_container.this["web01"].features[0].nesting
    error_message = "Without privileges, and with what systemd needs there."
  }
}

# Its input replaces the container when it changes: an attribute more would replace all that exist.
run "the_origin_has_template_and_address_alone" {
  command = plan
  variables {
    vms = { web01 = { vm_name = "web01" } }
  }
  assert {
    condition     = terraform_data.origin["web01"].input == { template = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst", address = "dhcp" }
    error_message = "Another attribute would replace every container that exists."
  }
}

run "one_with_every_property" {
  command = plan
  variables {
    cluster_uuid    = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11"
    authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test\n"]
    nameservers     = ["192.168.1.13", "2001:db8::53"]
    search_domain   = "home.sflab.io"
    protection      = true
    vms = {
      db01 = {
        vm_name          = "pg-prod-db01"
        memory           = 4096
        cores            = 4
        disk_gb          = 40
        pool_id          = "databases"
        node             = "pve2"
        template_file_id = "nfs:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst"
        datastore        = "ceph"
        bridge           = "vmbr1"
        vlan             = 30
        address          = "192.168.30.21/24"
        gateway          = "192.168.30.1"
        tags             = ["postgres", "db"]
      }
    }
  }
  assert {
    condition = alltrue([
      for container in [proxmox_virtual_environment_container.this["db01"]] :
      container.initialization[0].hostname == "pg-prod-db01" && container.memory[0].dedicated == 4096 && container.cpu[0].cores == 4 && container.node_name == "pve2" && container.pool_id == "databases" && container.protection
    ])
    error_message = "Name, size, place and protection must reach the container."
  }
  assert {
    condition = alltrue([
      for container in [proxmox_virtual_environment_container.this["db01"]] :
      container.operating_system[0].template_file_id == "nfs:vztmpl/ubuntu-24.04-standard_24.04-2_amd64.tar.zst" && container.operating_system[0].type == "ubuntu" && container.disk[0].size == 40 && container.disk[0].datastore_id == "ceph"
    ])
    error_message = "Template and disk must reach the container."
  }
  assert {
    condition     = proxmox_virtual_environment_container.this["db01"].network_interface[0].bridge == "vmbr1" && proxmox_virtual_environment_container.this["db01"].network_interface[0].vlan_id == 30
    error_message = "The network must reach the container."
  }
  assert {
    condition = alltrue([
      for first in [proxmox_virtual_environment_container.this["db01"].initialization[0]] :
      first.ip_config[0].ipv4[0].address == "192.168.30.21/24" && first.ip_config[0].ipv4[0].gateway == "192.168.30.1" && first.dns[0].domain == "home.sflab.io" && length(first.dns[0].servers) == 2 && endswith(first.user_account[0].keys[0], " test")
    ])
    error_message = "Address, name servers and keys must reach the container."
  }
  assert {
    condition     = proxmox_virtual_environment_container.this["db01"].tags == tolist(["db", "hactl-4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11", "postgres"])
    error_message = "Tags must be sorted, as Proxmox keeps them, with the cluster's among them."
  }
}

run "one_with_every_option" {
  command = plan
  variables {
    protection = true
    vms = {
      db01 = {
        vm_name        = "pg-prod-db01"
        disk_gb        = 40
        datastore      = "ceph"
        address        = "192.168.30.21/24"
        vm_id          = 120
        protection     = false
        data_disk_gb   = 100
        data_datastore = "nvme"
        on_boot        = false
        description    = "orders"
        firewall       = true
        mtu            = 9000
        startup        = { order = 2, up_delay = 30, down_delay = 60 }
        extra_nic      = { bridge = "vmbr2", vlan = 40, address = "10.0.0.21/24" }
      }
      db02 = { vm_name = "pg-prod-db02", data_disk_gb = 100, extra_nic = { bridge = "vmbr2" } }
    }
  }
  assert {
    condition = alltrue([
      for container in [proxmox_virtual_environment_container.this["db01"]] :
      container.vm_id == 120 && !container.protection && !container.start_on_boot && container.description == "orders" && container.startup[0].order == 2 && container.startup[0].up_delay == 30 && container.startup[0].down_delay == 60
    ])
    error_message = "Id, protection, start and notes must reach the container."
  }
  assert {
    condition     = proxmox_virtual_environment_container.this["db02"].protection && proxmox_virtual_environment_container.this["db02"].start_on_boot && length(proxmox_virtual_environment_container.this["db02"].startup) == 0 && proxmox_virtual_environment_container.this["db02"].description == null
    error_message = "What a container does not say is what holds for all."
  }
  assert {
    condition = alltrue([
      for nics in [proxmox_virtual_environment_container.this["db01"].network_interface] :
      length(nics) == 2 && alltrue([for nic in nics : nic.firewall && nic.mtu == 9000]) && nics[1].bridge == "vmbr2" && nics[1].vlan_id == 40
    ])
    error_message = "Both network devices must reach the container."
  }
  assert {
    condition = alltrue([
      for first in [proxmox_virtual_environment_container.this["db01"].initialization[0]] :
      length(first.ip_config) == 2 && first.ip_config[1].ipv4[0].address == "10.0.0.21/24"
    ]) && length(proxmox_virtual_environment_container.this["db02"].initialization[0].ip_config) == 1
    error_message = "The second network device has an address only if one is given."
  }
  assert {
    condition = alltrue([
      for mount in proxmox_virtual_environment_container.this["db01"].mount_point : mount.path == "/var/lib/postgresql" && mount.size == "100G" && mount.volume == "nvme" && mount.backup
    ]) && [for mount in proxmox_virtual_environment_container.this["db02"].mount_point : mount.volume] == ["local-lvm"]
    error_message = "The data disk must be mounted above PGDATA, in its own datastore or in that of the container."
  }
}

run "the_data_disk_is_in_the_output" {
  variables {
    vms = { db01 = { vm_name = "db01", data_disk_gb = 100 }, web01 = { vm_name = "web01" } }
  }
  assert {
    condition     = output.vms.db01.data_device == null && output.vms.web01.data_device == null
    error_message = "Proxmox mounts the data disk: the roles have nothing to do."
  }
}
