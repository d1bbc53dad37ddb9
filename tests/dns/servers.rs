//! BIND and Knot on loopback, started by a test in a directory of its own and ended with it.

use std::{
    fs,
    io::ErrorKind,
    net::{IpAddr, SocketAddr, TcpListener, UdpSocket},
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hactl::model::{DEFAULT_TTL, Dns, KeyAlgorithm};
use hickory_proto::{
    op::{Message, Query},
    rr::{Name, RData, RecordType},
};

pub(crate) const ZONE: &str = "home.sflab.io.";

/// May write everything.
pub(crate) const KEY: &str = "ddnskey.";
/// The same with another algorithm.
pub(crate) const KEY_512: &str = "sha512key.";
/// May write everything, and has a secret of its own.
pub(crate) const OTHER_KEY: &str = "otherkey.";
/// Known, and allowed nothing.
pub(crate) const IDLE_KEY: &str = "idlekey.";
/// May write addresses, and no texts.
pub(crate) const PLAIN_KEY: &str = "plainkey.";

pub(crate) fn secret() -> String {
    STANDARD.encode("0123456789abcdef0123456789abcdef")
}

/// The secret of [`OTHER_KEY`].
pub(crate) fn other_secret() -> String {
    STANDARD.encode("fedcba9876543210fedcba9876543210")
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Bind,
    Knot,
}

/// A server of the zone.
pub(crate) struct Server {
    kind: Kind,
    pub(crate) address: IpAddr,
    pub(crate) port: u16,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

impl Server {
    pub(crate) fn start(kind: Kind) -> Self {
        Self::at(kind, [127, 0, 0, 1].into())
    }

    pub(crate) fn at(kind: Kind, address: IpAddr) -> Self {
        let dir = tempfile::Builder::new().prefix("hactl-dns-").tempdir().unwrap();
        let mut server = Self { kind, address, port: free_port(address), dir, child: None };
        fs::write(
            server.path("zone"),
            "$TTL 3600\n@ IN SOA ns1 admin 1 3600 600 604800 60\n@ IN NS ns1\nns1 IN A 192.0.2.53\n\
             alias IN CNAME ns1\ntaken IN A 192.0.2.99\n*.wild IN A 192.0.2.77\n",
        )
        .unwrap();
        let conf = match kind {
            Kind::Bind => server.named_conf(),
            Kind::Knot => server.knot_conf(),
        };
        fs::write(server.path("conf"), conf).unwrap();
        if kind == Kind::Bind {
            // Distributions confine the program at its own path to its own directories.
            let program = ["/usr/sbin/named", "/usr/bin/named"].into_iter().find(|path| fs::metadata(path).is_ok());
            fs::copy(program.expect("named is installed: .ci/setup --test"), server.path("named")).unwrap();
        }
        server.resume();
        server
    }

    pub(crate) fn dns(&self) -> Dns {
        Dns {
            zone: ZONE.parse().unwrap(),
            server: self.address.to_string().parse().unwrap(),
            port: self.port,
            ttl: DEFAULT_TTL,
            key_name: KEY.parse().unwrap(),
            key_algorithm: KeyAlgorithm::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn named_conf(&self) -> String {
        let (dir, port, address, secret) = (self.dir.path().display(), self.port, self.address, secret());
        let other = other_secret();
        let key = |name: &str, algorithm: &str| {
            let secret = if name == OTHER_KEY { &other } else { &secret };
            format!("key \"{name}\" {{ algorithm {algorithm}; secret \"{secret}\"; }};\n")
        };
        let keys = [(KEY, 256), (OTHER_KEY, 256), (KEY_512, 512), (PLAIN_KEY, 256), (IDLE_KEY, 256)];
        let keys: String = keys.map(|(name, bits)| key(name, &format!("hmac-sha{bits}"))).concat();
        format!(
            "{keys}controls {{ }};\noptions {{ directory \"{dir}\"; listen-on port {port} {{ {address}; }}; listen-on-v6 {{ none; }};\n\
             pid-file none; session-keyfile none; recursion no; dnssec-validation no; }};\n\
             zone \"{ZONE}\" {{ type primary; file \"zone\"; update-policy {{ grant {KEY} zonesub ANY; grant {OTHER_KEY} zonesub ANY;\n\
             grant {KEY_512} zonesub ANY; grant {PLAIN_KEY} zonesub A AAAA; }}; }};\n"
        )
    }

    fn knot_conf(&self) -> String {
        let (dir, port, address, secret) = (self.dir.path().display(), self.port, self.address, secret());
        let key =
            |name: &str, algorithm: &str| format!("  - id: {name}\n    algorithm: {algorithm}\n    secret: {secret}\n");
        let keys = [(KEY, 256), (KEY_512, 512), (PLAIN_KEY, 256), (IDLE_KEY, 256)];
        let keys: String = keys.map(|(name, bits)| key(name, &format!("hmac-sha{bits}"))).concat();
        format!(
            "server:\n    rundir: {dir}\n    listen: {address}@{port}\nkey:\n{keys}\
             acl:\n  - id: all\n    key: [{KEY}, {KEY_512}]\n    action: update\n\
             \x20 - id: addresses\n    key: {PLAIN_KEY}\n    action: update\n    update-type: [A, AAAA]\n\
             database:\n    storage: {dir}\nzone:\n  - domain: {ZONE}\n    storage: {dir}\n    file: zone\n    acl: [all, addresses]\n"
        )
    }

    /// Starts it, also again after [`Server::kill`].
    pub(crate) fn resume(&mut self) {
        let log = fs::File::create(self.path("log")).unwrap();
        let conf = self.path("conf");
        let mut command = match self.kind {
            Kind::Bind => Command::new(self.path("named")),
            Kind::Knot => Command::new("knotd"),
        };
        match self.kind {
            Kind::Bind => command.args(["-g", "-n", "1", "-c"]).arg(conf),
            Kind::Knot => command.arg("-c").arg(conf),
        };
        let path = format!("{}:/usr/sbin:/sbin", std::env::var("PATH").unwrap());
        command.env("PATH", path).current_dir(self.dir.path()).stdin(Stdio::null());
        command.stdout(log.try_clone().unwrap()).stderr(log);
        let started = Instant::now();
        self.child = Some(loop {
            match command.spawn() {
                Ok(child) => break child,
                // Another thread started a process while the copy of the program was being written.
                Err(error) if error.kind() == ErrorKind::ExecutableFileBusy && started.elapsed().as_secs() < 5 => {}
                Err(error) => panic!("{:?}: {error}; .ci/setup --test installs it", self.kind),
            }
        });
        while self.try_ask(ZONE, RecordType::SOA).is_none_or(|answer| answer.answers.is_empty()) {
            assert!(started.elapsed() < Duration::from_secs(20), "{:?} does not answer: {}", self.kind, self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it with no chance to say or write anything.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    fn try_ask(&self, name: &str, kind: RecordType) -> Option<Message> {
        ask(SocketAddr::new(self.address, self.port), name, kind)
    }

    /// The addresses at a name of the zone as one datagram has them: fast enough to see a gap.
    pub(crate) fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        let answer = self.try_ask(&format!("{name}.{ZONE}"), RecordType::A)?;
        let data = answer.answers.iter().map(|record| &record.data);
        Some(
            data.filter_map(|data| if let RData::A(address) = data { Some(IpAddr::V4(address.0)) } else { None })
                .collect(),
        )
    }

    /// What dig prints for a name of the zone, one record per line, sorted.
    pub(crate) fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        let (server, port) = (format!("@{}", self.address), self.port.to_string());
        let args = [&server, "-p", &port, &format!("{name}.{ZONE}"), kind, "+noall", "+answer", "+tries=2", "+time=2"];
        let done = Command::new("dig").args(args).output().expect("dig is installed: .ci/setup --test");
        assert!(done.status.success(), "dig {args:?}: {}", String::from_utf8_lossy(&done.stdout));
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let mut lines: Vec<String> =
            text.lines().map(|line| line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")).collect();
        lines.sort();
        lines
    }

    /// The status of dig's answer: NOERROR, NXDOMAIN.
    pub(crate) fn status(&self, name: &str) -> String {
        let (server, port) = (format!("@{}", self.address), self.port.to_string());
        let done = Command::new("dig").args([&server, "-p", &port, &format!("{name}.{ZONE}"), "A"]).output().unwrap();
        let text = String::from_utf8_lossy(&done.stdout).into_owned();
        let status = text.split("status: ").nth(1).and_then(|rest| rest.split(',').next());
        status.unwrap_or_else(|| panic!("no status: {text}")).to_owned()
    }

    /// Changes the zone as somebody else would.
    pub(crate) fn nsupdate(&self, lines: &[&str]) {
        let key = format!("hmac-sha256:{KEY}:{}", secret());
        let script = self.path("script");
        let text = format!("server {} {}\nzone {ZONE}\n{}\nsend\n", self.address, self.port, lines.join("\n"));
        fs::write(&script, text).unwrap();
        let done = Command::new("nsupdate").args(["-y", &key]).arg(&script).output().expect("nsupdate is installed");
        assert!(done.status.success(), "{lines:?}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            println!("{:?}: {}", self.kind, self.log());
        }
    }
}

/// A port that is free by UDP and by TCP.
pub(crate) fn free_port(address: IpAddr) -> u16 {
    loop {
        let tcp = TcpListener::bind((address, 0)).unwrap();
        let port = tcp.local_addr().unwrap().port();
        if UdpSocket::bind((address, port)).is_ok() {
            return port;
        }
    }
}

/// One question by one datagram.
fn ask(server: SocketAddr, name: &str, kind: RecordType) -> Option<Message> {
    let mut message = Message::query();
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    let socket = UdpSocket::bind("0.0.0.0:0").unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    socket.connect(server).ok()?;
    socket.send(&message.to_vec().unwrap()).ok()?;
    let mut buffer = [0; 4096];
    let length = socket.recv(&mut buffer).ok()?;
    Message::from_vec(&buffer[..length]).ok()
}
