//! Which packages make a base image, and where they come from.
//!
//! An image reference and the machine's own apt configuration come in, the arguments of mmdebstrap
//! go out. Pure.

use crate::model::Distribution;

/// What every node needs before Ansible can work on it.
pub(super) const PACKAGES: &[&str] = &[
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "python3",
    "python3-apt",
    "sudo",
    "iproute2",
    "e2fsprogs",
    "ca-certificates",
];

/// A release to be bootstrapped without an image registry. Only `debian:12` was on this project's test
/// machines; the others follow its pattern.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bootstrap(pub(super) Distribution);

impl Bootstrap {
    /// The distribution's own suites, without backports.
    fn suites(&self) -> [String; 3] {
        ["", "-updates", "-security"].map(|suffix| format!("{}{suffix}", self.0.codename()))
    }

    /// Lines of `sources.list`: the machine's own where it runs this release; none otherwise,
    /// and mmdebstrap then takes the public mirrors that it knows for the release.
    ///
    /// `os_release` is the text of `/etc/os-release`, `sources` those of apt's source files.
    pub(super) fn sources(&self, os_release: &str, sources: &[String]) -> Vec<String> {
        if !self.is_of(os_release) {
            return Vec::new();
        }
        sources.iter().flat_map(|text| self.distribution_lines(text)).collect()
    }

    /// Whether the machine with this `/etc/os-release` runs the release.
    pub(super) fn is_of(&self, os_release: &str) -> bool {
        let codename = os_release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
        codename.is_some_and(|codename| codename.trim_matches('"') == self.0.codename())
    }

    /// The distribution's own entries of a source file in either form, leaving out other
    /// repositories: these have suites or components of their own.
    fn distribution_lines(&self, text: &str) -> Vec<String> {
        let mut entries = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| line.starts_with("deb ")) {
            let (options, rest) = match line[4..].trim_start().strip_prefix('[').and_then(|rest| rest.split_once(']')) {
                Some((options, rest)) => (format!("[{}] ", options.trim()), rest),
                None => (String::new(), &line[4..]),
            };
            if let [uri, suite, components @ ..] = &rest.split_whitespace().collect::<Vec<_>>()[..] {
                entries.push((options, (*uri).to_owned(), (*suite).to_owned(), components.join(" ")));
            }
        }
        for stanza in text.split("\n\n") {
            let field = |name: &str| {
                stanza.lines().filter(|line| !line.starts_with('#')).find_map(|line| {
                    let (key, value) = line.split_once(':')?;
                    key.eq_ignore_ascii_case(name).then(|| value.trim())
                })
            };
            let (Some(types), Some(uris), Some(suites)) = (field("Types"), field("URIs"), field("Suites")) else {
                continue;
            };
            let off = field("Enabled").is_some_and(|value| value.eq_ignore_ascii_case("no"));
            if off || !types.split_whitespace().any(|kind| kind == "deb") {
                continue;
            }
            // A key written into the stanza has no place in a line; the release's own keyring serves.
            let key = field("Signed-By").filter(|key| key.starts_with('/'));
            let options = key.map(|key| format!("[signed-by={key}] ")).unwrap_or_default();
            let components = field("Components").unwrap_or_default();
            for (uri, suite) in uris.split_whitespace().flat_map(|u| suites.split_whitespace().map(move |s| (u, s))) {
                entries.push((options.clone(), uri.to_owned(), suite.to_owned(), components.to_owned()));
            }
        }
        let own = |suite: &String, components: &str| {
            self.suites().contains(suite) && components.split_whitespace().any(|component| component == "main")
        };
        let entries = entries.into_iter().filter(|(_, _, suite, components)| own(suite, components));
        entries.map(|(options, uri, suite, components)| format!("deb {options}{uri} {suite} {components}")).collect()
    }
}

/// The lines of `apt-config dump` that say how the machine reaches its mirrors.
///
/// A proxy with a password is left out: the image must not hold it.
pub(super) fn access_options(dump: &str) -> String {
    let wanted = ["Acquire::http", "Acquire::https", "Acquire::Check-", "Acquire::Retries"];
    let lines = dump.lines().filter(|line| wanted.iter().any(|start| line.starts_with(start)) && !line.contains('@'));
    lines.map(|line| format!("{line}\n")).collect()
}

/// The arguments of mmdebstrap. `options_file` has apt's options; the archive is written to `tar`.
pub(super) fn bootstrap_arguments(
    release: Bootstrap,
    sources: &[String],
    options_file: &str,
    tar: &str,
) -> Vec<String> {
    let mut arguments = vec![
        "--variant=minbase".to_owned(),
        "--format=tar".to_owned(),
        format!("--include={}", PACKAGES.join(",")),
        format!("--aptopt={options_file}"),
        "--dpkgopt=path-exclude=/usr/share/man/*".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/doc/*".to_owned(),
        // Every node gets a host key of its own.
        "--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_*".to_owned(),
        release.0.codename().to_owned(),
        tar.to_owned(),
    ];
    arguments.extend(sources.iter().cloned());
    arguments
}

/// Installs what a node needs in a plain image of a distribution, and leaves out what image makers
/// add against starting services.
pub(super) fn prepare_script() -> String {
    format!(
        "set -e; export DEBIAN_FRONTEND=noninteractive; \
         apt-get -o Acquire::Retries=3 update; \
         apt-get -o Acquire::Retries=3 install --yes --no-install-recommends {}; \
         rm -f /usr/sbin/policy-rc.d; {CLEAN_SCRIPT}",
        PACKAGES.join(" ")
    )
}

/// Takes out of a container what must not be in its image: caches, and what makes a node itself.
pub(super) const CLEAN_SCRIPT: &str = "apt-get clean; rm -rf /var/lib/apt/lists/* /etc/ssh/ssh_host_* \
     /root/.ssh /root/.ansible /var/log/journal/* /var/cache/debconf/*-old; : > /etc/machine-id";

#[cfg(test)]
mod tests {
    use super::*;

    const BOOKWORM: &str = "ID=debian\nVERSION_CODENAME=bookworm\n";

    #[test]
    fn bootstrap_of_another_release_uses_the_default_mirrors() {
        let own = vec!["deb http://mirror.example/debian bookworm main".to_owned()];
        assert!(Bootstrap(Distribution::Ubuntu2204).sources(BOOKWORM, &own).is_empty());
        assert!(Bootstrap(Distribution::Debian12).sources(BOOKWORM, &[]).is_empty());
    }

    #[test]
    fn bootstrap_of_the_host_release_uses_only_its_distribution_sources() {
        let stanzas = "Types: deb deb-src\n# a remark: URIs: x\nURIs: http://mirror.example/debian\n\
            Suites: bookworm bookworm-updates bookworm-backports\nComponents: main contrib\n\
            Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg\n\n\
            Types: deb\nEnabled: no\nURIs: http://off.example\nSuites: bookworm\nComponents: main\n";
        let lines = "# deb http://old.example/debian bookworm main\n\
            deb [arch=amd64 signed-by=/k.gpg] https://download.example/docker bookworm stable\n\
            deb [trusted=no] http://mirror.example/security bookworm-security main\n\
            deb http://pgdg.example bookworm-pgdg main\n";
        let own = Bootstrap(Distribution::Debian12).sources(BOOKWORM, &[stanzas.to_owned(), lines.to_owned()]);
        let key = "[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]";
        assert_eq!(
            own,
            [
                format!("deb {key} http://mirror.example/debian bookworm main contrib"),
                format!("deb {key} http://mirror.example/debian bookworm-updates main contrib"),
                "deb [trusted=no] http://mirror.example/security bookworm-security main".to_owned(),
            ]
        );
    }

    #[test]
    fn apt_options_are_copied_only_for_access_and_without_passwords() {
        let dump = "APT::Architecture \"amd64\";\nAcquire::Check-Valid-Until \"false\";\n\
            Acquire::http::Proxy \"http://proxy.example:3128\";\nAcquire::https::Proxy \"http://me:pw@proxy.example\";\n";
        let expected = "Acquire::Check-Valid-Until \"false\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n";
        assert_eq!(access_options(dump), expected);
    }

    #[test]
    fn bootstrap_has_the_expected_arguments() {
        let sources = vec!["deb http://mirror.example/debian bookworm main".to_owned()];
        let arguments = bootstrap_arguments(Bootstrap(Distribution::Debian12), &sources, "/t/apt.conf", "/t/base.tar");
        assert_eq!(
            arguments,
            [
                "--variant=minbase",
                "--format=tar",
                "--include=systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,sudo,iproute2,e2fsprogs,ca-certificates",
                "--aptopt=/t/apt.conf",
                "--dpkgopt=path-exclude=/usr/share/man/*",
                "--dpkgopt=path-exclude=/usr/share/doc/*",
                "--customize-hook=rm -f \"$1\"/etc/ssh/ssh_host_*",
                "bookworm",
                "/t/base.tar",
                "deb http://mirror.example/debian bookworm main",
            ]
        );
    }
}
