//! Every environment variable that hactl reads, passes on, sets or withholds, but for the settings
//! of Ansible (`ANSIBLE_*`), which are where it is started.

use std::fmt::Write;

/// What hactl does with a variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Flow {
    /// It uses it itself.
    Reads,
    /// It passes the user's value to programs that it starts, and may use it itself.
    Passes,
    /// It sets it for programs that it starts.
    Sets,
    /// It removes the user's value for programs that it starts.
    Withholds,
}

/// One variable, or all that begin with its name where that ends with an underscore.
#[derive(Clone, Copy, Debug)]
pub struct Variable {
    pub name: &'static str,
    pub flow: Flow,
    pub meaning: &'static str,
}

/// Makes a constant for the name of each variable, and a list of all.
macro_rules! variables {
    ($(#[$of:meta])* $list:ident: $($constant:ident = $name:literal, $flow:ident, $meaning:literal;)*) => {
        $(#[doc = $meaning] pub const $constant: &str = $name;)*
        $(#[$of])*
        pub const $list: &[Variable] = &[$(Variable { name: $constant, flow: Flow::$flow, meaning: $meaning }),*];
    };
}

variables! {
    /// hactl itself.
    HACTL:
    HACTL_DIR = "HACTL_DIR", Reads, "The directory for the files of all clusters. `.hactl` in the working directory by default.";
    HACTL_CACHE_DIR = "HACTL_CACHE_DIR", Reads, "The directory for downloads. `~/.cache/hactl` by default.";
    HACTL_AGE_KEY_FILE = "HACTL_AGE_KEY_FILE", Reads, "The file with the key of the secrets files.";
    HACTL_AGE_KEY_COMMAND = "HACTL_AGE_KEY_COMMAND", Reads, "The command that prints the key of the secrets files.";
    HACTL_SECRET_ = "HACTL_SECRET_", Reads, "A password, or a secret of a backup repository, for example `HACTL_SECRET_SUPERUSER`.";
    HACTL_PROGRAM = "HACTL_PROGRAM", Reads, "The hactl program that restores the power of machines during a drill. The running program by default.";
    HACTL_ = "HACTL_", Withholds, "All variables of hactl, on `platform: terraform`, and from the commands of `platform.hosts.power`.";
    HACTL_EVENTS = "HACTL_EVENTS", Sets, "The pipe on which Ansible reports its tasks.";
}

variables! {
    /// The machine that runs hactl.
    SYSTEM:
    PATH = "PATH", Passes, "The directories of programs.";
    HOME = "HOME", Passes, "The home directory.";
    USER = "USER", Passes, "The user.";
    LOGNAME = "LOGNAME", Passes, "The user.";
    TMPDIR = "TMPDIR", Passes, "The directory for temporary files.";
    TZ = "TZ", Passes, "The time zone.";
    XDG_CACHE_HOME = "XDG_CACHE_HOME", Passes, "The directory for caches.";
    XDG_CONFIG_HOME = "XDG_CONFIG_HOME", Passes, "The directory for settings.";
    XDG_DATA_HOME = "XDG_DATA_HOME", Passes, "The directory for data.";
    HTTP_PROXY = "HTTP_PROXY", Passes, "The proxy for HTTP.";
    HTTPS_PROXY = "HTTPS_PROXY", Passes, "The proxy for HTTPS.";
    NO_PROXY = "NO_PROXY", Passes, "Hosts that are reached without a proxy.";
    ALL_PROXY = "ALL_PROXY", Passes, "The proxy for everything.";
    HTTP_PROXY_LOWER = "http_proxy", Passes, "The proxy for HTTP.";
    HTTPS_PROXY_LOWER = "https_proxy", Passes, "The proxy for HTTPS.";
    NO_PROXY_LOWER = "no_proxy", Passes, "Hosts that are reached without a proxy.";
    ALL_PROXY_LOWER = "all_proxy", Passes, "The proxy for everything.";
    SSL_CERT_FILE = "SSL_CERT_FILE", Passes, "The certificates that are trusted. Terraform gets a file with the CA of `platform.proxmox.ca_cert` added.";
    SSL_CERT_DIR = "SSL_CERT_DIR", Passes, "The directory of certificates that are trusted.";
    REQUESTS_CA_BUNDLE = "REQUESTS_CA_BUNDLE", Passes, "The certificates that Python trusts.";
    CURL_CA_BUNDLE = "CURL_CA_BUNDLE", Passes, "The certificates that curl trusts.";
    SSH_AUTH_SOCK = "SSH_AUTH_SOCK", Passes, "The socket of the SSH agent.";
    DOCKER_HOST = "DOCKER_HOST", Passes, "The address of the container engine.";
    DOCKER_CONTEXT = "DOCKER_CONTEXT", Passes, "The Docker context, if `DOCKER_HOST` is not set.";
    DOCKER_CONFIG = "DOCKER_CONFIG", Passes, "The directory of Docker's settings and contexts. `~/.docker` by default.";
    LC_ALL = "LC_ALL", Sets, "Always `C.UTF-8`.";
}

variables! {
    /// Downloads.
    DOWNLOADS:
    PIP_ = "PIP_", Passes, "Settings of pip.";
    PIP_USER = "PIP_USER", Sets, "Always `0`: pip installs into a virtual environment.";
    SOURCE_DATE_EPOCH = "SOURCE_DATE_EPOCH", Sets, "A fixed time, so that a built wheel always has the same bytes.";
    GOPROXY = "GOPROXY", Passes, "The sources of Go modules.";
    GONOPROXY = "GONOPROXY", Passes, "Modules that Go downloads from their origin.";
    GOPRIVATE = "GOPRIVATE", Passes, "Modules that Go asks no proxy or checksum database for.";
    GOSUMDB = "GOSUMDB", Passes, "Go's checksum database.";
    GONOSUMDB = "GONOSUMDB", Passes, "Modules that Go asks no checksum database for.";
    GOFLAGS = "GOFLAGS", Passes, "Flags of Go's commands.";
    GOENV = "GOENV", Passes, "The file of Go's settings.";
    GOTOOLCHAIN = "GOTOOLCHAIN", Passes, "The Go version.";
    GOROOT = "GOROOT", Passes, "The directory of the Go installation.";
    GOPATH = "GOPATH", Passes, "Go's working directory.";
    GOMODCACHE = "GOMODCACHE", Passes, "Go's cache of modules.";
    GOCACHE = "GOCACHE", Passes, "Go's cache of builds.";
    GOTMPDIR = "GOTMPDIR", Passes, "Go's directory for temporary files.";
    GOAUTH = "GOAUTH", Passes, "How Go logs in.";
    NETRC = "NETRC", Passes, "The file of logins.";
    CGO_ENABLED = "CGO_ENABLED", Sets, "Always `0`: etcd is built without C.";
    GOOS = "GOOS", Sets, "Always `linux`.";
    GOARCH = "GOARCH", Sets, "The processor of the machines.";
    GOWORK = "GOWORK", Sets, "Always `off`.";
}

variables! {
    /// Proxmox.
    PROXMOX:
    PROXMOX_VE_API_TOKEN = "PROXMOX_VE_API_TOKEN", Reads, "The API token, also for Terraform's provider.";
    PROXMOX_VE_ENDPOINT = "PROXMOX_VE_ENDPOINT", Reads, "The address of the API, if the cluster file does not set it.";
    PROXMOX_VE_MIN_TLS = "PROXMOX_VE_MIN_TLS", Passes, "The lowest TLS version for Terraform's provider.";
}

variables! {
    /// Terraform.
    TERRAFORM:
    TF_VAR_DNS_KEY_SECRET = "TF_VAR_dns_key_secret", Reads, "The secret of the TSIG key.";
    TF_VAR_ = "TF_VAR_", Passes, "Values of variables.";
    TF_TOKEN_ = "TF_TOKEN_", Passes, "Tokens of registries.";
    TF_LOG = "TF_LOG", Passes, "The log level.";
    TF_LOG_CORE = "TF_LOG_CORE", Passes, "The log level of Terraform itself.";
    TF_LOG_PROVIDER = "TF_LOG_PROVIDER", Passes, "The log level of providers.";
    TF_LOG_PATH = "TF_LOG_PATH", Passes, "The file of the log.";
    TF_REGISTRY_CLIENT_TIMEOUT = "TF_REGISTRY_CLIENT_TIMEOUT", Passes, "The timeout of requests to registries.";
    TF_PLUGIN_CACHE_DIR = "TF_PLUGIN_CACHE_DIR", Passes, "The cache of providers.";
    TF_CLI_CONFIG_FILE = "TF_CLI_CONFIG_FILE", Passes, "The file of the CLI configuration, if it exists.";
    TF_REATTACH_PROVIDERS = "TF_REATTACH_PROVIDERS", Passes, "Providers that are already running. hactl adds its own.";
    TF_CLI_ARGS = "TF_CLI_ARGS", Withholds, "Additional arguments of Terraform's commands.";
    TF_WORKSPACE = "TF_WORKSPACE", Withholds, "The workspace. On `platform: terraform` hactl sets it from the cluster file.";
    TF_DATA_DIR = "TF_DATA_DIR", Sets, "The directory of providers and modules that Terraform downloads.";
    TF_IN_AUTOMATION = "TF_IN_AUTOMATION", Sets, "Always `1`.";
    TF_INPUT = "TF_INPUT", Sets, "Always `0`.";
    CHECKPOINT_DISABLE = "CHECKPOINT_DISABLE", Sets, "Always `1`: Terraform does not check for a newer version.";
    TF_PLUGIN_MAGIC_COOKIE = "TF_PLUGIN_MAGIC_COOKIE", Reads, "Shows that Terraform started hactl as a provider.";
    PLUGIN_PROTOCOL_VERSIONS = "PLUGIN_PROTOCOL_VERSIONS", Reads, "The plugin protocols that Terraform speaks.";
}

variables! {
    /// Terraform's backends.
    BACKENDS:
    PG_CONN_STR = "PG_CONN_STR", Passes, "Backend pg: the connection string.";
    PGHOST = "PGHOST", Passes, "Backend pg: the host.";
    PGPORT = "PGPORT", Passes, "Backend pg: the port.";
    PGDATABASE = "PGDATABASE", Passes, "Backend pg: the database.";
    PGUSER = "PGUSER", Passes, "Backend pg: the user.";
    PGPASSWORD = "PGPASSWORD", Passes, "Backend pg: the password.";
    PGPASSFILE = "PGPASSFILE", Passes, "Backend pg: the file of passwords.";
    PGSSLMODE = "PGSSLMODE", Passes, "Backend pg: the mode of TLS.";
    PGSSLCERT = "PGSSLCERT", Passes, "Backend pg: the client certificate.";
    PGSSLKEY = "PGSSLKEY", Passes, "Backend pg: the key of the client certificate.";
    PGSSLROOTCERT = "PGSSLROOTCERT", Passes, "Backend pg: the CA.";
    PGCONNECT_TIMEOUT = "PGCONNECT_TIMEOUT", Passes, "Backend pg: the timeout of a connection.";
    AWS_ = "AWS_", Passes, "Backend s3: all settings.";
    AWS_ACCESS_KEY_ID = "AWS_ACCESS_KEY_ID", Passes, "Backend s3: the access key.";
    AWS_SECRET_ACCESS_KEY = "AWS_SECRET_ACCESS_KEY", Passes, "Backend s3: the secret of the access key.";
    AWS_SESSION_TOKEN = "AWS_SESSION_TOKEN", Passes, "Backend s3: the token of a session.";
    AWS_SSE_CUSTOMER_KEY = "AWS_SSE_CUSTOMER_KEY", Passes, "Backend s3: the key that encrypts the state.";
    AWS_ENDPOINT_URL_S3 = "AWS_ENDPOINT_URL_S3", Passes, "Backend s3: the address of the service.";
    AWS_ENDPOINT_URL = "AWS_ENDPOINT_URL", Passes, "Backend s3: the address of all services.";
    TF_HTTP_USERNAME = "TF_HTTP_USERNAME", Passes, "Backend http: the user.";
    TF_HTTP_PASSWORD = "TF_HTTP_PASSWORD", Passes, "Backend http: the password.";
    TF_HTTP_CLIENT_CA_CERTIFICATE_PEM = "TF_HTTP_CLIENT_CA_CERTIFICATE_PEM", Passes, "Backend http: the CA.";
    TF_HTTP_CLIENT_CERTIFICATE_PEM = "TF_HTTP_CLIENT_CERTIFICATE_PEM", Passes, "Backend http: the client certificate.";
    TF_HTTP_CLIENT_PRIVATE_KEY_PEM = "TF_HTTP_CLIENT_PRIVATE_KEY_PEM", Passes, "Backend http: the key of the client certificate.";
    CONSUL_HTTP_ADDR = "CONSUL_HTTP_ADDR", Passes, "Backend consul: the address.";
    CONSUL_HTTP_TOKEN = "CONSUL_HTTP_TOKEN", Passes, "Backend consul: the token.";
    CONSUL_HTTP_TOKEN_FILE = "CONSUL_HTTP_TOKEN_FILE", Passes, "Backend consul: the file of the token.";
    CONSUL_HTTP_AUTH = "CONSUL_HTTP_AUTH", Passes, "Backend consul: user and password.";
    CONSUL_HTTP_SSL = "CONSUL_HTTP_SSL", Passes, "Backend consul: whether TLS is used.";
    CONSUL_CACERT = "CONSUL_CACERT", Passes, "Backend consul: the CA.";
    CONSUL_CLIENT_CERT = "CONSUL_CLIENT_CERT", Passes, "Backend consul: the client certificate.";
    CONSUL_CLIENT_KEY = "CONSUL_CLIENT_KEY", Passes, "Backend consul: the key of the client certificate.";
    CONSUL_TLS_SERVER_NAME = "CONSUL_TLS_SERVER_NAME", Passes, "Backend consul: the name in the server's certificate.";
}

variables! {
    /// `hactl psql`.
    CLIENTS:
    PGSERVICE = "PGSERVICE", Sets, "`hactl`, a service with the parameters that have no variable.";
    PGSERVICEFILE = "PGSERVICEFILE", Sets, "The file of that service, in which your own services are not.";
    PGSYSCONFDIR = "PGSYSCONFDIR", Withholds, "The directory of the system's services.";
    PGHOSTADDR = "PGHOSTADDR", Withholds, "An address would lead to another server.";
    PGOPTIONS = "PGOPTIONS", Withholds, "Settings of the session, such as another role.";
    PGREQUIREAUTH = "PGREQUIREAUTH", Withholds, "The ways to log in that the client accepts.";
    PGCHANNELBINDING = "PGCHANNELBINDING", Withholds, "Whether the login is bound to the TLS connection.";
    PGREQUIRESSL = "PGREQUIRESSL", Withholds, "An old setting of TLS.";
    PGREQUIREPEER = "PGREQUIREPEER", Withholds, "The user of the server's process.";
    PGSSLNEGOTIATION = "PGSSLNEGOTIATION", Withholds, "How TLS begins.";
    PGSSLCERTMODE = "PGSSLCERTMODE", Withholds, "Whether the client sends a certificate.";
    PGSSLCRL = "PGSSLCRL", Sets, "No file: certificates of the cluster are not revoked by the user's list.";
    PGSSLCRLDIR = "PGSSLCRLDIR", Withholds, "The directory of lists of revoked certificates.";
    PGSSLCOMPRESSION = "PGSSLCOMPRESSION", Withholds, "An old setting of TLS.";
    PGSSLSNI = "PGSSLSNI", Withholds, "Whether the client sends the server's name.";
    PGSSLMINPROTOCOLVERSION = "PGSSLMINPROTOCOLVERSION", Withholds, "The lowest TLS version.";
    PGSSLMAXPROTOCOLVERSION = "PGSSLMAXPROTOCOLVERSION", Withholds, "The highest TLS version.";
    PGGSSENCMODE = "PGGSSENCMODE", Sets, "Always `disable`: the cluster uses TLS.";
    PGGSSLIB = "PGGSSLIB", Withholds, "The library for GSSAPI.";
    PGGSSDELEGATION = "PGGSSDELEGATION", Withholds, "Whether the client delegates GSSAPI credentials.";
    PGKRBSRVNAME = "PGKRBSRVNAME", Withholds, "The name of the Kerberos service.";
    PGLOADBALANCEHOSTS = "PGLOADBALANCEHOSTS", Withholds, "The order in which the client tries the hosts.";
    PGMINPROTOCOLVERSION = "PGMINPROTOCOLVERSION", Withholds, "The lowest protocol version.";
    PGMAXPROTOCOLVERSION = "PGMAXPROTOCOLVERSION", Withholds, "The highest protocol version.";
}

variables! {
    /// CI.
    CI:
    GITHUB_WORKSPACE = "GITHUB_WORKSPACE", Reads, "The checked-out repository: annotations name files relative to it.";
    GITHUB_STEP_SUMMARY = "GITHUB_STEP_SUMMARY", Reads, "The file of the step's summary.";
    GITHUB_OUTPUT = "GITHUB_OUTPUT", Reads, "The file of the step's outputs.";
    GITHUB_SERVER_URL = "GITHUB_SERVER_URL", Reads, "Part of the job's address, which a lock shows.";
    GITHUB_REPOSITORY = "GITHUB_REPOSITORY", Reads, "Part of the job's address.";
    GITHUB_RUN_ID = "GITHUB_RUN_ID", Reads, "Part of the job's address.";
    CI_JOB_URL = "CI_JOB_URL", Reads, "The job's address on GitLab, which a lock shows.";
    RUNNER_DEBUG = "RUNNER_DEBUG", Reads, "`1` logs everything.";
}

/// Variables that every program gets which hactl starts.
pub fn passed_to_all() -> impl Iterator<Item = &'static str> {
    SYSTEM.iter().filter(|variable| variable.flow == Flow::Passes).map(|variable| variable.name)
}

/// The topics of the page: title, what is said first, and the variables.
const TOPICS: [(&str, &str, &[Variable]); 8] = [
    ("hactl itself", "", HACTL),
    (
        "The machine that runs hactl",
        "Every program that hactl starts gets these variables. It gets another variable only if this page names the \
         variable for it.",
        SYSTEM,
    ),
    ("Downloads", "", DOWNLOADS),
    ("Proxmox", "", PROXMOX),
    ("Terraform", "", TERRAFORM),
    ("Terraform's backends", "Terraform gets the variables of the backend that the cluster file names.", BACKENDS),
    (
        "`hactl psql`",
        "hactl gives psql the connection string as libpq's variables, and the parameters that have no variable in a service \
         file. psql uses none of your own variables that select a server, a user or a way to log in, such as `PGPASSWORD` \
         and those of the backend pg, and neither the client certificate nor the revocation list in `~/.postgresql`. On an \
         adopted cluster, hactl withholds only `PGHOSTADDR` and the variables of the backend, and replaces `PGSERVICE` and \
         `PGSERVICEFILE`, because it does not know how you log in there.",
        CLIENTS,
    ),
    ("CI", "", CI),
];

/// docs/environment.md.
#[must_use]
pub fn page() -> String {
    let mut page = "# Environment variables\n\n<!-- Generated from src/env.rs: HACTL_BLESS=1 cargo test --lib env writes it. -->\n\n\
                    hactl passes on only the variables on this page, and sets Ansible's own (`ANSIBLE_*`). On `platform: terraform` your own module gets all of \
                    your variables,\nexcept those that are withheld.\n\n\
                    - reads: hactl uses the variable itself.\n\
                    - passes: hactl gives your value to the programs that need it.\n\
                    - sets: hactl sets the variable for the programs that it starts.\n\
                    - withholds: hactl removes the variable for the programs that it starts.\n"
        .to_owned();
    for (title, first, variables) in TOPICS {
        let _ = write!(page, "\n## {title}\n\n");
        if !first.is_empty() {
            let _ = write!(page, "{first}\n\n");
        }
        page.push_str("| Variable | hactl | Meaning |\n|---|---|---|\n");
        for Variable { name, flow, meaning } in variables {
            let all = if is_prefix(name) { "*" } else { "" };
            let flow = match flow {
                Flow::Reads => "reads",
                Flow::Passes => "passes",
                Flow::Sets => "sets",
                Flow::Withholds => "withholds",
            };
            let _ = writeln!(page, "| `{name}{all}` | {flow} | {meaning} |");
        }
    }
    page
}

/// Whether the name stands for all that begin with it.
fn is_prefix(name: &str) -> bool {
    name.ends_with('_') || name == TF_CLI_ARGS
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::Path};

    use super::*;

    fn all() -> impl Iterator<Item = &'static Variable> {
        TOPICS.iter().flat_map(|(.., variables)| *variables)
    }

    #[test]
    fn environment_page_matches_the_list() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/environment.md");
        if std::env::var_os("HACTL_BLESS").is_some() {
            fs::write(&path, page()).unwrap();
        }
        assert!(
            page() == fs::read_to_string(&path).unwrap(),
            "HACTL_BLESS=1 cargo test --lib env writes {}",
            path.display()
        );
    }

    #[test]
    fn listed_variables_are_unique_and_named_only_in_the_list() {
        let names: BTreeSet<&str> = all().map(|variable| variable.name).collect();
        assert_eq!(names.len(), all().count());
        let top = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
        let mut found = Vec::new();
        let mut read = 0;
        for file in walkdir::WalkDir::new(&top).sort_by_file_name().into_iter().map(Result::unwrap) {
            let path = file.path();
            let is_test = path.ends_with("env.rs")
                || path.ends_with("tests.rs")
                || path.components().any(|part| part.as_os_str() == "tests");
            if path.extension().is_none_or(|end| end != "rs") || is_test {
                continue;
            }
            let text = fs::read_to_string(path).unwrap();
            let product = text.split("\n#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            read += product.len();
            let literals = product
                .lines()
                .filter(|line| !line.trim_start().starts_with("//"))
                .flat_map(|line| line.split('"').skip(1).step_by(2));
            let ours = ["HACTL_", "TF_", "PROXMOX_VE_"];
            let is_name = |text: &str| text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_');
            let literals = literals.filter(|text| *text != "HACTL_BLESS");
            let named = literals
                .filter(|text| names.contains(text) || is_name(text) && ours.iter().any(|ours| text.starts_with(ours)));
            found.extend(named.map(|text| format!("{}: {text}", path.display())));
        }
        assert!(found.is_empty(), "use the constants of src/env.rs: {found:#?}");
        assert!(read > 1_000_000, "the source is not read: {read} bytes");
    }
}
