//! Limits of connections that do not add up.

use super::*;

const FIVE: &str = "instances: {node1: {}, node2: {}, node3: {}, node4: {}, node5: {}}\n";
const ONE: &str = "instances: {node1: {}}\n";

fn with(instances: &str, parameters: &str, rest: &str) -> String {
    format!("{instances}postgres: {{parameters: {{{parameters}}}}}\n{rest}")
}

#[test]
fn limit_that_does_not_cover_its_use_is_a_problem_at_its_place() {
    let pooled = "endpoint: {}";
    let slots = |count: usize| {
        let slots: Vec<String> = (0..count).map(|n| format!("s{n}: {{type: physical}}")).collect();
        format!("patroni: {{slots: {{{}}}}}", slots.join(", "))
    };
    let table = [
        (
            with(THREE, "max_connections: 40, superuser_reserved_connections: 30", ""),
            "c.yaml:2:78: postgres.parameters.superuser_reserved_connections: `max_connections` is 40, and 30 of them are \
             reserved (superuser_reserved_connections 30, reserved_connections 0): 10 are left, and hactl's drills and \
             `pg_rewind` need 20 (did you mean max_connections: 50?)",
        ),
        // PostgreSQL does not start with as many reserved as there are.
        (with(THREE, "superuser_reserved_connections: 97, reserved_connections: '3'", ""), "0 are left"),
        (with(THREE, "reserved_connections: 90", ""), "did you mean max_connections: 113?"),
        (with(THREE, "max_connections: 22", ""), "postgres.parameters.max_connections: `max_connections` is 22"),
        (with(THREE, "max_connections: ' 22 '", ""), "did you mean 23?"),
        (with(ONE, "superuser_reserved_connections: 0", ""), "Patroni needs two connections"),
        (
            with(THREE, "superuser_reserved_connections: 18", pooled),
            "the poolers may open 80 of 100 connections, and 18 are reserved: 2 are left for direct clients and \
             `pg_rewind`, which need 3 (did you mean max_connections: 110?)",
        ),
        (with(FIVE, "max_wal_senders: 4", ""), "need 5 (did you mean 5?)"),
        (with(FIVE, "max_replication_slots: 3", ""), "4 replicas and 0 entries of `patroni.slots` need 4"),
        (
            with(FIVE, "work_mem: 5MB", &slots(6)),
            "postgres: `max_wal_senders` is 10 by default, and 5 data nodes and 6",
        ),
    ];
    for (text, expected) in table {
        let said = wrong(&text);
        assert!(said.contains(expected), "{text}: {expected}\n{said}");
        assert_eq!(said.lines().count(), 1, "{text}: {said}");
    }
}

#[test]
fn limits_that_add_up_are_accepted() {
    let slots = "patroni: {slots: {a: {type: physical}, b: {type: physical}}}";
    let table = [
        with(THREE, "max_connections: 23", ""),
        with(THREE, "max_connections: 40, superuser_reserved_connections: 10, reserved_connections: 10", ""),
        with(THREE, "superuser_reserved_connections: 17", "endpoint: {}"),
        with(FIVE, "max_wal_senders: 7, max_replication_slots: 6", slots),
        with(ONE, "max_wal_senders: 3, max_replication_slots: 0", ""),
        // The server that tries the value refuses it.
        with(THREE, "max_connections: many", ""),
        "instances: {node1: {roles: []}}\npostgres: {parameters: {max_connections: 5}}".to_owned(),
    ];
    for text in table {
        good(&text);
    }
}
