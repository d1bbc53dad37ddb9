//! What applications see: the zone's own server, asked by an ordinary resolver without a key.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use hickory_proto::{
    op::ResponseCode,
    rr::{RData, RecordType},
};
use hickory_resolver::{
    Resolver, TokioResolver,
    config::{NameServerConfig, ResolveHosts, ResolverConfig},
    net::{DnsError, NetError, runtime::TokioRuntimeProvider},
};
use tokio_util::sync::CancellationToken;

use super::exchange::address;
use crate::{
    error::{Error, Result, codes},
    model::Dns,
};

/// Names that are asked for at once.
const AT_ONCE: usize = 64;

/// How long one question may wait for its answer. A caller that waits for a good answer asks again.
const PATIENCE: Duration = Duration::from_secs(2);
const ATTEMPTS: usize = 1;

/// Between two rounds of questions about names that do not answer as they should.
const PAUSE: Duration = Duration::from_millis(250);

/// Full names, each with the addresses that it is about.
pub type Names = BTreeMap<String, BTreeSet<IpAddr>>;

/// What a name answers, or why it does not.
type Said = Result<BTreeSet<IpAddr>, String>;

/// A server that is asked.
pub struct Asker {
    endpoint: String,
    resolver: TokioResolver,
}

impl Asker {
    /// Asks nothing yet, but for the address of a server that is given by its name.
    ///
    /// # Errors
    /// When the server's name has no address.
    pub async fn new(dns: &Dns) -> Result<Self> {
        let failed = || Error::failed(codes::DNS_SERVER, "ask the DNS server", dns.endpoint());
        let server = address(dns.server.as_str(), dns.port)
            .await
            .map_err(|seen| failed().cause(format!("its name could not be resolved: {seen}")))?;
        let mut config = NameServerConfig::udp_and_tcp(server.ip());
        for connection in &mut config.connections {
            connection.port = server.port();
        }
        let config = ResolverConfig::from_name_servers(vec![config]);
        let mut builder = Resolver::builder_with_config(config, TokioRuntimeProvider::default());
        let options = builder.options_mut();
        options.timeout = PATIENCE;
        options.attempts = ATTEMPTS;
        options.max_active_requests = 2 * AT_ONCE;
        options.try_tcp_on_error = true;
        // Only the current answer of this server.
        options.recursion_desired = false;
        options.use_hosts_file = ResolveHosts::Never;
        options.cache_size = 0;
        let resolver = builder.build().map_err(|error| failed().source(&error))?;
        Ok(Self { endpoint: dns.endpoint(), resolver })
    }

    /// Asks until every name answers with exactly its addresses.
    ///
    /// # Errors
    /// After `patience`, with each name that does not: what was expected and what was found.
    pub async fn until_there(&self, names: &Names, patience: Duration, stop: &CancellationToken) -> Result<()> {
        let wrong = self.until(names, patience, stop, |wanted, said| said.as_ref() == Ok(wanted)).await?;
        if wrong.is_empty() {
            return Ok(());
        }
        let mut error = self.failed("dns-answers", "resolve the names of all machines at", patience);
        for (name, said) in &wrong {
            error = error.cause(format!("{name}: expected {}, found {}", list(&names[name]), found(said)));
        }
        Err(error.hint(
            "Check whether something else changes these names, then run the same command again to correct the records",
        ))
    }

    /// Asks until no name answers with one of its addresses any more. What answers with others, which
    /// hactl did not make and therefore keeps.
    ///
    /// # Errors
    /// After `patience`, with each name that still does.
    pub async fn until_gone(&self, names: &Names, patience: Duration, stop: &CancellationToken) -> Result<Names> {
        let gone = |old: &BTreeSet<IpAddr>, said: &Said| said.as_ref().is_ok_and(|now| now.is_disjoint(old));
        let wrong = self.until(names, patience, stop, gone).await?;
        if wrong.is_empty() {
            let kept = self.round(names.keys().cloned().collect(), stop).await?;
            let kept = kept.into_iter().filter_map(|(name, said)| Some((name, said.ok()?)));
            return Ok(kept.filter(|(_, addresses)| !addresses.is_empty()).collect());
        }
        let mut error = self.failed("dns-left", "see the records removed from", patience);
        for (name, said) in &wrong {
            error = error.cause(format!("{name}: expected no {}, found {}", list(&names[name]), found(said)));
        }
        Err(error.hint("Run the same command again; if records remain, remove them at the DNS server"))
    }

    /// The names for which `right` does not hold within `patience`, with what they last said.
    async fn until(
        &self,
        names: &Names,
        patience: Duration,
        stop: &CancellationToken,
        right: impl Fn(&BTreeSet<IpAddr>, &Said) -> bool,
    ) -> Result<BTreeMap<String, Said>> {
        let started = Instant::now();
        let mut open: Vec<String> = names.keys().cloned().collect();
        loop {
            let mut wrong = self.round(open, stop).await?;
            wrong.retain(|name, said| !right(&names[name], said));
            if wrong.is_empty() || started.elapsed() > patience {
                return Ok(wrong);
            }
            open = wrong.into_keys().collect();
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn round(&self, names: Vec<String>, stop: &CancellationToken) -> Result<BTreeMap<String, Said>> {
        let questions = names.into_iter().map(async |name| {
            let said = self.ask(&name).await;
            (name, said)
        });
        tokio::select! {
            said = stream::iter(questions).buffer_unordered(AT_ONCE).collect() => Ok(said),
            () = stop.cancelled() => Err(Error::interrupted("ask the DNS server", &self.endpoint)),
        }
    }

    async fn ask(&self, name: &str) -> Said {
        let (v4, v6) = tokio::join!(self.addresses(name, RecordType::A), self.addresses(name, RecordType::AAAA));
        let mut all = v4?;
        all.extend(v6?);
        Ok(all)
    }

    async fn addresses(&self, name: &str, kind: RecordType) -> Said {
        match self.resolver.lookup(name, kind).await {
            Ok(found) => Ok(found.answers().iter().filter_map(|record| ip(&record.data)).collect()),
            Err(NetError::Dns(DnsError::NoRecordsFound(none)))
                if matches!(none.response_code, ResponseCode::NoError | ResponseCode::NXDomain) =>
            {
                Ok(BTreeSet::new())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn failed(&self, code: &'static str, what: &str, patience: Duration) -> Error {
        Error::failed(code, what, format!("{} within {} s", self.endpoint, patience.as_secs()))
    }
}

fn ip(data: &RData) -> Option<IpAddr> {
    match data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

fn list(addresses: &BTreeSet<IpAddr>) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

fn found(said: &Said) -> String {
    match said {
        Ok(addresses) if addresses.is_empty() => "nothing".to_owned(),
        Ok(addresses) => list(addresses),
        Err(error) => format!("no answer ({error})"),
    }
}
