variable "pool_id" {
  description = "Name of the pool, for example \"example-multi-vm-pool\". A change replaces the pool."
  type        = string
  nullable    = false

  validation {
    condition     = can(regex("^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9._-]+){0,2}$", var.pool_id))
    error_message = "pool_id must be letters, digits, dots, hyphens and underscores, for example \"example-multi-vm-pool\"; a pool within another is \"parent/child\"."
  }
}

variable "comment" {
  description = "A comment on the pool for people, for example \"PostgreSQL, production\"."
  type        = string
  default     = ""
  nullable    = false
}
