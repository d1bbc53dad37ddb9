//! Connections to Patroni's REST API that send nothing.

use super::node_fault::NodeFault;
use crate::{component::patroni, fleet::FleetNode};

/// The unit that holds the connections; its directory in `/run` has the same name.
const UNIT: &str = "hactl-silent-rest";

/// A machine connects to its own REST API, and sends nothing. Each connection holds a thread of Patroni.
pub(super) fn exhaust(node: &FleetNode) -> NodeFault {
    let endpoint = patroni::endpoint(node);
    let script = include_str!("silent_rest.sh")
        .replace("@ENDPOINT@", &format!("{}/{}", endpoint.host, endpoint.port))
        .replace("@UNIT@", UNIT);
    NodeFault::of_steps(&script)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::node;

    #[test]
    fn silent_connections_go_to_the_rest_api_of_the_machine_itself() {
        let fault = exhaust(&node());
        let address = node().address;
        for (script, step) in [
            (&fault.possible, "possible"),
            (&fault.inject, "inject"),
            (&fault.effect, "effect"),
            (&fault.revert, "revert"),
        ] {
            assert!(script.contains(&format!("step='{step}'\n")), "{script}");
            assert!(script.contains(&format!("endpoint='{address}/8008'\nunit='{UNIT}'\n")), "{script}");
            assert!(!script.contains('@'), "{script}");
            // The undo timer is written as a here document.
            assert!(!script.lines().any(|line| line == "END"), "{script}");
        }
    }
}
