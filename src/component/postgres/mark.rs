//! The mark on what hactl makes in PostgreSQL for a short time. hactl drops what carries the mark, and nothing else.

use tokio_postgres::{Client, Error};

/// The comment of such a database, role or table. It names the system, so that a copy elsewhere is not hactl's.
///
/// # Errors
/// When the server does not tell its system identifier.
pub(crate) async fn mark(client: &Client) -> Result<String, Error> {
    let row = client.query_one("SELECT system_identifier::text FROM pg_control_system()", &[]).await?;
    Ok(text(row.get(0)))
}

fn text(system: &str) -> String {
    format!("temporary, made by hactl on system {system}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_of_another_system_differs() {
        assert_ne!(text("7523187631234567890"), text("7523187631234567891"));
        assert!(!text("7523187631234567890").contains('\''), "the mark is a literal in SQL");
    }
}
