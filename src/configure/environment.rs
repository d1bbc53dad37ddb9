//! placeholder for the merge
use crate::{context::Context, error::Result};
use std::path::PathBuf;
pub struct AnsibleEnvironment {
    pub ansible_playbook: PathBuf,
    pub python: PathBuf,
    pub mitogen_strategy_dir: PathBuf,
}
pub async fn environment(_: &Context) -> Result<AnsibleEnvironment> {
    todo!()
}
