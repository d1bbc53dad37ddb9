//! What a tool's own words say of its failure, where its exit code does not. The only place that reads them.

/// Why a tool failed, as far as hactl acts on it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Complaint {
    /// A file system has no room.
    DiskFull,
    /// A download has another sum than it must have.
    ChecksumMismatch,
    /// Anything else.
    Other,
}

impl Complaint {
    /// Reads the last lines of a tool that failed.
    #[must_use]
    pub fn of(tail: &[String]) -> Self {
        let says = |words: &str| tail.iter().any(|line| line.contains(words));
        // pip, then go.
        if says("DO NOT MATCH THE HASHES") || says("checksum mismatch") {
            return Self::ChecksumMismatch;
        }
        // The C library's text for ENOSPC, which Go writes with a small letter.
        if tail.iter().any(|line| line.to_lowercase().contains("no space left on device")) {
            return Self::DiskFull;
        }
        Self::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn recorded_tool_output_gives_the_expected_complaint() {
        let recorded = [
            (
                "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE. If you have updated the package \
                 versions, please update the hashes.",
                Complaint::ChecksumMismatch,
            ),
            ("verifying go.etcd.io/bbolt@v1.4.3: checksum mismatch", Complaint::ChecksumMismatch),
            (
                "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
                Complaint::DiskFull,
            ),
            ("go: writing stat cache: write /c/v3.info: no space left on device", Complaint::DiskFull),
            ("E: mmdebstrap failed to run: No space left on device", Complaint::DiskFull),
            ("ERROR: Could not find a version that satisfies the requirement patroni==9", Complaint::Other),
        ];
        for (line, complaint) in recorded {
            assert_eq!(Complaint::of(&["first".to_owned(), line.to_owned()]), complaint, "{line}");
        }
        assert_eq!(Complaint::of(&[]), Complaint::Other);
    }
}
