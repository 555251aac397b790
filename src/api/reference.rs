//! `docs/api-reference.md`, generated from the schemas and the reasons.
