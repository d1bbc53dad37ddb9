//! What a fault is on one node, as shell text. All values in it are of checked types.

/// A fault on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeFault {
    /// Ends with an error and a reason where this cannot be done.
    pub(super) possible: String,
    /// Does the damage and prints the number of the process that it struck, if it is one.
    pub(super) inject: String,
    /// Succeeds while the damage is seen; `$noted` is the number that `inject` printed.
    pub(super) effect: String,
    /// Takes it back, also when it was never done, under `set -e`; empty where there is nothing to take back.
    pub(super) revert: String,
}

impl NodeFault {
    /// The whole test whether this can be done.
    pub(super) fn obstacle(&self) -> String {
        let systemd = "[ -d /run/systemd/system ] || { echo 'systemd does not run'; exit 1; }\n";
        format!("{systemd}{}", self.possible)
    }

    /// The whole injection. A fault with an undo is injected only while that undo is set. If the undo comes in the
    /// middle, the injection itself takes back what the undo may have come too early for.
    pub(super) fn inject(&self, id: &str) -> String {
        let (inject, revert) = (&self.inject, &self.revert);
        if revert.is_empty() {
            return format!("set -e\n{inject}");
        }
        format!(
            "set -e\n\
             armed() {{\n  \
             [ \"$(systemctl show -p SubState --value hactl-undo-{id}.timer)\" = waiting ] ||\n    \
             {{ echo 'its undo is not set any more' >&2; return 1; }}\n}}\n\
             armed\n{inject}if ! armed; then\n{revert}exit 1\nfi\n"
        )
    }

    pub(super) fn effect(&self, noted: u32) -> String {
        format!("noted={noted}\n{}", self.effect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fault_whose_undo_is_not_set_is_not_injected() {
        let fault = NodeFault {
            possible: String::new(),
            inject: "break it\n".into(),
            effect: String::new(),
            revert: "mend it\n".into(),
        };
        assert_eq!(
            fault.inject("0000002a"),
            r#"set -e
armed() {
  [ "$(systemctl show -p SubState --value hactl-undo-0000002a.timer)" = waiting ] ||
    { echo 'its undo is not set any more' >&2; return 1; }
}
armed
break it
if ! armed; then
mend it
exit 1
fi
"#
        );
        assert_eq!(NodeFault { revert: String::new(), ..fault }.inject("0000002a"), "set -e\nbreak it\n");
    }
}
