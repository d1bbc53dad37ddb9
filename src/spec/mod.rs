//! Cluster file -> Spec: what the user wrote, checked as a whole.
