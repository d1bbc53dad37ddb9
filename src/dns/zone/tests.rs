use super::*;
use crate::{
    dns,
    model::{DEFAULT_PORT, DEFAULT_TTL},
};

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn zone() -> Zone {
    let settings = Dns {
        zone: "a.b".parse().unwrap(),
        server: "192.0.2.53".parse().unwrap(),
        port: DEFAULT_PORT,
        ttl: DEFAULT_TTL,
        key_name: "k".parse().unwrap(),
        key_algorithm: KeyAlgorithm::HmacSha256,
    };
    let env = BTreeMap::from([(dns::SECRET_VARIABLE.to_owned(), "c2VjcmV0".to_owned())]);
    Zone::new(settings, &dns::secret(&env).unwrap()).unwrap()
}

fn wanted(addresses: &[&str]) -> Records {
    let addresses = addresses.iter().map(|text| ip(text)).collect();
    Records { addresses, ttl: 300, cluster: Some(Uuid::from_u128(1)) }
}

fn found(addresses: &[&str], marks: &[(u128, &str)]) -> FoundRecords {
    let mark = |(cluster, text): &(u128, &str)| RecordMarker { cluster: Uuid::from_u128(*cluster), address: ip(text) };
    FoundRecords {
        addresses: addresses.iter().map(|text| (ip(text), 300)).collect(),
        alias: None,
        marks: marks.iter().map(mark).collect(),
    }
}

/// Class, type and data of each record, as RFC 2136 reads them.
fn lines(records: &[Record]) -> Vec<String> {
    let data = |record: &Record| {
        if matches!(record.data, RData::Update0(_)) { String::new() } else { format!(" {}", record.data) }
    };
    let line =
        |record: &Record| format!("{} {} {}{}", record.ttl, record.dns_class, record.record_type(), data(record));
    records.iter().map(line).collect()
}

#[test]
fn new_name_requires_that_no_addresses_or_alias_exist() {
    let zone = zone();
    let message = zone.write_message(&zone.owner("n").unwrap(), None, &wanted(&["192.0.2.1", "2001:db8::1"]), true);
    assert_eq!(lines(&message.answers), ["0 NONE CNAME", "0 NONE A", "0 NONE AAAA"]);
    let mark = |address: &str| format!("300 IN TXT hactl={}/{address}", Uuid::from_u128(1));
    let expected =
        ["300 IN A 192.0.2.1".to_owned(), "300 IN AAAA 2001:db8::1".to_owned(), mark("192.0.2.1"), mark("2001:db8::1")];
    assert_eq!(lines(&message.authorities), expected);
    let bare = zone.write_message(&zone.owner("n").unwrap(), None, &wanted(&["192.0.2.1"]), false);
    assert_eq!(lines(&bare.authorities), ["300 IN A 192.0.2.1"]);
}

#[test]
fn changed_name_is_updated_in_a_single_message_if_still_as_read() {
    let (zone, other) = (zone(), Uuid::from_u128(2));
    let seen = found(&["192.0.2.1", "192.0.2.9"], &[(1, "192.0.2.1"), (2, "192.0.2.9")]);
    let message = zone.write_message(&zone.owner("n").unwrap(), Some(&seen), &wanted(&["192.0.2.2"]), true);
    assert_eq!(lines(&message.answers), ["0 NONE CNAME", "0 IN A 192.0.2.1", "0 IN A 192.0.2.9", "0 NONE AAAA"]);
    let changes = lines(&message.authorities);
    assert_eq!(changes[..2], ["0 ANY A", "300 IN A 192.0.2.2"]);
    assert!(changes[2].starts_with("0 NONE TXT hactl=") && changes[3].starts_with("300 IN TXT hactl="), "{changes:?}");
    assert!(changes.iter().all(|line| !line.contains(&other.to_string())), "another cluster's mark: {changes:?}");
}

#[test]
fn addresses_without_the_marker_of_the_cluster_are_foreign() {
    let there = found(&["192.0.2.1", "192.0.2.2"], &[(1, "192.0.2.1"), (2, "192.0.2.2"), (1, "192.0.2.3")]);
    assert_eq!(there.strangers(Some(Uuid::from_u128(1))), [ip("192.0.2.2")]);
    assert_eq!(there.strangers(None).len(), 2);
    let exactly = wanted(&["192.0.2.1", "192.0.2.2"]);
    assert!(there.is(&exactly) && !there.is(&Records { ttl: 60, ..exactly.clone() }));
    assert!(!FoundRecords { alias: Some("c.".to_owned()), ..there }.is(&exactly));
}
