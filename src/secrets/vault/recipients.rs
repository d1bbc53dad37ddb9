//! The public keys for which the secrets file is encrypted.

use super::{Recipient, Vault};
use crate::{
    error::{Error, Result},
    secrets::identity::{self, KEY_FILE},
};

impl Vault {
    /// The public keys for which the file is encrypted.
    ///
    /// # Errors
    /// When the file records one that is none.
    pub fn recipients(&self) -> Result<Vec<Recipient>> {
        let own = self.identity.recipients();
        let recipient = |text: &String| {
            let canonical = identity::recipient(text)?.canonical;
            Ok(Recipient { key: text.clone(), own: own.contains(&canonical) })
        };
        self.contents.recipients.iter().map(recipient).collect()
    }

    /// Lets another key open the file from the next save on: `age1...`, or an SSH public key. False when
    /// it does already.
    ///
    /// # Errors
    /// When the text is no such key.
    pub fn add_recipient(&mut self, text: &str) -> Result<bool> {
        if self.recorded(text)?.is_some() {
            return Ok(false);
        }
        Ok(self.contents.recipients.insert(text.trim().to_owned()))
    }

    /// Takes from a key the right to open the file from the next save on.
    ///
    /// # Errors
    /// When the text is no key, not one of the recipients, or the only one that the key at hand opens.
    pub fn remove_recipient(&mut self, text: &str) -> Result<()> {
        let failed = |cause: String| {
            Error::failed("secrets-recipient", "remove the recipient from", self.file.display()).cause(cause)
        };
        let Some(found) = self.recorded(text)? else {
            return Err(failed("the file is not encrypted for this key".to_owned())
                .hint(format!("Run `hactl secrets {} recipients` to list the recipients", self.cluster())));
        };
        if !self.recipients()?.iter().any(|other| other.own && other.key != found) {
            return Err(failed(format!("without it the key in {} could not open the file", self.identity.origin))
                .hint(format!(
                    "Ask another recipient to remove it, or set {KEY_FILE} to the file of another key of yours"
                )));
        }
        self.contents.recipients.remove(&found);
        Ok(())
    }

    /// The recipient that is the same key as `text`, as it is recorded.
    fn recorded(&self, text: &str) -> Result<Option<String>> {
        let wanted = identity::recipient(text)?.canonical;
        let same = |known: &&String| identity::recipient(known).is_ok_and(|known| known.canonical == wanted);
        Ok(self.contents.recipients.iter().find(same).cloned())
    }
}
