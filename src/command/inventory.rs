use clap::{Args, ValueEnum};

use std::io::IsTerminal;

use super::{Session, arguments::ClusterArg};
use crate::{
    ansible::inventory,
    error::{Error, Result},
    query, report,
};

#[derive(Args, Debug)]
pub(crate) struct InventoryArgs {
    #[command(flatten)]
    pub(crate) name: ClusterArg,
    /// INI or YAML for `ansible-playbook --inventory`, or JSON in the form of a dynamic inventory
    #[arg(long, value_enum, default_value_t)]
    pub(crate) format: InventoryFormat,
    /// Print everything as JSON, including secrets, for Ansible's dynamic inventory; refused on a terminal
    #[arg(long, conflicts_with = "format")]
    pub(crate) list: bool,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub(crate) enum InventoryFormat {
    #[default]
    Ini,
    Yaml,
    Json,
}

pub(crate) async fn run(session: &Session, args: InventoryArgs) -> Result<u8> {
    if args.list && std::io::stdout().is_terminal() {
        return Err(Error::usage("secrets-to-terminal", "show", "the inventory with its secrets")
            .cause("standard output is a terminal")
            .hint(
                "Use `--format json`, which leaves the secrets out; for Ansible, use \
                 examples/inventory/hactl-inventory.sh",
            ));
    }
    let mut deployment = session.deployment(&args.name.name).await?;
    deployment.cluster.must_be_made_here("inventory")?;
    let inventory = session.query(async |context| query::inventory(context, &mut deployment).await).await?;
    if args.list {
        report::print_json(&inventory::json(&inventory, inventory::Reader::Ansible));
        return Ok(0);
    }
    let text = match args.format {
        InventoryFormat::Ini => inventory::ini(&inventory)?,
        InventoryFormat::Yaml => inventory::yaml(&inventory)?,
        InventoryFormat::Json => {
            report::print_json(&inventory::json(&inventory, inventory::Reader::Anyone));
            return Ok(0);
        }
    };
    report::print(text.trim_end());
    Ok(0)
}
