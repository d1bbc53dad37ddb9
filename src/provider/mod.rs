//! The Terraform provider that hactl serves in its own process.
