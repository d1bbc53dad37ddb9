//! Fleet -> Inventory: what Ansible reads.
