//! The node's side of a restored pod: the way to and from an address that is not of the node's own
//! range.
//!
//! ```text
//!   pod                     node                              other nodes
//!   eth0 10.244.1.7/24 ───► veth ─► cni0 10.244.2.1/24 ───► eth0
//!        default via             ▲
//!        10.244.1.1              ├ 10.244.1.7/32 dev cni0 proto 78     the node and its pods reach it
//!                                ├ 10.244.1.1/32 on cni0               the gateway that it knows answers
//!                                └ proxy ARP on cni0                   neighbours of its old range answer
//! ```
//!
//! The other nodes lead to that node ([`Ways::lead`]), and the one whose range the address is of keeps
//! it reserved ([`HostLocal`]):
//!
//! ```text
//!   10.244.1.7/32 via NODE proto 78      in each node; in the one of the range also proxy ARP on cni0
//! ```
//!
//! Everything made here is kept in a record of its attachment and is taken away when the attachment
//! goes. What belongs to an attachment that has gone without a word is swept: at the agent's start,
//! each minute, and before a restore. What was there before is never replaced: a route to the same
//! address that is not ours says that somebody else has the address. Source NAT is the cluster's own
//! business and is left alone.

mod announce;
pub mod bounds;
mod ends;
pub mod flows;
mod hop;
mod inside;
mod ipam;
mod kernel;
mod leads;
mod need;
mod neighbours;
pub mod others;
mod record;
mod settings;
pub mod side;
mod ways;

pub use announce::Error as AnnounceError;
pub use ends::{elsewhere, number_of, outer_ends};
pub use inside::{Gateway, Inside, Neighbour, ReadError};
pub use ipam::{Error as IpamError, HostLocal};
pub use kernel::Error as KernelError;
pub use leads::Lead;
pub use need::InUse;
pub use record::{Pod, Record};
pub use ways::{Attached, Error, Way, Ways};
