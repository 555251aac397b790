//! From what is to what shall be: steps, as pure data.
//!
//! A plan is made from two snapshots, read as [`Objects`]: how the namespace is, and how it shall be. Whatever is the
//! same needs no step, so that a plan for a namespace that is already right is empty, and a restore
//! that was cut off in the middle is finished by planning again. What the kernel does by itself in
//! between (addresses of lo, routes of links) is not foreseen in every detail: the plan that follows
//! mends it (see [`crate::restore`]).
//!
//! The generic part is the difference of two sections by key and by the fates of the class's table
//! ([`differences`]). The files beside this one hold what of a class is more than that.

mod addresses;
mod bridges;
mod conntrack;
mod devices;
mod difference;
mod draft;
mod host_side;
mod ipset;
mod ipvs;
mod known;
mod link;
mod link_files;
mod links;
mod named;
mod neighbours;
mod nexthops;
mod nftables;
mod outer;
mod raw;
mod routes;
mod rules;
mod scaffold;
mod step;
mod sysctls;
mod tables;
pub mod tc;
mod veth;
mod wireguard;
mod xfrm;
mod xtables;

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;

use crate::netlink::Malformed;
use crate::state::Object;
use crate::state::classes::xtables as legacy;
use crate::state::table::Class;

pub use difference::{Finding, Kind, differences};
pub use step::{Action, Part, Side, Stage, Step, Tun};
pub use veth::{HostEnd, host_ends};

pub use draft::Objects;

use draft::{Draft, Sides};

/// What a plan depends on beside the two snapshots.
#[derive(Debug, Clone, Default)]
pub struct Terms {
    /// The namespace where outer ends of veth pairs live; `None` if none may be made.
    pub host: Option<Host>,
    /// Queues that this machine's kernel gives a link by itself (the number of possible CPUs). A veth
    /// that is told its number of queues uses them all, one that is not uses one.
    pub queues: u32,
    /// Routes get their gateways shown to the kernel for a moment: it checks a gateway only when a
    /// route is made, and the image may hold one whose way went away later.
    pub scaffold: bool,
}

/// The host side, as far as a plan must know it.
#[derive(Debug, Clone, Default)]
pub struct Host {
    /// Descriptor that names the host's namespace in messages (`IFLA_NET_NS_FD`).
    pub descriptor: RawFd,
    /// Outer ends that the node's own network setup had made, by the inner link's name. They keep
    /// their name, index and master where the pair must be made anew.
    pub own: BTreeMap<String, HostEnd>,
    /// Names and indexes that are taken on the host, as far as the image asks for them.
    pub names: BTreeSet<String>,
    pub indexes: BTreeSet<u32>,
    /// An outer end is made only where the image tells it, or the node's own setup had made it. Else
    /// one that nobody knows is made with the kernel's defaults, and raised.
    pub known_only: bool,
}

/// What is to be done, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    pub steps: Vec<Step>,
}

/// No plan can be made.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("section {section}: {source}")]
    Malformed { section: &'static str, source: Malformed },
    #[error(
        "{link}: its other end lives outside the namespace, and no host namespace was given to make it in"
    )]
    NoHost { link: String },
    #[error(
        "{link} ({kind}): it stands on a link outside the namespace, which this version can't find on another host"
    )]
    ParentOutside { link: String, kind: String },
    #[error("{link}: links stand on each other in a circle")]
    Circle { link: String },
    #[error(
        "{link}: the image does not tell its other end; it was not in the node's namespace, and is not made there"
    )]
    NoEnd { link: String },
    #[error("{class}: table {table}: {why}")]
    Table { class: &'static str, table: String, why: legacy::Unfit },
    #[error("{link}: the host has no free name for its outer end (tried {tried})")]
    NoName { link: String, tried: String },
}

impl Error {
    /// A short constant word for conditions and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Malformed { .. } => "ImageMalformed",
            Self::NoHost { .. } => "NoHostNamespace",
            Self::ParentOutside { .. } | Self::NoEnd { .. } => "ParentOutside",
            Self::Circle { .. } | Self::Table { .. } => "ImageInvalid",
            Self::NoName { .. } => "HostNameTaken",
        }
    }
}

/// Plans the way from how it is to how it shall be.
///
/// # Errors
/// [`Error`] where a link can't be made on these terms.
pub fn plan(from: &Objects, to: &Objects, terms: &Terms) -> Result<Plan, Error> {
    let from = from.as_far_as_known_to(to);
    let told = known::as_told(&from, to);
    let sides = Sides { from: told.as_ref().unwrap_or(&from), to };
    let mut draft = Draft::default();
    links::plan(&sides, terms, &mut draft)?;
    bridges::plan(&sides, &mut draft);
    wireguard::plan(&sides, &mut draft);
    devices::plan(&sides, &mut draft);
    link_files::plan(&sides, &mut draft);
    sysctls::plan(&sides, &mut draft);
    addresses::plan(&sides, &mut draft);
    neighbours::tables(&sides, &mut draft);
    routes::plan(&sides, terms, &mut draft);
    nexthops::plan(&sides, terms, &mut draft);
    rules::plan(&sides, &mut draft);
    neighbours::plan(&sides, &mut draft);
    ipset::plan(&sides, &mut draft);
    named::plan(&sides, &mut draft);
    xtables::plan(&sides, &mut draft)?;
    nftables::plan(&sides, &mut draft);
    xfrm::plan(&sides, &mut draft);
    conntrack::plan(&sides, &mut draft);
    tables::plan(&sides, &mut draft);
    ipvs::plan(&sides, &mut draft);
    tc::plan(&sides, &mut draft);
    host_side::plan(&sides, terms, &mut draft);
    Ok(draft.finish())
}

/// What tells the group of an object, for classes in which the kernel looks at the objects of a
/// group in their order.
type Group = fn(&Object) -> Option<String>;

fn order_of(class: &Class) -> Option<Group> {
    match class.name {
        "addresses" => Some(addresses::group),
        "routes" => Some(routes::group),
        "rules" | "multicast-rules" => Some(rules::group),
        "tc-filters" => Some(tc::group),
        "address-labels" => Some(tables::group),
        "xfrm-policies" => Some(nftables::of_all),
        "nft-tables" => Some(nftables::of_all),
        "nft-chains" | "nft-sets" | "nft-objects" | "nft-flowtables" => Some(nftables::of_table),
        "ipset-members" => Some(ipset::list_of),
        _ => None,
    }
}
