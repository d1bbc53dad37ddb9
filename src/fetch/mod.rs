//! Downloads by the controller: etcd, Patroni's wheels, Ansible; pinned, checked, cached.
//!
//! In comes a version; out goes a directory under the cache with files that were checked against
//! pinned SHA-256 sums, to be pushed to the nodes, which themselves ask no index and no release page.
//! Several hactl may fetch at once: one works, the others wait for it and use what it made.

mod archive;
mod cache;
mod etcd;
mod python;
mod tool;
mod versions;
mod wheels;

pub use archive::Archive;
pub use etcd::etcd;
pub use python::{PythonEnvironment, controller_python, python_environment};
pub use versions::Arch;
pub use wheels::patroni_wheels;
