//! The API token: a name that may be shown, and a secret that may not.

use std::{collections::BTreeMap, fmt};

use uuid::Uuid;

use super::TOKEN_VARIABLE;
use crate::{
    error::{Error, Result},
    model::Secret,
};

/// What a token looks like, for messages.
const FORM: &str = "USER@REALM!TOKENID=UUID";

/// An API token of Proxmox VE.
#[derive(Clone, Debug)]
pub struct Token {
    /// `USER@REALM!TOKENID`.
    id: String,
    text: Secret<String>,
}

impl Token {
    /// The token of the environment as given.
    ///
    /// # Errors
    /// Of kind `Missing` when the variable is not set, and when it is no token; then with the part that is wrong, and
    /// never with the secret.
    pub fn from_env(env: &BTreeMap<String, String>) -> Result<Self> {
        let text = env.get(TOKEN_VARIABLE).map(|text| text.trim()).filter(|text| !text.is_empty());
        let text = text.ok_or_else(|| {
            Error::missing("proxmox-token-missing", "find", "the API token of Proxmox")
                .cause(format!("the environment variable {TOKEN_VARIABLE} is not set"))
                .hint(format!(
                    "Run `pveum user token add` on a hypervisor to create one (docs/proxmox.md), and export \
                     {TOKEN_VARIABLE}='{FORM}'"
                ))
        })?;
        Self::parse(text).map_err(|wrong| {
            Error::missing("proxmox-token-malformed", "read", "the API token of Proxmox")
                .cause(format!(
                    "the environment variable {TOKEN_VARIABLE} does not hold a token of the form {FORM}: {wrong}"
                ))
                .hint(format!("Set it to {FORM}, in single quotes: shells interpret `!`"))
        })
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        if text.contains("PVEAPIToken") {
            return Err("`PVEAPIToken=` belongs to the HTTP header, not to the token");
        }
        let Some((id, secret)) = text.split_once('=') else {
            return Err("it has no `=` between the token's ID and its secret");
        };
        let Some((user, name)) = id.split_once('!') else {
            return Err("it has no `!` between the user and the token's ID");
        };
        let Some((account, realm)) = user.rsplit_once('@') else {
            return Err("it has no `@` between the user and the realm, such as `@pve` or `@pam`");
        };
        // As Proxmox itself names users, realms and tokens.
        let word = |text: &str| {
            text.starts_with(|c: char| c.is_ascii_alphabetic())
                && text.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c))
        };
        if account.is_empty() || account.chars().any(|c| c.is_whitespace() || c.is_control() || ":/".contains(c)) {
            return Err("the user's name is empty or has an invalid character");
        }
        if !word(realm) || !word(name) {
            return Err(
                "the realm and the token ID must start with a letter and have only letters, digits, `.`, `_` and `-`",
            );
        }
        if Uuid::try_parse(secret).is_err() || secret.len() != 36 {
            return Err("the text after `=` is not a secret as Proxmox shows it once: a UUID of 36 characters");
        }
        Ok(Self { id: id.to_owned(), text: Secret::new(text.to_owned()) })
    }

    /// The value of the `Authorization` header.
    pub(super) fn header(&self) -> Secret<String> {
        Secret::new(format!("PVEAPIToken={}", self.text.expose()))
    }
}

/// The token's name, which is no secret.
impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "4c0fbb2e-52a3-4c2b-9a0e-1f0c0e0d7a11";

    fn from(text: &str) -> Result<Token> {
        Token::from_env(&BTreeMap::from([(TOKEN_VARIABLE.to_owned(), text.to_owned())]))
    }

    #[test]
    fn token_displays_its_name_without_its_secret() {
        let token = from(&format!(" hactl@pve!terraform={SECRET}\n")).unwrap();
        assert_eq!(token.to_string(), "hactl@pve!terraform");
        assert_eq!(*token.header().expose(), format!("PVEAPIToken=hactl@pve!terraform={SECRET}"));
        assert!(!format!("{token:?}").contains(SECRET));
        assert!(from(&format!("first.last@corp.example@ldap!t-1={SECRET}")).is_ok(), "an @ within the name");
    }

    #[test]
    fn invalid_token_is_refused_without_its_secret() {
        let id = "hactl@pve!terraform";
        for (text, word) in [
            (format!("PVEAPIToken={id}={SECRET}"), "header"),
            (format!("{id}:{SECRET}"), "`=`"),
            (SECRET.to_owned(), "`=`"),
            (format!("hactl@pve={SECRET}"), "`!`"),
            (format!("hactl!terraform={SECRET}"), "`@`"),
            (format!("@pve!terraform={SECRET}"), "user's name"),
            (format!("hactl@!terraform={SECRET}"), "realm"),
            (format!("hactl@pve!={SECRET}"), "realm and the token ID"),
            (format!("{id}={}", &SECRET[1..]), "UUID"),
            (format!("{id}={}", SECRET.replace('-', "")), "UUID"),
        ] {
            let error = from(&text).unwrap_err();
            assert_eq!((error.code, error.kind.exit_code()), ("proxmox-token-malformed", 3));
            let said = error.to_string();
            assert!(said.contains(word) && !said.contains("52a3"), "{text}: {said}");
        }
        for empty in [BTreeMap::new(), BTreeMap::from([(TOKEN_VARIABLE.to_owned(), " ".to_owned())])] {
            assert_eq!(Token::from_env(&empty).unwrap_err().code, "proxmox-token-missing");
        }
    }
}
