//! Certificates that end soon, on one machine: all that its services serve. The old files come back with the undo.

use jiff::Timestamp;

use super::{node_fault::NodeFault, target::FaultTarget};
use crate::{
    component::{Certificates, Door, Served, TlsService, doors, each_served, patroni},
    error::{Error, Result},
    fleet::FleetNode,
    health,
    model::InstanceKey,
    verify::catalogue::LEAF_LIFE,
};

/// All certificates of a machine end [`LEAF_LIFE`] from now on.
pub(super) fn expire(node: &FleetNode, cluster: &FaultTarget<'_>) -> NodeFault {
    let unit = patroni::unit(node);
    let doors = doors(node);
    let files: Vec<String> = doors.iter().flat_map(|door| [door.path("crt"), door.path("key")]).collect();
    let revert = include_str!("old_leaf.sh").replace("@UNIT@", unit);
    // An error is said by the script, as any other reason for which a fault cannot be injected.
    let inject = match puts(node, &doors, cluster) {
        Ok(puts) => include_str!("short_leaf.sh")
            .replace("@FILES@", &files.join(" "))
            .replace("@REVERT@\n", &revert)
            .replace("@UNIT@", unit)
            .replace("@PUTS@\n", &puts),
        Err(error) => format!("echo {} >&2\nexit 1\n", crate::ssh::quoted(&error.to_string())),
    };
    let possible = match cluster.short_leaves {
        Some(_) => {
            files.iter().map(|file| format!("[ -f {file} ] || {{ echo '{file} does not exist'; exit 1; }}\n")).collect()
        }
        None => "echo 'hactl did not make the certificates of this cluster'; exit 1\n".to_owned(),
    };
    NodeFault { possible, inject, effect: "[ -e /etc/hactl/drill-leaf/undo ]\n".to_owned(), revert }
}

/// Shell lines that write the certificates and their keys.
fn puts(node: &FleetNode, doors: &[Door], cluster: &FaultTarget<'_>) -> Result<String> {
    let missing = || Error::failed("drill-fault", "make a short-lived certificate of", node.key());
    let short = cluster.short_leaves.ok_or_else(missing)?;
    let now = Timestamp::now();
    let mut lines = String::new();
    for door in doors {
        let leaf = short.sign(door.certificate, node, now, LEAF_LIFE)?;
        for (extension, text) in [("key", leaf.key.expose()), ("crt", &leaf.certificate)] {
            lines += &format!("put {} <<'PEM'\n{}\nPEM\n", door.path(extension), text.trim_end());
        }
    }
    Ok(lines)
}

/// Whether every service of the machines serves a certificate that has expired.
pub(super) async fn all_expired(targets: &[InstanceKey], cluster: &FaultTarget<'_>) -> bool {
    let certificates = health::certificates(cluster.fleet, cluster.access).await;
    let served =
        targets.iter().map(|key| certificates.get(key).and_then(|seen| seen.as_deref().ok()).unwrap_or_default());
    served.into_iter().all(|served| {
        let expired = |one: &Served| one.served.as_ref().is_some_and(|leaf| leaf.not_after < one.at);
        !served.is_empty() && served.iter().all(expired)
    })
}

/// The services that serve a certificate that has expired, or none.
pub fn without_valid(certificates: &Certificates) -> Vec<(&InstanceKey, TlsService)> {
    let all = each_served(certificates);
    let bad = all.filter(|(_, one)| one.served.as_ref().is_none_or(|leaf| leaf.not_after <= one.at));
    bad.map(|(key, one)| (key, one.service)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verify::fault::tests::Scene;

    #[test]
    fn cluster_without_hactls_certificates_is_refused_with_the_reason() {
        let scene = Scene::new("instances: {node1: {}, node2: {}, node3: {}}");
        let cluster = scene.cluster();
        let fault = expire(cluster.members().next().unwrap(), &cluster);
        assert!(fault.obstacle().ends_with("echo 'hactl did not make the certificates of this cluster'; exit 1\n"));
        assert!(fault.inject.ends_with(">&2\nexit 1\n"), "{}", fault.inject);
    }
}
