# A pool, three machines in it, and their DNS records. Run `terragrunt stack generate`, then `terragrunt stack run plan`.
# Each machine has its own units, because Terragrunt has no `dynamic "unit"` and no for_each over units.
locals {
  pool_id         = "example-multi-vm-pool"
  authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake ops@example.org"]

  zone          = "home.sflab.io."
  dns_server    = "192.168.1.13"
  dns_port      = 53
  key_name      = "ddnskey."
  key_algorithm = "hmac-sha256"
  ttl           = 300
}

unit "pool" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-pool"
  path   = "pool"

  values = {
    pool_id = local.pool_id
  }
}

# Web server: serves static pages and forwards requests.
unit "web01" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-vm"
  path   = "web01"

  values = {
    pool_unit_path  = "../pool"
    pool_id         = local.pool_id
    vms             = { web01 = { vm_name = "web01", memory = 4096, cores = 2 } }
    authorized_keys = local.authorized_keys
  }
}

# Second web server, for when the first is down or being updated.
unit "web02" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-vm"
  path   = "web02"

  values = {
    pool_unit_path  = "../pool"
    pool_id         = local.pool_id
    vms             = { web02 = { vm_name = "web02", memory = 4096, cores = 2 } }
    authorized_keys = local.authorized_keys
  }
}

# Database: caches its data in memory, so it is large, and it has a larger disk.
unit "db01" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-vm"
  path   = "db01"

  values = {
    pool_unit_path  = "../pool"
    pool_id         = local.pool_id
    vms             = { db01 = { vm_name = "db01", memory = 8192, cores = 4, disk_gb = 100 } }
    authorized_keys = local.authorized_keys
  }
}

unit "dns_web01" {
  source = "${get_repo_root()}/examples/terragrunt/units/dns"
  path   = "dns_web01"

  values = {
    vm_unit_path  = "../web01"
    vm_identifier = "web01"
    name          = "web01"
    zone          = local.zone
    dns_server    = local.dns_server
    dns_port      = local.dns_port
    key_name      = local.key_name
    key_algorithm = local.key_algorithm
    ttl           = local.ttl
  }
}

unit "dns_web02" {
  source = "${get_repo_root()}/examples/terragrunt/units/dns"
  path   = "dns_web02"

  values = {
    vm_unit_path  = "../web02"
    vm_identifier = "web02"
    name          = "web02"
    zone          = local.zone
    dns_server    = local.dns_server
    dns_port      = local.dns_port
    key_name      = local.key_name
    key_algorithm = local.key_algorithm
    ttl           = local.ttl
  }
}

unit "dns_db01" {
  source = "${get_repo_root()}/examples/terragrunt/units/dns"
  path   = "dns_db01"

  values = {
    vm_unit_path  = "../db01"
    vm_identifier = "db01"
    name          = "db01"
    zone          = local.zone
    dns_server    = local.dns_server
    dns_port      = local.dns_port
    key_name      = local.key_name
    key_algorithm = local.key_algorithm
    ttl           = local.ttl
  }
}
