use super::Session;
use crate::{cli, error::Result, inventory, pipeline, report};

pub(super) async fn run(session: &Session, args: cli::Inventory) -> Result<u8> {
    let cluster = session.cluster(&args.name.name)?;
    let inventory = session.query(async |context| pipeline::inventory(context, &cluster).await).await?;
    let text = match args.format {
        cli::InventoryFormat::Ini => inventory::ini(&inventory)?,
        cli::InventoryFormat::Yaml => inventory::yaml(&inventory)?,
        cli::InventoryFormat::Json => {
            report::print_json(&inventory::json(&inventory, inventory::Reader::Anyone));
            return Ok(0);
        }
    };
    report::print(text.trim_end());
    Ok(0)
}
