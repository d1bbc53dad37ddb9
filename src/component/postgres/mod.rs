//! PostgreSQL itself, which Patroni starts.

mod activity;
mod client;
mod diagnose;
mod locale;
mod mark;
mod parameters;
mod service;
mod vars;
mod write_check;

#[cfg(test)]
pub(crate) use activity::LongTransaction;
pub(crate) use activity::{Activity, Reader, Standby, activity, backup, checkpoint, flushed, flushed_by, readers};
pub use client::{ArchiverView, FileSetting, PostgresView, ReplayLag, SlotView};
pub(crate) use client::{age, recovery, superuser};
pub use locale::CollationView;
pub(crate) use mark::mark;
pub(in crate::component) use parameters::differs;
pub(crate) use service::{PORT, USER, endpoint, user};
pub(crate) use vars::access;
pub use write_check::write_and_read;

use super::{
    definition::{Component, OpenTo, Port},
    view::View,
};
use crate::model::{Certificate, Role};

pub(super) const COMPONENT: Component = Component {
    name: "postgres",
    title: "PostgreSQL",
    role: Role::Patroni,
    is_on: |_| true,
    group: None,
    version: |plan| plan.postgres.major.to_string(),
    download: None,
    variables: vars::VARIABLES,
    certificates: &[Certificate::POSTGRESQL],
    doors: |node| vec![service::door(node)],
    ports: |_| vec![Port { number: PORT, open_to: OpenTo::Clients }],
    endpoint,
    unit: None,
    helpers: &[],
    ask: Some(|reached| Box::pin(async move { View::Postgres(client::ask(reached).await) })),
    complete: |_, _| {},
    is_plain: |_, view| matches!(&view.postgres, Some(Ok(server)) if !server.tls),
    diagnose: diagnose::diagnose,
    diagnose_adopted: |_, _, _| {},
    may_be_foreign: false,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};
