//! Inventory -> Configured: Ansible's environment, its events, its recap.
