# A map and not a count: adding, changing or removing one machine leaves the others alone. By count,
# removing the first once destroyed the last.

mock_provider "proxmox" {}

variables {
  web01 = { vm_name = "web01", memory = 1024 }
  web02 = { vm_name = "web02", memory = 1024 }
  db01  = { vm_name = "db01", memory = 4096, cores = 4 }
}

run "two" {
  variables {
    vms = { web01 = var.web01, web02 = var.web02 }
  }
  assert {
    condition     = length(distinct(values(output.resource_ids))) == 2
    error_message = "There must be two machines."
  }
}

run "a_third_is_added" {
  variables {
    vms = { web01 = var.web01, web02 = var.web02, db01 = var.db01 }
  }
  assert {
    condition     = { for key, id in output.resource_ids : key => id if key != "db01" } == run.two.resource_ids && output.vm_hostnames.db01 == "db01"
    error_message = "The two that were there must stay."
  }
}

run "memory_and_cores_change_in_place" {
  variables {
    vms = { web01 = { vm_name = "web01", memory = 2048, cores = 4 }, web02 = var.web02, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids == run.a_third_is_added.resource_ids && proxmox_virtual_environment_vm.this["web01"].memory[0].dedicated == 2048
    error_message = "Memory and cores must change without replacing a machine."
  }
}

run "the_first_is_removed" {
  variables {
    vms = { web02 = var.web02, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids == { for key, id in run.a_third_is_added.resource_ids : key => id if key != "web01" }
    error_message = "The two that stay must stay the same."
  }
}

run "what_is_for_the_first_boot_changes_nothing" {
  variables {
    vms             = { web02 = var.web02, db01 = var.db01 }
    authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt other"]
    ssh_user        = "ops"
    nameservers     = ["192.168.1.13"]
  }
  assert {
    condition     = output.resource_ids == run.the_first_is_removed.resource_ids && length(proxmox_virtual_environment_vm.this["db01"].initialization[0].user_account[0].keys) == 0
    error_message = "Other SSH keys must not replace machines."
  }
}

run "another_hypervisor_changes_nothing" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, node = "pve2" }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids == run.the_first_is_removed.resource_ids && proxmox_virtual_environment_vm.this["web02"].node_name == "pve1"
    error_message = "Proxmox moves machines, not Terraform."
  }
}

run "what_is_for_new_machines_changes_nothing" {
  variables {
    cpu_type = "host"
    vms = {
      web02 = { vm_name = "web02", memory = 1024, description = "new", startup = { order = 1 }, firewall = true, mtu = 9000 }
      db01  = var.db01
    }
  }
  assert {
    condition = alltrue([
      for vm in [proxmox_virtual_environment_vm.this["web02"]] :
      vm.cpu[0].type == "x86-64-v2-AES" && vm.description == null && length(vm.startup) == 0 && vm.network_device[0].firewall == null && vm.network_device[0].mtu == null
    ])
    error_message = "What Proxmox has for a machine must stay."
  }
}

run "another_template_replaces_that_machine_alone" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, template = 9003 }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids.web02 != run.the_first_is_removed.resource_ids.web02 && output.resource_ids.db01 == run.the_first_is_removed.resource_ids.db01
    error_message = "A machine of another template is another machine."
  }
}

run "another_address_replaces_too" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, template = 9003, address = "192.168.1.61/24" }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids.web02 != run.another_template_replaces_that_machine_alone.resource_ids.web02 && output.resource_ids.db01 == run.the_first_is_removed.resource_ids.db01
    error_message = "cloud-init gives the address at the first boot alone."
  }
}

run "from_some_to_none" {
  assert {
    condition     = length(output.vms) == 0
    error_message = "Without entries there must be no machines."
  }
}
