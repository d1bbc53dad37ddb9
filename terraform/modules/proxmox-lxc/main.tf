# What makes a container another one. The attributes themselves cannot say it: an imported container
# has no template in its state, and would be replaced for the difference.
resource "terraform_data" "origin" {
  for_each = var.vms

  input = {
    template = each.value.template_file_id
    address  = each.value.address
  }
}

resource "proxmox_virtual_environment_container" "this" {
  for_each = var.vms

  node_name = each.value.node
  pool_id   = each.value.pool_id == "" ? null : each.value.pool_id
  # Proxmox keeps tags sorted.
  tags          = sort(distinct(concat(each.value.tags, var.cluster_uuid == null ? [] : ["hactl-${var.cluster_uuid}"])))
  start_on_boot = true
  protection    = var.protection
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

  network_interface {
    name    = "eth0"
    bridge  = each.value.bridge
    vlan_id = each.value.vlan
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

    user_account {
      keys = [for key in var.authorized_keys : trimspace(key)]
    }
  }

  wait_for_ip {
    ipv4 = true
  }

  lifecycle {
    # What is for the making only: the API does not say it of a container that exists, so that an
    # import would replace it.
    ignore_changes       = [clone, initialization[0].user_account, operating_system, pool_id, unprivileged]
    replace_triggered_by = [terraform_data.origin[each.key]]
  }
}
