//! Tests of what a module gets, and of what is in its state.

use uuid::Uuid;

use super::*;
use crate::{
    assets::Assets,
    model::Choices,
    plan::{self, Plan},
    spec,
};

fn plan_of(text: &str) -> Plan {
    let text = format!(
        "name: pg\nplatform: {{terraform: {{dir: infra, {text}}}}}\ninstances: {{a: {{}}, web: {{roles: []}}}}\n"
    );
    plan::decide(&spec::load("pg.yaml", text.as_bytes(), "pg").unwrap(), &Choices::default()).unwrap()
}

fn module(plan: &Plan) -> &RootModule {
    let crate::model::Platform::Terraform(module) = &plan.platform else { panic!("{:?}", plan.platform) };
    module
}

#[test]
fn module_gets_only_the_requested_values() {
    let (assets, keys) = (Assets::embedded(), ["ssh-ed25519 AAAA".to_owned()]);
    let values = |text: &str| {
        let plan = plan_of(text);
        let uuid = Uuid::nil();
        let machines = Machines {
            plan: &plan,
            assets: &assets,
            image: None,
            uuid,
            authorized_keys: &keys,
            record: "{}",
            surveyed: None,
        };
        passed(module(&plan), &machines)
    };
    assert_eq!(values("pass: [cluster, record]"), json!({"cluster": "pg", "record": "{}"}));
    assert_eq!(
        values("pass: [instances, authorized_keys, cluster_uuid]"),
        json!({
            "instances": {
                "a": {"hostname": "pg-prod-a", "memory": 1024, "cores": 2, "roles": ["etcd", "patroni"]},
                "web": {"hostname": "pg-prod-web", "memory": 1024, "cores": 2, "roles": []},
            },
            "authorized_keys": ["ssh-ed25519 AAAA"],
            "cluster_uuid": "00000000-0000-0000-0000-000000000000",
        })
    );
}

#[test]
fn managed_addresses_are_distinguished_from_data_sources() {
    let addresses = [
        "terraform_data.n",
        r#"terraform_data.n["a.data.b"]"#,
        "module.data.terraform_data.n",
        "module.machines.module.data[0].terraform_data.n",
        r#"module.zone["eu.data.x"].terraform_data.n"#,
        r#"module.zone["\".data."].terraform_data.n"#,
        r#"module.zone["\\"].terraform_data.n"#,
    ];
    let read = [
        "data.external.image",
        "module.data.data.external.image",
        "module.machines[1].data.external.image[0]",
        r#"module.zone["\\"].data.external.image"#,
        r#"module.zone["]\".terraform_data.n"].data.external.image"#,
    ];
    assert_eq!(listed(Ok([addresses.join("\n"), read.join("\n")].join("\n"))).unwrap(), addresses);
}

#[test]
fn state_list_is_empty_only_if_no_state_was_written() {
    let failed = |diagnosis| {
        let error = Error::failed("command", "run", "terraform state list");
        listed(Err(TerraformError { diagnosis, error }))
    };
    assert_eq!(failed(Diagnosis::NoState).unwrap(), [""; 0]);
    assert!(failed(Diagnosis::NotInitialised).is_err() && failed(Diagnosis::Other).is_err());
    assert_eq!(listed(Ok(String::new())).unwrap(), [""; 0], "all of it was destroyed");
}
