variable "cluster" {
  description = "Name of the cluster, for example \"pg-prod\". Containers are called NAME-KEY."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$", var.cluster))
    error_message = "cluster must be 1 to 40 lower-case letters, digits and hyphens, starting with a letter, for example \"pg-prod\"."
  }
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\". Everything with this UUID belongs to the cluster."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.cluster_uuid))
    error_message = "cluster_uuid must be a UUID in lower case, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  }
}

variable "image" {
  description = "Container image that runs systemd and sshd, for example \"hactl-node:0123456789ab\". A change replaces every node that does not set its own image."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[a-z0-9][a-zA-Z0-9._/:@-]*$", var.image))
    error_message = "image must be the name of an image, for example \"hactl-node:0123456789ab\"."
  }
}

variable "subnet" {
  description = "Subnet of the cluster, for example \"10.89.0.0/24\". With null, the provider chooses a subnet that collides with no other on your computer, and keeps it."
  type        = string
  default     = null

  validation {
    condition     = var.subnet == null || can(cidrhost(var.subnet, 10)) && try(cidrsubnet(var.subnet, 0, 0) == var.subnet, false)
    error_message = "subnet must be an IPv4 subnet with room for 10 addresses and no host bits set, for example \"10.89.0.0/24\"."
  }
}

variable "nodes" {
  description = <<-EOT
    The nodes, by their key, for example { node1 = { hostname = "pg-prod-node1", slot = 10, memory = 2048, cores = 2 } }.
    - hostname: one DNS label.
    - slot: position of the address within the subnet, 2 to 254.
    - memory: in MiB, at least 128. Changed in place.
    - cores: at least 1. Changed in place.
    - data_volume: whether PGDATA is on a volume that is kept when the node is replaced.
    - disk_gb: size in GiB of the node's own disk for PGDATA, on that volume. Without it, PGDATA is on the disk of your computer.
    - image: used instead of the variable image, for example to keep the image that the node was made from.
  EOT
  type = map(object({
    hostname    = string
    slot        = number
    memory      = number
    cores       = number
    data_volume = optional(bool, true)
    disk_gb     = optional(number)
    image       = optional(string)
  }))
  nullable = false

  validation {
    condition     = alltrue([for key in keys(var.nodes) : can(regex("^[a-z]([a-z0-9-]{0,30}[a-z0-9])?$", key))])
    error_message = "Keys of nodes must be 1 to 32 lower-case letters, digits and hyphens, starting with a letter, for example \"node1\"."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : can(regex("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", node.hostname))])
    error_message = "Each hostname must be one DNS label in lower case, for example \"pg-prod-node1\"."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.slot >= 2 && node.slot <= 254 && floor(node.slot) == node.slot])
    error_message = "Each slot must be a whole number from 2 to 254, for example 10."
  }

  validation {
    condition     = length(distinct([for node in values(var.nodes) : node.slot])) == length(var.nodes)
    error_message = "Each node needs a slot of its own: two nodes with slot 10 would have the same address."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.memory >= 128 && floor(node.memory) == node.memory])
    error_message = "Each memory must be a whole number of MiB, at least 128, for example 2048."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.cores >= 1 && floor(node.cores) == node.cores])
    error_message = "Each cores must be a whole number, at least 1, for example 2."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gb == null ? true : node.disk_gb >= 1 && floor(node.disk_gb) == node.disk_gb])
    error_message = "Each disk_gb must be a whole number of GiB, at least 1, for example 20."
  }

  validation {
    condition     = alltrue([for node in values(var.nodes) : node.disk_gb == null || node.data_volume])
    error_message = "A node with disk_gb needs its data volume: the disk lies on it."
  }
}

variable "authorized_keys" {
  description = "SSH public keys that may log in as root, for example [\"ssh-ed25519 AAAA... hactl\"]. A change replaces the nodes."
  type        = list(string)
  nullable    = false

  validation {
    condition     = length(var.authorized_keys) > 0 && alltrue([for key in var.authorized_keys : can(regex("^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$", key))])
    error_message = "authorized_keys must have at least one SSH public key, for example \"ssh-ed25519 AAAA... hactl\"."
  }
}
