//! The local platform: container engine, networks, volumes, nodes and images.
//!
//! A request comes in, an object of the engine that carries the cluster's labels goes out. Nodes are
//! containers that run systemd and sshd; they are told from other people's containers by their
//! labels alone, so that what was made before an interruption is found again and finished.
//!
//! This is not hardening: systemd needs `SYS_ADMIN`, and a node's root is close to the machine's.

mod bake;
mod base;
mod boot;
mod container;
mod disk;
mod distribution;
mod docker_context;
mod engine;
mod image;
mod image_builder;
mod network;
mod node;
mod node_request;
pub(super) mod power;
mod progress;
mod refusal;
mod subnet;
mod variables;
mod volume;

pub use bake::{SshEndpoint, bake};
pub use base::{base_image, base_image_tag};
pub use engine::{CgroupVersion, Engine, EngineInfo};
pub use image::{ImageInfo, ImageKind, node_image_tag};
pub use network::{Network, NetworkRequest};
pub use node::{Container, CreateFailed};
pub use node_request::{NodeRequest, node_name};
pub use progress::Progress;
pub(super) use variables::variables;
pub use volume::{Volume, VolumeRequest};
