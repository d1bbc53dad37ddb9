//! All tests that look at hactl from outside, as one program: linked once, and two at a time, since
//! most of their time is waiting for machines. `cargo test --test all verify::` runs those of a module.

mod adopted;
mod ansible_reads_inventory;
mod backends;
mod backup;
mod backup_disaster;
mod cgroup_v2;
mod cli;
mod common;
mod dns;
mod endpoint;
mod faults;
mod fetch;
mod five_nodes;
#[path = "fixture/inventory.rs"]
mod fixture;
mod hosts;
mod interrupt;
mod local_engine;
mod operator;
mod outside_names;
mod own_terraform;
mod plan_shows;
mod proxmox;
mod proxmox_api;
mod proxmox_up;
mod psql_string;
mod readme;
mod recovery;
mod roles;
mod scripted;
mod shared_state;
mod ssh;
mod ssh_session;
mod switchover;
mod takeover;
mod terraform_provider;
mod trouble;
mod unprivileged;
mod up;
mod verify;
mod verify_faults;
mod virtual_machine;
mod workflow;
