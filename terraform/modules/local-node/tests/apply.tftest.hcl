# One real node: made, changed in place, replaced with its volume kept, and gone at the end.
# `image` comes from TF_VAR_image: an image of this machine that runs systemd and sshd.

variables {
  cluster         = "t-tf-module"
  cluster_uuid    = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11"
  authorized_keys = ["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIEn0fCwVs1bIg9G0cSYDrWvOQ4bMZvSIt0r0nE8w5cZt test"]
  nodes           = { node1 = { hostname = "t-node1", slot = 10, memory = 512, cores = 1 } }
}

run "makes_a_node" {
  assert {
    condition     = output.vms.node1.ipv4 == cidrhost(output.network.subnet, 10)
    error_message = "The node must have the address of its slot."
  }
  assert {
    condition     = output.vms.node1.ssh_host == "127.0.0.1" && output.vms.node1.ssh_port > 1024
    error_message = "SSH must be published on loopback."
  }
  assert {
    condition     = startswith(output.vms.node1.host_key, "ssh-ed25519 ")
    error_message = "The host key must be known before the first connection."
  }
}

run "changes_memory_in_place" {
  variables {
    nodes = { node1 = { hostname = "t-node1", slot = 10, memory = 640, cores = 1 } }
  }
  assert {
    condition     = output.vms.node1.id == run.makes_a_node.vms.node1.id
    error_message = "Memory must change without replacing the node."
  }
}

run "replaces_for_another_hostname_and_keeps_the_volume" {
  variables {
    nodes = { node1 = { hostname = "t-renamed", slot = 10, memory = 640, cores = 1 } }
  }
  assert {
    condition     = output.vms.node1.id != run.makes_a_node.vms.node1.id
    error_message = "Another host name must replace the node."
  }
  assert {
    condition     = output.volumes == run.makes_a_node.volumes && output.vms.node1.ipv4 == run.makes_a_node.vms.node1.ipv4
    error_message = "Volume and address must survive the node."
  }
}
