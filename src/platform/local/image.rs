//! Images of nodes: their names, which exist, and which are unused.
//!
//! An image is hactl's when it carries the label `hactl.image`; no other is ever listed or removed.

use std::{collections::HashMap, fmt};

use super::{
    container::{LABEL_CORES, LABEL_HOST_KEY, LABEL_MEMORY, LABEL_SSH_PORT},
    engine::{Engine, LABEL_CLUSTER, LABEL_NODE, LABEL_UUID},
    refusal::{Refusal, fault, is_absent, optional},
};
use crate::error::{Error, Result};
use bollard::{
    models::{ContainerConfig, ImageInspect},
    query_parameters::{CommitContainerOptions, ListContainersOptions, ListImagesOptions, RemoveImageOptions},
};

/// The label that says what an image is: `base` or `node`.
pub(super) const LABEL_IMAGE: &str = "hactl.image";
/// The label with what an image was made from.
pub(super) const LABEL_DIGEST: &str = "hactl.digest";

/// What an image is for.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Ord, PartialOrd, serde::Serialize, schemars::JsonSchema)]
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
#[derive(Clone, Debug, Eq, PartialEq, serde::Serialize, schemars::JsonSchema)]
pub struct ImageInfo {
    /// The name to use it by, for example `hactl/node:0123456789ab`.
    pub reference: String,
    /// Its id in the container engine.
    pub id: String,
    /// What it is for.
    pub kind: ImageKind,
    /// What it was made from: the base's reference, or the hash of the node image's inputs.
    pub digest: String,
    /// Its size, with the layers that it shares with other images.
    pub size_bytes: u64,
    /// Seconds since 1970.
    pub created: i64,
    /// Names of the containers that use it, running or not.
    pub used_by: Vec<String>,
}

/// The name of the node image for the hash of all that goes into it; its first 6 bytes are shown.
#[must_use]
pub fn node_image_tag(hash: &[u8]) -> String {
    let digits: String = hash.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    format!("hactl/node:{digits}")
}

impl fmt::Display for ImageInfo {
    /// One line of a list.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let megabytes = self.size_bytes / 1_000_000;
        let used =
            if self.used_by.is_empty() { "unused".to_owned() } else { format!("used by {}", self.used_by.join(", ")) };
        write!(f, "{:<32} {:<5} {megabytes:>6} MB  {used}", self.reference, self.kind.as_str())
    }
}

impl Engine {
    /// The image that hactl made under this name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn find_image(&self, reference: &str) -> Result<Option<ImageInfo>> {
        Ok(self.images().await?.into_iter().find(|image| image.reference == reference))
    }

    /// All images that hactl made, sorted by kind, the newest first.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn images(&self) -> Result<Vec<ImageInfo>> {
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
            images.extend(references.into_iter().map(|reference| ImageInfo {
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

    /// Whether hactl made an image under this name.
    ///
    /// # Errors
    /// When the engine does not answer.
    pub async fn has_image(&self, reference: &str) -> Result<bool> {
        Ok(self.find_image(reference).await?.is_some())
    }

    /// Removes the unused images, and returns their names: node images without a container,
    /// and base images when no node image needs them.
    ///
    /// # Errors
    /// When the engine does not answer or fails to remove one.
    pub async fn prune_images(&self) -> Result<Vec<String>> {
        self.prune_images_but(&[]).await
    }

    /// As [`Engine::prune_images`], and the images named in `keep` stay.
    ///
    /// # Errors
    /// As for [`Engine::prune_images`].
    pub async fn prune_images_but(&self, keep: &[String]) -> Result<Vec<String>> {
        let mut removed = Vec::new();
        for reference in unused(&self.images().await?, keep) {
            match self.docker.remove_image(&reference, None::<RemoveImageOptions>, None).await {
                Ok(_) => removed.push(reference),
                Err(error) if is_absent(&error) => {}
                // A container has taken it in the meantime.
                Err(error) if Refusal::of(&error) == Refusal::Conflict => {}
                Err(error) => return Err(fault("remove image", &reference, &error)),
            }
        }
        Ok(removed)
    }

    /// Any image of this machine, made by hactl or not.
    pub(super) async fn inspect_image(&self, reference: &str) -> Result<Option<ImageInspect>> {
        let found = self.docker.inspect_image(reference).await;
        optional(found).map_err(|error| fault("inspect image", reference, &error))
    }

    /// Makes an image of a container. The container's own labels are blanked: an image has no owner.
    pub(super) async fn commit(
        &self,
        container: &str,
        reference: &str,
        kind: ImageKind,
        digest: &str,
    ) -> Result<ImageInfo> {
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

    pub(super) async fn require_image(&self, reference: &str) -> Result<ImageInfo> {
        self.find_image(reference).await?.ok_or_else(|| {
            Error::failed("image-gone", "find image", reference)
                .cause("another process removed it right after hactl created it")
        })
    }
}

/// The images that may go, node images before the base images that they need.
fn unused(images: &[ImageInfo], keep: &[String]) -> Vec<String> {
    let goes = |image: &&ImageInfo| image.used_by.is_empty() && !keep.contains(&image.reference);
    let (bases, nodes): (Vec<_>, Vec<_>) = images.iter().partition(|image| image.kind == ImageKind::Base);
    let going: Vec<_> = nodes.iter().copied().filter(goes).collect();
    let bases = if going.len() == nodes.len() { bases } else { Vec::new() };
    going.into_iter().chain(bases.into_iter().filter(goes)).map(|image| image.reference.clone()).collect()
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
    fn node_image_tag_is_the_start_of_the_hash() {
        assert_eq!(node_image_tag(&[0x0a; 32]), "hactl/node:0a0a0a0a0a0a");
    }

    fn image(reference: &str, used_by: &[&str]) -> ImageInfo {
        ImageInfo {
            reference: reference.to_owned(),
            id: String::new(),
            kind: if reference.starts_with("hactl/base") { ImageKind::Base } else { ImageKind::Node },
            digest: String::new(),
            size_bytes: 236_000_000,
            created: 0,
            used_by: used_by.iter().map(|&name| name.to_owned()).collect(),
        }
    }

    #[test]
    fn image_in_use_survives_cleanup_with_its_base_image() {
        let images = [image("hactl/base:a", &[]), image("hactl/node:1", &[]), image("hactl/node:2", &["pg-node1"])];
        assert_eq!(unused(&images, &[]), ["hactl/node:1"]);
        assert_eq!(unused(&images[..2], &[]), ["hactl/node:1", "hactl/base:a"]);
        assert_eq!(unused(&images[..2], &["hactl/node:1".to_owned()]), Vec::<String>::new());
        assert_eq!(unused(&[image("hactl/base:a", &["pg-node1"])], &[]), Vec::<String>::new());
    }

    #[test]
    fn listed_image_names_the_machines_that_use_it() {
        let line = image("hactl/node:0123456789ab", &["pg-node1"]).to_string();
        assert_eq!(line, "hactl/node:0123456789ab          node     236 MB  used by pg-node1");
    }

    #[test]
    fn image_reference_is_split_at_the_tag() {
        assert_eq!(split_reference("debian:12"), ("debian", "12"));
        assert_eq!(split_reference("registry:5000/debian"), ("registry:5000/debian", "latest"));
    }
}
