# What is said of one machine goes over what is said of all. A pool of its own once lost to the global one.

mock_provider "proxmox" {}
mock_provider "hactl" {}

variables {
  instances = { a = {}, b = {} }
}

run "without_a_pool" {
  command = plan
  assert {
    condition     = length(module.pool) == 0 && alltrue([for machine in values(local.machines) : machine.pool_id == ""])
    error_message = "Without pool_id there is no pool."
  }
}

run "with_a_pool" {
  command = plan
  variables {
    pool_id = "example-multi-vm-pool"
  }
  assert {
    condition     = module.pool[0].pool_id == "example-multi-vm-pool" && alltrue([for machine in values(local.machines) : machine.pool_id == "example-multi-vm-pool"])
    error_message = "The global pool is each machine's."
  }
}

run "a_pool_of_its_own_wins" {
  command = plan
  variables {
    pool_id   = "example-multi-vm-pool"
    instances = { a = { pool_id = "other" }, b = {}, c = { pool_id = "example-multi-vm-pool" } }
  }
  assert {
    condition     = { for key, machine in local.machines : key => machine.pool_id } == { a = "other", b = "example-multi-vm-pool", c = "example-multi-vm-pool" }
    error_message = "A machine's own pool must win."
  }
  assert {
    condition     = length(module.pool) == 1
    error_message = "Only the global pool is made."
  }
}

run "a_pool_of_its_own_alone_is_not_made" {
  command = plan
  variables {
    instances = { a = { pool_id = "other" }, b = {} }
  }
  assert {
    condition     = length(module.pool) == 0 && local.machines.a.pool_id == "other" && local.machines.b.pool_id == ""
    error_message = "A machine's own pool has to be there already."
  }
}

run "what_holds_for_all_is_each_ones" {
  command = plan
  variables {
    memory        = 1024
    cores         = 1
    disk_gb       = 20
    node          = "pve3"
    template      = 9003
    template_node = "pve8"
    datastore     = "ceph"
    bridge        = "vmbr1"
    vlan          = 30
    tags          = ["postgres"]
    gateway       = "192.168.30.1"
    instances     = { a = { address = "192.168.30.21/24" }, b = {} }
  }
  assert {
    condition = alltrue([
      for machine in values(local.machines) :
      machine.memory == 1024 && machine.cores == 1 && machine.disk_gb == 20 && machine.node == "pve3" && machine.datastore == "ceph" && machine.bridge == "vmbr1" && machine.vlan == 30 && tolist(machine.tags) == tolist(["postgres"])
    ])
    error_message = "Every machine must have it."
  }
  assert {
    condition     = local.machines.a.gateway == "192.168.30.1" && local.machines.b.gateway == null && local.machines.b.address == "dhcp"
    error_message = "The gateway is for fixed addresses alone."
  }
}

run "what_a_machine_says_itself_wins" {
  command = plan
  variables {
    memory        = 1024
    disk_gb       = 20
    vlan          = 30
    tags          = ["postgres"]
    gateway       = "192.168.30.1"
    template      = 9003
    template_node = "pve8"
    instances = {
      a = {
        memory        = 4096
        cores         = 4
        disk_gb       = 40
        node          = "pve2"
        template      = 9100
        template_node = "pve9"
        datastore     = "nfs"
        vlan          = 31
        address       = "192.168.31.21/24"
        gateway       = "192.168.31.1"
        tags          = ["db"]
      }
      b = {}
    }
  }
  assert {
    condition = alltrue([
      for machine in [local.machines.a] :
      machine.memory == 4096 && machine.cores == 4 && machine.disk_gb == 40 && machine.node == "pve2" && machine.datastore == "nfs" && machine.vlan == 31 && machine.address == "192.168.31.21/24" && machine.gateway == "192.168.31.1" && tolist(machine.tags) == tolist(["postgres", "db"])
    ])
    error_message = "Its own values must win."
  }
  assert {
    condition     = local.machines.a.template == 9100 && local.machines.a.template_node == "pve9" && local.machines.b.template == 9003 && local.machines.b.template_node == "pve8"
    error_message = "Each machine has its own template, or that of all."
  }
  assert {
    condition     = local.machines.b.memory == 1024 && local.machines.b.cores == 2 && local.machines.b.node == "pve1" && local.machines.b.vlan == 30
    error_message = "The other machine must not have them."
  }
}

run "each_machine_gets_a_record" {
  command = plan
  variables {
    dns = { zone = "home.sflab.io.", server = "192.0.2.53", key_name = "ddnskey." }
  }
  assert {
    condition     = keys(module.dns[0].fqdns) == ["a", "b"]
    error_message = "One record per machine."
  }
}

run "outputs_have_the_machines_keys" {
  assert {
    condition     = alltrue([for output in [keys(output.vms), keys(output.vm_ids), keys(output.resource_ids), keys(output.vm_target_ips), keys(output.vm_hostnames)] : output == ["a", "b"]])
    error_message = "Every output must be a map with the keys of instances."
  }
  assert {
    condition     = alltrue([for id in values(output.vm_ids) : can(id + 1)]) && alltrue([for vm in values(output.vms) : keys(vm) == ["data_device", "host_key", "id", "ipv4", "name", "ssh_host", "ssh_port"]])
    error_message = "Ids must be numbers, and each machine the object that hactl reads."
  }
}
