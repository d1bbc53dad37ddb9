//! The built-in blueprints: cluster files inside the binary.

use crate::assets;

/// Names of the built-in blueprints, sorted, with their texts.
pub fn blueprints() -> impl Iterator<Item = (&'static str, &'static str)> {
    let mut found: Vec<_> = assets::BLUEPRINTS
        .files()
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "yaml"))
        .filter_map(|file| Some((file.path().file_stem()?.to_str()?, file.contents_utf8()?)))
        .collect();
    found.sort_unstable();
    found.into_iter()
}

/// The text of one blueprint.
pub(super) fn text(name: &str) -> Option<&'static str> {
    blueprints().find(|(known, _)| *known == name).map(|(_, text)| text)
}
