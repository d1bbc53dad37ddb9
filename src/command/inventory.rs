use std::io::IsTerminal;

use super::Session;
use crate::{
    ansible::inventory,
    cli,
    error::{Error, Result},
    query, report,
};

pub(super) async fn run(session: &Session, args: cli::Inventory) -> Result<u8> {
    if args.list && std::io::stdout().is_terminal() {
        return Err(Error::usage("secrets-to-terminal", "show", "the inventory with its secrets")
            .cause("standard output is a terminal")
            .hint("`--format json` leaves the secrets out; examples/inventory/hactl-inventory.sh is for Ansible"));
    }
    let mut deployment = session.deployment(&args.name.name).await?;
    deployment.cluster.must_be_made_here("inventory")?;
    let inventory = session.query(async |context| query::inventory(context, &mut deployment).await).await?;
    if args.list {
        report::print_json(&inventory::json(&inventory, inventory::Reader::Ansible));
        return Ok(0);
    }
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
