//! Reboots that hypervisors wait for -> problems and notices: pure.

use super::diagnose::Health;
use crate::{component::Problem, error::Error, model::Reboots};

impl Health {
    /// Adds what Proxmox said about machines whose settings are not live yet; a missing answer does not make the
    /// cluster unhealthy.
    pub fn add_reboots(&mut self, said: &Result<Reboots, Error>) {
        let reboots = match said {
            Ok(reboots) => reboots,
            Err(error) => {
                let message =
                    format!("could not ask Proxmox whether a machine needs a restart: {}", error.causes.join(": "));
                let (code, hint) = ("reboot-unknown".to_owned(), error.hint.clone());
                return self.notices.push(Problem { code, node: None, message, hint });
            }
        };
        for (key, reboot) in reboots {
            let changes: Vec<String> = reboot.changes.iter().map(ToString::to_string).collect();
            let (kind, program) = if reboot.container { ("container", "pct") } else { ("virtual machine", "qm") };
            let message = format!(
                "pending changes need a restart of {kind} {} on {}: {}",
                reboot.id,
                reboot.hypervisor,
                changes.join(", ")
            );
            let hint = format!(
                "Run `{program} reboot {}` on {}, one machine at a time, the primary last and after a switchover. A \
                 reboot from inside the machine does not apply the changes",
                reboot.id, reboot.hypervisor
            );
            let (code, node) = ("reboot-pending".to_owned(), Some(key.to_string()));
            self.problems.push(Problem { code, node, message, hint: Some(hint) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Change, Reboot};

    fn health() -> Health {
        Health { leader: Some("node1".parse().unwrap()), ..Health::default() }
    }

    #[test]
    fn machine_that_needs_a_restart_is_a_problem() {
        let change = |setting: &str, values: Option<(&str, &str)>| Change {
            setting: setting.to_owned(),
            values: values.map(|(now, then)| (now.to_owned(), then.to_owned())),
        };
        let changes = vec![change("memory", Some(("2048", "4096"))), change("agent", None)];
        let reboot = Reboot { id: 101, hypervisor: "pve1".to_owned(), container: false, changes };
        let mut health = health();
        health.add_reboots(&Ok(Reboots::from([("node1".parse().unwrap(), reboot)])));
        assert!(!health.is_healthy());
        let problem = &health.problems[0];
        assert_eq!((problem.code.as_str(), problem.node.as_deref()), ("reboot-pending", Some("node1")));
        assert!(problem.message.ends_with("virtual machine 101 on pve1: memory 2048 -> 4096, agent"), "{problem:?}");
        assert!(problem.hint.as_ref().unwrap().contains("qm reboot 101"), "{problem:?}");
    }

    #[test]
    fn missing_answer_from_proxmox_is_a_notice_and_not_a_problem() {
        let mut health = health();
        health.add_reboots(&Ok(Reboots::new()));
        assert!(health.is_healthy() && health.notices.is_empty());
        let error = Error::failed("proxmox-silent", "ask", "https://pve1:8006/").cause("no answer").hint("Look at it");
        health.add_reboots(&Err(error));
        assert!(health.is_healthy());
        let notice = &health.notices[0];
        assert!(notice.code == "reboot-unknown" && notice.message.ends_with("restart: no answer"), "{notice:?}");
    }
}
