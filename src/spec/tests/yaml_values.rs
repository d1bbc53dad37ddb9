//! Values that YAML reads as another type than the field has, and tags.

use super::*;

#[test]
fn name_that_yaml_reads_as_another_type_is_suggested_in_quotes() {
    for (text, expected) in [
        ("env: 001", "1:6: env: expected text, found the number 1 (did you mean \"001\" in quotes?)"),
        ("env: true", "1:6: env: expected text, found the boolean true (did you mean \"true\" in quotes?)"),
        (
            "postgres: {databases: {app: {owner: 007}}}",
            "1:37: postgres.databases.app.owner: expected text (1 to 63 lower-case letters",
        ),
        // In quotes, it would still be no name.
        ("name: 123", "1:7: name: expected text (1 to 40 lower-case letters"),
    ] {
        let found = wrong(&format!("{text}\n{THREE}"));
        assert!(found.starts_with(&format!("c.yaml:{expected}")), "{text}: {found}");
        assert_eq!(found.lines().count(), 1, "{found}");
    }
    let found = wrong("platform: {proxmox: {node: 7}}\ninstances: {a: {address: dhcp, vm_name: 012}}\n");
    assert!(found.contains("1:28: platform.proxmox.node: expected text, found the number 7"), "{found}");
    let quoted = "instances.a.vm_name: expected text, found the number 12 (did you mean \"012\" in quotes?)";
    assert!(found.contains(&format!("2:41: {quoted}")), "{found}");
}

#[test]
fn whole_number_written_as_a_float_is_reported_at_its_place() {
    for (text, expected) in [
        (
            "postgres: {version: 15.0}",
            "1:21: postgres.version: 15.0 is not written as a whole number (did you mean 15?)",
        ),
        ("defaults: {memory: 2e3}", "1:20: defaults.memory: 2e3 is not written as a whole number (did you mean 2000?)"),
        (
            "patroni: {timers: {ttl: 3e1}}",
            "1:25: patroni.timers.ttl: 3e1 is not written as a whole number (did you mean 30?)",
        ),
    ] {
        assert_eq!(wrong(&format!("{text}\n{THREE}")), format!("c.yaml:{expected}\n"));
    }
    good(&format!("postgres: {{parameters: {{random_page_cost: 2.0}}}}\n{THREE}"));
}

#[test]
fn unknown_yaml_tag_is_an_error_at_its_place() {
    for (text, expected) in [
        ("env: !env ZONE", "env: unknown YAML tag `!env`"),
        ("postgres: !include pg.yaml", "postgres: unknown YAML tag `!include`"),
        ("postgres: !vault {version: 15}", "postgres: unknown YAML tag `!vault`"),
    ] {
        let found = wrong(&format!("{text}\n{THREE}"));
        assert!(found.starts_with("c.yaml:1:") && found.contains(expected), "{text}: {found}");
    }
    good(&format!("env: !!str 001\n{THREE}"));
    good(&format!("env: ! prod\n{THREE}"));
}
