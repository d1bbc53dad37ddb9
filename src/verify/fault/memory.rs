//! A backend that asks for more memory than there is: the kernel has to kill it, and not the postmaster.
//!
//! Where the machine has cgroup v2, the unit that PostgreSQL runs in gets a limit slightly above its present use, so
//! nothing else on the machine runs short of memory. A container on a host with cgroup v1 cannot set one: there the
//! backend reaches the limit of the container itself.

use super::{node_fault::NodeFault, postmaster::data_dir};
use crate::{
    component::{patroni, postgres},
    fleet::FleetNode,
};

/// The unit of the client whose backend is killed; its directory in `/run` has the same name.
const UNIT: &str = "hactl-oom-backend";

pub(super) fn exhaust(node: &FleetNode) -> NodeFault {
    let port = node.found.as_ref().map(|found| format!("-p {} ", found.postgres.port));
    let script = include_str!("exhaust_memory.sh")
        .replace("@DATA@", &data_dir(node))
        .replace("@USER@", postgres::user(node))
        .replace("@SERVER@", patroni::unit(node))
        .replace("@UNIT@", UNIT)
        .replace("@PORT@", &port.unwrap_or_default());
    NodeFault::of_steps(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::{code, node};

    #[test]
    fn memory_script_limits_the_unit_of_patroni_and_has_no_placeholder() {
        let fault = exhaust(&node());
        for (script, step) in [
            (&fault.possible, "possible"),
            (&fault.inject, "inject"),
            (&fault.effect, "effect"),
            (&fault.revert, "revert"),
        ] {
            assert!(script.contains(&format!("step='{step}'\n")), "{script}");
            assert!(script.contains(&format!("server='patroni'\nunit='{UNIT}'\n")), "{script}");
            assert!(!script.contains('@'), "{script}");
            // The undo timer is written as a here document.
            assert!(!script.lines().any(|line| line == "END"), "{script}");
        }
        let script = code(&fault.inject);
        assert!(script.contains("--property=RuntimeMaxSec=\"$longest\""), "{script}");
        assert!(script.contains("psql -d postgres -XAtq"), "{script}");
    }
}
