//! Replication slots, and what the cluster file must say with them.

use super::*;

#[test]
fn slot_that_patroni_or_postgresql_cannot_make_is_a_problem() {
    let with = |level: &str, patroni: &str| {
        format!("{THREE}\npostgres: {{parameters: {{wal_level: {level}}}}}\npatroni: {{{patroni}}}")
    };
    let logical = "slots: {events: {type: logical, database: app, plugin: pgoutput}}";
    let slots = good(&with("logical", logical)).patroni.slots.unwrap();
    assert_eq!(slots["events"].plugin.as_deref(), Some("pgoutput"));
    assert_eq!(good(THREE).patroni.slots, None);
    let table = [
        ("replica", logical, "needs `wal_level: logical`"),
        ("logical", "slots: {events: {type: logical, database: app}}", "needs `database` and `plugin`"),
        ("logical", "slots: {spare: {type: physical, database: app}}", "has no `database`"),
        ("logical", "ignore_slots: [{}]", "would fit every slot"),
    ];
    for (level, patroni, expected) in table {
        let text = wrong(&with(level, patroni));
        assert!(text.contains(expected), "{patroni}: {text}");
    }
}
