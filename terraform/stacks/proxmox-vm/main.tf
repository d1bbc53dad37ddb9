locals {
  instances = coalesce(var.instances, {})
  # Old files have "" for no address, and addresses without a prefix.
  target = try(coalesce(var.vm_target_ip), null)
  # One machine, as configurations without a map had it.
  single = length(local.instances) == 0 && local.target != null
  # Four digits that follow from what makes the single machine this one: its address, or an id of this state.
  suffix = local.single ? coalesce(var.hostname_suffix, substr(sha256(try(terraform_data.suffix[0].id, "${var.app}/${var.env}/${local.target}")), 0, 4)) : null

  # What each machine says itself; the single one says nothing.
  own = { for key in local.single ? ["default"] : keys(local.instances) : key => try(local.instances[key], local.nothing) }
  nothing = {
    vm_name        = null
    memory         = null
    cores          = null
    disk_gb        = null
    node           = null
    template       = null
    template_node  = null
    datastore      = null
    vlan           = null
    address        = null
    gateway        = null
    vm_id          = null
    protection     = null
    data_disk_gb   = null
    data_datastore = null
    on_boot        = null
    cpu_type       = null
    disk           = null
    startup        = null
    description    = null
    firewall       = null
    mtu            = null
    extra_nic      = null
    pool_id        = ""
    tags           = []
  }

  address = { for key, own in local.own : key => coalesce(own.address, local.single ? (can(cidrnetmask("${local.target}/32")) ? "${local.target}/24" : local.target) : "dhcp") }

  # By reference, so that the pool is made before the machines and goes after them.
  pool_id = try(module.pool[0].pool_id, "")

  machines = {
    for key, own in local.own : key => {
      vm_name        = coalesce(own.vm_name, "${var.app}-${var.env}-${local.single ? local.suffix : key}")
      memory         = coalesce(own.memory, var.memory)
      cores          = coalesce(own.cores, var.cores)
      disk_gb        = own.disk_gb == null ? var.disk_gb : own.disk_gb
      pool_id        = contains(["", var.pool_id], own.pool_id) ? local.pool_id : own.pool_id
      node           = coalesce(own.node, var.node)
      template       = coalesce(own.template, var.template)
      template_node  = own.template_node == null ? var.template_node : own.template_node
      datastore      = coalesce(own.datastore, var.datastore)
      bridge         = var.bridge
      vlan           = own.vlan == null ? var.vlan : own.vlan
      address        = local.address[key]
      gateway        = own.gateway == null && local.address[key] != "dhcp" ? var.gateway : own.gateway
      vm_id          = own.vm_id
      protection     = own.protection
      data_disk_gb   = own.data_disk_gb == null ? var.data_disk_gb : own.data_disk_gb
      data_datastore = own.data_datastore == null ? (own.data_disk_gb == null && var.data_disk_gb == null ? null : var.data_datastore) : own.data_datastore
      on_boot        = own.on_boot == null ? var.on_boot : own.on_boot
      cpu_type       = coalesce(own.cpu_type, var.cpu_type)
      disk           = own.disk == null ? var.disk : own.disk
      startup        = own.startup == null ? var.startup : own.startup
      description    = own.description == null ? var.description : own.description
      firewall       = own.firewall == null ? var.firewall : own.firewall
      mtu            = own.mtu == null ? var.mtu : own.mtu
      extra_nic      = own.extra_nic == null ? var.extra_nic : own.extra_nic
      tags           = concat(var.tags, own.tags)
    }
  }
}

# Two machines by DHCP have the same app, env and target: what differs is the state that they are in.
resource "terraform_data" "suffix" {
  count = local.single && var.hostname_suffix == null && coalesce(local.target, "-") == "dhcp" ? 1 : 0
}

module "pool" {
  source = "../../modules/proxmox-pool"
  count  = var.pool_id == "" ? 0 : 1

  pool_id = var.pool_id
  comment = "Machines of ${var.app}-${var.env}"
}

module "machines" {
  source = "../../modules/proxmox-vm"

  vms             = local.machines
  cluster_uuid    = var.cluster_uuid
  agent_timeout   = var.agent_timeout
  ssh_user        = var.ssh_user
  authorized_keys = var.authorized_keys
  nameservers     = var.nameservers
  search_domain   = var.search_domain
  protection      = var.protection
  watchdog        = var.watchdog
}

# After the machines, whose addresses it takes; before them when all is destroyed.
module "dns" {
  source = "../../modules/dns-records"
  count  = var.dns == null ? 0 : 1

  zone          = var.dns.zone
  server        = var.dns.server
  port          = var.dns.port
  ttl           = var.dns.ttl
  key_name      = var.dns.key_name
  key_algorithm = var.dns.key_algorithm
  cluster_uuid  = var.cluster_uuid
  target_ips    = module.machines.vm_target_ips
  records       = { for key, machine in local.machines : key => { name = machine.vm_name, vm_identifier = key, kind = "vm" } }
}
