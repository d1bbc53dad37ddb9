//! What a component says of itself.

use std::path::PathBuf;

use futures_util::future::BoxFuture;

use super::{
    door::Door,
    findings::Findings,
    material::{Lookup, RoleVars},
    probe::Reached,
    view::{NodeView, Observations, View},
};
use crate::{
    context::Context,
    error::Result,
    fetch::LockFile,
    fleet::{Fleet, FleetNode},
    model::{Arch, Certificate, Distribution, Endpoint, InstanceKey, Role},
    plan::{Plan, PlannedInstance},
};

/// The variables of a component's role, by what they are about.
pub(crate) struct Variables {
    /// What the tasks that install it need, beside its download: these run for the node image, too.
    pub(crate) install: fn(&Plan) -> RoleVars,
    /// What else all machines have in common.
    pub(crate) cluster: fn(&Plan, &Fleet) -> RoleVars,
    /// What differs between machines.
    pub(crate) host: fn(&FleetNode) -> RoleVars,
    /// The secrets of all machines.
    pub(crate) secrets: fn(&Plan, &mut Lookup<'_>) -> RoleVars,
    /// The secrets of one machine.
    pub(crate) host_secrets: fn(&InstanceKey, &mut Lookup<'_>) -> RoleVars,
}

/// A download for the machines.
pub(crate) struct Download {
    /// The variable that tells the role where it is on the controller.
    pub(crate) variable: &'static str,
    pub(crate) fetch: for<'a> fn(DownloadRequest<'a>) -> BoxFuture<'a, Result<PathBuf>>,
}

/// What is to be downloaded: that of a plan, for the nodes' machines.
#[derive(Clone, Copy)]
pub(crate) struct DownloadRequest<'a> {
    pub(crate) context: &'a Context,
    pub(crate) plan: &'a Plan,
    pub(crate) distribution: Distribution,
    pub(crate) arch: Arch,
    pub(crate) lock: &'a LockFile,
}

/// A port, and which networks may connect to it.
#[derive(Clone, Copy)]
pub(crate) struct Port {
    pub(crate) number: u16,
    pub(crate) open_to: OpenTo,
}

/// The networks that may connect to a port. The cluster's machines may connect to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OpenTo {
    /// No others.
    Members,
    /// Monitoring and load balancers.
    Monitoring,
    /// Clients of PostgreSQL.
    Clients,
}

/// A program that makes up a cluster: constants and functions, so that all others loop over components and name none.
pub(crate) struct Component {
    /// The name by which its shell functions begin.
    pub(crate) name: &'static str,
    /// Its name in messages.
    pub(crate) title: &'static str,
    /// The role of the machines that it runs on.
    pub(crate) role: Role,
    /// Whether a machine with this role has it.
    pub(crate) is_on: fn(&PlannedInstance) -> bool,
    /// The Ansible group of its machines, if not that of their role.
    pub(crate) group: Option<&'static str>,
    /// The version that is installed.
    pub(crate) version: fn(&Plan) -> String,
    pub(crate) download: Option<Download>,
    pub(crate) variables: Variables,
    /// The certificates that its machines have for it.
    pub(crate) certificates: &'static [Certificate],
    /// Every port of a machine on which it accepts others, as the roles configure it.
    pub(crate) ports: fn(&PlannedInstance) -> Vec<Port>,
    /// Its ports that serve a certificate.
    pub(crate) doors: fn(&FleetNode) -> Vec<Door>,
    /// Where it answers.
    pub(crate) endpoint: fn(&FleetNode) -> Endpoint,
    /// Its own unit; none where it is part of another component's.
    pub(crate) unit: Option<fn(&FleetNode) -> &str>,
    /// Units beside it that hactl's roles may enable. They must run where they are enabled.
    pub(crate) helpers: &'static [&'static str],
    /// Asks it on one machine; none where others say what it does.
    pub(crate) ask: Option<for<'a> fn(Reached<'a>) -> BoxFuture<'a, View>>,
    /// Completes its views by those of the other machines.
    pub(crate) complete: fn(&Fleet, &mut Observations),
    /// Whether it answered in the clear.
    pub(crate) is_plain: fn(&FleetNode, &NodeView) -> bool,
    /// Compares what was seen with what is intended.
    pub(crate) diagnose: fn(&Plan, &Observations, &mut Findings),
    /// Adds notices about a cluster that hactl did not make.
    pub(crate) diagnose_adopted: fn(&Plan, &Observations, &mut Findings),
    /// Whether the component of another cluster may stay on a machine that does not run ours.
    pub(crate) may_be_foreign: bool,
    /// The shell function `NAME_detect`: says by `found` what of the component is on a machine, made by hactl or not.
    pub(crate) detect: &'static str,
    /// The shell function `NAME_stop`: its part of the step `replicas`, `primary` or `dcs` of a teardown.
    pub(crate) stop: &'static str,
    /// The shell function `NAME_wipe`: removes its `data` or its `configuration`.
    pub(crate) wipe: &'static str,
}
