//! Where and as whom a client connects to PostgreSQL, in libpq's words.

use crate::env;
use std::fmt;

/// libpq's connection parameters, each once; [`fmt::Display`] gives the connection string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conninfo(Vec<(&'static str, String)>);

impl Conninfo {
    /// One parameter for many hosts is a list; it may hold one value for all of them where all are the same.
    pub(crate) fn new<const N: usize>(parameters: [(&'static str, String); N]) -> Self {
        Self(parameters.into())
    }

    pub(crate) fn and<const N: usize>(mut self, parameters: [(&'static str, String); N]) -> Self {
        self.0.extend(parameters);
        self
    }

    /// The same as libpq's variables, over which a program's own arguments win. [`Self::service`] has the rest.
    pub fn environment(&self) -> impl Iterator<Item = (String, &str)> {
        self.0.iter().filter_map(|(parameter, value)| Some((variable(parameter)?, value.as_str())))
    }

    /// The parameters for which libpq has no variable, as a file of services with the service [`Self::SERVICE`].
    #[must_use]
    pub fn service(&self) -> String {
        let rest = self.0.iter().filter(|(parameter, _)| variable(parameter).is_none());
        let rest: String = rest.map(|(parameter, value)| format!("{parameter}={value}\n")).collect();
        format!("[{}]\n{rest}", Self::SERVICE)
    }

    pub const SERVICE: &str = "hactl";

    /// With what keeps the user's own files away: the certificate and the list of revoked certificates in
    /// `~/.postgresql`, and a login by Kerberos.
    pub(crate) fn without_files_of_the_user(self) -> Self {
        self.and(OWN_LOGIN.map(|(parameter, value)| (parameter, value.to_owned())))
    }

    /// Variables of the user's that would lead elsewhere, or change as whom or how a client connects. libpq's
    /// documentation has the list; those that only change how a session looks are not among them.
    #[must_use]
    pub fn misleading(&self) -> Vec<&'static str> {
        // Where hactl knows no password, the user's variables may be the way to log in.
        let all = self.0.iter().any(|(parameter, _)| *parameter == "passfile");
        if all { MISLEADING.to_vec() } else { vec![env::PGSERVICE, env::PGHOSTADDR] }
    }
}

/// A file that does not exist: libpq then uses none, and not the one in `~/.postgresql`.
const NO_FILE: &str = "/nonexistent";

/// The parameters with which libpq uses nothing of the user's beside the passfile.
const OWN_LOGIN: [(&str, &str); 3] = [("gssencmode", "disable"), ("sslcert", NO_FILE), ("sslcrl", NO_FILE)];

/// The parameters whose empty value keeps the user's variable away. Every libpq that is still maintained knows them.
const EMPTY: [&str; 4] = ["hostaddr", "password", "options", "ssl_max_protocol_version"];

const MISLEADING: [&str; 27] = [
    env::PGSERVICE,
    env::PGSERVICEFILE,
    env::PGSYSCONFDIR,
    env::PGHOSTADDR,
    env::PGPASSWORD,
    env::PGOPTIONS,
    env::PGREQUIREAUTH,
    env::PGCHANNELBINDING,
    env::PGREQUIRESSL,
    env::PGREQUIREPEER,
    env::PGSSLNEGOTIATION,
    env::PGSSLCERTMODE,
    env::PGSSLCERT,
    env::PGSSLKEY,
    env::PGSSLCRLDIR,
    env::PGSSLCRL,
    env::PGSSLCOMPRESSION,
    env::PGSSLSNI,
    env::PGSSLMINPROTOCOLVERSION,
    env::PGSSLMAXPROTOCOLVERSION,
    env::PGGSSENCMODE,
    env::PGGSSLIB,
    env::PGGSSDELEGATION,
    env::PGKRBSRVNAME,
    env::PGLOADBALANCEHOSTS,
    env::PGMINPROTOCOLVERSION,
    env::PGMAXPROTOCOLVERSION,
];

/// A connection string of hactl's as psql's argument: with parameters that libpq alone knows, so that the user's
/// variables and files do not change the connection. Other drivers read the string without them.
#[must_use]
pub fn for_psql(dsn: &str) -> String {
    if !dsn.contains("passfile=") {
        return dsn.to_owned();
    }
    let mut text = dsn.to_owned();
    for (parameter, value) in OWN_LOGIN.into_iter().chain(EMPTY.map(|parameter| (parameter, "''"))) {
        text.push_str(&format!(" {parameter}={value}"));
    }
    text
}

/// libpq's variable for a parameter, if it has one.
fn variable(parameter: &str) -> Option<String> {
    match parameter {
        "dbname" => Some(env::PGDATABASE.to_owned()),
        "connect_timeout" => Some(env::PGCONNECT_TIMEOUT.to_owned()),
        "tcp_user_timeout" => None,
        other if other.starts_with("keepalives") => None,
        other => Some(format!("PG{}", other.replace('_', "").to_uppercase())),
    }
}

impl fmt::Display for Conninfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, (parameter, value)) in self.0.iter().enumerate() {
            let space = if n == 0 { "" } else { " " };
            if value.is_empty() || value.contains([' ', '\'', '\\']) {
                let quoted = value.replace('\\', "\\\\").replace('\'', "\\'");
                write!(f, "{space}{parameter}='{quoted}'")?;
            } else {
                write!(f, "{space}{parameter}={value}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The variables of libpq's documentation, section "Environment Variables", of PostgreSQL 13 to 18.
    const DOCUMENTED: &str = "PGHOST PGSSLNEGOTIATION PGHOSTADDR PGPORT PGDATABASE PGUSER PGPASSWORD PGPASSFILE \
                              PGREQUIREAUTH PGCHANNELBINDING PGSERVICE PGSERVICEFILE PGOPTIONS PGAPPNAME PGSSLMODE \
                              PGREQUIRESSL PGSSLCERTMODE PGSSLCOMPRESSION PGSSLCERT PGSSLKEY PGSSLROOTCERT PGSSLCRL \
                              PGSSLCRLDIR PGSSLSNI PGREQUIREPEER PGSSLMINPROTOCOLVERSION PGSSLMAXPROTOCOLVERSION \
                              PGGSSENCMODE PGKRBSRVNAME PGGSSLIB PGGSSDELEGATION PGCONNECT_TIMEOUT PGCLIENTENCODING \
                              PGTARGETSESSIONATTRS PGLOADBALANCEHOSTS PGMINPROTOCOLVERSION PGMAXPROTOCOLVERSION \
                              PGDATESTYLE PGTZ PGGEQO PGSYSCONFDIR PGLOCALEDIR";

    #[test]
    fn every_documented_variable_that_changes_the_connection_is_set_or_withheld() {
        let own = Conninfo::new(
            [
                "host",
                "port",
                "dbname",
                "user",
                "connect_timeout",
                "target_session_attrs",
                "sslmode",
                "sslrootcert",
                "passfile",
            ]
            .map(|parameter| (parameter, "x".to_owned())),
        );
        let own = own.without_files_of_the_user();
        let set: Vec<String> = own.environment().map(|(name, _)| name).collect();
        let left: Vec<&str> = DOCUMENTED
            .split_whitespace()
            .filter(|name| !own.misleading().contains(name) && !set.iter().any(|set| set == name))
            .collect();
        // How a session looks is the user's choice.
        assert_eq!(left, ["PGAPPNAME", "PGCLIENTENCODING", "PGDATESTYLE", "PGTZ", "PGGEQO", "PGLOCALEDIR"]);
        assert!(set.contains(&"PGSSLCERT".to_owned()) && set.contains(&"PGGSSENCMODE".to_owned()));
        // The password of an adopted cluster's superuser is the user's.
        let adopted = Conninfo::new([("host", "x".to_owned())]);
        assert_eq!(adopted.misleading(), ["PGSERVICE", "PGHOSTADDR"]);
        assert_eq!(for_psql(&adopted.to_string()), "host=x");
    }

    #[test]
    fn conninfo_is_printed_as_a_string_or_as_variables() {
        let place = Conninfo::new([("host", "10.0.0.1,10.0.0.2".to_owned()), ("hostaddr", "127.0.0.1".to_owned())]);
        let all = place.and([
            ("port", "5432".to_owned()),
            ("dbname", "app".to_owned()),
            ("user", "app".to_owned()),
            ("connect_timeout", "2".to_owned()),
            ("keepalives_idle", "5".to_owned()),
            ("tcp_user_timeout", "5000".to_owned()),
            ("target_session_attrs", "read-write".to_owned()),
            ("sslmode", "verify-full".to_owned()),
            ("sslrootcert", "/home/o'me/my ca.pem".to_owned()),
            ("passfile", "/home/me/pgpass".to_owned()),
        ]);
        assert_eq!(
            all.to_string(),
            "host=10.0.0.1,10.0.0.2 hostaddr=127.0.0.1 port=5432 dbname=app user=app connect_timeout=2 \
             keepalives_idle=5 tcp_user_timeout=5000 target_session_attrs=read-write sslmode=verify-full sslrootcert='/home/o\\'me/my ca.pem' passfile=/home/me/pgpass"
        );
        // As PostgreSQL's documentation names them, section "Environment Variables" of libpq.
        let documented = [
            ("PGHOST", "10.0.0.1,10.0.0.2"),
            ("PGHOSTADDR", "127.0.0.1"),
            ("PGPORT", "5432"),
            ("PGDATABASE", "app"),
            ("PGUSER", "app"),
            ("PGCONNECT_TIMEOUT", "2"),
            ("PGTARGETSESSIONATTRS", "read-write"),
            ("PGSSLMODE", "verify-full"),
            ("PGSSLROOTCERT", "/home/o'me/my ca.pem"),
            ("PGPASSFILE", "/home/me/pgpass"),
        ];
        let documented = documented.map(|(name, value)| (name.to_owned(), value));
        assert_eq!(all.environment().collect::<Vec<_>>(), documented);
        assert_eq!(all.service(), "[hactl]\nkeepalives_idle=5\ntcp_user_timeout=5000\n");
    }
}
