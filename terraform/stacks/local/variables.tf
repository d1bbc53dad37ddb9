# The rules for these values are the module's, so that they are said once.

variable "cluster" {
  description = "Name of the cluster, for example \"pg-prod\"."
  type        = string
  nullable    = false
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  type        = string
  nullable    = false
}

variable "image" {
  description = "Container image of the nodes, for example \"hactl-node:0123456789ab\"."
  type        = string
  nullable    = false
}

variable "subnet" {
  description = "Subnet of the cluster, for example \"10.89.0.0/24\"; null for one that collides with nothing."
  type        = string
  default     = null
}

variable "nodes" {
  description = "The nodes, by their key, for example { node1 = { hostname = \"pg-prod-node1\", slot = 10, memory = 2048, cores = 2 } }."
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
}

variable "authorized_keys" {
  description = "SSH public keys that may log in as root, for example [\"ssh-ed25519 AAAA... hactl\"]."
  type        = list(string)
  nullable    = false
}
