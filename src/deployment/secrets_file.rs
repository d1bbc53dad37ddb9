//! The secrets file as far as a run has opened it: at most once, and a file that cannot be opened is not an absent one.

use super::Cluster;
use crate::{context::Context, error::Error, secrets::Vault};

/// The secrets file as far as this run has opened it.
#[derive(Default)]
pub(super) enum Secrets {
    #[default]
    Closed,
    /// There is no file: the error of a command that needs one.
    Absent(Error),
    Unreadable(Error),
    Open {
        vault: Box<Vault>,
        /// Whether the environment and the file's commands have given their passwords.
        given: bool,
    },
}

impl Secrets {
    /// Opens the file, unless that was tried before.
    pub(super) async fn open(&mut self, context: &Context, cluster: &Cluster) {
        if !matches!(self, Self::Closed) {
            return;
        }
        let paths = cluster.secrets();
        let exists = paths.file.exists();
        *self = match Vault::open(context, cluster.name(), &paths).await {
            Ok(vault) => Self::Open { vault: Box::new(vault), given: false },
            Err(error) if exists => Self::Unreadable(error),
            Err(error) => Self::Absent(error),
        };
    }
}
