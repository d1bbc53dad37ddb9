# A pool, three machines in it, and their DNS records. Run `terragrunt stack generate`, then `terragrunt stack run plan`.
locals {
  pool_id = "example-multi-vm-pool"

  vms = {
    # Web server: serves static pages and forwards requests, so it is small.
    web01 = { vm_name = "web01", memory = 2048, cores = 2 }
    # Second web server, for when the first is down or being updated.
    web02 = { vm_name = "web02", memory = 2048, cores = 2 }
    # Database: caches its data in memory, so it is large, and it has a larger disk.
    db01 = { vm_name = "db01", memory = 8192, cores = 4, disk_gb = 100 }
  }
}

unit "pool" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-pool"
  path   = "pool"

  values = {
    pool_id = local.pool_id
  }
}

unit "machines" {
  source = "${get_repo_root()}/examples/terragrunt/units/proxmox-vm"
  path   = "machines"

  values = {
    pool_path       = "../pool"
    pool_id         = local.pool_id
    vms             = local.vms
    authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeFakeFakeFakeFakeFakeFakeFakeFakeFakeFake ops@example.org"]
  }
}

unit "dns" {
  source = "${get_repo_root()}/examples/terragrunt/units/dns"
  path   = "dns"

  values = {
    machines_path = "../machines"
    vms           = local.vms
    zone          = "home.sflab.io."
    server        = "192.168.1.13"
    key_name      = "ddnskey."
  }
}
