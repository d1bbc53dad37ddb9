//! A zone and the key that may change it: the records of a name, and each change as one message.

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType, TSigner,
        rdata::{TXT, tsig::TsigAlgorithm},
    },
};
use uuid::Uuid;

use super::{
    KeySecret, RecordMarker,
    exchange::{Trouble, exchange, now},
    trouble::{Reason, explain},
};
use crate::{
    error::{Error, Result},
    model::{Dns, KeyAlgorithm},
};

/// How far the clocks of both sides may differ, in seconds (RFC 8945 recommends 300).
const FUDGE: u16 = 300;

/// What an answer may have in one datagram without being split on the way.
const DATAGRAM_PAYLOAD: u16 = 1232;

/// The addresses of one name.
const ADDRESSES: [RecordType; 2] = [RecordType::A, RecordType::AAAA];

/// What is wanted at a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Records {
    pub addresses: BTreeSet<IpAddr>,
    pub ttl: u32,
    /// The cluster that it is made for: marked where the server allows it.
    pub cluster: Option<Uuid>,
}

impl Records {
    fn marks(&self) -> impl Iterator<Item = RecordMarker> {
        let cluster = self.cluster;
        self.addresses.iter().filter_map(move |address| Some(RecordMarker { cluster: cluster?, address: *address }))
    }
}

/// The records of a name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FoundRecords {
    /// The addresses, each with its TTL.
    pub addresses: BTreeMap<IpAddr, u32>,
    /// The name that this one is an alias of (CNAME).
    pub alias: Option<String>,
    /// Whose addresses these are, as far as it was asked and hactl made them.
    pub marks: BTreeSet<RecordMarker>,
}

impl FoundRecords {
    /// Addresses that hactl did not make for `cluster`.
    fn strangers(&self, cluster: Option<Uuid>) -> Vec<IpAddr> {
        let marked =
            |address: IpAddr| cluster.is_some_and(|cluster| self.marks.contains(&RecordMarker { cluster, address }));
        self.addresses.keys().copied().filter(|address| !marked(*address)).collect()
    }

    fn is(&self, wanted: &Records) -> bool {
        self.alias.is_none()
            && self.addresses.keys().eq(&wanted.addresses)
            && self.addresses.values().all(|ttl| *ttl == wanted.ttl)
    }
}

/// A zone, its server, and the key that may change it.
pub struct Zone {
    dns: Dns,
    /// The environment variable with the key's secret, for messages.
    secret_variable: String,
    origin: Name,
    signer: TSigner,
}

impl Zone {
    /// Asks nothing yet.
    ///
    /// # Errors
    /// When the secret cannot be used.
    pub fn new(dns: Dns, secret: &KeySecret) -> Result<Self> {
        let origin = name(dns.zone.as_str())?;
        let signer = signer(&dns, dns.key_algorithm, secret.bytes.expose())?;
        Ok(Self { dns, secret_variable: secret.variable.clone(), origin, signer })
    }

    /// Whether the server serves the zone, and knows the key.
    ///
    /// # Errors
    /// With what is wrong, each thing in its own words.
    pub async fn check(&self) -> Result<()> {
        let what = "use the DNS zone";
        let zone = self.dns.zone.as_str();
        let answer = match self.query(&self.origin, RecordType::SOA).await {
            Ok(answer) => answer,
            Err(trouble) => return Err(self.error(what, zone, trouble).await),
        };
        match self.served(&answer) {
            Ok(()) => Ok(()),
            Err(reason) => Err(explain(&self.dns, &self.secret_variable, what, zone, reason)),
        }
    }

    /// The records of `name`, without marks.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn find(&self, name: &str) -> Result<FoundRecords> {
        self.look(name, false).await
    }

    /// The records of `name`, and which of them hactl made.
    ///
    /// # Errors
    /// When the server does not say.
    pub async fn find_marked(&self, name: &str) -> Result<FoundRecords> {
        self.look(name, true).await
    }

    /// Creates what is wanted at `name`, which may have no records of others.
    ///
    /// # Errors
    /// When the name has addresses of others, and when the server does not do it.
    pub async fn create(&self, name: &str, wanted: &Records) -> Result<()> {
        let what = "create the record";
        let resent = match self.write(name, None, wanted).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Code { code, resent }) if is_conflict(code) => resent,
            Err(trouble) => return Err(self.error(what, &self.dns.fqdn(name), trouble).await),
        };
        let found = self.find_marked(name).await?;
        if !self.is_ours(name, &found, wanted, resent).await? {
            return Err(foreign(&self.dns.fqdn(name), &found, wanted));
        }
        self.replace(name, &found, wanted).await
    }

    /// Makes the addresses that were `seen` at `name` what is wanted, in one step: no query in between
    /// finds nothing. Creates a name that has no records any more.
    ///
    /// # Errors
    /// When the server does not do it, or someone else has changed the name meanwhile.
    pub async fn change(&self, name: &str, seen: &BTreeSet<IpAddr>, wanted: &Records) -> Result<()> {
        let found = self.find_marked(name).await?;
        if found.addresses.is_empty() {
            return self.create(name, wanted).await;
        }
        if found.is(wanted) && wanted.marks().all(|mark| found.marks.contains(&mark)) {
            return Ok(());
        }
        if !found.is(wanted) && !found.addresses.keys().eq(seen) {
            return Err(changed(&self.dns.fqdn(name)));
        }
        self.replace(name, &found, wanted).await
    }

    /// Removes `addresses` with their marks, and nothing else. Done, too, when they are gone already.
    ///
    /// # Errors
    /// When the server does not do it.
    pub async fn remove(&self, name: &str, addresses: &BTreeSet<IpAddr>, cluster: Option<Uuid>) -> Result<()> {
        let gone = Records { addresses: addresses.clone(), ttl: 0, cluster };
        if gone.addresses.is_empty() {
            return Ok(());
        }
        let owner = self.owner(name)?;
        let message = |marked: bool| {
            let mut message = self.update();
            message.authorities.extend(gone.addresses.iter().map(|address| delete(&owner, RData::from(*address))));
            message.authorities.extend(gone.marks().filter(|_| marked).map(|mark| delete(&owner, text(mark))));
            message
        };
        match self.send_marked(cluster.is_some(), message).await {
            Ok(_) => Ok(()),
            Err(trouble) => Err(self.error("remove the record", &self.dns.fqdn(name), trouble).await),
        }
    }

    async fn replace(&self, name: &str, found: &FoundRecords, wanted: &Records) -> Result<()> {
        let what = "change the record";
        let fqdn = self.dns.fqdn(name);
        match self.write(name, Some(found), wanted).await {
            Ok(()) => return Ok(()),
            Err(Trouble::Code { code, .. }) if is_conflict(code) => {}
            Err(trouble) => return Err(self.error(what, &fqdn, trouble).await),
        }
        let now = self.find_marked(name).await?;
        if now.is(wanted) {
            return Ok(());
        }
        // The answer may come from a wildcard of the zone, not from the name itself.
        if now == *found && self.write(name, None, wanted).await.is_ok() {
            return Ok(());
        }
        Err(changed(&fqdn))
    }

    /// Whether the records are this cluster's own, from a run that was killed before it recorded them.
    async fn is_ours(&self, name: &str, found: &FoundRecords, wanted: &Records, resent: bool) -> Result<bool> {
        if found.alias.is_some() {
            return Ok(false);
        }
        if found.strangers(wanted.cluster).is_empty() {
            return Ok(true);
        }
        if !found.addresses.keys().eq(&wanted.addresses) {
            return Ok(false);
        }
        // Exactly what is wanted, and no mark: ours if the first datagram had its effect and no answer,
        // or if marks are not allowed here, and so none can be there.
        Ok(resent || wanted.cluster.is_some() && self.refuses_marks(name, wanted).await?)
    }

    /// Asks for the removal of a mark that is not there: whether that is allowed is all that it tells.
    async fn refuses_marks(&self, name: &str, wanted: &Records) -> Result<bool> {
        let owner = self.owner(name)?;
        let mut message = self.update();
        message.authorities.extend(wanted.marks().map(|mark| delete(&owner, text(mark))));
        match self.send(message).await {
            Ok(_) => Ok(false),
            Err(trouble) if may_be_refusal(&trouble) => Ok(true),
            Err(trouble) => Err(self.error("read the record", &self.dns.fqdn(name), trouble).await),
        }
    }

    /// Writes what is wanted, on condition that the name has exactly the records `found`, or none.
    async fn write(&self, name: &str, found: Option<&FoundRecords>, wanted: &Records) -> Result<(), Trouble> {
        let owner = self.owner(name).map_err(|error| Trouble::Unknown(error.to_string()))?;
        let message = |marked| self.write_message(&owner, found, wanted, marked);
        self.send_marked(wanted.cluster.is_some(), message).await.map(|_| ())
    }

    fn write_message(&self, owner: &Name, found: Option<&FoundRecords>, wanted: &Records, marked: bool) -> Message {
        let mut message = self.update();
        let none = FoundRecords::default();
        let found = found.unwrap_or(&none);
        let (conditions, changes) = (&mut message.answers, &mut message.authorities);
        // The server would silently ignore an address beside an alias.
        conditions.push(empty(owner, RecordType::CNAME, DNSClass::NONE));
        for kind in ADDRESSES {
            let there = found.addresses.keys().map(|address| RData::from(*address));
            let there: Vec<_> = there.filter(|data| data.record_type() == kind).collect();
            if there.is_empty() {
                conditions.push(empty(owner, kind, DNSClass::NONE));
            } else {
                conditions.extend(there.into_iter().map(|data| Record::from_rdata(owner.clone(), 0, data)));
                changes.push(empty(owner, kind, DNSClass::ANY));
            }
        }
        let new = wanted.addresses.iter().map(|address| RData::from(*address));
        changes.extend(new.map(|data| Record::from_rdata(owner.clone(), wanted.ttl, data)));
        if marked {
            let old = found.marks.iter().filter(|mark| Some(mark.cluster) == wanted.cluster);
            changes.extend(old.map(|mark| delete(owner, text(*mark))));
            changes.extend(wanted.marks().map(|mark| Record::from_rdata(owner.clone(), wanted.ttl, text(mark))));
        }
        message
    }

    /// Sends a change with its marks, and without them to a server that does not allow them.
    async fn send_marked(&self, marked: bool, message: impl Fn(bool) -> Message) -> Result<Message, Trouble> {
        match self.send(message(marked)).await {
            Err(trouble) if marked && may_be_refusal(&trouble) => self.send(message(false)).await,
            sent => sent,
        }
    }

    async fn look(&self, name: &str, marks: bool) -> Result<FoundRecords> {
        let (what, fqdn, owner) = ("read the record", self.dns.fqdn(name), self.owner(name)?);
        let texts = async { if marks { self.query(&owner, RecordType::TXT).await.map(Some) } else { Ok(None) } };
        let asked = tokio::try_join!(self.query(&owner, RecordType::A), self.query(&owner, RecordType::AAAA), texts);
        let (v4, v6, texts) = match asked {
            Ok(answers) => answers,
            Err(trouble) => return Err(self.error(what, &fqdn, trouble).await),
        };
        let mut found = FoundRecords::default();
        for answer in [Some(v4), Some(v6), texts].into_iter().flatten() {
            if !answer.authoritative {
                return Err(explain(&self.dns, &self.secret_variable, what, &fqdn, Reason::Zone(None)));
            }
            for record in answer.answers.iter().filter(|record| record.name == owner) {
                match &record.data {
                    RData::A(address) => _ = found.addresses.insert(address.0.into(), record.ttl),
                    RData::AAAA(address) => _ = found.addresses.insert(address.0.into(), record.ttl),
                    RData::CNAME(target) => found.alias = Some(target.to_string()),
                    RData::TXT(text) => found.marks.extend(RecordMarker::parse(&text.txt_data.concat())),
                    _ => {}
                }
            }
        }
        Ok(found)
    }

    /// Whether an answer about the zone's SOA came from a server of the zone.
    fn served(&self, message: &Message) -> Result<(), Reason> {
        let is_soa = |record: &&Record| record.record_type() == RecordType::SOA;
        if message.authoritative && message.answers.iter().any(|record| is_soa(&record) && record.name == self.origin) {
            return Ok(());
        }
        let around = message.authorities.iter().find(is_soa).filter(|_| message.authoritative);
        Err(Reason::Zone(around.map(|record| record.name.to_string())))
    }

    fn owner(&self, relative: &str) -> Result<Name> {
        name(&self.dns.fqdn(relative))
    }

    fn update(&self) -> Message {
        let mut message = Message::query();
        message.metadata.op_code = OpCode::Update;
        message.add_query(Query::query(self.origin.clone(), RecordType::SOA));
        message
    }

    async fn query(&self, owner: &Name, kind: RecordType) -> Result<Message, Trouble> {
        self.query_signed(&self.signer, owner, kind).await
    }

    async fn query_signed(&self, signer: &TSigner, owner: &Name, kind: RecordType) -> Result<Message, Trouble> {
        let mut message = Message::query();
        message.add_query(Query::query(owner.clone(), kind));
        let mut edns = Edns::new();
        edns.set_max_payload(DATAGRAM_PAYLOAD);
        message.set_edns(edns);
        exchange((self.dns.server.as_str(), self.dns.port), signer, message).await
    }

    async fn send(&self, message: Message) -> Result<Message, Trouble> {
        exchange((self.dns.server.as_str(), self.dns.port), &self.signer, message).await
    }

    async fn error(&self, what: &str, object: &str, trouble: Trouble) -> Error {
        explain(&self.dns, &self.secret_variable, what, object, self.reason(trouble).await)
    }

    /// Asks again if the server's answer has several possible causes.
    async fn reason(&self, trouble: Trouble) -> Reason {
        match trouble {
            Trouble::Unknown(seen) => Reason::Unknown(seen),
            Trouble::Silent(seen) => Reason::Silent(seen),
            Trouble::Forged(seen) => Reason::Forged(seen),
            Trouble::BadSecret => Reason::Secret,
            Trouble::BadTime(server) => Reason::Clock(
                server.and_then(|server| i64::try_from(server).ok()?.checked_sub(i64::try_from(now()).ok()?)),
            ),
            // Servers say the same of a key that they do not have, of one with another algorithm, and Knot of
            // one that may not do this.
            Trouble::BadKey => {
                if self.query(&self.origin, RecordType::SOA).await.is_ok() {
                    return Reason::Refused(ResponseCode::NotAuth);
                }
                for algorithm in KeyAlgorithm::ALL.into_iter().filter(|other| *other != self.dns.key_algorithm) {
                    let Ok(signer) = signer(&self.dns, algorithm, self.signer.key()) else { continue };
                    match self.query_signed(&signer, &self.origin, RecordType::SOA).await {
                        Err(Trouble::BadKey | Trouble::Silent(_)) => {}
                        _ => return Reason::Algorithm(algorithm),
                    }
                }
                Reason::KeyName
            }
            // And of a zone that is not theirs and of a change that is not allowed.
            Trouble::Code { code, .. } => match self.query(&self.origin, RecordType::SOA).await {
                Ok(answer) => match (self.served(&answer), code) {
                    (Err(reason), _) => reason,
                    (Ok(()), ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::NotImp) => {
                        Reason::Refused(code)
                    }
                    (Ok(()), _) => Reason::Code(code),
                },
                Err(Trouble::Code { code: ResponseCode::Refused | ResponseCode::NotAuth, .. }) => Reason::Zone(None),
                Err(_) => Reason::Code(code),
            },
        }
    }
}

fn signer(dns: &Dns, algorithm: KeyAlgorithm, secret: &[u8]) -> Result<TSigner> {
    let algorithm = match algorithm {
        KeyAlgorithm::HmacSha256 => TsigAlgorithm::HmacSha256,
        KeyAlgorithm::HmacSha384 => TsigAlgorithm::HmacSha384,
        KeyAlgorithm::HmacSha512 => TsigAlgorithm::HmacSha512,
    };
    TSigner::new(secret.to_vec(), algorithm, name(dns.key_name.as_str())?, FUDGE)
        .map_err(|error| Error::failed("dns-key", "use the TSIG key", &dns.key_name).source(&error))
}

fn name(text: &str) -> Result<Name> {
    Name::from_ascii(text).map_err(|error| Error::usage("dns-name", "use the domain name", text).source(&error))
}

/// Whether the server may mean that this change is not allowed: Knot says so in the words for a wrong key.
const fn may_be_refusal(trouble: &Trouble) -> bool {
    matches!(trouble, Trouble::Code { code: ResponseCode::Refused, .. } | Trouble::BadKey)
}

/// A name that is in use, or another one than was thought.
const fn is_conflict(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::YXDomain | ResponseCode::YXRRSet | ResponseCode::NXRRSet | ResponseCode::NXDomain)
}

/// A record without data: as a condition or a change, the class says what it asks for.
fn empty(owner: &Name, kind: RecordType, class: DNSClass) -> Record {
    let mut record = Record::update0(owner.clone(), 0, kind);
    record.dns_class = class;
    record
}

/// The change that removes one record by its data.
fn delete(owner: &Name, data: RData) -> Record {
    let mut record = Record::from_rdata(owner.clone(), 0, data);
    record.dns_class = DNSClass::NONE;
    record
}

fn text(mark: RecordMarker) -> RData {
    RData::TXT(TXT::new(vec![mark.to_string()]))
}

fn changed(fqdn: &str) -> Error {
    Error::failed("dns-changed", "change the record", fqdn)
        .cause("someone else has changed it since hactl read it")
        .hint("Run the same command again")
}

fn foreign(fqdn: &str, found: &FoundRecords, wanted: &Records) -> Error {
    let error = Error::failed("dns-foreign", "create the record", fqdn);
    let error = match &found.alias {
        Some(target) => error.cause(format!("the name exists already, as an alias of {target}")),
        None => {
            let list: Vec<_> = found.strangers(wanted.cluster).iter().map(ToString::to_string).collect();
            error.cause(format!(
                "the name exists already, with addresses that hactl did not create: {}",
                list.join(", ")
            ))
        }
    };
    error.hint("Remove it at the DNS server, or set another name for the machine")
}
