//! The order in which `up`, `verify` and `down` act, tested without Docker.
//!
//! - `terraform` and `ansible-playbook` are fake programs ([`fakes`]) that play transcripts of the real ones (`recorded/`).
//! - A machine ([`machines`]) is an SSH server on a loopback address; its commands run in namespaces of their own.
//! - etcd's gateway and Patroni's REST API ([`services`]) answer with the certificates that the inventory holds. PostgreSQL is
//!   the distribution's.
//!
//! A scenario is a text file in `scenarios/`. A line `: ...` sets a condition or a fault, a line `$ hactl ...` runs a
//! command, and the lines below it are the transcript: events of hactl, calls of programs with their arguments, and
//! changes on machines and in etcd, in the order in which they happened. On a machine, `ss` marks the ownership check and
//! `cloud-init` the first connection. `HACTL_BLESS=1` rewrites the transcripts.

mod down;
mod fakes;
mod machines;
mod scenario;
mod services;
mod transcript;
mod up;
mod verify;
mod world;
