//! The records of machines: RFC 2136 updates signed with TSIG, and the zone's own server asked what
//! it answers.
//!
//! ```text
//! Dns + secret -> [zone] -message-> [exchange] -answer or trouble-> [trouble] -> Error
//!                                                                    names -> [ask] -> what is wrong
//! ```
//!
//! [`Zone`] reads and changes names with signed messages whose answers are verified; [`ask`] is an
//! ordinary resolver pointed at the same server, as an application would see it. What carries a mark,
//! a TXT beside the addresses, was made by hactl for the cluster of that UUID.

pub mod ask;
mod exchange;
mod marker;
mod trouble;
mod zone;

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};

pub use marker::RecordMarker;
pub use zone::{FoundRecords, Records, Zone};

use crate::{
    env,
    error::{Error, Result},
    model::Secret,
};

/// The environment variable that holds the TSIG key's secret in base64. Terraform hands it to the
/// provider by itself; no Terraform variable of that name is declared, so it is in no file.
pub const SECRET_VARIABLE: &str = env::TF_VAR_DNS_KEY_SECRET;

/// The secret of a TSIG key, and the environment variable that has it.
#[derive(Clone, Debug)]
pub struct KeySecret {
    variable: String,
    bytes: Secret<Vec<u8>>,
}

/// The secret in [`SECRET_VARIABLE`], from the environment as given.
///
/// # Errors
/// Of kind `Missing` when the variable is not set, and when it is not base64.
pub fn secret(env: &BTreeMap<String, String>) -> Result<KeySecret> {
    secret_in(env, SECRET_VARIABLE)
}

/// The secret in another variable: a configuration of Terraform may use several keys.
///
/// # Errors
/// Of kind `Missing` when the variable is not set, and when it is not base64.
pub fn secret_in(env: &BTreeMap<String, String>, variable: &str) -> Result<KeySecret> {
    let hint = format!("Set {variable} to the `secret` of the key in the DNS server's configuration");
    let text = env.get(variable).map(|text| text.trim()).filter(|text| !text.is_empty());
    let text = text.ok_or_else(|| {
        Error::missing("dns-secret-missing", "find", "the secret of the TSIG key")
            .cause(format!("the environment variable {variable} is not set"))
            .hint(&hint)
    })?;
    match STANDARD.decode(text) {
        Ok(bytes) => Ok(KeySecret { variable: variable.to_owned(), bytes: Secret::new(bytes) }),
        // What was decoded up to the wrong character is not quoted.
        Err(_) => Err(Error::missing("dns-secret-encoding", "read", "the secret of the TSIG key")
            .cause(format!("the environment variable {variable} does not hold base64"))
            .hint(hint)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(value: &str) -> BTreeMap<String, String> {
        BTreeMap::from([(SECRET_VARIABLE.to_owned(), value.to_owned())])
    }

    #[test]
    fn invalid_dns_secret_is_refused_without_its_text() {
        assert_eq!(secret(&env(" aHVudGVyMg==\n")).unwrap().bytes.expose(), b"hunter2");
        for empty in [BTreeMap::new(), env(""), env(" ")] {
            let error = secret(&empty).unwrap_err();
            assert_eq!((error.code, error.kind.exit_code()), ("dns-secret-missing", 3));
        }
        let error = secret(&env("hunter2!")).unwrap_err();
        assert_eq!(error.code, "dns-secret-encoding");
        assert!(!error.to_string().contains("hunter2"), "{error}");
        let error = secret_in(&env("aHVudGVyMg=="), "LAB_KEY").unwrap_err().to_string();
        assert!(error.contains("LAB_KEY") && !error.contains(SECRET_VARIABLE), "{error}");
    }
}
