//! What the variables of the roles are made of, beside the plan and the machines.

use std::{collections::BTreeMap, path::PathBuf};

use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::model::{Account, Authority, Certificate, InstanceKey, Secret};

/// Variables of a role by their names.
pub(crate) type RoleVars = Map<String, Value>;

/// A download that a role brings to the machines.
#[derive(Clone, Debug)]
pub struct Downloaded {
    /// The name of the component that it is of.
    pub component: &'static str,
    /// The variable that tells the role where it is.
    pub variable: &'static str,
    pub dir: PathBuf,
}

/// Passwords, authorities and certificates, as the roles get them.
#[derive(Clone, Debug)]
pub struct RoleSecrets {
    /// The cluster's identity.
    pub uuid: Uuid,
    pub passwords: BTreeMap<Account, Secret>,
    /// The certificates of authorities by their names, PEM.
    pub authorities: BTreeMap<String, String>,
    /// The certificates and keys of each node, by their names.
    pub nodes: BTreeMap<InstanceKey, BTreeMap<String, KeyPair>>,
}

/// A certificate and its key.
#[derive(Clone, Debug)]
pub struct KeyPair {
    /// PEM.
    pub certificate: String,
    /// PEM.
    pub key: Secret,
}

/// Looks secrets up for the roles, and notes those that are missing, so that all of them are named at once.
pub(crate) struct Lookup<'a> {
    secrets: &'a RoleSecrets,
    missing: Vec<String>,
}

impl<'a> Lookup<'a> {
    pub(crate) const fn new(secrets: &'a RoleSecrets) -> Self {
        Self { secrets, missing: Vec::new() }
    }

    /// What was looked up in vain, in words.
    pub(crate) fn missing(self) -> Vec<String> {
        self.missing
    }

    /// The cluster's identity.
    pub(super) const fn uuid(&self) -> Uuid {
        self.secrets.uuid
    }

    /// The certificate of an authority, PEM.
    pub(super) fn authority(&mut self, authority: Authority) -> Option<&'a str> {
        let found = self.secrets.authorities.get(authority.name).map(String::as_str);
        self.noted(found, || format!("no certificate of the CA {}", authority.name))
    }

    /// The password of an account.
    pub(super) fn password(&mut self, account: &Account) -> Option<&'a Secret> {
        let found = self.secrets.passwords.get(account);
        self.noted(found, || match account {
            Account::Owner(owner) => format!("no password for {owner}"),
            Account::Named(name) => format!("no password for {name}"),
            Account::Repository(..) => format!("no {account}"),
        })
    }

    /// A certificate of `node`, and its key.
    pub(super) fn certificate(
        &mut self,
        node: &InstanceKey,
        certificate: Certificate,
    ) -> (Option<&'a str>, Option<&'a Secret>) {
        let found = self.secrets.nodes.get(node).and_then(|pairs| pairs.get(certificate.name));
        let found = self.noted(found, || format!("no certificates for {node}"));
        (found.map(|pair| pair.certificate.as_str()), found.map(|pair| &pair.key))
    }

    fn noted<T>(&mut self, found: Option<T>, missing: impl Fn() -> String) -> Option<T> {
        if found.is_none() && !self.missing.contains(&missing()) {
            self.missing.push(missing());
        }
        found
    }
}

/// The variables of a role that `vars` has, by the names of its fields.
pub(super) fn role_vars(vars: &impl Serialize) -> RoleVars {
    match serde_json::to_value(vars) {
        Ok(Value::Object(vars)) => vars,
        // An invariant: every caller gives a struct whose fields JSON has.
        other => unreachable!("variables of a role are a struct of named values: {other:?}"),
    }
}
