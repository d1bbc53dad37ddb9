//! The lock on the cluster itself: a key in its own etcd, held by whoever changes or drills it, so that runs on different
//! machines never meet.
//!
//! The key lives by a lease that is renewed while the run works; a run that died lets go of it by not renewing, and the next
//! run of its own directory, which holds that directory's lock, takes it over at once. Leases
//! outlive a quorum that is lost: nobody else can take the key then, and a new leader of etcd lets all of them begin again.
//! So a drill that stops etcd does not cost the lock. When it is lost all the same, because this machine slept or was cut
//! off, it is taken again if nobody has it, and otherwise the run ends.
//!
//! A cluster that is just being made has no etcd. So whoever lets Ansible work on the machines also holds [a file on the
//! first of them](machine), in the same way.

mod cluster;
mod holder;
mod locks;
mod machine;

pub(crate) use cluster::{ClusterLock, LockRequest};
pub(crate) use locks::Locks;
