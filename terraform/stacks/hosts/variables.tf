# What the cluster file says of machines that exist.

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\": the DNS records carry it."
  type        = string
  nullable    = false
}

variable "instances" {
  description = <<-EOT
    The machines, by their key, for example { node1 = { hostname = "pg-prod-node1", address = "192.168.1.21" } }.
    - hostname: the name of the machine's DNS record.
    - address: the IPv4 address that members of the cluster use.
    - ssh_host, ssh_port: where SSH answers, if not at the address and the cluster's port.
  EOT
  type = map(object({
    hostname = string
    address  = string
    ssh_host = optional(string)
    ssh_port = optional(number)
  }))
  nullable = false

  validation {
    condition     = alltrue([for instance in values(var.instances) : can(cidrhost("${instance.address}/32", 0))])
    error_message = "Each address must be an IPv4 address, for example \"192.168.1.21\"."
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

variable "record" {
  description = "What hactl keeps in the state for runs on other machines, for example \"\" without hactl."
  type        = string
  default     = ""
  nullable    = false
}
