//! What the proxies say of their servers -> problems: pure.

use super::ProxyView;
use crate::{
    component::{findings::Findings, view::Observations},
    plan::Plan,
};

/// Finds proxies that do not answer, or that lead elsewhere than to the primary.
pub(super) fn diagnose(plan: &Plan, seen: &Observations, findings: &mut Findings) {
    if plan.endpoint.is_none() {
        return;
    }
    for (key, view) in seen {
        let proxy = match &view.proxy {
            Some(Ok(proxy)) => proxy,
            Some(Err(said)) => {
                findings.failed("proxy-silent", key, "HAProxy does not answer", said);
                continue;
            }
            None => continue,
        };
        let up = ProxyView::up(&proxy.primary);
        let Some(leader) = findings.leader.clone() else { continue };
        if up != [leader.as_str()] {
            let found = if up.is_empty() { "no server".to_owned() } else { up.join(" and ") };
            let message = format!("HAProxy leads to {found} instead of the primary {leader}");
            let hint = "Wait a moment if a switchover is running; otherwise check that this machine reaches port 8008 of the \
                        others";
            findings.add("proxy-elsewhere", Some(key), message, hint);
        }
    }
}
