//! The image of an archive: one layer, the archive itself; the annotation that runtimes know a
//! checkpoint by; a configuration that says no more than it must.
//!
//! Sources: OCI image specification 1.1 (manifest, configuration); the annotation is of containerd's
//! and CRI-O's restore by CreateContainer.

use serde_json::json;

use crate::image;

/// Media types.
pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const CONFIGURATION: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// On the manifest: name of the container that was checkpointed.
const CONTAINER: &str = "org.criu.checkpoint.container.name";

/// What is known of an archive without having it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Archive {
    /// `sha256:` and hexadecimal.
    pub digest: String,
    /// Bytes.
    pub size: u64,
    /// Name of the container.
    pub container: String,
}

/// The image as a pod names it.
#[must_use]
pub fn reference(port: u16, namespace: &str, checkpoint: &str, uid: &str) -> String {
    format!("localhost:{port}/{namespace}/{checkpoint}:{uid}")
}

/// `sha256:` and hexadecimal.
pub fn digest(of: &[u8]) -> String {
    image::digest(of)
}

/// The configuration; the same for the same archive.
pub fn configuration(archive: &Archive) -> Vec<u8> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let configuration = json!({
        "architecture": architecture,
        "os": "linux",
        "config": {},
        // The layer is not compressed: its own digest is that of its content.
        "rootfs": {"type": "layers", "diff_ids": [archive.digest]},
    });
    configuration.to_string().into_bytes()
}

/// The manifest; the same for the same archive.
pub fn manifest(archive: &Archive) -> Vec<u8> {
    let configuration = configuration(archive);
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": {
            "mediaType": CONFIGURATION,
            "digest": digest(&configuration),
            "size": configuration.len(),
        },
        "layers": [{"mediaType": LAYER, "digest": archive.digest, "size": archive.size}],
        "annotations": {CONTAINER: archive.container},
    });
    manifest.to_string().into_bytes()
}
