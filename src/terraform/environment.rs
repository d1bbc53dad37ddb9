//! The environment of Terraform's backend and its other providers: what opens the state, where the hypervisor's API is,
//! and which certificates to trust.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::names::{CA_BUNDLE, MAKE_ROOM};
use crate::{
    context::{ClusterDir, Context},
    env,
    error::{Error, Result},
    file,
    model::Backend,
    plan::Platform,
    platform::proxmox::{ENDPOINT_VARIABLE, TOKEN_VARIABLE},
};

/// Variables for the processes of Terraform and its providers alone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Environment {
    pub(super) set: Vec<(&'static str, String)>,
    /// Those of the user that reach them: secrets are never copied.
    pub(super) pass: Vec<&'static str>,
    /// The same by the start of their names.
    pub(super) prefix: Option<&'static str>,
    /// Whether all of the user's reach them.
    pub(super) everything: bool,
    /// Values that hactl removes from all output.
    pub(super) secrets: Vec<String>,
}

/// Where Go's libraries look for the system's certificates, in their order.
const SYSTEM_CERTIFICATES: [&str; 5] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

impl Environment {
    /// The environment for the state in `backend`, and for the machines of `platform`. The provider of Proxmox has no
    /// option for a CA, so hactl appends that CA to the system's certificates, in a file of this cluster.
    ///
    /// # Errors
    /// When the CA's certificate cannot be read, or the file not written.
    pub(super) fn of(
        context: &Context,
        dir: &ClusterDir,
        platform: &Platform,
        backend: Option<&Backend>,
    ) -> Result<Self> {
        let mut environment = backend.map(|backend| Self::of_state(context, backend)).unwrap_or_default();
        if let Some(module) = platform.own_module() {
            let workspace = module.workspace.clone().map(|name| (env::TF_WORKSPACE, name));
            return Ok(Self { set: workspace.into_iter().collect(), everything: true, ..environment });
        }
        let Some(proxmox) = platform.proxmox() else { return Ok(environment) };
        environment.pass.extend([TOKEN_VARIABLE, env::PROXMOX_VE_MIN_TLS]);
        match &proxmox.endpoint {
            Some(endpoint) => environment.set.push((ENDPOINT_VARIABLE, endpoint.clone())),
            None => environment.pass.push(ENDPOINT_VARIABLE),
        }
        if let Some(ca_cert) = &proxmox.ca_cert {
            let bundle = dir.terraform().join(CA_BUNDLE);
            write_bundle(context, &context.at_home(ca_cert), &bundle)?;
            environment.set.push((env::SSL_CERT_FILE, bundle.display().to_string()));
        }
        Ok(environment)
    }

    /// The environment for the state alone.
    pub(super) fn of_state(context: &Context, backend: &Backend) -> Self {
        Self {
            pass: backend.kind.passed().to_vec(),
            prefix: backend.kind.passed_prefix(),
            secrets: backend.secrets(&context.env),
            ..Self::default()
        }
    }
}

fn write_bundle(context: &Context, ca_cert: &Path, bundle: &Path) -> Result<()> {
    let own = fs::read(ca_cert).map_err(|error| {
        Error::usage("ca-cert", "read the CA certificate", ca_cert.display())
            .source(&error)
            .hint("Set `ca_cert` under `platform.proxmox` to a copy of /etc/pve/pve-root-ca.pem of a hypervisor")
    })?;
    let given = context.env.get(env::SSL_CERT_FILE).filter(|path| !path.is_empty()).map(PathBuf::from);
    let mut text = given
        .into_iter()
        .chain(SYSTEM_CERTIFICATES.map(PathBuf::from))
        .find_map(|path| fs::read(path).ok())
        .unwrap_or_default();
    text.push(b'\n');
    text.extend(own);
    file::replace(bundle, &text)
        .map_err(|error| Error::failed("ca-cert", "write", bundle.display()).source(&error).hint(MAKE_ROOM))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::{context::Dirs, event::Events, model::Choices, plan, spec};

    fn environment(work: &Path, platform: &str) -> Result<Environment> {
        let env = BTreeMap::from([("SSL_CERT_FILE".to_owned(), work.join("system.pem").display().to_string())]);
        let context =
            Context { dirs: Dirs::new(work, &env), env, events: Events::channel().0, stop: Default::default() };
        let text = format!("name: pg\nplatform: {platform}\ninstances: {{}}\n");
        let spec = spec::load("pg.yaml", text.as_bytes(), "pg").unwrap();
        let plan = plan::decide(&spec, &Choices::default()).unwrap();
        Environment::of(&context, &context.dirs.cluster(&plan.cluster), &plan.platform, None)
    }

    #[test]
    fn endpoint_comes_from_file_or_environment_and_token_only_from_environment() {
        let dir = tempfile::tempdir().unwrap();
        let given = environment(dir.path(), "{proxmox: {endpoint: 'https://pve1:8006/'}}").unwrap();
        assert_eq!(given.set, [(ENDPOINT_VARIABLE, "https://pve1:8006/".to_owned())]);
        assert!(given.pass.contains(&TOKEN_VARIABLE) && !given.pass.contains(&ENDPOINT_VARIABLE));
        let passed = environment(dir.path(), "proxmox").unwrap();
        assert!(passed.set.is_empty() && passed.pass.contains(&ENDPOINT_VARIABLE));
        assert_eq!(environment(dir.path(), "local").unwrap(), Environment::default());
    }

    #[test]
    fn ca_of_the_cluster_file_is_trusted_in_addition_to_the_system_cas() {
        let dir = tempfile::tempdir().unwrap();
        let platform = format!("{{proxmox: {{ca_cert: {}}}}}", dir.path().join("ca.pem").display());
        let error = environment(dir.path(), &platform).unwrap_err();
        assert_eq!((error.code, error.object.ends_with("ca.pem")), ("ca-cert", true));
        fs::write(dir.path().join("system.pem"), "system").unwrap();
        fs::write(dir.path().join("ca.pem"), "own").unwrap();
        let environment = environment(dir.path(), &platform).unwrap();
        let (name, bundle) = &environment.set[0];
        assert_eq!((*name, fs::read_to_string(bundle).unwrap().as_str()), ("SSL_CERT_FILE", "system\nown"));
    }
}
