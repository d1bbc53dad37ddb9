//! The entry point, and what of the file it does not fit.

use super::*;
use crate::model::{EntryPoint, PoolMode};

#[test]
fn entry_point_has_defaults_and_is_absent_without_its_section() {
    assert_eq!(good(THREE).endpoint, None);
    let expected =
        EntryPoint { port: 6432, pool_mode: PoolMode::Transaction, max_client_connections: 1000, replicas: false };
    assert_eq!(good(&format!("{THREE}endpoint: {{}}")).endpoint, Some(expected.clone()));
    let text = "endpoint: {pooler: {port: 7000, pool_mode: session, max_client_connections: 50}, replicas: true}";
    let other = EntryPoint { port: 7000, pool_mode: PoolMode::Session, max_client_connections: 50, replicas: true };
    assert_eq!(good(&format!("{THREE}{text}")).endpoint, Some(other));
}

#[test]
fn entry_point_that_does_not_fit_the_file_is_a_problem() {
    let one = "instances: {node1: {}}\n";
    let many: String = (0..30).map(|n| format!("d{n}: {{}}, ")).collect();
    let table = [
        (
            THREE,
            "endpoint: {pooler: {port: 5432}}".to_owned(),
            vec!["endpoint.pooler.port: port 5432 is that of PostgreSQL"],
        ),
        (THREE, "endpoint: {vip: {address: 10.0.0.1/24}}".to_owned(), vec!["endpoint.vip: unknown key"]),
        (THREE, "endpoint: {pooler: {pool_mode: statement}}".to_owned(), vec!["endpoint.pooler.pool_mode"]),
        (one, "endpoint: {replicas: true}".to_owned(), vec!["no replica to read from"]),
        ("instances: {node1: {roles: []}}\n", "endpoint: {}".to_owned(), vec!["needs a data node"]),
        (
            THREE,
            format!("endpoint: {{}}\npostgres: {{databases: {{{many}}}}}"),
            vec![
                "endpoint: `max_connections` is 100, of which 20 stay for others",
                "did you mean max_connections: 120?",
            ],
        ),
        (
            THREE,
            "endpoint: {}\npostgres: {parameters: {max_connections: 22}}".to_owned(),
            vec!["postgres.parameters.max_connections: `max_connections` is 22", "did you mean 32?"],
        ),
        (
            THREE,
            "endpoint: {replicas: true}\npostgres: {databases: {a: {}, a_replicas: {}, pgbouncer: {}}}".to_owned(),
            vec![
                "`a_replicas` is the name of the replicas of `a`",
                "database `pgbouncer` is the console",
                "role `pgbouncer` is the user",
            ],
        ),
    ];
    for (instances, section, expected) in table {
        let said = wrong(&format!("{instances}{section}"));
        for words in expected {
            assert!(said.contains(words), "{section}: {words}: {said}");
        }
    }
}
