//! The backup of another cluster that a new cluster begins with.

use jiff::Timestamp;
use serde_json::json;

use crate::{
    component::material::RoleVars,
    model::{S3Repository, Secret},
};

/// Where the data of a new cluster comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The name of the other cluster in its repository.
    pub stanza: String,
    pub repository: S3Repository,
    pub key: Secret,
    pub key_secret: Secret,
    pub passphrase: Secret,
    /// The moment; none for the newest.
    pub at: Option<Timestamp>,
}

impl Origin {
    /// The variables of the roles. They are no part of the configuration: a cluster begins once.
    pub(crate) fn vars(&self) -> RoleVars {
        let Self { stanza, repository, key, key_secret, passphrase, at } = self;
        let target = at.map(|at| at.strftime("%Y-%m-%d %H:%M:%S%.6f+00").to_string());
        let vars = json!({
            "pgbackrest_source": {
                "stanza": stanza,
                "bucket": repository.bucket,
                "host": repository.host,
                "port": repository.port,
                "region": repository.region,
                "path": repository.path,
                "path_style": repository.path_style,
                "ca": repository.ca.as_deref().unwrap_or_default(),
                "key": key.expose(),
                "key_secret": key_secret.expose(),
                "passphrase": passphrase.expose(),
                "target": target.unwrap_or_default(),
            },
            "patroni_bootstrap_command": "/usr/local/sbin/hactl-restore data",
            "patroni_bootstrap_post_init": "/usr/local/sbin/hactl-restore opened",
        });
        vars.as_object().cloned().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moment_reaches_the_role_in_utc_and_the_newest_as_nothing() {
        let mut origin = Origin {
            stanza: "pg-1a2b3c4d".into(),
            repository: S3Repository {
                bucket: "b".into(),
                host: "h".into(),
                port: 443,
                region: "r".into(),
                path: "/p".into(),
                path_style: true,
                ca: None,
            },
            key: Secret::new("K".into()),
            key_secret: Secret::new("S".into()),
            passphrase: Secret::new("P".into()),
            at: Some("2026-11-30T02:20:16.5+01:00".parse().unwrap()),
        };
        assert_eq!(origin.vars()["pgbackrest_source"]["target"], "2026-11-30 01:20:16.500000+00");
        origin.at = None;
        assert_eq!(origin.vars()["pgbackrest_source"]["target"], "");
        assert!(!format!("{origin:?}").contains("\"K\""));
    }
}
