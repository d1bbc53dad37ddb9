variable "zone" {
  description = "The zone, for example \"home.sflab.io.\"; the dot at the end may be left out."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.]?$", var.zone))
    error_message = "zone must be a domain name, for example \"home.sflab.io.\"."
  }
}

variable "server" {
  description = "The zone's primary server, for example \"192.168.1.13\": an IP address or a host name."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_.-]+|[0-9A-Fa-f.]*:[0-9A-Fa-f:.]+)$", var.server)) && !can(regex("^[^:]+:[0-9]+$", var.server))
    error_message = "server must be an IP address or a host name without port, for example \"192.168.1.13\"; the port goes into port."
  }
}

variable "port" {
  description = "The server's port, by UDP and TCP."
  type        = number
  default     = 53
  nullable    = false

  validation {
    condition     = var.port >= 1 && var.port <= 65535 && floor(var.port) == var.port
    error_message = "port must be a whole number from 1 to 65535, for example 53."
  }
}

variable "ttl" {
  description = "The time in seconds for which resolvers may keep a record."
  type        = number
  default     = 300
  nullable    = false

  validation {
    condition     = var.ttl >= 1 && var.ttl <= 2147483647 && floor(var.ttl) == var.ttl
    error_message = "ttl must be a whole number of seconds, at least 1, for example 300."
  }
}

variable "key_name" {
  description = "Name of the TSIG key, for example \"ddnskey.\". The environment variable that key_secret_variable names has its secret."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.])*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?[.]?$", var.key_name))
    error_message = "key_name must be the name of a TSIG key, for example \"ddnskey.\"."
  }
}

variable "key_algorithm" {
  description = "Algorithm of the TSIG key: hmac-sha256, hmac-sha384 or hmac-sha512."
  type        = string
  default     = "hmac-sha256"
  nullable    = false

  validation {
    condition     = contains(["hmac-sha256", "hmac-sha384", "hmac-sha512"], var.key_algorithm)
    error_message = "${var.key_algorithm} is not supported: key_algorithm must be hmac-sha256, hmac-sha384 or hmac-sha512."
  }
}

variable "key_secret_variable" {
  description = "The environment variable that has the key's secret, in base64. Each key of a configuration needs a variable of its own."
  type        = string
  default     = "TF_VAR_dns_key_secret"
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z_][A-Za-z0-9_]*$", var.key_secret_variable))
    error_message = "key_secret_variable must be the name of an environment variable, for example \"LAB_DNS_SECRET\", and not the secret."
  }
}

variable "cluster_uuid" {
  description = "UUID of the cluster, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\": a TXT record beside each address carries it as the ownership marker, if the key may write TXT records. Null for no marker."
  type        = string
  default     = null

  validation {
    condition     = var.cluster_uuid == null || can(regex("^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$", var.cluster_uuid))
    error_message = "cluster_uuid must be a UUID in lower case, for example \"4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11\"."
  }
}

variable "target_ips" {
  description = "Addresses of machines by their key, null for a machine without an address: vm_target_ips or lxc_ips of a Proxmox stack, for example { node1 = \"192.168.1.21\" }."
  type        = map(string)
  default     = {}
  nullable    = false
}

variable "records" {
  description = <<-EOT
    The records, by keys that you choose, for example { node1 = { name = "pg-prod-node1", vm_identifier = "node1" } }.
    - name: within the zone.
    - vm_identifier: the machine in target_ips whose address it gets.
    - addresses: plain IPv4 and IPv6 addresses, instead of vm_identifier or in addition to it.
    - kind: vm or container; used in the message about a missing address.
  EOT
  type = map(object({
    name          = string
    vm_identifier = optional(string)
    addresses     = optional(list(string), [])
    kind          = optional(string, "vm")
  }))
  nullable = false

  validation {
    condition     = alltrue([for record in values(var.records) : can(regex("^([A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?[.])*[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?$", record.name))])
    error_message = "Each name must be relative to the zone, without a dot at its end, for example \"pg-prod-node1\"."
  }

  validation {
    condition     = length(distinct([for record in values(var.records) : lower(record.name)])) == length(var.records)
    error_message = "Each record needs a name of its own: two of the same name would fight over it."
  }

  validation {
    condition     = alltrue([for record in values(var.records) : record.vm_identifier == null || contains(keys(var.target_ips), coalesce(record.vm_identifier, "-"))])
    error_message = "Each vm_identifier must be a key of target_ips: ${join(", ", [for key, record in var.records : "${record.vm_identifier} of ${key} is none" if record.vm_identifier != null && !contains(keys(var.target_ips), coalesce(record.vm_identifier, "-"))])}."
  }

  validation {
    condition     = alltrue([for record in values(var.records) : record.vm_identifier != null || length(record.addresses) > 0])
    error_message = "Each record needs vm_identifier or addresses, for example addresses = [\"192.168.1.21\"]."
  }

  validation {
    condition     = alltrue([for record in values(var.records) : contains(["vm", "container"], record.kind)])
    error_message = "Each kind must be vm or container."
  }
}
