resource "hactl_network" "this" {
  cluster      = var.cluster
  cluster_uuid = var.cluster_uuid
  subnet       = var.subnet
}

resource "hactl_volume" "data" {
  for_each = { for key, node in var.nodes : key => node if node.data_volume }

  cluster      = var.cluster
  cluster_uuid = var.cluster_uuid
  key          = each.key
  disk_gb      = each.value.disk_gb
}

resource "hactl_node" "this" {
  for_each = var.nodes

  cluster         = var.cluster
  cluster_uuid    = var.cluster_uuid
  key             = each.key
  hostname        = each.value.hostname
  image           = coalesce(each.value.image, var.image)
  network         = hactl_network.this.name
  address         = cidrhost(hactl_network.this.subnet, each.value.slot)
  volume          = each.value.data_volume ? hactl_volume.data[each.key].name : null
  disk_gb         = each.value.disk_gb
  memory          = each.value.memory
  cores           = each.value.cores
  authorized_keys = var.authorized_keys
}
