# The rules for the machines are the module's, so that they are said once.

variable "app" {
  description = "First part of the host names, for example \"pg\"."
  type        = string
  default     = "app"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.app))
    error_message = "app must be lower-case letters, digits and hyphens, for example \"pg\"."
  }
}

variable "env" {
  description = "Second part of the host names, for example \"prod\"."
  type        = string
  default     = "prod"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", var.env))
    error_message = "env must be lower-case letters, digits and hyphens, for example \"prod\"."
  }
}

variable "hostname_suffix" {
  description = "Last part of the host name in single mode, 4 hexadecimal digits, for example \"3f1a\". Null derives it: from the SHA-256 of \"APP/ENV/TARGET\" for a fixed address, and from an id in the state for \"dhcp\"."
  type        = string
  default     = null

  validation {
    condition     = var.hostname_suffix == null || can(regex("^[0-9a-f]{4}$", var.hostname_suffix))
    error_message = "hostname_suffix must be 4 hexadecimal digits in lower case, for example \"3f1a\"."
  }
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\": machines and DNS records carry it."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_uuid == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.cluster_uuid))
    error_message = "cluster_uuid must be a UUID in lower case, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  }
}

variable "instances" {
  description = <<-EOT
    The machines, by their key, for example { web01 = { memory = 1024 }, db01 = { memory = 4096, cores = 4 } }. If a machine
    does not set a value, it uses the variable of the same name. Null, or {} with vm_target_ip, is the single mode: one machine
    with the key default. {} alone means no machines.
    - vm_name: the host name, by default app-env-KEY.
    - memory in MiB, cores, disk_gb in GB.
    - pool_id: used instead of the global pool; it must exist.
    - node: the hypervisor, for example "pve2".
    - template_file_id: the template file, for example "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst".
    - datastore, vlan.
    - address: "dhcp" by default, or a fixed one, for example "192.168.1.21/24"; gateway.
    - tags: in addition to those of all machines.
    - vm_id: the id in Proxmox, for example 120; null for the next free one. A change replaces the machine.
    - protection: whether Proxmox refuses to remove the machine.
    - data_disk_gb, data_datastore: a disk for PostgreSQL's data, and its storage.
    - on_boot, startup, description, firewall, mtu, extra_nic: see the variables of the same names.
    - renamed_from: the key that the machine had before, for example "default", so that the machine is kept. hactl writes the
      moved blocks for it into renamed.tf.json; without hactl write moved blocks instead.
  EOT
  type = map(object({
    vm_name          = optional(string)
    memory           = optional(number)
    cores            = optional(number)
    disk_gb          = optional(number)
    pool_id          = optional(string, "")
    node             = optional(string)
    template_file_id = optional(string)
    datastore        = optional(string)
    vlan             = optional(number)
    address          = optional(string)
    gateway          = optional(string)
    tags             = optional(list(string), [])
    renamed_from     = optional(string)
    vm_id            = optional(number)
    protection       = optional(bool)
    data_disk_gb     = optional(number)
    data_datastore   = optional(string)
    on_boot          = optional(bool)
    description      = optional(string)
    firewall         = optional(bool)
    mtu              = optional(number)
    startup = optional(object({
      order      = optional(number)
      up_delay   = optional(number)
      down_delay = optional(number)
    }))
    extra_nic = optional(object({
      bridge  = string
      vlan    = optional(number)
      address = optional(string)
    }))
  }))
  default = null

  validation {
    condition     = var.instances != null || can(coalesce(var.vm_target_ip))
    error_message = "instances or vm_target_ip must be given, for example instances = { node1 = {} }. No machines at all are instances = {}."
  }

  # Without its move the old machine would be destroyed and a new one made.
  validation {
    condition = alltrue([
      for key, instance in coalesce(var.instances, {}) : instance.renamed_from == null ? true :
      strcontains(try(file("${path.root}/renamed.tf.json"), ""), "[\\\"${instance.renamed_from}\\\"]")
    ])
    error_message = "renamed_from needs a move, which hactl writes into renamed.tf.json. Without hactl leave renamed_from out and write the move: moved { from = module.machines.proxmox_virtual_environment_container.this[\"default\"], to = module.machines.proxmox_virtual_environment_container.this[\"node1\"] }, and the same for module.machines.terraform_data.origin and module.dns[0].hactl_dns_record_set.this."
  }
}

variable "vm_target_ip" {
  description = "Address of the one machine in single mode: a fixed one, for example \"192.168.1.60/24\", or \"dhcp\". Without a prefix the prefix is 24. Null or \"\" for none. Ignored if instances has machines."
  type        = string
  default     = null

  validation {
    condition     = !can(coalesce(var.vm_target_ip)) || try(var.vm_target_ip == "dhcp" || can(cidrnetmask(var.vm_target_ip)) || can(cidrnetmask("${var.vm_target_ip}/24")), false)
    error_message = "vm_target_ip must be an IPv4 address, for example \"192.168.1.60/24\", or \"dhcp\"."
  }
}

# It is only checked.
# tflint-ignore: terraform_unused_declarations
variable "instance_count" {
  description = "Only for old configurations: the number of machines, for example 3, from 1 to max_instances. The map instances has replaced it, and must have the same number of entries."
  type        = number
  default     = null

  validation {
    condition     = var.instance_count == null ? true : var.instance_count >= 1 && var.instance_count <= var.max_instances && floor(var.instance_count) == var.instance_count
    error_message = "instance_count must be between 1 and ${var.max_instances}, but is ${coalesce(var.instance_count, 0)}. Set max_instances for more machines."
  }

  validation {
    condition     = var.instance_count == null || try(length(var.instances), 0) == 0 || var.instance_count == try(length(var.instances), 0)
    error_message = "instance_count is ${coalesce(var.instance_count, 0)}, but instances has ${try(length(var.instances), 0)} machines. The map instances has replaced instance_count: leave instance_count out."
  }

  validation {
    condition     = var.instance_count == null || try(length(var.instances), 0) > 0 || var.instance_count == (can(coalesce(var.vm_target_ip)) ? 1 : 0)
    error_message = "instance_count is ${coalesce(var.instance_count, 0)}, but there ${can(coalesce(var.vm_target_ip)) ? "is one machine, vm_target_ip" : "are no machines"}. The map instances has replaced instance_count: write one entry for each machine, for example instances = { node1 = {}, node2 = {} }."
  }
}

# It is only for a check.
# tflint-ignore: terraform_unused_declarations
variable "max_instances" {
  description = "Highest instance_count that is accepted, for example 20."
  type        = number
  default     = 10
  nullable    = false

  validation {
    condition     = var.max_instances >= 1 && floor(var.max_instances) == var.max_instances
    error_message = "max_instances must be a whole number, at least 1, for example 20."
  }
}

variable "memory" {
  description = "Memory of a machine in MiB, for example 2048."
  type        = number
  default     = 2048
  nullable    = false

  validation {
    condition     = var.memory >= 64 && floor(var.memory) == var.memory
    error_message = "memory must be a whole number of MiB, at least 64, for example 2048."
  }
}

variable "cores" {
  description = "Cores of a machine, for example 2."
  type        = number
  default     = 2
  nullable    = false

  validation {
    condition     = var.cores >= 1 && floor(var.cores) == var.cores
    error_message = "cores must be a whole number, at least 1, for example 2."
  }
}

variable "disk_gb" {
  description = "Size of the root disk in GB, for example 20; null for 8."
  type        = number
  default     = null

  validation {
    condition     = var.disk_gb == null ? true : var.disk_gb >= 1 && floor(var.disk_gb) == var.disk_gb
    error_message = "disk_gb must be a whole number of GB, at least 1, for example 20."
  }
}

variable "data_disk_gb" {
  description = "Size in GB of a disk for PostgreSQL's data, for example 100; null for none. Used only for new containers."
  type        = number
  default     = null

  validation {
    condition     = var.data_disk_gb == null ? true : var.data_disk_gb >= 1 && floor(var.data_disk_gb) == var.data_disk_gb
    error_message = "data_disk_gb must be a whole number of GB, at least 1, for example 100."
  }
}

variable "data_datastore" {
  description = "Storage of the data disks, for example \"ceph\"; null for that of the machine."
  type        = string
  default     = null

  validation {
    condition     = var.data_datastore == null || can(regex("^[A-Za-z][A-Za-z0-9._-]*$", var.data_datastore))
    error_message = "data_datastore must be the name of a storage, for example \"ceph\"."
  }
}

variable "on_boot" {
  description = "Whether the machines start with their hypervisor, for example false."
  type        = bool
  default     = true
  nullable    = false
}

variable "startup" {
  description = "Order and delays in seconds when the hypervisor starts and stops, for example { order = 1, up_delay = 30 }; null for Proxmox's. The token needs Sys.Modify on / for it. Used only for new machines."
  type = object({
    order      = optional(number)
    up_delay   = optional(number)
    down_delay = optional(number)
  })
  default = null
}

variable "description" {
  description = "Notes of the machines in Proxmox, for example \"PostgreSQL of the shop\". Used only for new machines."
  type        = string
  default     = null
}

variable "firewall" {
  description = "Whether Proxmox's firewall filters the machines' network devices, for example true; null for the provider's default, false. Used only for new machines."
  type        = bool
  default     = null
}

variable "mtu" {
  description = "MTU of the machines' network devices, for example 9000; null for the bridge's. Used only for new machines."
  type        = number
  default     = null

  validation {
    condition     = var.mtu == null ? true : var.mtu >= 576 && var.mtu <= 65520 && floor(var.mtu) == var.mtu
    error_message = "mtu must be a whole number from 576 to 65520, for example 9000."
  }
}

variable "extra_nic" {
  description = "A second network device of the machines, for example { bridge = \"vmbr1\", vlan = 40, address = \"dhcp\" }; without address it has none. Null for no second device."
  type = object({
    bridge  = string
    vlan    = optional(number)
    address = optional(string)
  })
  default = null
}

variable "node" {
  description = "The hypervisor, for example \"pve1\"."
  type        = string
  default     = "pve1"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?$", var.node))
    error_message = "node must be the name of a Proxmox node, for example \"pve1\"."
  }
}

variable "template_file_id" {
  description = "The template file for containers, for example \"local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\"."
  type        = string
  default     = "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9._-]+:vztmpl/[^/]+$", var.template_file_id))
    error_message = "template_file_id must be a container template in a storage, for example \"local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\"."
  }
}

variable "datastore" {
  description = "Storage of the machines' disks, for example \"local-lvm\"."
  type        = string
  default     = "local-lvm"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9._-]*$", var.datastore))
    error_message = "datastore must be the name of a storage, for example \"local-lvm\"."
  }
}

variable "bridge" {
  description = "Bridge of the machines' network, for example \"vmbr0\"."
  type        = string
  default     = "vmbr0"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z][A-Za-z0-9_.-]{0,14}$", var.bridge))
    error_message = "bridge must be the name of a bridge, for example \"vmbr0\"."
  }
}

variable "vlan" {
  description = "Tag of the VLAN, for example 30; null for untagged."
  type        = number
  default     = null

  validation {
    condition     = var.vlan == null ? true : var.vlan >= 1 && var.vlan <= 4094 && floor(var.vlan) == var.vlan
    error_message = "vlan must be a tag from 1 to 4094, for example 30."
  }
}

variable "gateway" {
  description = "Gateway of machines with a fixed address, for example \"192.168.1.1\"."
  type        = string
  default     = null

  validation {
    condition     = var.gateway == null || can(cidrnetmask("${coalesce(var.gateway, "-")}/32"))
    error_message = "gateway must be an IPv4 address, for example \"192.168.1.1\"."
  }
}

variable "nameservers" {
  description = "Name servers of the machines, for example [\"192.168.1.13\"]; empty keeps those of the hypervisor."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for server in var.nameservers : can(cidrhost("${server}/${strcontains(server, ":") ? 128 : 32}", 0))])
    error_message = "Each of nameservers must be an IP address, for example \"192.168.1.13\"."
  }
}

variable "search_domain" {
  description = "Domain in which the machines look up short names, for example \"home.sflab.io\"."
  type        = string
  default     = null

  validation {
    condition     = var.search_domain == null || can(regex("^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.search_domain))
    error_message = "search_domain must be a domain name, for example \"home.sflab.io\"."
  }
}

variable "pool_id" {
  description = "Pool for all machines that set no pool_id themselves, for example \"example-multi-vm-pool\". This module makes the pool. Empty for none."
  type        = string
  default     = ""
  nullable    = false

  validation {
    condition     = var.pool_id == "" || can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+){0,2}$", var.pool_id))
    error_message = "pool_id must be letters, digits, dots, hyphens and underscores, for example \"example-multi-vm-pool\"."
  }
}

variable "tags" {
  description = "Tags of all machines, for example [\"postgres\"]."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for tag in var.tags : can(regex("^[a-z0-9_][a-z0-9_+.-]*$", tag))])
    error_message = "Each of tags must be lower-case letters, digits, and _ + . - within, for example \"postgres\"."
  }
}

variable "authorized_keys" {
  description = "SSH public keys of root, for example [\"ssh-ed25519 AAAA... hactl\"]."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.authorized_keys : can(regex("^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$", trimspace(key)))])
    error_message = "Each of authorized_keys must be an SSH public key, for example \"ssh-ed25519 AAAA... hactl\"."
  }
}

variable "dns" {
  description = "The zone and server for the machines' DNS records, for example { zone = \"home.sflab.io.\", server = \"192.168.1.13\", key_name = \"ddnskey.\" }; null for no records. The key's secret comes from the environment variable TF_VAR_dns_key_secret."
  type = object({
    zone          = string
    server        = string
    port          = optional(number, 53)
    ttl           = optional(number, 300)
    key_name      = string
    key_algorithm = optional(string, "hmac-sha256")
  })
  default = null
}

variable "protection" {
  description = "Whether Proxmox refuses to remove the machines and their disks, for example true for production."
  type        = bool
  default     = false
  nullable    = false
}

variable "record" {
  description = "What hactl keeps in the state for runs on other machines, for example \"\" without hactl."
  type        = string
  default     = ""
  nullable    = false
}
