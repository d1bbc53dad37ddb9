//! What PgBouncer says of its clients and connections, on its console.

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    access::PATIENCE,
    component::probe::{Observed, ProbeError, Reached},
};

/// One pooler's answers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PoolerView {
    /// As the program names it.
    pub version: String,
    /// Whether it holds its clients back.
    pub paused: bool,
    /// The pools that clients or servers are in.
    pub pools: Vec<Pool>,
}

/// The pooler and the proxy of one machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PoolerState {
    /// The instance's key.
    pub node: String,
    /// `running`, `paused` or `silent`.
    pub pooler: &'static str,
    /// PgBouncer's version; null while it is silent.
    pub version: Option<String>,
    /// The clients that are connected.
    pub clients: u64,
    /// The clients that wait for a server connection.
    pub waiting: u64,
    /// The connections to the servers.
    pub servers: u64,
    /// The instances to which the machine's proxy forwards clients that write, by key.
    pub primary: Vec<String>,
    /// The instances to which it forwards clients that only read, by key.
    pub replicas: Vec<String>,
}

/// The pool of one database and user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    pub database: String,
    pub user: String,
    /// Clients that have a server or need none now.
    pub active: u64,
    /// Clients that wait for a server.
    pub waiting: u64,
    /// Connections to the servers.
    pub servers: u64,
    /// How long the first client has waited, in seconds.
    pub longest_wait: u64,
}

/// Asks the pooler of one machine.
///
/// # Errors
/// What was seen instead of an answer.
pub(crate) async fn ask(Reached { remote, node, .. }: Reached<'_>) -> Observed<PoolerView> {
    let script = include_str!("ask.sh").replace("@PORT@", &node.node.pooler_port.unwrap_or_default().to_string());
    let done = remote.run("/bin/sh", script.as_bytes(), PATIENCE).await;
    let said =
        done.map_err(|error| ProbeError::Other(error.causes().join(": ")))?.output().map_err(ProbeError::Other)?;
    parse(&said).ok_or_else(|| ProbeError::Other(format!("could not read PgBouncer's answer: {}", said.trim())))
}

/// The output of the script: a word for each answer, then its lines.
fn parse(said: &str) -> Option<PoolerView> {
    let mut view = PoolerView::default();
    let mut answered = false;
    for line in said.lines() {
        let (word, rest) = line.split_once(' ')?;
        match word {
            "version" => {
                rest.trim().clone_into(&mut view.version);
                answered = true;
            }
            "database" => view.paused |= rest.trim() == "1",
            "pool" => view.pools.extend(pool(rest)),
            _ => return None,
        }
    }
    answered.then_some(view)
}

/// `database user cl_active cl_waiting servers maxwait`.
fn pool(line: &str) -> Option<Pool> {
    let mut words = line.split('|');
    let (database, user) = (words.next()?.to_owned(), words.next()?.to_owned());
    let mut number = || words.next()?.parse::<u64>().ok();
    let (active, waiting, servers, longest_wait) = (number()?, number()?, number()?, number()?);
    Some(Pool { database, user, active, waiting, servers, longest_wait })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_the_console_is_parsed_and_another_text_is_none() {
        let said = "version PgBouncer 1.24.1\ndatabase 0\ndatabase 1\npool app|app|3|2|5|7\n";
        let pool = Pool {
            database: "app".to_owned(),
            user: "app".to_owned(),
            active: 3,
            waiting: 2,
            servers: 5,
            longest_wait: 7,
        };
        let expected = PoolerView { version: "PgBouncer 1.24.1".to_owned(), paused: true, pools: vec![pool] };
        assert_eq!(parse(said), Some(expected));
        assert_eq!(parse(""), None);
        assert_eq!(parse("psql: error: connection refused"), None);
    }
}
