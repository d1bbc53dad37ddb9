//! The mark that hactl leaves beside an address: which cluster it was made for.

use std::{fmt, net::IpAddr};

use uuid::Uuid;

/// Text of a TXT record: `hactl=UUID/ADDRESS`. One per address, so that a run that was killed between
/// making a record and writing it down leaves behind what is ours, and exactly that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RecordMarker {
    pub cluster: Uuid,
    pub address: IpAddr,
}

impl fmt::Display for RecordMarker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "hactl={}/{}", self.cluster, self.address)
    }
}

impl RecordMarker {
    /// Reads a TXT record's text; none when hactl did not write it.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok()?;
        let (cluster, address) = text.strip_prefix("hactl=")?.split_once('/')?;
        Some(Self { cluster: cluster.parse().ok()?, address: address.parse().ok()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marker_survives_a_round_trip_and_other_text_is_ignored() {
        for address in ["10.0.0.1", "2001:db8::1"] {
            let mark = RecordMarker { cluster: Uuid::from_u128(7), address: address.parse().unwrap() };
            assert_eq!(RecordMarker::parse(mark.to_string().as_bytes()), Some(mark));
        }
        for other in ["v=spf1 -all", "hactl=", "hactl=1/10.0.0.1", "hactl=4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11/x"] {
            assert_eq!(RecordMarker::parse(other.as_bytes()), None, "{other}");
        }
        assert_eq!(RecordMarker::parse(b"hactl=\xff"), None);
    }
}
