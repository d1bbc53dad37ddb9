//! Rebuilds when an embedded tree gains or loses a file; the compiler sees only changes of known ones.

fn main() {
    for tree in ["inventory-templates", "playbooks", "roles", "src/spec/blueprints", "terraform"] {
        println!("cargo::rerun-if-changed={tree}");
    }
}
