//! Faults that `patronictl` on the node injects.

use super::node_fault::NodeFault;
use crate::model::Synchronous;

const CTL: &str = "patronictl -c /etc/patroni/patroni.yml";

/// Commits no longer wait for a replica, until `planned` is restored.
pub(super) fn asynchronous(planned: &Synchronous) -> NodeFault {
    let set = |mode: &str| format!("{CTL} edit-config --quiet --force -s synchronous_mode={mode} >/dev/null\n");
    NodeFault {
        possible: format!("{CTL} show-config >/dev/null || {{ echo 'patronictl does not work'; exit 1; }}\n"),
        inject: set("off"),
        // YAML takes the word for a truth value, so Patroni may give it back as one.
        effect: format!("{CTL} show-config | grep -Eq \"^synchronous_mode: '?(off|false)'?$\"\n"),
        revert: set(planned.mode),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Durability;

    #[test]
    fn undo_of_async_mode_restores_the_planned_setting() {
        let fault = asynchronous(&Durability::QuorumStrict.synchronous());
        assert_eq!(
            fault.revert,
            "patronictl -c /etc/patroni/patroni.yml edit-config --quiet --force -s synchronous_mode=quorum >/dev/null\n"
        );
    }
}
