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
mod note;
pub mod protocol;
#[cfg(test)]
mod protocol_tests;
mod ruleset;
mod sweep;
mod unreachable;

use std::time::Duration;

use crate::netlink::{self, Protocol, Refusal, Socket};
use crate::netns::{self, Namespace};

pub use halfopen::half_open;
pub use note::Note;
pub use sweep::{Listed, all, in_pod, sweep};

use kernel::Found;
use links::Links;
use ruleset::Batch;

/// Times that a hold is planted while links come and go.
const TRIES: u32 = 3;

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

/// Whether a table of the family netdev is one that this room makes: it is no part of a pod's state.
#[must_use]
pub fn is_own(table: &str) -> bool {
    Kind::of_table(table).is_some()
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

/// A hold as it was read back from the kernel, both sides together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The shorter of both sides.
    pub element: Element,
    /// For a successor: leave for IP alone, while ARP is still held.
    pub ip: Element,
    /// Links of the pod and of the node on which it is in force.
    pub pod: Vec<String>,
    pub node: Vec<String>,
}

/// A hold by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: Id,
    pub kind: Kind,
}

impl Hold {
    fn table(&self) -> String {
        format!("{}{}", self.kind.prefix(), self.id)
    }

    /// Plants it on both sides, in the place of one of that name, and reads it back. `node` is the
    /// namespace that the outer ends of the pod's veth pairs are in. Blocks for about a millisecond.
    ///
    /// # Errors
    /// [`Error`]; what was planted is then taken away again.
    pub fn plant(
        &self,
        pod: &Namespace,
        node: &Namespace,
        element: Element,
        note: &Note,
    ) -> Result<Standing, Error> {
        let planted = self.try_plant(pod, node, element, note);
        if planted.is_err() {
            // The first error is the one to tell.
            let _ = self.lift(Some(pod), node);
        }
        planted
    }

    fn try_plant(
        &self,
        pod: &Namespace,
        node: &Namespace,
        element: Element,
        note: &Note,
    ) -> Result<Standing, Error> {
        let mut links = Links::read(pod, node)?;
        for _ in 0..TRIES {
            let userdata = note.written(&links.node, pod);
            for (namespace, side) in [(pod, &links.pod), (node, &links.node)] {
                let names: Vec<_> = side.iter().map(|(_, name)| name.clone()).collect();
                self.send(namespace, |batch| {
                    kernel::plant(batch, self.kind, &self.table(), &names, element, &userdata);
                })?;
            }
            if self.kind == Kind::Source {
                self.send(node, |batch| {
                    unreachable::plant(batch, &self.table(), &links.reach, element);
                })?;
            }
            let now = Links::read(pod, node)?;
            if now == links {
                let standing = self.read(Some(pod), node)?;
                let absent = || Error::Absent { id: self.id.clone() };
                return self.in_force(&links, standing.ok_or_else(absent)?, element);
            }
            links = now;
        }
        Err(Error::Restless { id: self.id.clone() })
    }

    fn in_force(
        &self,
        links: &Links,
        standing: Standing,
        element: Element,
    ) -> Result<Standing, Error> {
        let sides = [
            ("in the pod", &links.pod, &standing.pod),
            ("on the node", &links.node, &standing.node),
        ];
        for (side, wanted, found) in sides {
            let missing = wanted.iter().map(|(_, name)| name).filter(|name| !found.contains(name));
            let missing: Vec<_> = missing.cloned().collect();
            let took = standing.element.is_there() == element.is_there();
            if !missing.is_empty() || !took {
                let links = if took { missing } else { found.clone() };
                return Err(Error::NotTaken { id: self.id.clone(), side, links });
            }
        }
        Ok(standing)
    }

    /// Reads it from the kernel; none when it is not there on either side. Without `pod`, whose
    /// namespace is gone then, the node's side alone tells.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(
        &self,
        pod: Option<&Namespace>,
        node: &Namespace,
    ) -> Result<Option<Standing>, Error> {
        let look = |namespace: &Namespace| -> Result<Option<Found>, Error> {
            namespace.run(|| kernel::read(&mut open()?, self.kind, &self.table()))?
        };
        let outside = look(node)?;
        let Some(pod) = pod else {
            return Ok(outside.map(|node| Standing {
                element: node.element,
                ip: node.ip,
                pod: Vec::new(),
                node: node.devices,
            }));
        };
        let inside = look(pod)?;
        if inside.is_none() && outside.is_none() {
            return Ok(None);
        }
        let (inside, outside) = (inside.unwrap_or_default(), outside.unwrap_or_default());
        Ok(Some(Standing {
            element: inside.element.min(outside.element),
            ip: inside.ip.min(outside.ip),
            pod: inside.devices,
            node: outside.devices,
        }))
    }

    /// Sets how long the element is there from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with `ENOENT` when there is no such hold.
    pub fn set(
        &self,
        pod: Option<&Namespace>,
        node: &Namespace,
        element: Element,
    ) -> Result<(), Error> {
        for namespace in pod.into_iter().chain([node]) {
            self.send(namespace, |batch| {
                kernel::change(batch, self.kind, &self.table(), element);
            })?;
        }
        Ok(())
    }

    /// Makes a source's hold endless, if it is in force and was so without a break; answers whether.
    ///
    /// The kernel would also take an element for one whose time is over. So what was left of it when
    /// it was read must be longer than what this took.
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_endless(&self, pod: Option<&Namespace>, node: &Namespace) -> Result<bool, Error> {
        let start = std::time::Instant::now();
        let left = match self.read(pod, node)?.map(|standing| standing.element) {
            None | Some(Element::None) => return Ok(false),
            Some(Element::Endless) => return Ok(true),
            Some(Element::For(left)) => left,
        };
        match self.set(pod, node, Element::Endless) {
            Ok(()) if start.elapsed() < left => {
                // Its address may be another's on this node from now on.
                self.let_forward(node)?;
                Ok(true)
            }
            Ok(()) => {
                // The pod may have spoken in between.
                self.lift(pod, node)?;
                Ok(false)
            }
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets a successor's IP through for that long, while its ARP stays held: for when another lock
    /// holds its IP.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn let_ip(&self, pod: &Namespace, node: &Namespace, time: Duration) -> Result<(), Error> {
        for namespace in [pod, node] {
            self.send(namespace, |batch| {
                kernel::let_ip(batch, self.kind, &self.table(), time);
            })?;
        }
        Ok(())
    }

    /// Takes it away: frames pass. That it is not there is no error.
    ///
    /// # Errors
    /// [`Error`]; both sides are tried.
    pub fn lift(&self, pod: Option<&Namespace>, node: &Namespace) -> Result<(), Error> {
        let mut outcome = self.let_forward(node);
        for namespace in pod.into_iter().chain([node]) {
            match self.send(namespace, |batch| kernel::remove(batch, &self.table())) {
                Err(error) if error.errno() != Some(libc::ENOENT) => {
                    outcome = outcome.and(Err(error));
                }
                _ => {}
            }
        }
        outcome
    }

    /// Lets the node forward to the pod's addresses again, and say that nobody is there.
    fn let_forward(&self, node: &Namespace) -> Result<(), Error> {
        match self.send(node, |batch| unreachable::remove(batch, &self.table())) {
            Err(error) if error.errno() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    fn send(
        &self,
        namespace: &Namespace,
        fill: impl FnOnce(&mut Batch) + Send,
    ) -> Result<(), Error> {
        namespace.run(|| {
            let mut batch = Batch::new();
            fill(&mut batch);
            batch.send(&mut open()?)
        })?
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
