//! Where the container engine listens, as the docker command decides it: `DOCKER_HOST`, then the context.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::{
    assets::hexadecimal,
    env,
    error::{Error, Result},
};

/// Where the engine listens in the context `default`.
const DEFAULT_SOCKET: &str = "unix:///var/run/docker.sock";

/// The address of the engine.
///
/// # Errors
/// When the context does not exist, or has no address.
pub(super) fn engine_address(env: &BTreeMap<String, String>) -> Result<String> {
    let given = |name: &str| env.get(name).filter(|text| !text.is_empty());
    if let Some(host) = given(env::DOCKER_HOST) {
        return Ok(host.clone());
    }
    let dir =
        given(env::DOCKER_CONFIG).map(PathBuf::from).or_else(|| Some(Path::new(given(env::HOME)?).join(".docker")));
    let current =
        dir.as_deref().and_then(|dir| read(&dir.join("config.json"))?["currentContext"].as_str().map(str::to_owned));
    let name = given(env::DOCKER_CONTEXT).cloned().or(current).filter(|name| !name.is_empty() && name != "default");
    let (Some(name), Some(dir)) = (name, dir) else { return Ok(DEFAULT_SOCKET.to_owned()) };
    // Docker names the directory of a context by the hash of its name.
    let file = dir.join("contexts/meta").join(hexadecimal(&Sha256::digest(&name))).join("meta.json");
    let found = read(&file).and_then(|context| Some(context["Endpoints"]["docker"]["Host"].as_str()?.to_owned()));
    found.ok_or_else(|| {
        Error::missing("engine-context", "find the container engine of the Docker context", &name)
            .cause(format!("{} does not exist, or has no address of an engine", file.display()))
            .hint(
                "Run `docker context ls` to list the contexts, then set DOCKER_CONTEXT to one of them, or to `default`",
            )
    })
}

/// The JSON of a file; none if it does not exist or is no JSON, which docker ignores, too.
fn read(file: &Path) -> Option<Value> {
    serde_json::from_slice(&std::fs::read(file).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engine_is_the_one_that_docker_itself_would_use() {
        let home = tempfile::tempdir().unwrap();
        let docker = home.path().join(".docker");
        // `echo -n colima | sha256sum`, as `docker context create colima` names it.
        let colima = docker.join("contexts/meta/f24fd3749c1368328e2b149bec149cb6795619f244c5b584e844961215dadd16");
        std::fs::create_dir_all(&colima).unwrap();
        let meta =
            r#"{"Name":"colima","Metadata":{},"Endpoints":{"docker":{"Host":"unix:///c.sock","SkipTLSVerify":false}}}"#;
        std::fs::write(colima.join("meta.json"), meta).unwrap();
        let address = |current: &str, variables: &[(&str, &str)]| {
            std::fs::write(docker.join("config.json"), current).unwrap();
            let home = ("HOME", home.path().to_str().unwrap());
            let env = variables.iter().chain([&home]).map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
            engine_address(&env.collect())
        };
        let uses = r#"{"currentContext":"colima"}"#;
        for (current, variables, expected) in [
            ("{}", &[][..], DEFAULT_SOCKET),
            ("not JSON", &[], DEFAULT_SOCKET),
            (uses, &[], "unix:///c.sock"),
            ("{}", &[("DOCKER_CONTEXT", "colima")], "unix:///c.sock"),
            (uses, &[("DOCKER_CONTEXT", "default")], DEFAULT_SOCKET),
            (uses, &[("DOCKER_CONTEXT", ""), ("DOCKER_HOST", "")], "unix:///c.sock"),
            ("{}", &[("DOCKER_CONTEXT", "colima"), ("DOCKER_HOST", "unix:///h.sock")], "unix:///h.sock"),
            (uses, &[("DOCKER_CONFIG", "/nonexistent")], DEFAULT_SOCKET),
        ] {
            assert_eq!(address(current, variables).unwrap(), expected, "{current} {variables:?}");
        }
        let error = address("{}", &[("DOCKER_CONTEXT", "nosuch")]).unwrap_err();
        assert_eq!((error.code, error.kind.exit_code()), ("engine-context", 3));
        assert!(error.to_string().contains("nosuch") && error.to_string().contains("docker context ls"), "{error}");
    }
}
