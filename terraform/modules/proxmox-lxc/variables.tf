variable "vms" {
  description = <<-EOT
    The containers, by their key, with the same properties as virtual machines, for example { web01 = { vm_name = "web01", memory = 1024 }, db01 = { vm_name = "db01", memory = 4096, cores = 4 } }.
    - vm_name: the host name, one DNS label.
    - memory: in MiB.
    - cores: of the CPU.
    - disk_gb: size of the root disk in GB. It grows in place; a smaller size replaces the container.
    - pool_id: resource pool of the container, for example "example-multi-vm-pool"; empty for none. It must exist.
    - node: the hypervisor, for example "pve1".
    - template_file_id: the file that the container is made from, on its own hypervisor or a shared storage. A change replaces the container.
    - datastore: of the root disk, for example "local-lvm".
    - bridge: of the network, for example "vmbr0".
    - vlan: tag of the VLAN, for example 30; null for untagged.
    - address: "dhcp", or a fixed one with its prefix, for example "192.168.1.21/24". A change replaces the container.
    - gateway: of a fixed address, for example "192.168.1.1".
    - tags: for example ["postgres"].
    - vm_id: the id in Proxmox, for example 120; null for the next free one. A change replaces the container.
    - protection: whether Proxmox refuses to remove the container; null for the variable protection.
    - data_disk_gb: size in GB of a disk for PostgreSQL's data, the mount point /var/lib/postgresql; null for none. Used only for a new container.
    - data_datastore: of that disk; null for datastore.
    - on_boot: whether the container starts with its hypervisor.
    Used only for a new container; what an existing one has stays:
    - startup: the order when the hypervisor starts and stops, for example { order = 1, up_delay = 30 }.
    - description: the notes in Proxmox.
    - firewall: whether Proxmox's firewall filters the network devices; mtu: their MTU, for example 9000.
    - extra_nic: a second network device, for example { bridge = "vmbr1", vlan = 40, address = "10.0.0.21/24" }; without address it has none.
  EOT
  type = map(object({
    vm_name          = string
    memory           = optional(number, 2048)
    cores            = optional(number, 2)
    disk_gb          = optional(number, 8)
    pool_id          = optional(string, "")
    node             = optional(string, "pve1")
    template_file_id = optional(string, "local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst")
    datastore        = optional(string, "local-lvm")
    bridge           = optional(string, "vmbr0")
    vlan             = optional(number)
    address          = optional(string, "dhcp")
    gateway          = optional(string)
    tags             = optional(list(string), [])
    vm_id            = optional(number)
    protection       = optional(bool)
    data_disk_gb     = optional(number)
    data_datastore   = optional(string)
    on_boot          = optional(bool, true)
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
    condition     = alltrue([for vm in values(var.vms) : vm.disk_gb >= 1 && floor(vm.disk_gb) == vm.disk_gb])
    error_message = "Each disk_gb must be a whole number of GB, at least 1, for example 20."
  }

  validation {
    condition     = alltrue([for vm in values(var.vms) : can(regex("^[A-Za-z0-9._-]+:vztmpl/[^/]+$", vm.template_file_id))])
    error_message = "Each template_file_id must be a container template in a storage, for example \"local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst\"."
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
    error_message = "Each container needs a vm_id of its own, for example 120."
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
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\": each container gets the tag hactl-UUID. Null for no tag."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_uuid == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.cluster_uuid))
    error_message = "cluster_uuid must be a UUID in lower case, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  }
}

variable "authorized_keys" {
  description = "SSH public keys of root, for example [\"ssh-ed25519 AAAA... hactl\"]. Used only when the container is made."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for key in var.authorized_keys : can(regex("^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$", trimspace(key)))])
    error_message = "Each of authorized_keys must be an SSH public key, for example \"ssh-ed25519 AAAA... hactl\"."
  }
}

variable "nameservers" {
  description = "Name servers of the containers, for example [\"192.168.1.13\"]; empty keeps those of the hypervisor."
  type        = list(string)
  default     = []
  nullable    = false

  validation {
    condition     = alltrue([for server in var.nameservers : can(cidrhost("${server}/${strcontains(server, ":") ? 128 : 32}", 0))])
    error_message = "Each of nameservers must be an IP address, for example \"192.168.1.13\"."
  }
}

variable "search_domain" {
  description = "Domain in which the containers look up short names, for example \"home.sflab.io\"."
  type        = string
  default     = null

  validation {
    condition     = var.search_domain == null || can(regex("^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", var.search_domain))
    error_message = "search_domain must be a domain name, for example \"home.sflab.io\"."
  }
}

variable "protection" {
  description = "Whether Proxmox refuses to remove the containers and their disks, for example true for production."
  type        = bool
  default     = false
  nullable    = false
}
