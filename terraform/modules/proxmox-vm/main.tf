# A change of this object replaces the machine. The clone's own attributes cannot do that: an imported machine
# has none of them in its state, and Terraform would replace it for the difference.
#
# The object keeps exactly these attributes: one more or one less replaces every machine that exists.
resource "terraform_data" "origin" {
  for_each = var.vms

  input = {
    template = each.value.template
    address  = each.value.address
  }
}

resource "proxmox_virtual_environment_vm" "this" {
  for_each = var.vms

  vm_id       = each.value.vm_id
  name        = each.value.vm_name
  description = each.value.description
  node_name   = each.value.node
  pool_id     = each.value.pool_id == "" ? null : each.value.pool_id
  # Proxmox keeps tags sorted.
  tags       = sort(distinct(concat(each.value.tags, var.cluster_uuid == null ? [] : ["hactl-${var.cluster_uuid}"])))
  on_boot    = each.value.on_boot
  protection = each.value.protection == null ? var.protection : each.value.protection
  # A graceful shutdown would be waited for, up to half an hour, for disks that go anyway.
  stop_on_destroy = true
  # With true Proxmox removes every volume named vm-ID-*, also on a storage that another Proxmox uses for a machine
  # with the same id.
  delete_unreferenced_disks_on_destroy = false
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
    type = coalesce(each.value.cpu_type, var.cpu_type)
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
      discard      = each.value.disk.discard
      iothread     = each.value.disk.iothread
      ssd          = each.value.disk.ssd
      cache        = each.value.disk.cache
    }
  }

  # The roles make its file system and mount it.
  dynamic "disk" {
    for_each = each.value.data_disk_gb == null ? [] : [each.value.data_disk_gb]

    content {
      datastore_id = coalesce(each.value.data_datastore, each.value.datastore)
      interface    = "scsi1"
      size         = disk.value
      discard      = each.value.disk.discard
      iothread     = each.value.disk.iothread
      ssd          = each.value.disk.ssd
      cache        = each.value.disk.cache
    }
  }

  network_device {
    bridge   = each.value.bridge
    vlan_id  = each.value.vlan
    firewall = each.value.firewall
    mtu      = each.value.mtu
  }

  dynamic "network_device" {
    for_each = each.value.extra_nic == null ? [] : [each.value.extra_nic]

    content {
      bridge   = network_device.value.bridge
      vlan_id  = network_device.value.vlan
      firewall = each.value.firewall
      mtu      = each.value.mtu
    }
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

    dynamic "ip_config" {
      for_each = try(each.value.extra_nic.address, null) == null ? [] : [each.value.extra_nic.address]

      content {
        ipv4 {
          address = ip_config.value
        }
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

  dynamic "startup" {
    for_each = each.value.startup == null ? [] : [each.value.startup]

    content {
      order      = startup.value.order
      up_delay   = startup.value.up_delay
      down_delay = startup.value.down_delay
    }
  }

  lifecycle {
    ignore_changes = [
      # Proxmox moves machines between hypervisors: by hand, for maintenance, by HA. Terraform would replace them.
      node_name,
      # Both are for the first boot. A changed drive of cloud-init would give the machine new host keys at its next
      # boot, and other SSH keys would replace it.
      clone, initialization,
      # What the module does not manage, and what it sets only for a new machine. The provider would reset all of it
      # to its own defaults when a machine is imported or was changed in Proxmox: the firmware, for one, without which
      # the machine does not boot.
      acpi, amd_sev, audio_device, bios, boot_order, cdrom, description, efi_disk, hook_script_file_id, hostpci, hotplug,
      keyboard_layout, kvm_arguments, machine, numa, operating_system, rng, scsi_hardware, serial_device, smbios, startup,
      tablet_device, tpm_state, usb, vga, virtiofs,
      agent[0].trim, agent[0].type,
      cpu[0].affinity, cpu[0].architecture, cpu[0].flags, cpu[0].hotplugged, cpu[0].limit, cpu[0].numa, cpu[0].sockets,
      cpu[0].type, cpu[0].units,
      memory[0].floating, memory[0].hugepages, memory[0].keep_hugepages, memory[0].shared,
      disk[0].aio, disk[0].backup, disk[0].cache, disk[0].discard, disk[0].file_format, disk[0].file_id,
      disk[0].import_from, disk[0].iothread, disk[0].queues, disk[0].replicate, disk[0].serial, disk[0].speed,
      disk[0].ssd,
      disk[1].aio, disk[1].backup, disk[1].cache, disk[1].discard, disk[1].file_format, disk[1].file_id,
      disk[1].import_from, disk[1].iothread, disk[1].queues, disk[1].replicate, disk[1].serial, disk[1].speed,
      disk[1].ssd,
      network_device[0].disconnected, network_device[0].enabled, network_device[0].firewall,
      network_device[0].mac_address, network_device[0].model, network_device[0].mtu, network_device[0].queues,
      network_device[0].rate_limit, network_device[0].trunks,
      network_device[1].disconnected, network_device[1].enabled, network_device[1].firewall,
      network_device[1].mac_address, network_device[1].model, network_device[1].mtu, network_device[1].queues,
      network_device[1].rate_limit, network_device[1].trunks,
    ]
    replace_triggered_by = [terraform_data.origin[each.key]]
  }
}
