//! A disk of a node's own: an image file of a fixed size on the node's volume, mounted where PGDATA lies,
//! so that a full file system is the node's own and not the machine's.
//!
//! The engine alone is asked for this, so the node mounts it itself, before its init starts: at every
//! boot, with whatever loop device is free then. The kernel detaches the device with the last mount, so
//! a node that is killed leaves none behind.

use bollard::{
    models::{ContainerCreateBody, HostConfig},
    query_parameters::{CreateContainerOptions, StartContainerOptions, WaitContainerOptions},
};
use futures_util::TryStreamExt;

use super::{
    container::{CAPABILITIES, DATA_DIR, PROFILES, STORE, strings},
    engine::Engine,
    image_builder::ImageBuilder,
    refusal::fault,
};
use crate::error::{Error, Result};

/// Loop devices, and the device that hands them out.
const DEVICES: [&str; 2] = ["b 7:* rmw", "c 10:237 rmw"];

/// Mounts the disk called `$1` of the size `$2`, and makes it first where there is none.
///
/// The kernel shows the backing files of all loop devices by their paths inside of containers, so the
/// name has to be the disk's alone: as long as one has it, an earlier life of the node still writes to
/// it, and a second mount would destroy it. Two nodes may be handed the same free device; the one that
/// comes second is refused it, and asks again.
const MOUNT: &str = r#"set -e
image="$store/$1.img"
[ -e /dev/loop-control ] || mknod -m 600 /dev/loop-control c 10 237
mkdir -p "$data"
if [ ! -e "$image" ]; then
  rm -f "$image.new"
  truncate -s "$2" "$image.new"
  mkfs.ext4 -q -F -m 0 -d "$data" -E root_owner="$(stat -c %u:%g "$data")" "$image.new"
  mv "$image.new" "$image"
fi
attach() {
  if grep -sqxF "$image" /sys/block/loop*/loop/backing_file; then echo 'it is still mounted'; return 1; fi
  device=$(losetup --find) || return 1
  [ -b "$device" ] || mknod -m 600 "$device" b 7 "${device#/dev/loop}" || return 1
  mount -t ext4 -o loop="$device" "$image" "$data"
}
attempts=1
until said=$(attach 2>&1); do
  [ $attempts -lt 100 ] || { echo "cannot mount the disk $image on $data: $said"; exit 1; }
  attempts=$((attempts + 1))
  sleep 0.1
done
"#;

/// The shell script that mounts a disk and continues with `next`; the disk's name and size are its arguments.
fn script(next: &str) -> String {
    format!("store={STORE} data={DATA_DIR}\n{MOUNT}{next}")
}

/// How a node with a disk of `gb` GiB starts; `name` is the disk's, `init` is how the node would start without.
pub(super) fn entrypoint(name: &str, gb: u32, init: &str) -> Vec<String> {
    strings(["/bin/sh", "-c", &script(init), "hactl", name, &format!("{gb}G")])
}

/// The rules by which a node may use loop devices.
pub(super) fn device_rules() -> Vec<String> {
    strings(DEVICES)
}

/// What an object has, as text.
pub(super) fn words(gb: Option<u32>) -> String {
    gb.map_or_else(|| "no disk of its own".to_owned(), |gb| format!("a disk of {gb} GiB"))
}

impl Engine {
    /// Makes sure that nodes made from `image` can have disks of their own, by mounting one in a container
    /// that is gone afterwards.
    ///
    /// # Errors
    /// Of kind `Missing` when they cannot, with the message of what refused.
    pub async fn try_disk(&self, image: &str) -> Result<()> {
        let builder = ImageBuilder::open(self).await?;
        let tried = self.try_disk_in(&builder, image).await;
        builder.close().await?;
        tried
    }

    async fn try_disk_in(&self, builder: &ImageBuilder<'_>, image: &str) -> Result<()> {
        let name = builder.container_name();
        let body = ContainerCreateBody {
            image: Some(image.to_owned()),
            entrypoint: Some(strings(["/bin/sh", "-c", &script("umount \"$data\"\n"), "hactl", &name, "16M"])),
            cmd: Some(Vec::new()),
            labels: Some(builder.labels()),
            // Without a name: it goes with the container.
            volumes: Some(vec![STORE.to_owned()]),
            host_config: Some(HostConfig {
                cap_add: Some(strings(CAPABILITIES)),
                security_opt: Some(strings(PROFILES)),
                device_cgroup_rules: Some(device_rules()),
                network_mode: Some("none".to_owned()),
                ..Default::default()
            }),
            ..Default::default()
        };
        let failed = |error: &bollard::errors::Error| fault("try a disk in container", &name, error);
        let options = CreateContainerOptions { name: Some(name.clone()), ..Default::default() };
        self.docker.create_container(Some(options), body).await.map_err(|error| failed(&error))?;
        let started = self.docker.start_container(&name, None::<StartContainerOptions>).await;
        started.map_err(|error| failed(&error))?;
        let mut waits = std::pin::pin!(self.docker.wait_container(&name, None::<WaitContainerOptions>));
        match waits.try_next().await {
            Ok(_) => Ok(()),
            Err(bollard::errors::Error::DockerContainerWaitError { .. }) => {
                let error = Error::missing("no-disks", "mount a disk of its own in", "a local node");
                Err(error.cause(self.log_tail(&name).await).hint(
                    "Run `sudo modprobe loop`, and use an engine that does not run rootless: `disk_gb` needs loop \
                     devices; or remove `disk_gb` from the cluster file to keep PGDATA on this machine's own disk",
                ))
            }
            Err(error) => Err(failed(&error)),
        }
    }
}
