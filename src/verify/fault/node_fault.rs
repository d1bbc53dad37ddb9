//! What a fault is on one node, as shell text. All values in it are of checked types.

/// A fault on one node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NodeFault {
    /// Fails with a reason if the machine cannot run the fault.
    pub(super) possible: String,
    /// Injects the fault, and prints the ID of the process that it hit, if it hits one.
    pub(super) inject: String,
    /// Succeeds while the effect shows; `$noted` is the ID that `inject` printed.
    pub(super) effect: String,
    /// Reverts the fault, also if it was never injected, under `set -e`; empty if nothing has to be reverted.
    pub(super) revert: String,
}

impl NodeFault {
    /// A fault whose script takes each step: `possible`, `inject`, `effect` or `revert`, in place of `@STEP@`.
    pub(super) fn of_steps(script: &str) -> Self {
        let step = |step: &str| script.replace("@STEP@", step);
        Self { possible: step("possible"), inject: step("inject"), effect: step("effect"), revert: step("revert") }
    }

    /// The complete test whether the machine can run the fault.
    pub(super) fn obstacle(&self) -> String {
        let systemd = "[ -d /run/systemd/system ] || { echo 'systemd is not running'; exit 1; }\n";
        format!("{systemd}{}", self.possible)
    }

    /// The whole injection. A fault with an undo is injected only while that undo is set. If the undo runs in the
    /// middle, the injection itself reverts what the undo may have missed.
    pub(super) fn inject(&self, id: &str) -> String {
        let (inject, revert) = (&self.inject, &self.revert);
        if revert.is_empty() {
            return format!("set -e\n{inject}");
        }
        format!(
            "set -e\n\
             armed() {{\n  \
             [ \"$(systemctl show -p SubState --value hactl-undo-{id}.timer)\" = waiting ] ||\n    \
             {{ echo 'the undo of the fault is no longer armed' >&2; return 1; }}\n}}\n\
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
    fn fault_without_an_armed_undo_is_not_injected() {
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
    { echo 'the undo of the fault is no longer armed' >&2; return 1; }
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
