//! The size of the smallest disk with PGDATA -> how much WAL may be on it.
//!
//! A replica that was away needs WAL that the primary still has, and `pg_rewind` needs the WAL since the last checkpoint that
//! both have. A replica that is gone for good must not fill the disk.

use std::collections::BTreeMap;

use serde_json::Value;

/// Parameters for a file system of `disk_gb` GiB. WAL between two checkpoints, 1 GB by PostgreSQL's default, takes a quarter at
/// most, WAL that is always kept a tenth, and WAL that slots hold a quarter.
pub(super) fn parameters(disk_gb: Option<u32>) -> BTreeMap<String, Value> {
    let Some(gb) = disk_gb else { return BTreeMap::new() };
    let megabytes = |share: u32, most_gb: u32| Value::String(format!("{}MB", (gb * 1024 / share).min(most_gb * 1024)));
    let mut parameters = BTreeMap::from([
        ("wal_keep_size".to_owned(), megabytes(10, 16)),
        ("max_slot_wal_keep_size".to_owned(), megabytes(4, 64)),
    ]);
    if gb < 4 {
        parameters.insert("max_wal_size".to_owned(), megabytes(4, 1));
    }
    parameters
}

/// Whether slots can hold no more WAL than the disk has room for: the size of the disk is known, and the file does not lift the
/// limit.
pub(super) fn bounds_slots(disk_gb: Option<u32>, given: &BTreeMap<String, Value>) -> bool {
    let unlimited = given.get("max_slot_wal_keep_size").is_some_and(|value| match value {
        Value::String(text) => text.trim() == "-1",
        other => other.as_i64() == Some(-1),
    });
    disk_gb.is_some() && !unlimited
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn wal_fits_the_disk() {
        let table = [
            (1, "102MB", "256MB", Some("256MB")),
            (3, "307MB", "768MB", Some("768MB")),
            (4, "409MB", "1024MB", None),
            (100, "10240MB", "25600MB", None),
            (160, "16384MB", "40960MB", None),
            (1024, "16384MB", "65536MB", None),
            (65_536, "16384MB", "65536MB", None),
        ];
        for (gb, keep, slots, size) in table {
            let got = parameters(Some(gb));
            assert_eq!(
                (&got["wal_keep_size"], &got["max_slot_wal_keep_size"]),
                (&json!(keep), &json!(slots)),
                "{gb} GiB"
            );
            assert_eq!(got.get("max_wal_size"), size.map(|size| json!(size)).as_ref(), "{gb} GiB");
        }
        assert!(parameters(None).is_empty());
    }

    #[test]
    fn slots_are_bounded_where_the_disk_is_known_and_the_file_lifts_no_limit() {
        let given = |value: Value| BTreeMap::from([("max_slot_wal_keep_size".to_owned(), value)]);
        assert!(bounds_slots(Some(20), &BTreeMap::new()));
        assert!(bounds_slots(Some(20), &given(json!("8GB"))));
        assert!(!bounds_slots(Some(20), &given(json!(-1))) && !bounds_slots(Some(20), &given(json!("-1"))));
        assert!(!bounds_slots(None, &BTreeMap::new()));
    }
}
