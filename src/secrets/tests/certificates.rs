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
async fn certificates_of_nodes_end_on_different_days_and_not_after_their_authority() {
    let site = Site::new();
    let mut vault = site.vault().await.unwrap();
    let nodes = nodes();
    vault.ensure_certificates(KINDS, &nodes, now()).unwrap();
    let ends = |vault: &Vault| -> Vec<Timestamp> {
        nodes.iter().map(|(key, ..)| vault.node_leaves()[key]["patroni"].not_after().unwrap()).collect()
    };
    let first = ends(&vault);
    assert_eq!(first[0].duration_since(first[1]).as_hours(), 3 * 24, "{first:?}");
    let kept = leaf(&vault, &nodes[1].0, Certificate::PATRONI);
    let before = leaf(&vault, &nodes[0].0, Certificate::PATRONI);
    vault.forget_certificates(Some(&nodes[0].0));
    assert!(vault.ensure_certificates(KINDS, &nodes, now()).unwrap());
    assert_ne!(leaf(&vault, &nodes[0].0, Certificate::PATRONI), before);
    assert_eq!(leaf(&vault, &nodes[1].0, Certificate::PATRONI), kept);

    let years = |count| (now().to_zoned(jiff::tz::TimeZone::UTC) + Span::new().years(count)).timestamp();
    vault.ensure_certificates(KINDS, &nodes, years(9)).unwrap();
    assert_eq!(ends(&vault), vec![years(10).to_zoned(jiff::tz::TimeZone::UTC).start_of_day().unwrap().timestamp(); 2]);
    let error = vault.ensure_certificates(KINDS, &nodes, years(11)).unwrap_err();
    assert!(error.causes[0].starts_with("its CA expired at "), "{error:?}");
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
