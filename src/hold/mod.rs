//! Keeping a pod silent: nothing that it or its kernel says leaves, and nothing that comes reaches it.
//!
//! ```text
//!   pod (its own namespace)        node
//!   eth0 ──┤ hold ├──────────┤ hold ├── veth ── bridge, routes ── the world
//! ```
//!
//! A hold is one table of nftables, of the family `netdev`, on each side: first at the ingress and the
//! egress hook of the node's ends of the pod's veth pairs, and of the pod's own links that lead out of
//! its namespace. There every frame is judged, ARP and neighbour discovery, TCP resets and ICMP errors
//! too. On the node's side nobody in the pod can lift it; on the pod's side it comes before whatever
//! leads frames past the node's hooks (filters of tc that redirect to an ifb, XDP). `lo` is left alone.
//!
//! What is judged is decided by one element of a set, which the kernel itself takes away when its time
//! is over. So a hold ends in time whoever has died meanwhile, and a restarted agent finds it again by
//! the name of its table. There are two [kinds](Kind):
//!
//! | kind | without the element | with it |
//! |---|---|---|
//! | [`Kind::Source`] | frames pass | nothing passes |
//! | [`Kind::Successor`] | nothing passes | frames pass |
//!
//! The one who may be silent in vain speaks when time is over, and the one who may speak too early is
//! silent: [`protocol`] tells how the two are kept from speaking both, or neither.
//!
//! Sources: `linux/netfilter/nf_tables.h`; `net/core/dev.c` for the order of the hooks.

pub mod criu;
mod halfopen;
mod kernel;
mod links;
pub mod mark;
mod note;
pub mod protocol;
#[cfg(test)]
mod protocol_tests;
mod ruleset;
mod settle;
mod sides;
mod sweep;
mod unreachable;

use std::time::Duration;

use crate::netlink::{self, Protocol, Refusal, Socket};
use crate::netns;

pub use halfopen::{Unowned, unowned};
pub use note::Note;
pub use sides::{Hold, Standing};
pub use sweep::{Listed, all, in_pod, sweep};

/// What can go wrong with a hold.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    #[error("the kernel can't be asked for the {what} of a hold: {source}")]
    Netlink { what: &'static str, source: netlink::Error },
    #[error(
        "the kernel refused to {step}: {refusal} (a hold needs nftables with the family netdev and \
         its egress hook: Linux 5.16 with CONFIG_NF_TABLES_NETDEV and CONFIG_NETFILTER_EGRESS)"
    )]
    Refused { step: String, refusal: Refusal },
    #[error(
        "the hold {id} was planted and read back, and is not in force {side} on {}",
        links.join(", ")
    )]
    NotTaken { id: Id, side: &'static str, links: Vec<String> },
    #[error("the links of the pod kept changing while the hold {id} was planted")]
    Restless { id: Id },
    #[error("there is no hold {id}")]
    Absent { id: Id },
    #[error("{0:?} can't name a hold: 1 to 64 letters, digits, '.', '_' and '-' can")]
    Name(String),
    #[error("{0:?} is not the name of a lock table of CRIU (CRIU-… of letters, digits and '-')")]
    Lock(String),
}

/// What tells one hold from another: the UID of the NetCheckpoint for a source, that of the pod for a
/// successor, any name where they are made by hand.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(String);

impl Id {
    /// The name as it stands in tables.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Id {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if (1..=64).contains(&text.len()) && text.chars().all(fits) {
            return Ok(Self(text.to_owned()));
        }
        Err(Error::Name(text.chars().take(80).collect()))
    }
}

impl std::fmt::Display for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whose silence it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Of a pod that is captured: silent while the element is there.
    Source,
    /// Of a pod that is restored: silent unless the element is there.
    Successor,
}

impl Kind {
    const ALL: [Self; 2] = [Self::Source, Self::Successor];

    /// What its tables' names begin with.
    const fn prefix(self) -> &'static str {
        match self {
            Self::Source => "netckpt-hold-",
            Self::Successor => "netckpt-wait-",
        }
    }

    /// Name of the set that decides.
    const fn set(self) -> &'static str {
        match self {
            Self::Source => "held",
            Self::Successor => "leave",
        }
    }

    /// Kind and id of a table of that name.
    fn of_table(name: &str) -> Option<(Self, Id)> {
        let found =
            Self::ALL.into_iter().find_map(|kind| Some((kind, name.strip_prefix(kind.prefix())?)));
        let (kind, id) = found?;
        Some((kind, id.parse().ok()?))
    }
}

/// Whether a table of nftables is one that this room makes: it is no part of a pod's state.
#[must_use]
pub fn is_own(table: &str) -> bool {
    table.starts_with(mark::PREFIX) || Kind::of_table(table).is_some()
}

/// How long the element that decides is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Element {
    /// It is not.
    #[default]
    None,
    For(Duration),
    Endless,
}

impl Element {
    /// Whether it is there.
    #[must_use]
    pub fn is_there(self) -> bool {
        self != Self::None
    }
}

impl Error {
    /// The kernel's errno, where it said one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused { refusal, .. } => Some(refusal.errno),
            Self::Netlink { source, .. } => source.errno(),
            _ => None,
        }
    }
}

fn open() -> Result<Socket, Error> {
    Socket::open(Protocol::Netfilter).map_err(|source| Error::Netlink { what: "socket", source })
}
