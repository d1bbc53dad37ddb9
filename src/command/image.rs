use super::Session;
use crate::{
    cli,
    error::Result,
    operation,
    report::{self, Output},
};

pub(super) async fn run(session: &Session, args: cli::Image) -> Result<u8> {
    match args {
        cli::Image::List => {
            let images = session.query(operation::images).await?;
            match session.output {
                Output::Json => report::print_json(&images),
                Output::Text if images.is_empty() => report::message("no images yet: `hactl up` makes them"),
                Output::Text => images.iter().for_each(|image| report::print(&image.to_string())),
            }
            Ok(0)
        }
        cli::Image::Prune => {
            let removed = session.query(operation::prune_images).await?;
            for image in &removed {
                report::print(&format!("removed {image}"));
            }
            report::message(&format!("{} removed", removed.len()));
            Ok(0)
        }
        cli::Image::Build(name) => session.act(&operation::IMAGE, &name.name, operation::build_image).await,
    }
}
