//! Patroni's own configuration on a machine, its files and its environment -> what hactl needs of it. Pure.
//!
//! Every value is text, as it was written: a password of digits stays what it is.

use saphyr::{ScalarStyle, Yaml, YamlLoader};
use saphyr_parser::Parser;
use serde_json::{Map, Value};

use crate::{
    component::{etcd, patroni, postgres},
    model::Secret,
};

/// What Patroni is told on one machine.
#[derive(Debug)]
pub(super) struct Local {
    pub(super) scope: String,
    pub(super) member: String,
    pub(super) patroni: ServiceAddress,
    pub(super) patroni_tls: bool,
    /// The login for changes by the REST API.
    pub(super) restapi: Option<(String, Secret)>,
    pub(super) postgres: ServiceAddress,
    pub(super) data_dir: String,
    pub(super) superuser: Option<String>,
    pub(super) superuser_password: Option<Secret>,
    pub(super) dcs: LocalDcs,
    /// Files of the client certificate and its key, for the REST API of other members.
    pub(super) ctl: Option<[String; 2]>,
    pub(super) watchdog_required: bool,
    /// The device, where one is to be used.
    pub(super) watchdog_device: Option<String>,
}

/// A host, where one is named, and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ServiceAddress {
    pub(super) host: Option<String>,
    pub(super) port: u16,
}

#[derive(Debug)]
pub(super) enum LocalDcs {
    Etcd {
        endpoints: Vec<ServiceAddress>,
        tls: bool,
        /// Files of the client certificate and its key.
        client: Option<[String; 2]>,
        /// The leader key's name, where it can be read without more: by the v3 API, and where etcd has no users.
        leader_key: Option<String>,
    },
    Other(String),
}

/// The sections of stores that Patroni knows, etcd's first.
const STORES: [&str; 7] = ["etcd3", "etcd", "consul", "zookeeper", "exhibitor", "kubernetes", "raft"];

/// Reads the configuration out of `files`, of which a later one goes before an earlier one, and of the variables of
/// Patroni's own environment, which go before all.
///
/// # Errors
/// What is missing or cannot be read, without any value of the files.
pub(super) fn read(files: &[String], environment: &[(String, String)]) -> Result<Local, String> {
    let mut config = Value::Object(Map::new());
    for file in files {
        merge(&mut config, document(file)?);
    }
    for (name, value) in environment {
        set(&mut config, name, value);
    }
    local(&config)
}

fn local(config: &Value) -> Result<Local, String> {
    let text = |pointer: &str| config.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    let needed = |pointer: &str| {
        let dotted = pointer.trim_start_matches('/').replace('/', ".");
        text(pointer).ok_or_else(|| format!("Patroni's configuration has no `{dotted}`"))
    };
    let secret = |pointer: &str| text(pointer).map(|text| Secret::new(text.to_owned()));
    let files = |certificate: &str, key: &str| {
        let certificate = text(certificate)?;
        // The key may be in the certificate's file.
        Some([certificate.to_owned(), text(key).unwrap_or(certificate).to_owned()])
    };
    let scope = needed("/scope")?.to_owned();
    let restapi = text("/restapi/authentication/username").zip(secret("/restapi/authentication/password"));
    let mode = text("/watchdog/mode").unwrap_or("automatic");
    let used = !matches!(mode, "off" | "false" | "no");
    let data_dir = needed("/postgresql/data_dir")?.trim_end_matches('/').to_owned();
    if data_dir.contains(['\'', '\n']) || !data_dir.starts_with('/') {
        return Err("`postgresql.data_dir` must be an absolute path without single quotes and line breaks".to_owned());
    }
    Ok(Local {
        member: needed("/name")?.to_owned(),
        patroni: service_address(&["/restapi/connect_address", "/restapi/listen"], config, patroni::PORT)?,
        patroni_tls: text("/restapi/certfile").is_some(),
        restapi: restapi.map(|(user, password)| (user.to_owned(), password)),
        postgres: service_address(&["/postgresql/connect_address", "/postgresql/listen"], config, postgres::PORT)?,
        data_dir,
        superuser: text("/postgresql/authentication/superuser/username").map(str::to_owned),
        superuser_password: secret("/postgresql/authentication/superuser/password"),
        dcs: dcs(config, &scope)?,
        ctl: files("/ctl/certfile", "/ctl/keyfile"),
        watchdog_required: mode == "required",
        watchdog_device: used.then(|| text("/watchdog/device").unwrap_or("/dev/watchdog").to_owned()),
        scope,
    })
}

fn dcs(config: &Value, scope: &str) -> Result<LocalDcs, String> {
    let Some(store) = STORES.into_iter().find(|store| !config[store].is_null()) else {
        return Err(format!("Patroni's configuration names no DCS: expected one of {}", STORES.join(", ")));
    };
    if !store.starts_with("etcd") {
        return Ok(LocalDcs::Other(store.to_owned()));
    }
    let section = &config[store];
    let text = |name: &str| section[name].as_str().filter(|text| !text.is_empty());
    let url = text("url").or_else(|| text("proxy"));
    let mut endpoints = Vec::new();
    let single = ["host", "url", "proxy"].into_iter().find_map(|name| Some((name, text(name)?)));
    match (&section["hosts"], single) {
        (Value::Array(hosts), _) => {
            for host in hosts.iter().filter_map(Value::as_str) {
                endpoints.push(endpoint(store, "hosts", host)?);
            }
        }
        (Value::String(hosts), _) => {
            // As in the environment: a list in YAML's short form, or bare.
            for host in hosts.split([',', ' ', '[', ']', '"', '\'']).filter(|host| !host.is_empty()) {
                endpoints.push(endpoint(store, "hosts", host)?);
            }
        }
        (_, Some((name, host))) => endpoints.push(endpoint(store, name, host)?),
        _ => {}
    }
    let protocol = text("protocol").or_else(|| url.and_then(|url| url.split("://").next()));
    let namespace = config["namespace"].as_str().unwrap_or("service").trim_matches('/');
    // Patroni takes a user from the URL, too.
    let has_user = text("username").is_some() || single.is_some_and(|(_, host)| host.contains('@'));
    let readable = store == "etcd3" && !has_user;
    let client = text("cert").map(|cert| [cert.to_owned(), text("key").unwrap_or(cert).to_owned()]);
    Ok(LocalDcs::Etcd {
        endpoints,
        tls: protocol == Some("https"),
        client,
        leader_key: readable.then(|| format!("/{namespace}/{scope}/leader")),
    })
}

/// An address of etcd, which may be a URL with a user and a password.
fn endpoint(store: &str, field: &str, text: &str) -> Result<ServiceAddress, String> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let text = text.rsplit_once('@').map_or(text, |(_, place)| place);
    let text = text.split(['/', '?']).next().unwrap_or(text);
    host_and_port(&format!("{store}.{field}"), text, etcd::PORT)
}

fn service_address(pointers: &[&str], config: &Value, port: u16) -> Result<ServiceAddress, String> {
    let found = pointers.iter().find_map(|pointer| Some((pointer, config.pointer(pointer)?.as_str()?)));
    let Some((pointer, text)) = found else { return Ok(ServiceAddress { host: None, port }) };
    // `listen` may name several hosts, and the port comes last.
    let field = pointer.trim_start_matches('/').replace('/', ".");
    let mut place = host_and_port(&field, text, port)?;
    if place
        .host
        .as_ref()
        .is_some_and(|host| host.contains(',') || matches!(host.as_str(), "*" | "0.0.0.0" | "::" | ""))
    {
        place.host = None;
    }
    Ok(place)
}

fn host_and_port(field: &str, text: &str, default: u16) -> Result<ServiceAddress, String> {
    // Not the text: a password may be in it.
    let wrong = || format!("Patroni's configuration has an invalid address in `{field}`");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) => (host, port.parse().map_err(|_| wrong())?),
        None => (text, default),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    if !host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:*, ".contains(&byte)) {
        return Err(wrong());
    }
    Ok(ServiceAddress { host: Some(host.to_owned()), port })
}

/// Puts what `over` says over what is there.
fn merge(there: &mut Value, over: Value) {
    match (there, over) {
        (Value::Object(there), Value::Object(over)) => {
            for (key, value) in over {
                merge(there.entry(key).or_insert(Value::Null), value);
            }
        }
        (there, over) => *there = over,
    }
}

/// Puts what a variable says into its place (docs/ENVIRONMENT.rst of Patroni); hactl needs no others.
fn set(config: &mut Value, variable: &str, value: &str) {
    let Some(name) = variable.strip_prefix("PATRONI_") else { return };
    let name = name.to_ascii_lowercase();
    let (section, field) = name.split_once('_').unwrap_or((&name, ""));
    let path: Vec<&str> = match (section, field) {
        ("name" | "scope" | "namespace", "") => vec![section],
        ("superuser", "username" | "password") => vec!["postgresql", "authentication", "superuser", field],
        ("restapi", "username" | "password") => vec!["restapi", "authentication", field],
        ("restapi" | "postgresql" | "ctl", field) => vec![section, field],
        (store, field) if STORES.contains(&store) => vec![store, field],
        _ => return,
    };
    let value = path.iter().rev().fold(Value::String(value.to_owned()), |value, step| {
        Value::Object(Map::from_iter([((*step).to_owned(), value)]))
    });
    merge(config, value);
}

/// One YAML document, with every scalar as text.
fn document(text: &str) -> Result<Value, String> {
    let unreadable = |place: String| format!("Patroni's configuration is not valid YAML{place}");
    let mut loader = YamlLoader::<Yaml<'_>>::default();
    loader.early_parse(false);
    loader.allow_duplicate_keys(true);
    let loaded = Parser::new_from_str(text).load(&mut loader, true);
    let failed = loaded.err().or_else(|| loader.error().cloned());
    if let Some(error) = failed {
        // The parser's own words may quote the text, and with it a secret.
        return Err(unreadable(format!(": line {}", error.marker().line())));
    }
    let documents = loader.into_documents();
    documents.first().map_or_else(|| Err(unreadable(": it is empty".to_owned())), |first| Ok(value(first)))
}

fn value(yaml: &Yaml<'_>) -> Value {
    match yaml {
        Yaml::Representation(text, style, _) => match (text.as_ref(), style) {
            ("" | "~" | "null", ScalarStyle::Plain) => Value::Null,
            (text, _) => Value::String(text.to_owned()),
        },
        Yaml::Sequence(items) => Value::Array(items.iter().map(value).collect()),
        Yaml::Mapping(entries) => {
            let (mut map, mut own) = (Map::new(), Map::new());
            for (key, entry) in entries {
                match (value(key), value(entry)) {
                    // One map, or a list of maps of which the first goes first. The map's own keys go before all.
                    (Value::String(key), Value::Object(merged)) if key == "<<" => map.extend(merged),
                    (Value::String(key), Value::Array(list)) if key == "<<" => {
                        let maps = list.into_iter().rev().filter_map(|item| match item {
                            Value::Object(merged) => Some(merged),
                            _ => None,
                        });
                        map.extend(maps.flatten());
                    }
                    (Value::String(key), entry) => drop(own.insert(key, entry)),
                    _ => {}
                }
            }
            map.extend(own);
            Value::Object(map)
        }
        Yaml::Tagged(_, tagged) => value(tagged),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEBIAN: &str = r#"
scope: "15-main"
namespace: "/postgresql-common/"
name: pg_node-1
etcd3:
  hosts:
    - 10.0.0.11:2379
    - 10.0.0.12:2379
  protocol: https
  cacert: /etc/ssl/ca.pem
  cert: /etc/ssl/patroni.pem
restapi:
  listen: 0.0.0.0:8008
  connect_address: pg1.example.org:8010
  authentication: {username: admin, password: 007}
bootstrap:
  dcs: {ttl: 30}
postgresql:
  listen: "*:5433"
  connect_address: 10.0.0.11:5433
  data_dir: /srv/pg/15/main/
  authentication:
    superuser: &login {username: "postgres", password: "it's: # secret"}
    rewind: {<<: *login, username: rewind}
watchdog: {mode: off}
"#;

    fn good(files: &[&str], environment: &[(&str, &str)]) -> Local {
        let files: Vec<String> = files.iter().map(|file| (*file).to_owned()).collect();
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        read(&files, &environment).unwrap()
    }

    fn wrong(file: &str) -> String {
        read(&[file.to_owned()], &[]).unwrap_err()
    }

    #[test]
    fn patroni_configuration_is_read_as_patroni_reads_it() {
        let local = good(&[DEBIAN], &[]);
        assert_eq!((local.scope.as_str(), local.member.as_str()), ("15-main", "pg_node-1"));
        assert_eq!(local.patroni, ServiceAddress { host: Some("pg1.example.org".into()), port: 8010 });
        assert_eq!(local.postgres, ServiceAddress { host: Some("10.0.0.11".into()), port: 5433 });
        assert_eq!(local.data_dir, "/srv/pg/15/main");
        let (user, password) = local.restapi.unwrap();
        assert_eq!((user.as_str(), password.expose().as_str()), ("admin", "007"));
        assert_eq!(local.superuser_password.unwrap().expose(), "it's: # secret");
        assert!(!local.patroni_tls && local.watchdog_device.is_none() && local.ctl.is_none());
        let LocalDcs::Etcd { endpoints, tls, client, leader_key } = local.dcs else { panic!("it is etcd") };
        assert_eq!(endpoints.len(), 2);
        assert_eq!(endpoints[1], ServiceAddress { host: Some("10.0.0.12".into()), port: 2379 });
        assert!(tls && leader_key.as_deref() == Some("/postgresql-common/15-main/leader"));
        assert_eq!(client.unwrap(), ["/etc/ssl/patroni.pem", "/etc/ssl/patroni.pem"]);
    }

    #[test]
    fn environment_overrides_files_and_later_files_override_earlier_files() {
        let later = "postgresql: {connect_address: 10.0.0.21}\nconsul: {host: 127.0.0.1:8500}\netcd3: null\n";
        let variables = [("PATRONI_NAME", "other"), ("PATRONI_SUPERUSER_PASSWORD", "given"), ("HOME", "/")];
        let local = good(&[DEBIAN, later], &variables);
        assert_eq!((local.member.as_str(), local.superuser_password.unwrap().expose().as_str()), ("other", "given"));
        assert_eq!(local.postgres, ServiceAddress { host: Some("10.0.0.21".into()), port: 5432 });
        assert!(matches!(local.dcs, LocalDcs::Other(store) if store == "consul"));
        let all = [
            ("PATRONI_SCOPE", "s"),
            ("PATRONI_NAME", "n"),
            ("PATRONI_POSTGRESQL_DATA_DIR", "/d"),
            ("PATRONI_ETCD_HOSTS", "'a:1','b:2'"),
            ("PATRONI_ETCD_PROTOCOL", "http"),
        ];
        let LocalDcs::Etcd { endpoints, tls, leader_key, .. } = good(&[], &all).dcs else { panic!("it is etcd") };
        assert_eq!(endpoints.iter().map(|place| place.port).collect::<Vec<_>>(), [1, 2]);
        // The v2 API's keys cannot be read by the v3 API.
        assert!(!tls && leader_key.is_none());
    }

    const PLAIN: &str = "name: a\nscope: b\npostgresql: {data_dir: /d}\n";

    #[test]
    fn user_in_the_url_of_etcd_is_a_user_of_etcd() {
        for (field, value) in [
            ("url", "https://root:p%40:w@10.0.0.1:2379"),
            ("url", "https://root:pw@10.0.0.1/"),
            ("proxy", "https://root:p/w@10.0.0.1:2379/v3?x=1"),
        ] {
            let local = good(&[PLAIN, &format!("etcd3: {{{field}: \"{value}\"}}\n")], &[]);
            let LocalDcs::Etcd { endpoints, tls, leader_key, .. } = local.dcs else { panic!("it is etcd") };
            assert_eq!(endpoints, [ServiceAddress { host: Some("10.0.0.1".into()), port: 2379 }], "{value}");
            assert!(tls && leader_key.is_none(), "{value}");
        }
        let local = good(&[PLAIN, "etcd3: {url: \"https://10.0.0.1:2379\"}\n"], &[]);
        assert!(matches!(local.dcs, LocalDcs::Etcd { leader_key: Some(_), .. }));
    }

    #[test]
    fn invalid_address_is_named_by_its_field_and_never_quoted() {
        for (field, section) in [
            ("etcd3.url", "etcd3: {url: \"https://root:hunter2@10.0.0.1:x\"}"),
            ("etcd3.hosts", "etcd3: {hosts: [\"hunter2@10.0.0.1:x\"]}"),
            ("etcd.hosts", "etcd: {hosts: \"hunter2:x\"}"),
            ("etcd3.host", "etcd3: {host: \"hunter2 + x:1\"}"),
            ("restapi.connect_address", "etcd: {host: x}\nrestapi: {connect_address: \"root:hunter2@10.0.0.1:8008\"}"),
            ("restapi.listen", "etcd: {host: x}\nrestapi: {listen: \"hunter2:port\"}"),
        ] {
            let said = wrong(&format!("{PLAIN}{section}\n"));
            assert_eq!(said, format!("Patroni's configuration has an invalid address in `{field}`"));
        }
    }

    #[test]
    fn list_of_merged_maps_is_merged_with_the_first_map_first() {
        let file = "a: &a {username: one, password: first}\nb: &b {username: two, x: {y: 1}}\nname: a\nscope: b\n\
                    etcd: {host: x}\npostgresql:\n  data_dir: /d\n  authentication:\n    \
                    superuser: {<<: [*a, *b], password: own}\n";
        let local = good(&[file], &[]);
        assert_eq!(local.superuser.as_deref(), Some("one"));
        assert_eq!(local.superuser_password.unwrap().expose(), "own");
        // A map that is merged in is replaced by the map's own, not merged with it.
        let document = document("a: &a {k: {x: 1}}\nb: {<<: *a, k: {y: 2}}\n").unwrap();
        assert_eq!(document["b"]["k"], serde_json::json!({"y": "2"}));
    }

    #[test]
    fn invalid_patroni_configuration_is_reported_without_its_secrets() {
        assert_eq!(
            wrong("name: a\nscope: b\netcd: {host: x}\n"),
            "Patroni's configuration has no `postgresql.data_dir`"
        );
        assert_eq!(wrong("password: [hunter2\n: :"), "Patroni's configuration is not valid YAML: line 2");
        let none = "name: a\nscope: b\npostgresql: {data_dir: /d}\n";
        assert!(wrong(none).starts_with("Patroni's configuration names no DCS: expected one of etcd3, "));
    }
}
