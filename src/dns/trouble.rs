//! The reason of a failure -> its error: one message per cause, with what to do.

use hickory_proto::op::ResponseCode;

use crate::{
    error::{Error, codes},
    model::{Dns, KeyAlgorithm},
};

/// Why the server did not do what it was asked, as far as it can be told.
#[derive(Debug)]
pub(super) enum Reason {
    /// The server's own name has no address.
    Unknown(String),
    Silent(String),
    Secret,
    KeyName,
    /// The server has the key, for this algorithm.
    Algorithm(KeyAlgorithm),
    /// How many seconds the server's clock is ahead of ours.
    Clock(Option<i64>),
    Forged(String),
    /// The zone is not the server's; the one around it that is.
    Zone(Option<String>),
    /// Zone and key are right, the change is not allowed.
    Refused(ResponseCode),
    Code(ResponseCode),
}

/// The error of failing to do `what` to `object`; `secret` is the environment variable with the key's secret.
pub(super) fn explain(dns: &Dns, secret: &str, what: &str, object: &str, reason: Reason) -> Error {
    let (server, key, zone, algorithm) = (dns.endpoint(), &dns.key_name, &dns.zone, dns.key_algorithm);
    let failed = |code: &'static str| Error::failed(code, what, object);
    match reason {
        Reason::Unknown(seen) => failed(codes::DNS_SERVER)
            .cause(format!("the DNS server's name {} could not be resolved: {seen}", dns.server))
            .hint("Set `server` to the server's IP address, or make its name resolvable on this machine"),
        Reason::Silent(seen) => {
            failed(codes::DNS_SILENT).cause(format!("the DNS server {server} did not answer ({seen})")).hint(format!(
                "Check that a DNS server runs at {server} and that no firewall blocks it, then run the same command \
                 again"
            ))
        }
        Reason::Secret => failed("dns-secret")
            .cause(format!("the TSIG secret is wrong: {server} has another secret for the key {key} with {algorithm}"))
            .hint(format!("Set {secret} to the `secret` of {key} in the server's configuration")),
        Reason::KeyName => failed("dns-key-name")
            .cause(format!(
                "the key name is wrong: {server} knows no key {key} for {zone}, with {algorithm} or with another \
                 algorithm that hactl speaks"
            ))
            .hint(
                "Set `key_name` to the name of the `key` in the server's configuration; Knot accepts a key only if an \
                 `acl` of the zone names it",
            ),
        Reason::Algorithm(right) => failed("dns-key-algorithm")
            .cause(format!("the key's algorithm is wrong: {server} knows {key} with {right}, not with {algorithm}"))
            .hint(format!("Set `key_algorithm` to {right}")),
        Reason::Clock(ahead) => {
            let by = match ahead {
                Some(ahead @ 1..) => format!("the clock of {server} is {ahead} s ahead of this machine's"),
                Some(ahead) => format!("the clock of {server} is {} s behind this machine's", ahead.unsigned_abs()),
                None => format!("the clocks of {server} and this machine differ too much"),
            };
            failed("dns-clock")
                .cause(format!("{by}: signatures are valid for 300 s"))
                .hint("Synchronize both clocks, for example by NTP")
        }
        Reason::Forged(seen) => failed("dns-answer")
            .cause(format!("the answer from {server} cannot be trusted: {seen}"))
            .hint(format!("Check that {server} supports TSIG, and that no other server answers at its address")),
        Reason::Zone(around) => {
            let error = failed("dns-zone").cause(format!("the server {server} does not serve the zone {zone}"));
            match around {
                Some(around) => error
                    .cause(format!("{zone} is inside its zone {around}"))
                    .hint(format!("Set `zone` to {around}, or create the zone {zone} on the server")),
                None => error.hint(format!(
                    "Set `server` to the zone's primary server; `dig @{} -p {} {zone} SOA` shows what this server \
                     answers",
                    dns.server, dns.port
                )),
            }
        }
        Reason::Refused(code) => failed("dns-refused")
            .cause(format!(
                "{server} refused the request ({}): the key {key} may not change this name or type in {zone}",
                word(code)
            ))
            .hint(format!(
                "Allow the key on the server: in BIND `update-policy {{ grant {key} zonesub A AAAA TXT; }};`, in Knot \
                 an `acl` with \
                 `action: update`; only the zone's primary server accepts updates"
            )),
        Reason::Code(code) => failed("dns-failed")
            .cause(format!("{server} answered {}", word(code)))
            .hint("Check the server's log for the reason, then run the same command again"),
    }
}

/// A response code as tools print it.
fn word(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        ResponseCode::NotZone => "NOTZONE".to_owned(),
        other => format!("response code {}, {}", u16::from(other), other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dns_failure_has_a_unique_code_and_a_hint() {
        let dns = Dns {
            zone: "a.b".parse().unwrap(),
            server: "10.0.0.1".parse().unwrap(),
            port: 5353,
            ttl: 300,
            key_name: "k".parse().unwrap(),
            key_algorithm: KeyAlgorithm::HmacSha256,
        };
        let reasons = [
            Reason::Unknown("x".to_owned()),
            Reason::Silent("x".to_owned()),
            Reason::Secret,
            Reason::KeyName,
            Reason::Algorithm(KeyAlgorithm::HmacSha512),
            Reason::Clock(Some(-400)),
            Reason::Forged("x".to_owned()),
            Reason::Zone(None),
            Reason::Refused(ResponseCode::Refused),
            Reason::Code(ResponseCode::ServFail),
        ];
        let mut codes: Vec<_> = reasons
            .into_iter()
            .map(|reason| {
                let error = explain(&dns, "LAB_KEY", "create the record", "node1.a.b.", reason);
                assert!(error.hint.is_some() && error.to_string().contains("10.0.0.1"), "{error}");
                error.code
            })
            .collect();
        codes.dedup();
        assert_eq!(codes.len(), 10);
        let error = explain(&dns, "LAB_KEY", "create", "x", Reason::Clock(Some(-400))).to_string();
        assert!(error.contains("400 s behind"), "{error}");
        let error = explain(&dns, "LAB_KEY", "create", "x", Reason::Zone(Some("b.".to_owned()))).to_string();
        assert!(error.contains("a.b. is inside its zone b."), "{error}");
        let error = explain(&dns, "LAB_KEY", "create", "x", Reason::Secret).to_string();
        assert!(error.contains("Set LAB_KEY to the `secret` of k."), "{error}");
    }
}
