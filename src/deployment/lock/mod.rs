//! The lock on the cluster itself: a key in its own etcd, held by each run that changes or drills it, so that only one
//! run works on the cluster, wherever the runs are.
//!
//! The key has a lease that is renewed while the run works. The lock of a run that died expires, and the next run in
//! the same directory, which holds the directory lock, takes it over at once. Leases do not expire while etcd has no
//! quorum: no run can take the key then, and a new leader of etcd starts all leases again. So a drill that stops etcd
//! does not lose the lock. If the lock expires because this machine slept or lost its network, it is taken again if it
//! is free; otherwise the run ends.
//!
//! A cluster that is just being made has no etcd. So a run that starts Ansible on the machines also holds [a file on
//! the first machine](machine) in the same way.

mod cluster;
mod holder;
mod locks;
mod machine;

pub(crate) use cluster::{ClusterLock, LockRequest};
pub(crate) use locks::Locks;
