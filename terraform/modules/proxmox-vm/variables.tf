variable "vms" {
  description = <<-EOT
    The machines, by their key, for example { web01 = { vm_name = "web01", memory = 1024 }, db01 = { vm_name = "db01", memory = 4096, cores = 4 } }.
    - vm_name: the host name, one DNS label.
    - memory: in MiB.
    - cores: of the CPU.
    - disk_gb: size in GB to which the template's disk scsi0 grows; null keeps the template's. Never less than that.
    - pool_id: resource pool, for example "example-multi-vm-pool"; empty for none. It must exist.
    - node: the hypervisor, for example "pve1".
    - template: id of the template that is cloned. A change replaces the machine.
    - template_node: the hypervisor that has the template, if it is not the machine's own.
    - datastore: of the machine's disks and its cloud-init drive, for example "local-lvm".
    - bridge: of the network, for example "vmbr0".
    - vlan: tag of the VLAN, for example 30; null for untagged.
    - address: "dhcp", or a fixed one with its prefix, for example "192.168.1.21/24". A change replaces the machine.
    - gateway: of a fixed address, for example "192.168.1.1".
    - tags: for example ["postgres"].
    - vm_id: the id in Proxmox, for example 120; null for the next free one. A change replaces the machine.
    - protection: whether Proxmox refuses to remove the machine; null for the variable protection.
    - data_disk_gb: size in GB of a disk for PostgreSQL's data, scsi1; null for none.
    - data_datastore: of that disk; null for datastore.
    - on_boot: whether the machine starts with its hypervisor.
    Used only for a new machine; what an existing one has stays:
    - cpu_type: of the virtual CPU; null for the variable cpu_type.
    - disk: flags of the disks that disk_gb and data_disk_gb set, for example { discard = "on", iothread = true, ssd = true, cache = "none" }.
    - startup: the order when the hypervisor starts and stops, for example { order = 1, up_delay = 30 }.
    - description: the notes in Proxmox.
    - firewall: whether Proxmox's firewall filters the network devices; mtu: their MTU, for example 9000.
    - extra_nic: a second network device, for example { bridge = "vmbr1", vlan = 40, address = "10.0.0.21/24" }; without address it has none.
  EOT
  type = map(object({
    vm_name        = string
    memory         = optional(number, 2048)
    cores          = optional(number, 2)
    disk_gb        = optional(number)
    pool_id        = optional(string, "")
    node           = optional(string, "pve1")
    template       = optional(number, 9002)
    template_node  = optional(string)
    datastore      = optional(string, "local-lvm")
    bridge         = optional(string, "vmbr0")
    vlan           = optional(number)
    address        = optional(string, "dhcp")
    gateway        = optional(string)
    tags           = optional(list(string), [])
    vm_id          = optional(number)
    protection     = optional(bool)
    data_disk_gb   = optional(number)
    data_datastore = optional(string)
    on_boot        = optional(bool, true)
    cpu_type       = optional(string)
    description    = optional(string)
    firewall       = optional(bool)
    mtu            = optional(number)
    disk = optional(object({
      discard  = optional(string)
      iothread = optional(bool)
      ssd      = optional(bool)
      cache    = optional(string)
    }), {})
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
  default  = {}
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.vms) : can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", key))])
    error_message = "Keys of vms must be 1 to 32 lower-case letters, digits and hyphens, starting with a letter, for example \"web01\"."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", vm.vm_name))])
    error_message = "Each vm_name must be one DNS label in lower case, for example \"pg-prod-node1\"."
  }

  validation {
    condition     = length(distinct([for vm in values(var.vms) : vm.vm_name])) == length(var.vms)
    error_message = "Each machine needs a vm_name of its own: two of the same name would fight over one DNS record."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.memory >= 64 && floor(vm.memory) == vm.memory])
    error_message = "Each memory must be a whole number of MiB, at least 64, for example 2048."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.cores >= 1 && floor(vm.cores) == vm.cores])
    error_message = "Each cores must be a whole number, at least 1, for example 2."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.disk_gb == null ? true : vm.disk_gb >= 1 && floor(vm.disk_gb) == vm.disk_gb])
    error_message = "Each disk_gb must be a whole number of GB, at least 1, for example 20."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.template >= 100 && vm.template <= 999999999 && floor(vm.template) == vm.template])
    error_message = "Each template must be the id of a VM template, 100 or more, for example 9002."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.vlan == null ? true : vm.vlan >= 1 && vm.vlan <= 4094 && floor(vm.vlan) == vm.vlan])
    error_message = "Each vlan must be a tag from 1 to 4094, for example 30."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.address == "dhcp" || can(cidrnetmask(vm.address))])
    error_message = "Each address must be \"dhcp\" or an IPv4 address with its prefix, for example \"192.168.1.21/24\"."
  }

  validation {
    condition     = length(distinct([for vm in values(var.vms) : split("/", vm.address)[0] if vm.address != "dhcp"])) == length([for vm in values(var.vms) : vm if vm.address != "dhcp"])
    error_message = "Each machine needs an address of its own, for example \"192.168.1.21/24\"."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.gateway == null || vm.address != "dhcp"])
    error_message = "A gateway belongs to a fixed address: with address = \"dhcp\" the server gives it."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.gateway == null || can(cidrnetmask("${coalesce(vm.gateway, "-")}/32"))])
    error_message = "Each gateway must be an IPv4 address, for example \"192.168.1.1\"."
  }

  validation {
    condition     = alltrue(flatten([for vm in values(var.vms) : [for tag in vm.tags : can(regex("^[a-z0-9_][a-z0-9_+.-]*$", tag))]]))
    error_message = "Each tag must be lower-case letters, digits, and _ + . - within, for example \"postgres\"."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.vm_id == null ? true : vm.vm_id >= 100 && vm.vm_id <= 999999999 && floor(vm.vm_id) == vm.vm_id])
    error_message = "Each vm_id must be an id of 100 or more, for example 120."
  }

  validation {
    condition     = length(distinct([for vm in values(var.vms) : vm.vm_id if vm.vm_id != null])) == length([for vm in values(var.vms) : vm if vm.vm_id != null])
    error_message = "Each machine needs a vm_id of its own, for example 120."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.data_disk_gb == null ? true : vm.data_disk_gb >= 1 && floor(vm.data_disk_gb) == vm.data_disk_gb])
    error_message = "Each data_disk_gb must be a whole number of GB, at least 1, for example 100."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.data_datastore == null || vm.data_disk_gb != null])
    error_message = "data_datastore needs data_disk_gb, for example data_disk_gb = 100."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.mtu == null ? true : vm.mtu >= 576 && vm.mtu <= 65520 && floor(vm.mtu) == vm.mtu])
    error_message = "Each mtu must be a whole number from 576 to 65520, for example 9000."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.extra_nic == null ? true : vm.extra_nic.vlan == null ? true : vm.extra_nic.vlan >= 1 && vm.extra_nic.vlan <= 4094 && floor(vm.extra_nic.vlan) == vm.extra_nic.vlan])
    error_message = "Each vlan of an extra_nic must be a tag from 1 to 4094, for example 40."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.extra_nic == null ? true : vm.extra_nic.address == null || vm.extra_nic.address == "dhcp" || can(cidrnetmask(coalesce(vm.extra_nic.address, "-")))])
    error_message = "Each address of an extra_nic must be \"dhcp\" or an IPv4 address with its prefix, for example \"10.0.0.21/24\"."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.cpu_type == null || can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]*$", coalesce(vm.cpu_type, "-")))])
    error_message = "Each cpu_type must be a type of CPU that Proxmox knows, for example \"x86-64-v2-AES\"."
  }

  # Without a size the module leaves the template's disk alone, with its flags.
  validation {
    condition     = alltrue([for vm in values(var.vms) : length([for flag in values(vm.disk) : flag if flag != null]) == 0 || vm.disk_gb != null || vm.data_disk_gb != null])
    error_message = "The flags in disk need disk_gb or data_disk_gb: without a size the disk keeps the template's flags."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.disk.discard == null || contains(["on", "ignore"], coalesce(vm.disk.discard, "-"))])
    error_message = "Each discard must be \"on\" or \"ignore\"."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : vm.disk.cache == null || contains(["none", "directsync", "writethrough", "writeback", "unsafe"], coalesce(vm.disk.cache, "-"))])
    error_message = "Each cache must be none, directsync, writethrough, writeback or unsafe, for example \"none\"."
  }
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\": each machine gets the tag hactl-UUID. Null for no tag."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_uuid == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.cluster_uuid))
    error_message = "cluster_uuid must be a UUID in lower case, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  }
}

variable "cpu_type" {
  description = "Type of the virtual CPU, for example \"x86-64-v2-AES\", or \"host\" if the machines never move between hypervisors."
  type        = string
  default     = "x86-64-v2-AES"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9_.-]*$", var.cpu_type))
    error_message = "cpu_type must be a type of CPU that Proxmox knows, for example \"x86-64-v2-AES\"."
  }
}

variable "agent_timeout" {
  description = "How long to wait for the guest agent to report an IPv4 address, for example \"3m\". Each later plan of a machine without an agent waits as long."
  type        = string
  default     = "3m"
  nullable    = false

  validation {
    condition     = can(regex("^([0-9]+[hms])+$", var.agent_timeout))
    error_message = "agent_timeout must be a duration, for example \"3m\" or \"1m30s\"."
  }
}

variable "ssh_user" {
  description = "The user that cloud-init creates, for example \"debian\". Used only at the first boot."
  type        = string
  default     = "debian"
  nullable    = false

  validation {
    condition     = can(regex("^[a-z_][a-z0-9_-]{0,31}$", var.ssh_user))
    error_message = "ssh_user must be the name of a user, for example \"debian\"."
  }
}

variable "authorized_keys" {
  description = "SSH public keys of that user, for example [\"ssh-ed25519 AAAA... hactl\"]. Used only at the first boot."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.authorized_keys : can(regex("^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$", trimspace(key)))])
    error_message = "Each of authorized_keys must be an SSH public key, for example \"ssh-ed25519 AAAA... hactl\"."
  }
}

variable "nameservers" {
  description = "Name servers of the machines, for example [\"192.168.1.13\"]; empty keeps those of DHCP or the hypervisor. Used only at the first boot."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for server in var.nameservers : can(cidrhost("${server}/${strcontains(server, ":") ? 128 : 32}", 0))])
    error_message = "Each of nameservers must be an IP address, for example \"192.168.1.13\"."
  }
}

variable "search_domain" {
  description = "Domain in which the machines look up short names, for example \"home.sflab.io\". Used only at the first boot."
  type        = string
  default     = null

  validation {
    condition     = var.search_domain == null || can(regex("^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.search_domain))
    error_message = "search_domain must be a domain name, for example \"home.sflab.io\"."
  }
}

variable "protection" {
  description = "Whether Proxmox refuses to remove the machines and their disks, for example true for production."
  type        = bool
  default     = false
  nullable    = false
}

variable "watchdog" {
  description = "Whether the machines get a watchdog device (i6300esb), for example true. It resets a machine that has begun to feed it and stops. By default no program in the machine feeds it."
  type        = bool
  default     = false
  nullable    = false
}
