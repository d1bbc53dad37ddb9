//! Certificates that are served -> problems and notices, and the earliest end: pure, apart from [`certificates`].

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp, tz::TimeZone};

use super::diagnose::Health;
use crate::{
    access::Access,
    component::{Certificates, Problem, Served, Stamp, TlsService, ask_certificates, each_served},
    fleet::Fleet,
    model::InstanceKey,
    plan::Plan,
};

/// Days before the end of a certificate from which on `status` has a notice, and a problem.
const NOTICE_DAYS: i64 = 120;
const PROBLEM_DAYS: i64 = 30;

/// Asks all machines at once.
pub async fn certificates(fleet: &Fleet, access: &Access) -> Certificates {
    ask_certificates(fleet, access).await
}

/// How near the end of a certificate is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    Far,
    Notice,
    Problem,
    Over,
}

fn nearness(not_after: Timestamp, now: Timestamp) -> Nearness {
    let left = not_after.duration_since(now);
    match left {
        _ if left <= SignedDuration::ZERO => Nearness::Over,
        _ if left < SignedDuration::from_hours(24 * PROBLEM_DAYS) => Nearness::Problem,
        _ if left < SignedDuration::from_hours(24 * NOTICE_DAYS) => Nearness::Notice,
        _ => Nearness::Far,
    }
}

/// The day of a time, as texts have it.
fn day(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).date().to_string()
}

/// The certificate that ends first, in words: the day, the machine and the service.
#[must_use]
pub fn earliest_end(certificates: &Certificates) -> Option<String> {
    let all = each_served(certificates);
    let ends = all.filter_map(|(key, one)| Some((one.served.as_ref()?.not_after, key, one.service)));
    let (not_after, key, service) = ends.min()?;
    Some(format!("{} ({} on {key})", day(not_after), service.title()))
}

/// Whether every service serves the certificate that is on its machine's disk.
pub(crate) fn are_read(certificates: &Certificates) -> bool {
    certificates.values().flatten().flatten().all(|one| unread(one).is_none())
}

/// The certificate on disk and that which is served instead.
fn unread(one: &Served) -> Option<(&Stamp, &Stamp)> {
    let (file, served) = (one.file.as_ref()?, one.served.as_ref()?);
    (file.sha256 != served.sha256).then_some((file, served))
}

impl Health {
    /// Adds what the machines serve, and what is wrong with it.
    pub fn add_certificates(&mut self, plan: &Plan, certificates: Certificates) {
        for (key, said) in certificates.iter().filter_map(|(key, served)| Some((key, served.as_ref().err()?))) {
            let message = format!("the machine does not say which certificates its services serve: {said}");
            let hint = format!("Run `hactl status {}` again; check that Python 3 runs on the machine", plan.cluster);
            let (code, node) = ("certificate-unknown".to_owned(), Some(key.to_string()));
            self.notices.push(Problem { code, node, message, hint: Some(hint) });
        }
        for (key, one) in each_served(&certificates) {
            if let Some(served) = &one.served {
                self.leaf(plan, key, one, served);
            }
            if let Some((file, served)) = unread(one) {
                let message = format!(
                    "{} serves a certificate that expires on {}, not the one on the machine's disk, which expires on {}",
                    one.service.title(),
                    day(served.not_after),
                    day(file.not_after)
                );
                let hint = format!("Run `hactl up {}`, which lets it read the certificate", plan.cluster);
                self.problem("certificate-unread", Some(key), message, Some(hint));
            }
        }
        self.authorities(plan, &certificates);
        self.certificates = certificates;
    }

    /// Adds what is wrong with the certificate that hactl itself presents.
    pub fn add_own_certificate(&mut self, plan: &Plan, ends: Timestamp, now: Timestamp) {
        let message = format!("hactl's own certificate for etcd and Patroni expires on {}", day(ends));
        self.near(ends, now, None, message, Some(format!("Run `hactl up {}` to renew it", plan.cluster)));
    }

    fn leaf(&mut self, plan: &Plan, key: &InstanceKey, one: &Served, served: &Stamp) {
        let (title, end) = (one.service.title(), day(served.not_after));
        // A certificate never ends after its authority: a new one would end on the same day.
        let ends_with_authority =
            one.authority.as_ref().is_some_and(|authority| authority.not_after <= served.not_after);
        let hint = (!plan.platform.is_adopted() && !ends_with_authority)
            .then(|| format!("Run `hactl up {}` to renew it", plan.cluster));
        let message = match nearness(served.not_after, one.at) {
            Nearness::Over => format!("the certificate of {title} expired at {}", served.not_after),
            _ => format!("the certificate of {title} expires on {end}"),
        };
        self.near(served.not_after, one.at, Some(key), message, hint);
    }

    /// Each authority once: all machines have the same.
    fn authorities(&mut self, plan: &Plan, certificates: &Certificates) {
        let mut known: BTreeMap<TlsService, (Timestamp, Timestamp)> = BTreeMap::new();
        for one in certificates.values().flatten().flatten() {
            if let Some(authority) = &one.authority {
                let earliest = known.entry(one.service).or_insert((authority.not_after, one.at));
                earliest.0 = earliest.0.min(authority.not_after);
            }
        }
        for (service, (not_after, now)) in known {
            let message = format!("the CA of {} expires on {}", service.title(), day(not_after));
            let hint = format!(
                "Create a new cluster and move the data of {} to it before that day: hactl does not replace CAs, and no \
                 certificate is valid after its CA has expired",
                plan.cluster
            );
            self.near(not_after, now, None, message, Some(hint));
        }
    }

    fn near(
        &mut self,
        not_after: Timestamp,
        now: Timestamp,
        key: Option<&InstanceKey>,
        message: String,
        hint: Option<String>,
    ) {
        match nearness(not_after, now) {
            Nearness::Far => {}
            Nearness::Notice => {
                let (code, node) = ("certificate-expires".to_owned(), key.map(ToString::to_string));
                self.notices.push(Problem { code, node, message, hint });
            }
            Nearness::Problem => self.problem("certificate-expires", key, message, hint),
            Nearness::Over => self.problem("certificate-expired", key, message, hint),
        }
    }

    fn problem(&mut self, code: &str, key: Option<&InstanceKey>, message: String, hint: Option<String>) {
        let node = key.map(ToString::to_string);
        self.problems.push(Problem { code: code.to_owned(), node, message, hint });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        component::{ProbeError, patroni::Member},
        model::Choices,
        plan, spec,
    };

    fn plan() -> Plan {
        let text = b"instances: {node1: {}, node2: {}}";
        plan::decide(&spec::load("t.yaml", text, "t").unwrap(), &Choices::default()).unwrap()
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn stamp(end: &str, mark: u8) -> Option<Stamp> {
        Some(Stamp { not_after: at(end), sha256: [mark; 32] })
    }

    fn served(service: TlsService, end: &str) -> Served {
        let now = at("2027-01-01T00:00:00Z");
        let authority = stamp("2036-01-01T00:00:00Z", 9);
        Served { service, served: stamp(end, 1), file: stamp(end, 1), authority, at: now }
    }

    fn found(nodes: &[(&str, Vec<Served>)]) -> Health {
        let member = Member { name: "node1".into(), ..Member::default() };
        let mut health = Health { leader: "node1".parse().ok(), members: vec![member], ..Health::default() };
        let certificates = nodes.iter().map(|(key, served)| (key.parse().unwrap(), Ok(served.clone()))).collect();
        health.add_certificates(&plan(), certificates);
        health
    }

    fn lines(problems: &[Problem]) -> Vec<String> {
        let line = |problem: &Problem| {
            let node = problem.node.as_ref().map(|node| format!("{node}: ")).unwrap_or_default();
            format!("[{}] {node}{}", problem.code, problem.message)
        };
        problems.iter().map(line).collect()
    }

    #[test]
    fn end_is_a_notice_120_days_before_and_a_problem_30_days_before() {
        let now = at("2027-01-01T00:00:00Z");
        let table = [
            ("2027-01-01T00:00:00Z", Nearness::Over),
            ("2027-01-01T00:00:01Z", Nearness::Problem),
            ("2027-01-30T23:59:59Z", Nearness::Problem),
            ("2027-01-31T00:00:00Z", Nearness::Notice),
            ("2027-04-30T23:59:59Z", Nearness::Notice),
            ("2027-05-01T00:00:00Z", Nearness::Far),
        ];
        for (end, expected) in table {
            assert_eq!(nearness(at(end), now), expected, "{end}");
        }
    }

    #[test]
    fn certificates_near_their_end_are_named_with_machine_and_service() {
        let health = found(&[
            (
                "node1",
                vec![
                    served(TlsService::Etcd, "2028-06-01T00:00:00Z"),
                    served(TlsService::EtcdPeer, "2027-04-01T00:00:00Z"),
                    served(TlsService::Patroni, "2027-01-20T00:00:00Z"),
                ],
            ),
            ("node2", vec![served(TlsService::Postgresql, "2026-12-31T23:59:59Z")]),
        ]);
        assert_eq!(
            lines(&health.problems),
            [
                "[certificate-expires] node1: the certificate of Patroni expires on 2027-01-20",
                "[certificate-expired] node2: the certificate of PostgreSQL expired at 2026-12-31T23:59:59Z",
            ]
        );
        assert_eq!(
            lines(&health.notices),
            ["[certificate-expires] node1: the certificate of etcd's peer port expires on 2027-04-01"]
        );
        assert_eq!(health.problems[0].hint.as_deref(), Some("Run `hactl up t` to renew it"));
        assert!(!health.is_healthy());
    }

    #[test]
    fn own_certificate_near_its_end_is_a_finding_about_the_whole_cluster() {
        let now = at("2027-01-01T00:00:00Z");
        let mut health = found(&[]);
        health.add_own_certificate(&plan(), at("2027-06-01T00:00:00Z"), now);
        assert!(health.is_healthy() && health.notices.is_empty());
        health.add_own_certificate(&plan(), at("2027-03-01T00:00:00Z"), now);
        health.add_own_certificate(&plan(), at("2027-01-03T00:00:00Z"), now);
        let words = "hactl's own certificate for etcd and Patroni expires on";
        assert_eq!(lines(&health.notices), [format!("[certificate-expires] {words} 2027-03-01")]);
        assert_eq!(lines(&health.problems), [format!("[certificate-expires] {words} 2027-01-03")]);
    }

    #[test]
    fn authority_near_its_end_is_one_problem_for_all_machines() {
        let near = |end: &str| Served { authority: stamp(end, 9), ..served(TlsService::Etcd, end) };
        let health =
            found(&[("node1", vec![near("2027-01-20T00:00:00Z")]), ("node2", vec![near("2027-01-20T00:00:00Z")])]);
        assert_eq!(
            lines(&health.problems),
            [
                "[certificate-expires] node1: the certificate of etcd expires on 2027-01-20",
                "[certificate-expires] node2: the certificate of etcd expires on 2027-01-20",
                "[certificate-expires] the CA of etcd expires on 2027-01-20",
            ]
        );
        // A new certificate would end on that day, too.
        assert_eq!(health.problems[0].hint, None);
        assert!(health.problems[2].hint.as_ref().unwrap().contains("Create a new cluster"));
    }

    #[test]
    fn certificate_that_differs_from_the_file_was_not_read() {
        let mut one = served(TlsService::Patroni, "2028-06-01T00:00:00Z");
        assert!(are_read(&Certificates::from([("node1".parse().unwrap(), Ok(vec![one.clone()]))])));
        one.file = stamp("2029-01-01T00:00:00Z", 2);
        let health = found(&[("node1", vec![one])]);
        assert_eq!(
            lines(&health.problems),
            [
                "[certificate-unread] node1: Patroni serves a certificate that expires on 2028-06-01, not the one on the machine's \
             disk, which expires on 2029-01-01"
            ]
        );
        assert!(!are_read(&health.certificates));
    }

    #[test]
    fn machine_that_does_not_answer_for_its_certificates_is_a_notice() {
        let mut health = found(&[]);
        let silent = Err(ProbeError::Other("no answer within 3 s".to_owned()));
        health.add_certificates(&plan(), Certificates::from([("node2".parse().unwrap(), silent)]));
        assert_eq!(
            lines(&health.notices),
            [
                "[certificate-unknown] node2: the machine does not say which certificates its services serve: no answer within \
              3 s"
            ]
        );
        assert!(health.is_healthy());
    }

    #[test]
    fn service_that_serves_nothing_is_no_finding_about_certificates() {
        let health =
            found(&[("node1", vec![Served { served: None, ..served(TlsService::Etcd, "2027-01-02T00:00:00Z") }])]);
        assert!(health.is_healthy());
        assert_eq!(earliest_end(&health.certificates), None);
    }
}
