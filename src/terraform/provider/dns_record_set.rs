//! `hactl_dns_record_set`: the addresses of one name in a zone that takes signed updates.

use std::{collections::BTreeSet, fmt, net::IpAddr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    network::not_importable,
    resource::{Call, Failed, Resource, ResourceProblem, check_text, check_whole, parse, state},
    schema::{Attribute, Kind, Mode, Schema},
    value::{Object, State, Value},
};
use crate::{
    dns::{self, Records, Zone},
    error::Result,
    model::{DEFAULT_PORT, DEFAULT_TTL, Dns, DnsServer, DomainName, HostName, KeyAlgorithm},
};

pub(super) struct DnsRecordSet;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Attributes {
    server: DnsServer,
    port: Option<u16>,
    zone: DomainName,
    name: String,
    /// `None` or empty if the machine has no address yet.
    addresses: Option<BTreeSet<IpAddr>>,
    ttl: Option<u32>,
    key_name: DomainName,
    key_algorithm: Option<KeyAlgorithm>,
    key_secret_variable: Option<String>,
    cluster_uuid: Option<Uuid>,
    machine: Option<String>,
    machine_kind: Option<MachineKind>,
    fqdn: Option<String>,
    /// What the last apply wrote: a destroy removes only these addresses, whatever the name has by then.
    made: Option<BTreeSet<IpAddr>>,
}

/// The kind of machine that has the addresses: it decides which advice a machine without an address gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum MachineKind {
    #[default]
    Vm,
    Container,
}

impl Attributes {
    fn dns(&self) -> Dns {
        Dns {
            zone: self.zone.clone(),
            server: self.server.clone(),
            port: self.port.unwrap_or(DEFAULT_PORT),
            ttl: self.ttl.unwrap_or(DEFAULT_TTL),
            key_name: self.key_name.clone(),
            key_algorithm: self.key_algorithm.unwrap_or_default(),
        }
    }

    fn zone(&self, call: &Call<'_>) -> Result<Zone> {
        let variable = self.key_secret_variable.as_deref().unwrap_or(dns::SECRET_VARIABLE);
        Zone::new(self.dns(), &dns::secret_in(call.env(), variable)?)
    }

    /// The records to write.
    ///
    /// # Errors
    /// When the machine has no address.
    fn records(&self) -> Result<Records, ResourceProblem> {
        match &self.addresses {
            Some(addresses) if !addresses.is_empty() => {
                let ttl = self.ttl.unwrap_or(DEFAULT_TTL);
                Ok(Records { addresses: addresses.clone(), ttl, cluster: self.cluster_uuid })
            }
            _ => Err(self.no_address()),
        }
    }

    fn no_address(&self) -> ResourceProblem {
        let machine = self.machine.as_deref().unwrap_or(&self.name);
        let (summary, look) = match self.machine_kind.unwrap_or_default() {
            MachineKind::Vm => (
                "VM IP address is not available. Ensure QEMU guest agent is running.",
                "Install qemu-guest-agent in the VM, enable the agent in the VM's options, then apply again.",
            ),
            MachineKind::Container => (
                "Container IP address is not available. Ensure its network interface is up and has an IPv4 address.",
                "Check its address on the hypervisor with `pct exec VMID -- ip -4 address`: with DHCP, a server has to \
                 answer within 10 s of the start. Then apply again.",
            ),
        };
        let fqdn = self.dns().fqdn(&self.name);
        ResourceProblem::at(
            "addresses",
            summary,
            format!("{machine} has no address, so {fqdn} was not written. {look}"),
        )
    }

    /// The state after `records` are written.
    fn written(self) -> State {
        let (fqdn, made) = (Some(self.dns().fqdn(&self.name)), self.addresses.clone());
        state(&Self { fqdn, made, ..self })
    }
}

#[tonic::async_trait]
impl Resource for DnsRecordSet {
    fn type_name(&self) -> &'static str {
        "hactl_dns_record_set"
    }

    fn schema(&self) -> Schema {
        use {Kind::*, Mode::*};
        Schema {
            description: "The addresses of one name: A and AAAA records, written by dynamic updates (RFC 2136) that are signed \
                          with a TSIG key. An environment variable has the key's secret, in base64.",
            attributes: vec![
                Attribute::new("server", Text, Required, "The zone's primary server: an IP address or a host name."),
                Attribute::new("port", Number, Optional, "The server's port, 53 by default."),
                Attribute::new(
                    "zone",
                    Text,
                    Required,
                    "The zone in lower case, with a trailing dot: `home.sflab.io.`.",
                )
                .replaces(),
                Attribute::new("name", Text, Required, "The name within the zone, for example `pg-prod-node1`.")
                    .replaces(),
                Attribute::new(
                    "addresses",
                    TextSet,
                    Optional,
                    "IPv4 and IPv6 addresses. Null or empty if the machine has none: the apply of this record then fails.",
                ),
                Attribute::new("ttl", Number, Optional, "Time to live in seconds, 300 by default."),
                Attribute::new("key_name", Text, Required, "The TSIG key's name, with a trailing dot: `ddnskey.`."),
                Attribute::new(
                    "key_algorithm",
                    Text,
                    Optional,
                    "`hmac-sha256` by default, `hmac-sha384` or `hmac-sha512`.",
                ),
                Attribute::new(
                    "key_secret_variable",
                    Text,
                    Optional,
                    "The environment variable that has the key's secret, `TF_VAR_dns_key_secret` by default.",
                ),
                Attribute::new(
                    "cluster_uuid",
                    Text,
                    Optional,
                    "UUID of the cluster, which a TXT record of the same name stores where the server allows it.",
                ),
                Attribute::new("machine", Text, Optional, "The machine's name, for messages."),
                Attribute::new("machine_kind", Text, Optional, "`vm` by default, or `container`, for messages."),
                Attribute::new("fqdn", Text, Computed, "The full name: `pg-prod-node1.home.sflab.io.`."),
                Attribute::new(
                    "made",
                    TextSet,
                    Computed,
                    "The addresses that the last apply wrote; a destroy removes only these.",
                ),
            ],
        }
    }

    fn validate(&self, config: &Object) -> Vec<ResourceProblem> {
        let mut problems = Vec::new();
        check_text(config, "server", &mut problems, |text| text.parse::<DnsServer>().map(|_| ()));
        // Only the canonical form: the state has it, and another spelling would be a change.
        for attribute in ["zone", "key_name"] {
            check_canonical::<DomainName>(config, attribute, &mut problems);
        }
        check_canonical::<Uuid>(config, "cluster_uuid", &mut problems);
        check_text(config, "name", &mut problems, |text| {
            let labels = || text.split('.').try_for_each(|label| label.parse::<HostName>().map(|_| ()));
            labels().map_err(|error| error.to_string())
        });
        check_text(config, "key_algorithm", &mut problems, |text| text.parse::<KeyAlgorithm>().map(|_| ()));
        check_text(config, "key_secret_variable", &mut problems, |text| {
            let word = |character: char| character.is_ascii_alphanumeric() || character == '_';
            let valid = text.chars().all(word) && text.starts_with(|first: char| !first.is_ascii_digit());
            // The text is not quoted: it may be the secret itself.
            if valid { Ok(()) } else { Err("The value is not the name of an environment variable.") }
        });
        check_text(config, "machine_kind", &mut problems, |text| match text {
            "vm" | "container" => Ok(()),
            other => Err(format!("`{other}` is neither vm nor container.")),
        });
        if let Some(Value::List(addresses)) = config.get("addresses") {
            for text in addresses.iter().filter_map(Value::text) {
                let one = Object::from([("addresses".to_owned(), Value::Text(text.to_owned()))]);
                check_canonical::<IpAddr>(&one, "addresses", &mut problems);
            }
        }
        check_whole(config, "port", 1..=u16::MAX.into(), " from 1 to 65535", &mut problems);
        check_whole(config, "ttl", 1..=i32::MAX.unsigned_abs(), " from 1 to 2147483647", &mut problems);
        problems
    }

    fn plan(&self, prior: Option<&Object>, planned: &mut Object) {
        // After the apply these are the planned addresses, whatever was written before.
        let addresses = planned.get("addresses").cloned().unwrap_or(Value::Null);
        planned.insert("made".to_owned(), addresses);
        if prior.is_none()
            && let Some(name) = planned.get("name").and_then(Value::text)
            && let Some(zone) = planned.get("zone").and_then(Value::text)
        {
            planned.insert("fqdn".to_owned(), Value::Text(format!("{name}.{zone}")));
        }
    }

    async fn create(&self, call: &Call<'_>, planned: State) -> Result<State, Failed> {
        let planned: Attributes = parse(planned)?;
        let wanted = planned.records()?;
        planned.zone(call)?.create(&planned.name, &wanted).await?;
        Ok(planned.written())
    }

    async fn read(&self, call: &Call<'_>, known: State) -> Result<Option<State>> {
        let known: Attributes = parse(known)?;
        let found = known.zone(call)?.find(&known.name).await?;
        if found.addresses.is_empty() {
            return Ok(None);
        }
        let wanted = known.ttl.unwrap_or(DEFAULT_TTL);
        let other = found.addresses.values().find(|ttl| **ttl != wanted).copied();
        let addresses = Some(found.addresses.into_keys().collect());
        Ok(Some(state(&Attributes { addresses, ttl: other.or(known.ttl), ..known })))
    }

    async fn update(&self, call: &Call<'_>, prior: State, planned: State) -> Result<State, Failed> {
        let (prior, planned): (Attributes, Attributes) = (parse(prior)?, parse(planned)?);
        let wanted = planned.records()?;
        let zone = planned.zone(call)?;
        if (&prior.server, prior.port) == (&planned.server, planned.port) {
            zone.change(&planned.name, &prior.addresses.unwrap_or_default(), &wanted).await?;
        } else {
            // hactl has never read the records of the new server.
            zone.create(&planned.name, &wanted).await?;
        }
        Ok(planned.written())
    }

    async fn delete(&self, call: &Call<'_>, known: State) -> Result<()> {
        let known: Attributes = parse(known)?;
        let made = known.made.clone().unwrap_or_default();
        known.zone(call)?.remove(&known.name, &made, known.cluster_uuid).await
    }

    async fn import(&self, call: &Call<'_>, id: &str) -> Result<State> {
        let refused = || {
            not_importable("DNS record", id).hint(
                "Import it as SERVER/KEY/ZONE/NAME, for example 192.168.1.13/ddnskey./home.sflab.io./pg-prod-node1, \
                 or with port and algorithm, 192.168.1.13:5353/hmac-sha512:ddnskey./home.sflab.io./pg-prod-node1",
            )
        };
        let known = parse_id(id).map_err(|cause| refused().cause(cause))?;
        let found = known.zone(call)?.find_marked(&known.name).await?;
        if found.addresses.is_empty() {
            return Err(refused().cause(format!("{} has no address", known.dns().fqdn(&known.name))));
        }
        // By the import, the user says that all addresses belong to this cluster.
        Ok(Attributes {
            ttl: found.addresses.values().next().copied(),
            cluster_uuid: found.marks.iter().next().map(|mark| mark.cluster),
            addresses: Some(found.addresses.into_keys().collect()),
            ..known
        }
        .written())
    }
}

fn parse_id(id: &str) -> Result<Attributes, String> {
    let parts: Vec<&str> = id.split('/').collect();
    let &[server, key, zone, name] = parts.as_slice() else {
        return Err(format!("the ID has {} parts instead of 4", parts.len()));
    };
    let (server, port) = match server.rsplit_once(':') {
        // An IPv6 address has colons itself: with a port it is in brackets.
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            (host.trim_matches(['[', ']']), Some(port.parse().map_err(|_| format!("`{port}` is not a port"))?))
        }
        _ => (server.trim_matches(['[', ']']), None),
    };
    let (key_algorithm, key) = match key.split_once(':') {
        Some((algorithm, key)) => (Some(said(algorithm.parse())?), key),
        None => (None, key),
    };
    Ok(Attributes {
        server: said(server.parse())?,
        port,
        zone: said(zone.parse())?,
        name: name.to_owned(),
        addresses: None,
        ttl: None,
        key_name: said(key.parse())?,
        key_algorithm,
        key_secret_variable: None,
        cluster_uuid: None,
        machine: None,
        machine_kind: None,
        fqdn: None,
        made: None,
    })
}

fn said<T, E: fmt::Display>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.to_string())
}

/// Checks that a known text is a `T` in its canonical spelling.
fn check_canonical<T: std::str::FromStr + fmt::Display>(
    config: &Object,
    attribute: &'static str,
    problems: &mut Vec<ResourceProblem>,
) where
    T::Err: fmt::Display,
{
    check_text(config, attribute, problems, |text| match text.parse::<T>() {
        Ok(value) if value.to_string() == text => Ok(()),
        Ok(value) => Err(format!("`{text}` must be written as {value}.")),
        Err(error) => Err(format!("`{text}`: {error}.")),
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::terraform::provider::value::fixture::{object, text};

    fn texts(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|one| text(one)).collect())
    }

    #[test]
    fn invalid_dns_record_set_is_reported_at_its_attributes() {
        let bad = object(&[
            ("server", text("10.0.0.1:53")),
            ("port", Value::Number(0.0)),
            ("zone", text("home.sflab.io")),
            ("name", text("node_1")),
            ("addresses", texts(&["10.0.0.1", "2001:DB8::1", "10.0.0.256"])),
            ("ttl", Value::Number(1.5)),
            ("key_name", text("ddnskey")),
            ("key_algorithm", text("hmac-md5")),
            ("cluster_uuid", text("1")),
            ("key_secret_variable", text("aHVudGVyMg==")),
            ("machine_kind", text("pod")),
        ]);
        let problems = DnsRecordSet.validate(&bad);
        let at: Vec<_> = problems.iter().filter_map(|problem| problem.attribute).collect();
        let expected = [
            "server",
            "zone",
            "key_name",
            "cluster_uuid",
            "name",
            "key_algorithm",
            "key_secret_variable",
            "machine_kind",
            "addresses",
            "addresses",
            "port",
            "ttl",
        ];
        assert_eq!(at, expected);
        let all: String = problems.iter().map(|problem| format!("{}\n", problem.detail)).collect();
        for word in ["hmac-md5", "written as home.sflab.io.", "written as 2001:db8::1", "10.0.0.256"] {
            assert!(all.contains(word), "no {word} in {all}");
        }
        assert!(!all.contains("aHVudGVyMg"), "{all}");
        let good = object(&[
            ("addresses", texts(&["10.0.0.1", "2001:db8::1"])),
            ("zone", Value::Unknown),
            ("name", text("a.b")),
        ]);
        assert!(DnsRecordSet.validate(&good).is_empty());
    }

    #[test]
    fn dns_record_set_plan_shows_written_values_and_replaces_on_rename() {
        let mut planned = object(&[("name", text("node1")), ("zone", text("a.b.")), ("addresses", Value::Unknown)]);
        DnsRecordSet.plan(None, &mut planned);
        assert_eq!((&planned["fqdn"], &planned["made"]), (&text("node1.a.b."), &Value::Unknown));
        // Others have changed the record: the planned addresses are written again.
        let prior = object(&[
            ("addresses", texts(&["10.9.9.9"])),
            ("made", texts(&["10.0.0.1"])),
            ("ttl", Value::Number(60.0)),
        ]);
        let next = object(&[("addresses", texts(&["10.0.0.2"])), ("made", texts(&["10.0.0.1"])), ("ttl", Value::Null)]);
        let (mut planned, replacing) = DnsRecordSet.schema().plan(Some(&prior), next);
        DnsRecordSet.plan(Some(&prior), &mut planned);
        assert!(replacing.is_empty());
        assert_eq!(planned["made"], texts(&["10.0.0.2"]));
        for name in ["name", "zone"] {
            let (prior, next) = (object(&[(name, text("a"))]), object(&[(name, text("b"))]));
            assert_eq!(DnsRecordSet.schema().plan(Some(&prior), next).1, [name]);
        }
    }

    #[test]
    fn machine_without_an_address_is_reported_with_a_hint() {
        let mut record = parse_id("10.0.0.1/k./a.b./node1").unwrap();
        let problem = record.records().unwrap_err();
        assert_eq!(problem.summary, "VM IP address is not available. Ensure QEMU guest agent is running.");
        record.machine = Some("pg1".to_owned());
        record.machine_kind = Some(MachineKind::Container);
        record.addresses = Some(BTreeSet::new());
        let problem = record.records().unwrap_err();
        assert!(problem.summary.starts_with("Container IP address") && problem.detail.contains("pg1 has no address"));
    }

    #[test]
    fn dns_record_set_id_has_server_key_zone_and_name() {
        let record = parse_id("[2001:db8::53]:5353/hmac-sha512:k./a.b./node1").unwrap();
        assert_eq!((record.server.as_str(), record.port), ("2001:db8::53", Some(5353)));
        assert_eq!((record.key_name.as_str(), record.key_algorithm), ("k.", Some(KeyAlgorithm::HmacSha512)));
        let record = parse_id("2001:db8::53/k/a.b/node1").unwrap();
        assert_eq!((record.server.as_str(), record.port, record.zone.as_str()), ("2001:db8::53", None, "a.b."));
        for bad in ["node1", "s/k/z", "s:x/k/z/n", "s/hmac-md5:k/z/n", "s//z/n"] {
            assert!(parse_id(bad).is_err(), "{bad}");
        }
    }
}
