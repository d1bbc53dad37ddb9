//! The names that PostgreSQL and hactl use on a cluster: the cluster file must not declare them, and hactl makes no other.

/// Database and role of the drills.
pub const DRILLS: &str = "hactl_verify";

/// The table, in the database `postgres`, in which `up` writes its test row.
pub const HEALTH_CHECK: &str = "hactl_health_check";

/// Databases that the cluster file must not declare.
pub const RESERVED_DATABASES: &[&str] = &["postgres", "template0", "template1", "hactl", DRILLS];

/// Roles that the cluster file must not declare.
pub const RESERVED_ROLES: &[&str] = &[
    "postgres",
    "replicator",
    "rewind",
    "rewind_user",
    "hactl",
    DRILLS,
    "public",
    "none",
    "current_role",
    "current_user",
    "session_user",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_the_roles_make_are_reserved() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("roles/patroni/defaults/main.yml");
        let defaults = std::fs::read_to_string(path).unwrap();
        let users = ["patroni_replication_user: ", "patroni_rewind_user: "];
        for user in users {
            let name = defaults.lines().find_map(|line| line.strip_prefix(user)).unwrap();
            assert!(RESERVED_ROLES.contains(&name), "{name}");
        }
    }
}
