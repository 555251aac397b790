//! What a `NetCheckpoint` tells of its course.

use std::collections::BTreeMap;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, MicroTime};
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Entries that `status.restores` keeps; the oldest ended one makes room.
pub const MAX_RESTORES: usize = 16;

/// Entries that `status.notCarried` keeps; `status.notCarriedTotal` counts all.
pub const MAX_NOT_CARRIED: usize = 64;

/// Written by the agents: `restores` by those of the nodes that restore, the rest by the one of the
/// pod's node. Conditions are the truth; the other fields explain them.
#[derive(KubeSchema, Serialize, Deserialize, Clone, Debug, Default, PartialEq)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(oldSelf.nodeName) || (has(self.nodeName) && self.nodeName == oldSelf.nodeName)")
    .message("nodeName is claimed: an agent can't take over or drop the work of another node's agent"))]
pub struct NetCheckpointStatus {
    /// Generation of the spec that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,

    /// Node of the pod, whose agent does the work; written once, which claims it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub node_name: Option<String>,

    /// UID of the pod that was captured.
    #[serde(rename = "sourcePodUID", default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 64))]
    pub source_pod_uid: Option<String>,

    /// Addresses of the pod when it was captured, as in its status.
    #[serde(rename = "podIPs", default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16), inner(length(max = 64)))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub pod_ips: Vec<String>,

    /// Where the image is, once it is stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageStatus>,

    /// Where the archive of the pod's container is, once it is stored: for a controller that moves the
    /// pod's processes as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub archive: Option<ArchiveStatus>,

    /// Objects in the image per class, for example routes; host/… for the host side.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(extend("maxProperties" = 256))]
    pub counts: BTreeMap<String, i64>,

    /// What is in the pod's network and not in the image, at most 64 entries, what matters first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 64))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub not_carried: Vec<NotCarried>,

    /// How many things were not carried, also beyond those in notCarried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub not_carried_total: Option<i64>,

    /// Why the image is one instant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,

    /// When an agent claimed the work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub claimed_at: Option<MicroTime>,

    /// When the hold was seen in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_at: Option<MicroTime>,

    /// When the hold ends by itself, by the clock of the pod's node; not there where it no longer does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_until: Option<MicroTime>,

    /// When the pod's traffic was released.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub released_at: Option<MicroTime>,

    /// CRIU's lock table, which it made in the held pod's namespace at its dump. A successor gets it
    /// planted, and CRIU lifts it when its sockets are restored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^CRIU-[0-9A-Za-z-]{1,59}$"))]
    pub criu_lock: Option<String>,

    /// When the capture's last pass ended: the instant that the image shows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub captured_at: Option<MicroTime>,

    /// When the store had confirmed the image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stored_at: Option<MicroTime>,

    /// How long the steps took.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timings: Option<Timings>,

    /// Restores from this image, by the UID of the pod, at most the last 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 16))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["podUID".into()]))]
    pub restores: Vec<RestoreStatus>,

    /// Ready is the summary; Captured and Stored are its steps, and Held where a hold was asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(length(max = 8))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["type".into()]))]
    pub conditions: Vec<Condition>,
}

/// Where an image is and what it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ImageStatus {
    /// NetCheckpointStorage that keeps it.
    #[schemars(length(min = 1, max = 253))]
    pub storage_name: String,
    /// Key in that storage, below its prefix.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// SHA-256 of the image, as sha256: and 64 hexadecimal digits. What is downloaded must have it.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// Length in bytes.
    #[schemars(range(min = 0))]
    pub size_bytes: i64,
    /// Version of the image format.
    #[schemars(range(min = 1))]
    pub format_version: i32,
}

/// Where the archive of a container is and what it is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveStatus {
    /// NetCheckpointStorage that keeps it.
    #[schemars(length(min = 1, max = 253))]
    pub storage_name: String,
    /// Key in that storage, below its prefix.
    #[schemars(length(min = 1, max = 1024))]
    pub key: String,
    /// SHA-256 of the archive, as sha256: and 64 hexadecimal digits. What is downloaded must have it.
    #[schemars(regex(pattern = "^sha256:[0-9a-f]{64}$"))]
    pub digest: String,
    /// Length in bytes.
    #[schemars(range(min = 0))]
    pub size_bytes: i64,
    /// Name of the container.
    #[schemars(length(min = 1, max = 63))]
    pub container_name: String,
}

/// Something that can't be carried, by name.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct NotCarried {
    /// Class or kind, for example links or nftables.
    #[schemars(length(max = 64))]
    pub class: String,
    /// The object, for example "wg0 (wireguard)"; empty for the whole class.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 256))]
    pub object: String,
    /// Why it is not carried.
    #[schemars(length(max = 512))]
    pub why: String,
    /// Whether the pod's network behaves differently without it.
    #[serde(default)]
    pub matters: bool,
}

impl From<&crate::image::NotCarried> for NotCarried {
    fn from(from: &crate::image::NotCarried) -> Self {
        Self {
            class: shortened(&from.class, 64),
            object: shortened(&from.object, 256),
            why: shortened(&from.why, 512),
            matters: from.matters,
        }
    }
}

/// At most so many characters (what a schema's `maxLength` counts), with `…` where some are left out.
fn shortened(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

/// How the capture knows that the image is of one instant.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Evidence {
    /// Passes over the classes; nothing changed during the last one.
    #[schemars(range(min = 1))]
    pub passes: i32,
    /// How often a class was read again, because the kernel told of a change or broke off a dump.
    #[schemars(range(min = 0))]
    pub read_again: i32,
}

/// Durations in milliseconds, rounded up.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, Default, PartialEq, Eq)]
#[serde(rename_all = "camelCase")]
pub struct Timings {
    /// From the first change in the kernel until the hold was in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub hold_ms: Option<i64>,
    /// Reading the kernel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub capture_ms: Option<i64>,
    /// Writing to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub upload_ms: Option<i64>,
    /// Reading the container's archive and writing it to the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub archive_ms: Option<i64>,
    /// From the claim to the stored image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub total_ms: Option<i64>,
}

/// One restore.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RestoreStatus {
    /// UID of the pod that got the network.
    #[serde(rename = "podUID")]
    #[schemars(length(min = 1, max = 64))]
    pub pod_uid: String,
    /// Its name.
    #[schemars(length(min = 1, max = 253))]
    pub pod_name: String,
    /// Its node.
    #[schemars(length(min = 1, max = 253))]
    pub node_name: String,
    /// How far it is.
    pub state: RestoreState,
    /// Reason, as in the pod's condition netckpt.io/NetworkRestored.
    #[schemars(length(max = 64))]
    pub reason: String,
    /// What happened, for a person.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = 2048))]
    pub message: String,
    /// How far the pod is in taking over from a held source; not there where none is held.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub takeover: Option<Takeover>,
    /// When its sockets were there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_at: Option<MicroTime>,
    /// When the agent was asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<MicroTime>,
    /// When it was verified, or had failed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<MicroTime>,
    /// Milliseconds of reading from the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub download_ms: Option<i64>,
    /// Milliseconds of planning and applying.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub rebuild_ms: Option<i64>,
    /// Milliseconds of reading back and comparing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub verify_ms: Option<i64>,
    /// Milliseconds from the request to the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0))]
    pub total_ms: Option<i64>,
}

/// How far a successor is in taking over from a held source.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Takeover {
    /// It may speak once it is live: the source is not released before its hold ends by itself.
    Claimed,
    /// Its sockets are there.
    Live,
    /// It speaks for good, and its source no longer can.
    Done,
    /// It is silent, and will be.
    Withdrawn,
}

/// How far a restore is.
#[derive(Serialize, Deserialize, JsonSchema, Clone, Copy, Debug, PartialEq, Eq)]
pub enum RestoreState {
    /// The agent is at it.
    InProgress,
    /// The network was rebuilt and verified.
    Restored,
    /// It was given up, and the namespace is as it was found.
    Failed,
}
