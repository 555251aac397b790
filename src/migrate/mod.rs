//! The reference controller: moves a pod with its processes and its open connections to another node.
//!
//! It uses nothing but the public API: a `NetCheckpoint`, kubelet's checkpoint API (KEP-2008) through
//! the API server, a pod with an annotation, conditions. It is how a controller is to call this
//! project, in the order that keeps the two pods from ever speaking both, or neither for ever:
//!
//! ```text
//!  hold        NetCheckpoint with traffic: Held     the source is silent, its network stored
//!  successor   a pod with netckpt.io/restore-from   its network is rebuilt; it waits, silent
//!  checkpoint  POST …/checkpoint/NAMESPACE/POD/CONTAINER
//!  transfer    annotation netckpt.io/archive        the archive is stored beside the network
//!  restore     the successor's container runs       from here on there is no way back
//!  delete      the source, then the NetCheckpoint
//! ```
//!
//! Each step up to `restore` has its undo, and all of them are undone in the opposite order when a later
//! one fails or the caller gives up: the successor goes first, and only when it is gone the source is
//! released. A controller that dies in the middle leaves a hold that ends by itself.

mod cluster;
mod course;
mod error;
mod judge;
mod successor;
pub mod timeline;

pub use course::{Moved, Request, run};
pub use error::Error;
pub use judge::{Refused, judge};
pub use successor::{successor, successor_name};
pub use timeline::Timeline;
