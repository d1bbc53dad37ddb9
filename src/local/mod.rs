//! The local platform: container engine, networks, nodes and images.
