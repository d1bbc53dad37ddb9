# A change of this object replaces the container. The attributes themselves cannot do that: an imported container
# has no template in its state, and Terraform would replace it for the difference.
#
# The object keeps exactly these attributes: one more or one less replaces every container that exists.
resource "terraform_data" "origin" {
  for_each = var.vms

  input = {
    template = each.value.template_file_id
    address  = each.value.address
  }
}

resource "proxmox_virtual_environment_container" "this" {
  for_each = var.vms

  vm_id       = each.value.vm_id
  description = each.value.description
  node_name   = each.value.node
  pool_id     = each.value.pool_id == "" ? null : each.value.pool_id
  # Proxmox keeps tags sorted.
  tags          = sort(distinct(concat(each.value.tags, var.cluster_uuid == null ? [] : ["hactl-${var.cluster_uuid}"])))
  start_on_boot = each.value.on_boot
  protection    = each.value.protection == null ? var.protection : each.value.protection
  unprivileged  = true

  # Made from a file and not cloned: Proxmox takes SSH keys only then.
  operating_system {
    template_file_id = each.value.template_file_id
    # Left out it would be "unmanaged": no host name, no network, no keys.
    type = try(regex("vztmpl/(alpine|archlinux|centos|debian|devuan|fedora|gentoo|nixos|opensuse|ubuntu)", each.value.template_file_id)[0], "unmanaged")
  }

  # systemd needs it to confine services in a container without privileges.
  features {
    nesting = true
  }

  cpu {
    cores = each.value.cores
  }

  memory {
    dedicated = each.value.memory
    # A member that swaps answers too late to be alive.
    swap = 0
  }

  disk {
    datastore_id = each.value.datastore
    size         = each.value.disk_gb
  }

  dynamic "mount_point" {
    for_each = each.value.data_disk_gb == null ? [] : [each.value.data_disk_gb]

    content {
      volume = coalesce(each.value.data_datastore, each.value.datastore)
      size   = "${mount_point.value}G"
      # The parent of PGDATA. Proxmox makes the file system.
      path = "/var/lib/postgresql"
      # Otherwise backups of the container lack the data.
      backup = true
    }
  }

  network_interface {
    name     = "eth0"
    bridge   = each.value.bridge
    vlan_id  = each.value.vlan
    firewall = each.value.firewall
    mtu      = each.value.mtu
  }

  dynamic "network_interface" {
    for_each = each.value.extra_nic == null ? [] : [each.value.extra_nic]

    content {
      name     = "eth1"
      bridge   = network_interface.value.bridge
      vlan_id  = network_interface.value.vlan
      firewall = each.value.firewall
      mtu      = each.value.mtu
    }
  }

  initialization {
    hostname = each.value.vm_name

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
      keys = [for key in var.authorized_keys : trimspace(key)]
    }
  }

  wait_for_ip {
    ipv4 = true
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
      # What is for a new container only: the API does not say it of a container that exists, so an import would
      # replace it.
      clone, initialization[0].user_account, operating_system, pool_id, unprivileged,
      # A mount point that somebody adds in Proxmox would replace the container, with its data.
      mount_point,
      # What the module does not manage, and what it sets only for a new container. The provider would reset all of it
      # to its own defaults when a container is imported or was changed in Proxmox.
      console, description, device_passthrough, environment_variables, hook_script_file_id, idmap, startup,
      cpu[0].architecture, cpu[0].limit, cpu[0].units,
      disk[0].acl, disk[0].mount_options, disk[0].quota, disk[0].replicate,
      features[0].fuse, features[0].keyctl, features[0].mknod, features[0].mount,
      initialization[0].entrypoint,
      network_interface[0].enabled, network_interface[0].firewall, network_interface[0].host_managed,
      network_interface[0].mac_address, network_interface[0].mtu, network_interface[0].rate_limit,
      network_interface[1].enabled, network_interface[1].firewall, network_interface[1].host_managed,
      network_interface[1].mac_address, network_interface[1].mtu, network_interface[1].rate_limit,
    ]
    replace_triggered_by = [terraform_data.origin[each.key]]
  }
}
