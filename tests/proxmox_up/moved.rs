//! Machines that move to another hypervisor while clients write to their cluster. Somebody moves them by the API, and the
//! recorded provider finds them where the API has them.

use std::collections::BTreeMap;

use super::Recorded;
use crate::{
    common::{Bench, application::Application, containers, docker},
    proxmox_api::{migrate, settled, simulator::Simulator},
};

/// A cluster whose machines move, as it is before a move.
pub(super) struct Moves<'a> {
    pub(super) bench: &'a Bench,
    pub(super) simulator: &'a Simulator,
    pub(super) recorded: &'a Recorded,
    pub(super) name: &'static str,
}

/// A machine that has moved, and its instance.
#[derive(Debug)]
pub(super) struct Moved {
    pub(super) key: String,
    pub(super) id: u32,
    pub(super) from: String,
    pub(super) to: &'static str,
}

/// What a move must leave as it is: what Terraform did so far, and the containers that the machines are.
#[derive(Debug, PartialEq, Eq)]
struct Before {
    done: Vec<String>,
    containers: BTreeMap<String, String>,
}

impl Moves<'_> {
    fn before(&self) -> Before {
        let identity = |name: String| (name.clone(), docker(&["inspect", "--format", "{{.Id}}", &name]));
        Before { done: self.recorded.done(), containers: containers(self.name).into_iter().map(identity).collect() }
    }

    /// The member that leads, and the number of its machine.
    fn leader(&self) -> (String, u32) {
        let status = self.bench.status();
        let members = status["members"].as_array().unwrap();
        let leader = members.iter().find(|member| member["role"] == "leader").unwrap_or_else(|| panic!("{status:#}"));
        let key = leader["name"].as_str().unwrap_or_else(|| panic!("{leader:#}")).to_owned();
        let id = super::machine_id(self.bench, &key);
        (key, id)
    }

    /// Moves the leader's machine to another hypervisor while clients write, and does `up` for it. No machine may be made,
    /// replaced or changed by that, and no row be lost.
    pub(super) fn move_the_leader(&self, option: &str, up: impl FnOnce(&Moved)) -> (Moved, usize) {
        let status = self.bench.status();
        let before = self.before();
        let application = Application::start(status["dsn"].as_str().unwrap(), 2);
        let written = || application.written().0;
        super::until("rows before the move", || written() > 20);
        let (key, id) = self.leader();
        let from = settled(self.simulator, id);
        let to = if from == "pve1" { "pve2" } else { "pve1" };
        migrate(self.simulator, id, to, option).unwrap();
        assert_eq!(settled(self.simulator, id), to);
        self.recorded.migrate(id.into(), to);
        let moved = Moved { key, id, from, to };
        up(&moved);
        let since = written();
        super::until("rows after the move", || written() > since + 20);
        super::until("a healthy cluster", || self.bench.status()["healthy"] == true);
        let (_, failed) = application.written();
        let rows = application.finish();
        println!("   {moved:?}: {rows} rows acknowledged, {failed} refused, 0 lost");
        assert_eq!(self.before(), before, "{moved:?}");
        (moved, failed)
    }
}
