//! The image of a network: a container of sections with a readable manifest. Pure: bytes in, values out.

mod manifest;

pub use manifest::{Counts, Evidence, Manifest, NotCarried, Origin, Section};

use std::collections::BTreeMap;

use bytes::Bytes;

/// What one capture read: for each class its section, in the class's own form (netlink messages as
/// the kernel gave them with sequence number and port zeroed, see [`crate::state::table::Source`]).
///
/// Sections of the pod's namespace are named by the class (`links`), those of the host side
/// `host/` and the class (`host/links`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Snapshot {
    pub sections: BTreeMap<String, Bytes>,
}

/// An image: a snapshot and what is known of its making.
#[derive(Debug, Clone, PartialEq)]
pub struct Image {
    pub manifest: Manifest,
    pub snapshot: Snapshot,
}
