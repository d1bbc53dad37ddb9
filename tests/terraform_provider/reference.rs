//! The pages on the provider's resources, and the tables of variables, against what they describe.

use std::{fs, path::Path, process::Command};

use hactl::{assets::Assets, terraform::provider};
use serde_json::Value;

const TOP: &str = env!("CARGO_MANIFEST_DIR");

fn page(path: &str) -> String {
    fs::read_to_string(Path::new(TOP).join(path)).unwrap()
}

/// A row for each attribute of a resource.
fn rows(resource: &Value) -> Vec<String> {
    let attributes = resource["block"]["attributes"].as_object().unwrap();
    let row = |mode: &str, name: &String, attribute: &Value| {
        let kind = match &attribute["type"] {
            Value::String(kind) => kind.clone(),
            nested => format!("{}({})", nested[0].as_str().unwrap(), nested[1].as_str().unwrap()),
        };
        format!("| `{name}` | {kind} | {mode} | {} |", attribute["description"].as_str().unwrap())
    };
    let of = |mode: &'static str| {
        let of_mode = attributes.iter().filter(move |(_, attribute)| attribute[mode] == true);
        of_mode.map(move |(name, attribute)| row(mode, name, attribute))
    };
    ["required", "optional", "computed"].into_iter().flat_map(of).collect()
}

#[test]
fn pages_of_the_resources_list_every_attribute() {
    let dir = tempfile::tempdir().unwrap();
    Assets::embedded().write("terraform", &dir.path().join("tree")).unwrap();
    provider::install(&dir.path().join("data"), env!("CARGO_BIN_EXE_hactl").as_ref()).unwrap();
    let terraform = |args: &[&str]| {
        let mut command = Command::new("terraform");
        command.args(args).current_dir(dir.path().join("tree/modules/dns-records"));
        command.env("XDG_DATA_HOME", dir.path().join("data")).env_remove("TF_CLI_CONFIG_FILE");
        let done = command.output().unwrap();
        assert!(done.status.success(), "{args:?}: {}", String::from_utf8_lossy(&done.stderr));
        done.stdout
    };
    terraform(&["init", "-input=false", "-no-color"]);
    let schema: Value = serde_json::from_slice(&terraform(&["providers", "schema", "-json"])).unwrap();
    let resources = &schema["provider_schemas"]["hactl.local/hactl/hactl"]["resource_schemas"];
    for name in ["hactl_node", "hactl_dns_record_set"] {
        let page = page(&format!("docs/{name}.md"));
        let found: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).map(str::to_owned).collect();
        assert_eq!(found, rows(&resources[name]), "docs/{name}.md");
    }
}

/// The names that a file's blocks `variable` declare.
fn variables(text: &str) -> Vec<&str> {
    text.lines().filter_map(|line| line.strip_prefix("variable \"")?.split('"').next()).collect()
}

#[test]
fn readmes_list_every_variable_of_modules_and_stacks() {
    for dir in [
        "modules/dns-records",
        "modules/proxmox-lxc",
        "modules/proxmox-pool",
        "modules/proxmox-vm",
        "stacks/proxmox-lxc",
        "stacks/proxmox-vm",
    ] {
        let (text, readme) =
            (page(&format!("terraform/{dir}/variables.tf")), page(&format!("terraform/{dir}/README.md")));
        let missing: Vec<_> =
            variables(&text).into_iter().filter(|name| !readme.contains(&format!("\n| {name} | "))).collect();
        assert_eq!(missing, Vec::<&str>::new(), "terraform/{dir}/README.md");
        // The properties of each machine, which one row names together.
        let map =
            text.split("type = map(object({\n").nth(1).and_then(|rest| rest.split("\n  }))").next()).unwrap_or("");
        let fields =
            map.lines().filter(|line| line.starts_with("    ") && !line.starts_with("     ") && line.contains(" = "));
        for field in fields.filter_map(|line| line.trim().split(' ').next()) {
            let named = [format!("`{field}`"), format!("{field}?"), format!("{{{field},")];
            assert!(named.iter().any(|name| readme.contains(name)), "terraform/{dir}/README.md lacks {field}");
        }
    }
}
