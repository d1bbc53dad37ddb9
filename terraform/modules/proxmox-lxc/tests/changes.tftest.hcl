# A map and not a count: adding, changing or removing one container leaves the others alone. By count,
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
    error_message = "There must be two containers."
  }
}

run "a_third_is_added" {
  variables {
    vms = { web01 = var.web01, web02 = var.web02, db01 = var.db01 }
  }
  assert {
    condition     = { for key, id in output.resource_ids : key => id if key != "db01" } == run.two.resource_ids && output.lxc_hostnames.db01 == "db01"
    error_message = "The two that were there must stay."
  }
}

run "memory_and_cores_change_in_place" {
  variables {
    vms = { web01 = { vm_name = "web01", memory = 2048, cores = 4 }, web02 = var.web02, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids == run.a_third_is_added.resource_ids && proxmox_virtual_environment_container.this["web01"].memory[0].dedicated == 2048
    error_message = "Memory and cores must change without replacing a container."
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

run "what_is_for_the_making_changes_nothing" {
  variables {
    vms             = { web02 = var.web02, db01 = var.db01 }
    authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt other"]
  }
  assert {
    condition     = output.resource_ids == run.the_first_is_removed.resource_ids && length(proxmox_virtual_environment_container.this["db01"].initialization[0].user_account[0].keys) == 0
    error_message = "Other SSH keys must not replace containers."
  }
}

run "another_pool_is_for_new_containers" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, pool_id = "other" }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids == run.the_first_is_removed.resource_ids
    error_message = "Another pool must not replace containers."
  }
}

run "another_template_replaces_that_machine_alone" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, template_file_id = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst" }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids.web02 != run.the_first_is_removed.resource_ids.web02 && output.resource_ids.db01 == run.the_first_is_removed.resource_ids.db01
    error_message = "A container of another template is another container."
  }
}

run "another_address_replaces_too" {
  variables {
    vms = { web02 = { vm_name = "web02", memory = 1024, template_file_id = "local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst", address = "192.168.1.61/24" }, db01 = var.db01 }
  }
  assert {
    condition     = output.resource_ids.web02 != run.another_template_replaces_that_machine_alone.resource_ids.web02 && output.resource_ids.db01 == run.the_first_is_removed.resource_ids.db01
    error_message = "A container under another address is another container."
  }
}

run "from_some_to_none" {
  assert {
    condition     = length(output.vms) == 0
    error_message = "Without entries there must be no containers."
  }
}
