//! Where the file says that Terraform's state is.

use super::*;

/// The settings of the backend that `text` means, beside three instances.
fn backend_of(text: &str) -> Value {
    let backend = good(&format!("name: pg-a\nbackend: {text}\n{THREE}")).backend.unwrap();
    serde_json::json!({backend.kind.as_str(): backend.settings})
}

#[test]
fn backend_defaults_are_unique_per_cluster_and_enable_locking() {
    use serde_json::json;
    assert_eq!(good(THREE).backend, None);
    assert_eq!(backend_of("pg"), json!({"pg": {"schema_name": "hactl_pg_a"}}));
    assert_eq!(
        backend_of("{pg: {conn_str: 'postgres://tf@db/x', schema_name: own}}"),
        json!({"pg": {"conn_str": "postgres://tf@db/x", "schema_name": "own"}})
    );
    assert_eq!(
        backend_of("{s3: {bucket: b, endpoints: {s3: 'https://minio:9000'}}}"),
        json!({"s3": {"bucket": "b", "key": "hactl/pg-a/terraform.tfstate", "encrypt": true, "use_lockfile": true,
            "endpoints": {"s3": "https://minio:9000"}}})
    );
    let with_table = backend_of("{s3: {bucket: b, dynamodb_table: locks}}");
    assert_eq!(
        (&with_table["s3"]["use_lockfile"], &with_table["s3"]["dynamodb_table"]),
        (&Value::Null, &json!("locks"))
    );
    assert_eq!(
        backend_of("{http: {address: 'https://git/state/pg-a'}}"),
        json!({"http": {"address": "https://git/state/pg-a", "lock_address": "https://git/state/pg-a/lock",
            "lock_method": "POST", "unlock_address": "https://git/state/pg-a/lock", "unlock_method": "DELETE"}})
    );
    assert_eq!(backend_of("consul"), json!({"consul": {"path": "hactl/pg-a/terraform", "lock": true}}));
}

#[test]
fn invalid_backend_is_refused_without_its_secrets() {
    let said = |backend: &str, words: &[&str]| {
        let text = wrong(&format!("backend: {backend}\n{THREE}"));
        for word in words {
            assert!(text.contains(word), "no `{word}` in {text}");
        }
        assert!(!text.contains("hunter2"), "{text}");
    };
    said("{pg: {password: hunter2}}", &["c.yaml:1:", "backend.pg.password: a secret", "PGPASSWORD"]);
    said("{pg: {conn_str: 'postgres://tf:hunter2@db/x'}}", &["backend.pg.conn_str", "PGPASSWORD"]);
    said("{pg: {conn_str: 'host=db password=hunter2'}}", &["backend.pg.conn_str", "PG_CONN_STR"]);
    said("{s3: {bucket: b, access_key: hunter2}}", &["AWS_ACCESS_KEY_ID"]);
    said("{s3: {bucket: b, secret_key: hunter2}}", &["AWS_SECRET_ACCESS_KEY"]);
    said("{s3: {bucket: b, token: hunter2}}", &["AWS_SESSION_TOKEN"]);
    said("{http: {address: 'https://me:hunter2@git/x'}}", &["backend.http.address", "TF_HTTP_PASSWORD"]);
    said("{http: {address: 'https://git/x', password: hunter2}}", &["TF_HTTP_PASSWORD"]);
    said("{http: {address: 'https://git/x?private_token=hunter2'}}", &["must not have a query"]);
    said("{consul: {access_token: hunter2}}", &["CONSUL_HTTP_TOKEN"]);
    // All at once, and wrong keys as anywhere else.
    said(
        "{s3: {secret_key: hunter2, buket: b}}",
        &["did you mean bucket", "AWS_SECRET_ACCESS_KEY", "`bucket` is missing"],
    );
    said("{pg: {shema_name: x}}", &["did you mean schema_name"]);
    said("http", &["`address` is missing"]);
    said("{http: {address: git}}", &["expected an http:// or https:// address"]);
    said("etcd", &["is not one of pg, s3, http, consul"]);
    said("{gcs: {}}", &["unknown key"]);
    said("{pg: {}, s3: {bucket: b}}", &["expected exactly one backend, found 2: pg and s3"]);
    said("{}", &["expected exactly one backend: one of pg, s3, http, consul"]);
    said("{s3: {bucket: b, use_lockfile: false}}", &["overwrite each other's state"]);
    let long = format!("name: {}\nbackend: {{pg: {{schema_name: {}}}}}\n{THREE}", "a".repeat(40), "s".repeat(64));
    assert!(wrong(&long).contains("1 to 63 letters"), "{}", wrong(&long));
}

#[test]
fn backend_on_a_machine_of_the_cluster_is_refused() {
    let on = |host: &str| {
        let text = format!(
            "name: pg\nplatform: proxmox\nbackend: {{pg: {{conn_str: 'postgres://tf@{host}/x'}}}}\n\
             dns: {{zone: a.b, server: 10.0.0.1, key_name: k}}\ndefaults: {{gateway: 10.0.0.1}}\n\
             instances: {{node1: {{address: 10.0.0.4/24}}, node2: {{address: 10.0.0.5/24}}}}\n"
        );
        match load("c.yaml", text.as_bytes(), "c") {
            Ok(_) => String::new(),
            Err(problems) => problems.problems().iter().map(|problem| problem.to_string() + "\n").collect(),
        }
    };
    assert_eq!(on("10.0.0.6"), "");
    for (host, key) in [("10.0.0.5", "node2"), ("pg-prod-node1:5433", "node1"), ("db,PG-prod-node2.a.b", "node2")] {
        assert!(on(host).contains(&format!("is {key}, a machine of this cluster")), "{host}: {}", on(host));
    }
    let adopted = "adopted: true\nplatform: hosts\nbackend: pg\ninstances: {a: {address: 10.0.0.4}}\n";
    assert!(wrong(adopted).contains("not allowed with `adopted: true`"), "{}", wrong(adopted));
}
