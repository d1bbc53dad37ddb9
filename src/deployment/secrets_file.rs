//! The secrets file as far as a run has opened it: at most once, and a file that cannot be opened is not an absent one.

use super::Cluster;
use crate::{
    context::Context,
    error::{Error, Result},
    secrets::Vault,
};

/// What this run found when it opened the secrets file.
pub(super) enum Secrets {
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
    pub(super) async fn open<'a>(secrets: &'a mut Option<Self>, context: &Context, cluster: &Cluster) -> &'a mut Self {
        let opened = match secrets.take() {
            Some(opened) => opened,
            None => Self::try_open(context, cluster).await,
        };
        secrets.insert(opened)
    }

    async fn try_open(context: &Context, cluster: &Cluster) -> Self {
        let paths = cluster.secrets();
        let exists = paths.file.exists();
        match Vault::open(context, cluster.name(), &paths).await {
            Ok(vault) => Self::Open { vault: Box::new(vault), given: false },
            Err(error) if exists => Self::Unreadable(error),
            Err(error) => Self::Absent(error),
        }
    }

    /// The secrets that are open.
    ///
    /// # Errors
    /// When there are none, or they could not be opened.
    pub(super) fn vault(&mut self) -> Result<&mut Vault> {
        match self {
            Self::Open { vault, .. } => Ok(vault),
            Self::Absent(error) | Self::Unreadable(error) => Err(error.clone()),
        }
    }
}
