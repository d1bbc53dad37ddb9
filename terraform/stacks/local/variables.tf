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
  description = "Subnet of the cluster, for example \"10.89.0.0/24\"; null for a subnet that collides with no other."
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

variable "dns" {
  description = "The zone and server for the nodes' DNS records, for example { zone = \"home.sflab.io.\", server = \"192.168.1.13\", key_name = \"ddnskey.\" }; null for no records. The key's secret comes from the environment variable TF_VAR_dns_key_secret."
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

variable "record" {
  description = "What hactl keeps in the state for runs on other machines, for example \"\" without hactl."
  type        = string
  default     = ""
  nullable    = false
}
