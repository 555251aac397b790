//! The image of a network: a container of sections with a readable manifest. Pure: bytes in, values out.
//!
//! The file format is told in `docs/image-format.md`, well enough to write another reader.

mod container;
mod error;
mod limits;
mod manifest;
mod unsupported;

pub use container::{FORMAT_VERSION, MAGIC, digest};
pub use error::Error;
pub use limits::Limits;
pub use manifest::{Counts, Evidence, Manifest, NotCarried, Origin, Section, Stood};
pub use unsupported::{Lost, Unsupported};

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
    /// [`Manifest::sections`] is made anew from the snapshot when the image is written.
    pub manifest: Manifest,
    pub snapshot: Snapshot,
}
