//! Downloads by the controller: etcd, Patroni's wheels, Ansible; pinned, checked, cached.
//!
//! In comes a version; out goes a directory under the cache with files that were checked against
//! SHA-256 sums, pinned in hactl or kept in the cluster's lock file, to be pushed to the nodes, which themselves ask no index and no release page.
//! Several hactl may fetch at once: one works, the others wait for it and use what it made.

mod cache;
mod etcd;
mod go_module;
mod http;
mod lock;
mod python;
mod sum;
mod tool;
mod unpack;
mod versions;
mod wheels;

pub use etcd::etcd;
pub use lock::LockFile;
pub use python::{PythonEnvironment, controller_python, python_environment};
pub use wheels::patroni_wheels;
