output "records" {
  description = "The records by their key: { fqdn, addresses }."
  value = {
    for key, record in hactl_dns_record_set.this : key => {
      fqdn      = record.fqdn
      addresses = record.made
    }
  }
}

output "fqdns" {
  description = "The full names by the records' keys, for example { node1 = \"pg-prod-node1.home.sflab.io.\" }."
  value       = { for key, record in hactl_dns_record_set.this : key => record.fqdn }
}
