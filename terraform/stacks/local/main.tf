module "nodes" {
  source = "../../modules/local-node"

  cluster         = var.cluster
  cluster_uuid    = var.cluster_uuid
  image           = var.image
  subnet          = var.subnet
  nodes           = var.nodes
  authorized_keys = var.authorized_keys
}
