//! The Terraform provider that hactl serves: `hactl.local/hactl/hactl`, plugin protocol 6.
//!
//! ```text
//! Terraform --gRPC--> [server | plugin] -> [grpc] -> [service] -> [network, volume, node] -> local::Engine
//!                                                           [dns_record_set]        -> dns::Zone
//! ```
//!
//! [`Server`] serves it in hactl's own process, [`plugin`] in a process that plain Terraform starts; [`install`]
//! registers that plugin. A resource is one file with a schema and five verbs ([`resource`]); [`schema`] has everything
//! that follows from a schema alone.

mod dns_record_set;
mod grpc;
mod install;
mod network;
mod node;
pub mod plugin;
pub mod protocol;
mod resource;
mod schema;
mod server;
mod service;
mod value;
mod volume;
pub mod wire;

pub use install::{advice, data_home, install};
pub use server::{Server, serve};

use resource::Resource;

/// The provider's address in Terraform configurations.
pub const ADDRESS: &str = "hactl.local/hactl/hactl";

/// The provider's own version, which changes only when configurations have to change, not with hactl's version.
pub const VERSION: &str = "0.1.0";

/// Every resource of the provider.
fn resources() -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(network::Network),
        Box::new(volume::Volume),
        Box::new(node::Node),
        Box::new(dns_record_set::DnsRecordSet),
    ]
}
