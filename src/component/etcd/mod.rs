//! etcd: the voters that hold Patroni's leader key.

mod client;
mod diagnose;
mod lease;
mod member_names;
mod service;
mod status;
mod vars;

pub use client::{EtcdView, ListedMember};
pub(crate) use client::{ask, value};
pub(crate) use lease::{Taken, give_up, renew, serving_voter, take_key};
pub(crate) use service::{NAME, PEER_PORT, PORT, UNIT, endpoint, unit};
pub use status::{Etcd, EtcdMember};

use super::{
    definition::{Component, Download, DownloadRequest, OpenTo, Port},
    view::View,
};
use crate::{
    fetch,
    model::{Certificate, Role},
};

pub(super) const COMPONENT: Component = Component {
    name: NAME,
    title: "etcd",
    role: Role::Etcd,
    is_on: |_| true,
    group: None,
    version: |plan| plan.etcd.to_string(),
    download: Some(Download {
        variable: "etcd_binaries_dir",
        fetch: |request| {
            let DownloadRequest { context, plan, arch, lock, .. } = request;
            Box::pin(fetch::etcd(context, plan.etcd, arch, plan.etcd_source.as_ref(), lock))
        },
    }),
    variables: vars::VARIABLES,
    certificates: &[Certificate::ETCD_PEER, Certificate::ETCD_SERVER],
    doors: service::doors,
    ports: |_| [PORT, PEER_PORT].map(|number| Port { number, open_to: OpenTo::Members }).into(),
    endpoint,
    unit: Some(unit),
    helpers: &[],
    ask: Some(|reached| Box::pin(async move { View::Etcd(ask(reached).await) })),
    complete: member_names::complete,
    is_plain: |node, view| matches!(view.etcd, Some(Ok(_))) && !endpoint(node).tls,
    diagnose: diagnose::diagnose,
    diagnose_adopted: diagnose::diagnose_adopted,
    may_be_foreign: true,
    detect: include_str!("detect.sh"),
    stop: include_str!("stop.sh"),
    wipe: include_str!("wipe.sh"),
};
