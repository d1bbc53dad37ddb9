# What makes a machine another one. The clone's own attributes cannot say it: an imported machine
# has none of them in its state, and would be replaced for the difference.
resource "terraform_data" "origin" {
  for_each = var.vms

  input = {
    template = each.value.template
    address  = each.value.address
  }
}

resource "proxmox_virtual_environment_vm" "this" {
  for_each = var.vms

  name      = each.value.vm_name
  node_name = each.value.node
  pool_id   = each.value.pool_id == "" ? null : each.value.pool_id
  # Proxmox keeps tags sorted.
  tags       = sort(distinct(concat(each.value.tags, var.cluster_uuid == null ? [] : ["hactl-${var.cluster_uuid}"])))
  on_boot    = true
  protection = var.protection
  # A graceful shutdown would be waited for, up to half an hour, for disks that go anyway.
  stop_on_destroy = true
  # A change of memory or cores waits for a reboot at a time of somebody's choice.
  reboot_after_update = false

  clone {
    vm_id        = each.value.template
    node_name    = each.value.template_node
    datastore_id = each.value.datastore
    full         = true
    retries      = 3
  }

  agent {
    enabled = true
    timeout = var.agent_timeout

    wait_for_ip {
      # Otherwise an IPv6 address, often the first to come, ends the wait.
      ipv4 = true
    }
  }

  cpu {
    cores = each.value.cores
    # Without it every clone would become a qemu64, whatever the template has.
    type = var.cpu_type
  }

  memory {
    dedicated = each.value.memory
  }

  dynamic "disk" {
    for_each = each.value.disk_gb == null ? [] : [each.value.disk_gb]

    content {
      datastore_id = each.value.datastore
      interface    = "scsi0"
      size         = disk.value
    }
  }

  network_device {
    bridge  = each.value.bridge
    vlan_id = each.value.vlan
  }

  initialization {
    datastore_id = each.value.datastore

    dynamic "dns" {
      for_each = length(var.nameservers) > 0 || var.search_domain != null ? [1] : []

      content {
        domain  = var.search_domain
        servers = var.nameservers
      }
    }

    ip_config {
      ipv4 {
        address = each.value.address
        gateway = each.value.gateway
      }
    }

    user_account {
      username = var.ssh_user
      keys     = [for key in var.authorized_keys : trimspace(key)]
    }
  }

  dynamic "watchdog" {
    for_each = var.watchdog ? [1] : []

    content {
      enabled = true
      model   = "i6300esb"
      action  = "reset"
    }
  }

  lifecycle {
    # Both are for the first boot. A changed drive of cloud-init would give the machine new host
    # keys at its next boot, and other SSH keys would replace it.
    ignore_changes       = [clone, initialization]
    replace_triggered_by = [terraform_data.origin[each.key]]
  }
}
