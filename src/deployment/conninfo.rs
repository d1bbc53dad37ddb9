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

    /// Variables of the user's that would lead elsewhere: an address wins over a host.
    pub const MISLEADING: [&str; 1] = [env::PGHOSTADDR];
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
