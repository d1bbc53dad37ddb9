//! Where the state is that runs on several machines share.

use std::fmt;

use crate::{
    model::{Backend, Passed, RootModule},
    plan::Plan,
};

/// The state that runs elsewhere have in common with those here.
#[derive(Clone, Debug)]
pub(crate) enum StateLocation {
    Backend(Backend),
    /// Where it is the module's own `backend` block says.
    Module(RootModule),
}

impl StateLocation {
    /// The shared state of a cluster; none where it is this machine's alone.
    pub(super) fn of(plan: &Plan) -> Option<Self> {
        match (&plan.backend, plan.platform.own_module()) {
            (Some(backend), _) => Some(Self::Backend(backend.clone())),
            (None, Some(module)) if module.pass.contains(&Passed::Record) => Some(Self::Module(module.clone())),
            _ => None,
        }
    }

    /// What says where it is.
    pub(super) const fn setting(&self) -> &'static str {
        match self {
            Self::Backend(_) => "`backend` in the cluster file",
            Self::Module(_) => "`backend` in the module and `workspace` in the cluster file",
        }
    }

    /// What opens it.
    pub(super) fn credentials(&self) -> &'static str {
        match self {
            Self::Backend(backend) => backend.kind.credentials(),
            Self::Module(_) => "the module's backend and workspace",
        }
    }
}

impl fmt::Display for StateLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Backend(backend) => backend.fmt(f),
            Self::Module(RootModule { dir, workspace: Some(workspace), .. }) => {
                write!(f, "module {}, workspace {workspace}", dir.display())
            }
            Self::Module(RootModule { dir, .. }) => write!(f, "module {}", dir.display()),
        }
    }
}
