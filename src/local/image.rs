//! Images of nodes: their names, which there are, and which nobody uses.
//!
//! An image is hactl's when it carries the label `hactl.image`; no other is ever listed or removed.

use std::collections::{HashMap, HashSet};

use bollard::{
    models::{ContainerConfig, ImageInspect},
    query_parameters::{CommitContainerOptions, ListContainersOptions, ListImagesOptions, RemoveImageOptions},
};
use sha2::{Digest, Sha256};

use super::{
    engine::{Engine, LABEL_CLUSTER, LABEL_NODE, LABEL_UUID, fault, is_absent, optional, refusal},
    node_request::{LABEL_CORES, LABEL_HOST_KEY, LABEL_MEMORY, LABEL_SSH_PORT},
};
use crate::error::{Error, Result};

/// The label that says what an image is: `base` or `node`.
pub(super) const LABEL_IMAGE: &str = "hactl.image";
/// The label with what an image was made from.
pub(super) const LABEL_DIGEST: &str = "hactl.digest";

/// What an image is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageKind {
    /// A distribution with systemd and sshd.
    Base,
    /// A base on which the roles' install tasks have run.
    Node,
}

impl ImageKind {
    /// The word in the label and in lists.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Base => "base",
            Self::Node => "node",
        }
    }

    fn of(labels: &HashMap<String, String>) -> Option<Self> {
        [Self::Base, Self::Node]
            .into_iter()
            .find(|kind| labels.get(LABEL_IMAGE).is_some_and(|text| text == kind.as_str()))
    }
}

/// An image that hactl made.
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize)]
pub struct Image {
    /// The name to use it by, for example `hactl/node:0123456789ab`.
    pub reference: String,
    pub id: String,
    pub kind: ImageKind,
    /// What it was made from: the base's reference, or the hash of the node image's inputs.
    pub digest: String,
    /// With the layers that it shares with other images.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// Names of the containers that use it, running or not.
    pub used_by: Vec<String>,
}

/// The name of the node image for these inputs: pairs of a name and its content, in any order.
#[must_use]
pub fn node_image_tag<'a>(inputs: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> String {
    let mut inputs: Vec<_> = inputs.into_iter().collect();
    inputs.sort_unstable();
    let mut hash = Sha256::new();
    for (name, content) in inputs {
        // Lengths keep apart what would run together.
        hash.update((name.len() as u64).to_be_bytes());
        hash.update(name);
        hash.update((content.len() as u64).to_be_bytes());
        hash.update(content);
    }
    let digest: String = hash.finalize().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("hactl/node:{digest}")
}

impl Engine {
    /// The image that hactl made under this name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn find_image(&self, reference: &str) -> Result<Option<Image>> {
        Ok(self.list_images().await?.into_iter().find(|image| image.reference == reference))
    }

    /// All images that hactl made, sorted by kind, the newest first.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn list_images(&self) -> Result<Vec<Image>> {
        let filters = HashMap::from([("label".to_owned(), vec![LABEL_IMAGE.to_owned()])]);
        let options = ListImagesOptions { filters: Some(filters), ..Default::default() };
        let found = self.docker.list_images(Some(options)).await;
        let found = found.map_err(|error| fault("list", "the engine's images", &error))?;
        let options = ListContainersOptions { all: true, ..Default::default() };
        let containers = self.docker.list_containers(Some(options)).await;
        let containers = containers.map_err(|error| fault("list", "the engine's containers", &error))?;
        let mut images = Vec::new();
        for image in found {
            let Some(kind) = ImageKind::of(&image.labels) else { continue };
            let users = containers.iter().filter(|container| container.image_id.as_ref() == Some(&image.id));
            let mut used_by: Vec<String> = users
                .filter_map(|container| Some(container.names.as_ref()?.first()?.trim_start_matches('/').to_owned()))
                .collect();
            used_by.sort();
            let named = image.repo_tags.iter().filter(|tag| !tag.starts_with("<none>"));
            let mut references: Vec<String> = named.cloned().collect();
            if references.is_empty() {
                // An older image whose name has gone to a newer one.
                references.push(image.id.clone());
            }
            images.extend(references.into_iter().map(|reference| Image {
                reference,
                id: image.id.clone(),
                kind,
                digest: image.labels.get(LABEL_DIGEST).cloned().unwrap_or_default(),
                size_bytes: u64::try_from(image.size).unwrap_or_default(),
                created: image.created,
                used_by: used_by.clone(),
            }));
        }
        images.sort_by(|a, b| (a.kind, -a.created, &a.reference).cmp(&(b.kind, -b.created, &b.reference)));
        Ok(images)
    }

    /// Removes the images that no container uses, but those named in `keep`. Returns what went.
    ///
    /// # Errors
    /// When the engine does not answer or fails to remove one.
    pub async fn prune_images(&self, keep: &[String]) -> Result<Vec<Image>> {
        let keep: HashSet<&String> = keep.iter().collect();
        let unused = |image: &Image| image.used_by.is_empty() && !keep.contains(&image.reference);
        let mut removed = Vec::new();
        // Node images first: they stand on the base images.
        for image in self.list_images().await?.into_iter().rev().filter(unused) {
            match self.docker.remove_image(&image.reference, None::<RemoveImageOptions>, None).await {
                Ok(_) => removed.push(image),
                Err(error) if is_absent(&error) => {}
                // A container has taken it in the meantime.
                Err(error) if refusal(&error).is_some_and(|(status, _)| status == 409) => {}
                Err(error) => return Err(fault("remove image", &image.reference, &error)),
            }
        }
        Ok(removed)
    }

    /// Any image of this machine, whoever made it.
    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        let found = self.docker.inspect_image(reference).await;
        optional(found).map_err(|error| fault("look at image", reference, &error))
    }

    /// Makes an image of a container. The container's own labels are blanked: an image has no owner.
    pub(super) async fn commit(
        &self,
        container: &str,
        reference: &str,
        kind: ImageKind,
        digest: &str,
    ) -> Result<Image> {
        let (repo, tag) = split_reference(reference);
        let own = [LABEL_CLUSTER, LABEL_NODE, LABEL_UUID, LABEL_HOST_KEY, LABEL_SSH_PORT, LABEL_MEMORY, LABEL_CORES];
        let mut labels: HashMap<String, String> = own.map(|label| (label.to_owned(), String::new())).into();
        labels.insert(LABEL_IMAGE.to_owned(), kind.as_str().to_owned());
        labels.insert(LABEL_DIGEST.to_owned(), digest.to_owned());
        let options = CommitContainerOptions {
            container: Some(container.to_owned()),
            repo: Some(repo.to_owned()),
            tag: Some(tag.to_owned()),
            pause: true,
            ..Default::default()
        };
        let config = ContainerConfig { labels: Some(labels), ..Default::default() };
        let committed = self.docker.commit_container(options, config).await;
        committed.map_err(|error| fault("save image", reference, &error))?;
        self.require_image(reference).await
    }

    pub(super) async fn require_image(&self, reference: &str) -> Result<Image> {
        self.find_image(reference).await?.ok_or_else(|| {
            Error::failed("image-gone", "find image", reference).cause("it was removed right after it was made")
        })
    }
}

/// Name and tag of a reference; the tag is `latest` where none is given.
pub(super) fn split_reference(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        // A colon before a slash is that of a registry's port.
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_follows_the_inputs_and_not_their_order() {
        let one = node_image_tag([("a", b"1".as_slice()), ("b", b"2")]);
        assert_eq!(one, node_image_tag([("b", b"2".as_slice()), ("a", b"1")]));
        assert_ne!(one, node_image_tag([("a", b"12".as_slice()), ("b", b"")]));
        assert_ne!(one, node_image_tag([("ab", b"12".as_slice())]));
        assert_eq!((one.len(), &one[..11]), ("hactl/node:".len() + 12, "hactl/node:"));
    }

    #[test]
    fn references_are_split_at_the_tag() {
        assert_eq!(split_reference("debian:12"), ("debian", "12"));
        assert_eq!(split_reference("registry:5000/debian"), ("registry:5000/debian", "latest"));
    }
}
