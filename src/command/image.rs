use super::Session;
use crate::{cli, error::Result, pipeline, report};

pub(super) async fn run(session: &Session, args: cli::Image) -> Result<u8> {
    match args {
        cli::Image::List => {
            let images = session.query(pipeline::images).await?;
            for image in images {
                report::print(&image.to_string());
            }
            Ok(0)
        }
        cli::Image::Prune => {
            let removed = session.query(pipeline::prune_images).await?;
            for image in &removed {
                report::print(&format!("removed {image}"));
            }
            report::message(&format!("{} removed", removed.len()));
            Ok(0)
        }
        cli::Image::Build(name) => {
            session.act("image", &name.name, async |run, cluster| pipeline::build_image(run, cluster).await).await
        }
    }
}
