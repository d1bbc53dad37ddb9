//! Certificates, judged by the openssl binary.

use jiff::Span;

use super::*;
use crate::model::Purpose;

#[tokio::test]
async fn certificates_near_expiry_or_of_a_moved_instance_are_renewed() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let mut nodes = nodes();
    assert!(vault.ensure_certificates(KINDS, &nodes, now()).unwrap());
    assert!(!vault.ensure_certificates(KINDS, &nodes, now()).unwrap());
    let months = |count| (now().to_zoned(jiff::tz::TimeZone::UTC) + Span::new().months(count)).timestamp();
    assert!(!vault.ensure_certificates(KINDS, &nodes, months(15)).unwrap());
    assert!(vault.ensure_certificates(KINDS, &nodes, months(17)).unwrap());
    assert!(!vault.ensure_certificates(KINDS, &nodes, months(17)).unwrap());
    assert!(
        vault.ensure_certificates(KINDS, &nodes, months(-2)).unwrap(),
        "a clock that was wrong when they were made"
    );

    let kept = leaf(&vault, &nodes[1].0, Certificate::ETCD_PEER);
    nodes[0].2 = Ipv4Addr::new(10, 0, 0, 9);
    assert!(vault.ensure_certificates(KINDS, &nodes, months(-2)).unwrap());
    assert_eq!(leaf(&vault, &nodes[1].0, Certificate::ETCD_PEER), kept);
    let gone = nodes.remove(0).0;
    assert!(vault.ensure_certificates(KINDS, &nodes, months(-2)).unwrap());
    assert!(leaf(&vault, &gone, Certificate::ETCD_PEER).is_none());
}

#[tokio::test]
async fn certificate_chain_is_accepted_only_for_its_purpose() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    vault.ensure_certificates(KINDS, &nodes(), now()).unwrap();
    let at = now().as_second().to_string();
    let key = &nodes()[0].0;
    for kind in KINDS.iter().filter(|kind| kind.purpose != Purpose::Controller) {
        let leaf = &vault.node_leaves()[key][kind.name];
        let certificate = site.file("leaf.pem", &leaf.certificate).display().to_string();
        let private = site.file("leaf.key", leaf.key.expose()).display().to_string();
        let ca = site.file("ca.pem", vault.authority(kind.authority).unwrap()).display().to_string();
        let server: &[&str] = &["-purpose", "sslserver", "-verify_ip", "10.0.0.1", "-verify_hostname", "pg-prod-node1"];
        let client: &[&str] = &["-purpose", "sslclient", "-verify_ip", "127.0.0.1", "-verify_hostname", "localhost"];
        let verify = |how: &[&str], ca: &str| {
            let args = [&["verify", "-x509_strict", "-attime", &at, "-CAfile", ca], how, &[&certificate]].concat();
            Command::new("openssl").args(args)
        };
        let done = verify(server, &ca).run(&site.context, |_| ()).await.unwrap();
        assert!(done.status.success(), "{kind:?}: {:?}", done.tail);
        let done = verify(client, &ca).run(&site.context, |_| ()).await.unwrap();
        assert_eq!(done.status.success(), kind.purpose == Purpose::ServerAndClient, "{kind:?}: {:?}", done.tail);
        for other in KINDS.iter().map(|other| other.authority).filter(|other| *other != kind.authority) {
            let ca = site.file("other.pem", vault.authority(other).unwrap()).display().to_string();
            let done = verify(server, &ca).run(&site.context, |_| ()).await.unwrap();
            assert!(!done.status.success(), "{kind:?} verifies against {other:?}");
        }
        let public = site.openssl(&["pkey", "-in", &private, "-pubout"]).await;
        assert_eq!(site.openssl(&["x509", "-in", &certificate, "-noout", "-pubkey"]).await, public);
        assert!(site.openssl(&["x509", "-in", &certificate, "-noout", "-text"]).await.contains("prime256v1"));
    }
    let client =
        site.file("client.pem", &vault.client(Certificate::CONTROLLER).unwrap().certificate).display().to_string();
    let ca = site.file("ca.pem", vault.authority(Authority::CONTROL).unwrap()).display().to_string();
    let base = ["verify", "-x509_strict", "-attime", &at, "-CAfile", &ca, "-purpose", "sslclient", &client];
    site.openssl(&base).await;
}
