use clap::Subcommand;

use super::{Session, arguments::ClusterArg};
use crate::{
    error::Result,
    operation,
    report::{self, Output},
};

#[derive(Debug, Subcommand)]
pub(crate) enum ImageCommand {
    /// List base and node images
    List,
    /// Build the node image of a cluster now
    Build(ClusterArg),
    /// Remove node images that no container uses
    Prune,
}

pub(crate) async fn run(session: &Session, args: ImageCommand) -> Result<u8> {
    match args {
        ImageCommand::List => {
            let images = session.query(operation::images).await?;
            match session.output {
                Output::Json => report::print_json(&images),
                Output::Text if images.is_empty() => report::message("no images yet: `hactl up` makes them"),
                Output::Text => images.iter().for_each(|image| report::print(&image.to_string())),
            }
            Ok(0)
        }
        ImageCommand::Prune => {
            let removed = session.query(operation::prune_images).await?;
            for image in &removed {
                report::print(&format!("removed {image}"));
            }
            report::message(&format!("{} removed", removed.len()));
            Ok(0)
        }
        ImageCommand::Build(name) => session.act(&operation::IMAGE, &name.name, operation::build_image).await,
    }
}
