//! The age file, the generated secrets, and the certificate authorities.
