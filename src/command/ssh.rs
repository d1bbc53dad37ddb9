use super::Session;
use crate::{cli, error::Result, exec::Command, pipeline};

pub(super) async fn run(session: &Session, args: &cli::Ssh) -> Result<u8> {
    let cluster = session.cluster(&args.name.name)?;
    if let Some(command) = pipeline::ssh(&session.dirs, &cluster, &args.node)? {
        // An adopted machine, as its file says how it is reached.
        let command = command.args(args.command.iter().cloned());
        return session.query(async |context| command.attach(context).await).await;
    }
    let files = session.dirs.cluster(cluster.name()).client();
    let node = pipeline::fleet(&session.dirs, &cluster)?.node(&args.node)?.clone();
    let option = |name: &str, value: String| ["-o".to_owned(), format!("{name}={value}")];
    let command = Command::new("ssh")
        .arg("-i")
        .arg(files.join("id_ed25519").display().to_string())
        .args(option("UserKnownHostsFile", files.join("known_hosts").display().to_string()))
        .args(option("StrictHostKeyChecking", "yes".to_owned()))
        .args(option("IdentitiesOnly", "yes".to_owned()))
        .args(["-p".to_owned(), node.ssh.port.to_string()])
        .arg(format!("{}@{}", node.ssh.user, node.ssh.host))
        .args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
