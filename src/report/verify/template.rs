//! The embedded templates, filled in. Everything that goes in is escaped.

use serde::Serialize;
use tera::Tera;

use super::words::printable;
use crate::error::{Error, Result};

pub(super) fn render(name: &str, template: &str, page: &impl Serialize) -> Result<String> {
    let failed = |error: tera::Error| Error::failed("report-template", "render", name).source(&error);
    let context = tera::Context::from_serialize(page).map_err(failed)?;
    Ok(printable(Tera::one_off(template, &context, true).map_err(failed)?))
}
