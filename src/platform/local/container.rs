//! What containers of nodes have in common: labels, paths, capabilities.

/// The label with the public half of the SSH host key, in OpenSSH's form.
pub(super) const LABEL_HOST_KEY: &str = "hactl.host-key";
/// The label with the port on loopback that leads to the node's SSH.
pub(super) const LABEL_SSH_PORT: &str = "hactl.ssh-port";
/// Labels with the limits asked for, where the engine cannot hold them.
pub(super) const LABEL_MEMORY: &str = "hactl.memory-mib";
pub(super) const LABEL_CORES: &str = "hactl.cores";

/// The SSH port inside the node, as the engine writes it.
pub(super) const SSH_PORT: &str = "22/tcp";
/// Where PGDATA lies: the volume itself, or the disk that is on it.
pub(super) const DATA_DIR: &str = "/var/lib/postgresql";
/// What systemd needs beside what the engine gives every container.
pub(super) const CAPABILITIES: [&str; 3] = ["SYS_ADMIN", "NET_ADMIN", "SYS_PTRACE"];
/// Profiles that would keep it from working.
pub(super) const PROFILES: [&str; 2] = ["seccomp=unconfined", "apparmor=unconfined"];
/// The label with the disk's size, on the volume and on its node.
pub(super) const LABEL_DISK: &str = "hactl.disk-gb";
/// Where the volume of a node with a disk is mounted: the image file lies there.
pub(super) const STORE: &str = "/var/lib/hactl-disk";
pub(super) fn strings<const N: usize>(texts: [&str; N]) -> Vec<String> {
    texts.map(str::to_owned).to_vec()
}
