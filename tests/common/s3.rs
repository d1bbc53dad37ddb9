//! A store that speaks S3, for tests.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead, BufReader},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use hactl::context::Dirs;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use serde_json::Value;

use super::{docker, output};

/// An S3 that checks signatures: moto's, in an environment of its own in the cache.
pub(crate) struct S3 {
    child: Child,
    told: Value,
}

impl S3 {
    /// On loopback, without TLS.
    pub(crate) fn start() -> Self {
        Self::run(&[])
    }

    /// By TLS, where containers reach it. Writes its authority to `ca`.
    pub(crate) fn start_tls(ca: &Path) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let address = bridge();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // With the name of its authority a certificate passes for one that signs itself.
        params.distinguished_name.push(DnType::CommonName, "authority of a store");
        let authority = params.self_signed(&key).unwrap();
        fs::write(ca, authority.pem()).unwrap();
        let issuer = Issuer::new(params, key);
        // pgBackRest compares the host with names only.
        let mut leaf = CertificateParams::default();
        leaf.subject_alt_names = vec![SanType::DnsName(address.as_str().try_into().unwrap())];
        let key = KeyPair::generate().unwrap();
        let (certificate, file) = (dir.path().join("s3.pem"), dir.path().join("s3.key"));
        fs::write(&certificate, leaf.signed_by(&key, &issuer).unwrap().pem()).unwrap();
        fs::write(&file, key.serialize_pem()).unwrap();
        Self::run(&[&address, certificate.to_str().unwrap(), file.to_str().unwrap()])
    }

    fn run(arguments: &[&str]) -> Self {
        let sources = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut command = Command::new(python(&sources.join(".ci/s3-requirements.txt")));
        command.args(["-W", "ignore"]).arg(sources.join("tests/backends/s3.py")).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, told: serde_json::from_str(&line).unwrap() }
    }

    pub(crate) fn told(&self, name: &str) -> String {
        self.told[name].as_str().unwrap().to_owned()
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address of this machine on the engine's own bridge, which containers of other networks reach as well.
fn bridge() -> String {
    // An engine that has just been installed names the network alone: the bridge has its first address.
    let template = "{{with index .IPAM.Config 0}}{{.Gateway}} {{.Subnet}}{{end}}";
    let said = docker(&["network", "inspect", "bridge", "--format", template]);
    let (gateway, subnet) = said.trim_end().split_once(' ').expect("a gateway and a network");
    if !gateway.is_empty() {
        return gateway.to_owned();
    }
    let network: Ipv4Addr = subnet.split('/').next().unwrap().parse().unwrap();
    Ipv4Addr::from_bits(network.to_bits() + 1).to_string()
}

/// The Python of an environment that has what a file of requirements says, made where it is not there yet.
fn python(requirements: &Path) -> PathBuf {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    (fs::read(requirements).unwrap(), output(Command::new("python3").arg("-V"))).hash(&mut hasher);
    let env: BTreeMap<String, String> = std::env::vars().collect();
    let cache = Dirs::new(Path::new("/"), &env).cache;
    let dir = cache.join(format!("test-s3/{:016x}", hasher.finish()));
    let (python, complete) = (dir.join("bin/python3"), dir.join("complete"));
    if !complete.exists() {
        let _ = fs::remove_dir_all(&dir);
        assert!(Command::new("python3").args(["-m", "venv"]).arg(&dir).status().unwrap().success());
        let pip = ["-m", "pip", "install", "--quiet", "--only-binary", ":all:", "--require-hashes", "--requirement"];
        assert!(Command::new(&python).args(pip).arg(requirements).status().unwrap().success());
        fs::write(complete, "").unwrap();
    }
    python
}
