use super::Session;
use crate::{cli, error::Result, exec::Command, pipeline, secrets::ClientFiles};

pub(super) async fn run(session: &Session, args: &cli::Ssh) -> Result<u8> {
    let cluster = session.cluster(&args.name.name)?;
    if let Some(command) = pipeline::ssh(&session.dirs, &cluster, &args.node)? {
        // An adopted machine, as its file says how it is reached.
        let command = command.args(args.command.iter().cloned());
        return session.query(async |context| command.attach(context).await).await;
    }
    let config = session.dirs.cluster(cluster.name()).client().join(ClientFiles::SSH_CONFIG);
    let node = pipeline::fleet(&session.dirs, &cluster)?.node(&args.node)?.key().to_string();
    let config = config.display().to_string();
    let command = Command::new("ssh").args(["-F".to_owned(), config, node]).args(args.command.iter().cloned());
    session.query(async |context| command.attach(context).await).await
}
