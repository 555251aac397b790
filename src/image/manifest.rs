//! The manifest: what an image says of itself, in JSON, readable without its sections.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Objects per class.
pub type Counts = BTreeMap<String, u64>;

/// The first part of an image. Unknown fields are ignored, so that later versions may add some.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// When the capture's last pass ended.
    pub created: Timestamp,
    /// Name and version of the program that made the image.
    pub producer: String,
    /// Release of the kernel that it was read from (`uname -r`).
    pub kernel: String,
    /// Whose network it is; empty for a namespace without Kubernetes.
    #[serde(default)]
    pub origin: Origin,
    /// Objects per class, of the pod's namespace and (with the prefix `host/`) the host side.
    pub counts: Counts,
    /// What is in the namespace and not in the image, or in the image and not restored.
    #[serde(default)]
    pub not_carried: Vec<NotCarried>,
    /// Why the image is one instant.
    pub evidence: Evidence,
    /// The sections that follow, in file order.
    pub sections: Vec<Section>,
}

/// The pod that the network belonged to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Origin {
    pub namespace: String,
    pub pod: String,
    pub pod_uid: String,
    pub node: String,
}

/// Something that can't be carried, by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct NotCarried {
    /// Class or kind, for example `links` or `nftables`.
    pub class: String,
    /// The object, as a person would name it, for example `wg0 (wireguard)`; empty for the whole class.
    pub object: String,
    /// Why it is not carried.
    pub why: String,
    /// Whether the pod's network behaves differently without it; what only informs does not matter.
    pub matters: bool,
}

/// How the capture knows that the image is of one instant.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Passes over the classes; the last one saw no change.
    pub passes: u32,
    /// Classes that were read again, and how often.
    pub read_again: BTreeMap<String, u32>,
    /// Dumps that the kernel marked as interrupted (`NLM_F_DUMP_INTR`).
    pub interrupted: u32,
    /// Microseconds from the first subscription to the end of the last pass; of a capture that stood by,
    /// from the question on.
    pub micros: u64,
    /// Of a capture that stood by ([`crate::capture::Standing`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<Stood>,
}

/// What a capture knew before the moment that it is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stood {
    /// When it subscribed to what is told of changes.
    pub since: Timestamp,
    /// Classes that were not read again: nothing was told of them since they were read, and nothing in
    /// them changes without a word. Of flows: each was asked for, and their table was not walked.
    pub kept: Vec<String>,
}

/// One section of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Section {
    pub name: String,
    /// Bytes before compression.
    pub size: u64,
    /// Bytes in the file.
    pub stored: u64,
}
