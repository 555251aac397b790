//! Steps: what a plan is made of. Data only.

use std::fmt;

use crate::netlink::Protocol;
use crate::state::classes::xtables::Family;

/// When a step is done. Steps of one stage may depend on those of earlier stages, and within a
/// stage on those before them in the plan.
///
/// This list is the one place that tells the order of a restore. What is taken away goes first and
/// in the opposite order of dependence; links are complete before they come up, since much of what
/// the kernel does at that moment depends on their settings; and all that needs a carrier comes
/// after the host ends are up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    RemoveRoutes,
    RemoveNeighbours,
    RemoveAddresses,
    RemoveLinks,
    /// Sysctls of the namespace, then `all`, then `default`: new links inherit from `default`.
    Sysctls,
    MakeLinks,
    /// MTU, address, names and the like, while a new link is still down.
    SetLinks,
    /// Sysctls of one link, after its MTU (which resets some) and before it comes up.
    LinkSysctls,
    /// Masters, so that a port joins with its final MAC and MTU.
    JoinLinks,
    /// Rules that look into sets which must give way to others.
    ClearRules,
    /// Members that are too many, then sets that are in the way.
    RemoveMembers,
    FreeIpsets,
    /// Sets, then their members: rules look into them.
    Ipsets,
    IpsetMembers,
    /// Policies of timeouts and counters that rules name.
    Named,
    /// Before anything is sent or received, as nftables.
    Xtables,
    /// Before anything is sent or received. Chains may be bound to links.
    Nftables,
    /// States and policies of IPsec: before any packet can go out in the clear.
    Ipsec,
    /// Sets that no rule looks into any more.
    UnusedIpsets,
    /// As these: what no rule names any more.
    Unnamed,
    /// After the rules that use labels, and before any packet can come: one that comes too early
    /// would make an entry without the translation that its flow has.
    Conntrack,
    /// On links that are all there, so that actions may send to any of them, and before traffic comes.
    TrafficControl,
    /// The ends outside: carrier comes with both ends up.
    HostLinks,
    RaiseLinks,
    Addresses,
    /// What coming up or an added address resets, or what would make the kernel act too early.
    LateLinks,
    /// Small tables, some of which need an address.
    Tables,
    NeighbourTables,
    /// Routes that lead directly to a link: gateways of the others are looked up in them.
    NearRoutes,
    Nexthops,
    FarRoutes,
    /// After the routes: the kernel looks gateways up by the rules, and a namespace that is new has
    /// those that lead to the tables where gateways mostly are. A rule may forbid just that.
    Rules,
    /// Rules without a successor, which may be what the gateways are looked up by until then.
    RemoveRules,
    Neighbours,
    /// Addresses and groups that bridges forward by. Some name nexthops, and a bridge takes groups only
    /// while it is up.
    Forwarding,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RemoveRoutes => "remove routes",
            Self::RemoveNeighbours => "remove neighbours",
            Self::RemoveAddresses => "remove addresses",
            Self::RemoveLinks => "remove links",
            Self::Sysctls => "sysctls",
            Self::MakeLinks => "make links",
            Self::SetLinks => "set links",
            Self::LinkSysctls => "sysctls of links",
            Self::JoinLinks => "join masters",
            Self::ClearRules => "clear rules",
            Self::RemoveMembers => "remove members of sets",
            Self::FreeIpsets => "remove sets",
            Self::Ipsets => "sets",
            Self::IpsetMembers => "members of sets",
            Self::Named => "what rules name",
            Self::Xtables => "legacy tables",
            Self::Nftables => "nftables",
            Self::Ipsec => "IPsec",
            Self::UnusedIpsets => "remove unused sets",
            Self::Unnamed => "remove what no rule names",
            Self::Conntrack => "connection tracking",
            Self::TrafficControl => "traffic control",
            Self::HostLinks => "host ends",
            Self::RaiseLinks => "raise links",
            Self::Addresses => "addresses",
            Self::LateLinks => "late settings of links",
            Self::Tables => "small tables",
            Self::NeighbourTables => "neighbour tables",
            Self::NearRoutes => "routes to links",
            Self::Nexthops => "nexthops",
            Self::FarRoutes => "routes through gateways",
            Self::Rules => "rules",
            Self::RemoveRules => "remove rules",
            Self::Neighbours => "neighbours",
            Self::Forwarding => "forwarding of bridges",
        })
    }
}

/// Where a step acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// The namespace that is restored.
    Inside,
    /// The namespace where outer ends of veth pairs live.
    Host,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// A netlink message, complete but for its sequence number and the acknowledge flag.
    Send { protocol: Protocol, message: Vec<u8> },
    /// Messages that the kernel takes or leaves as a whole, between a first that begins them and a
    /// last that ends them.
    Transaction { protocol: Protocol, parts: Vec<Part> },
    /// A whole legacy table: the argument of `SO_SET_REPLACE` without the place for the counters of
    /// before, and the counters of the new entries.
    Table { family: &'static Family, name: String, replace: Vec<u8>, counters: Vec<u8> },
    /// A message of a family of generic netlink, complete but for the family's number and what
    /// [`Self::Send`] lacks.
    Command { family: &'static str, message: Vec<u8> },
    /// A file below `/proc/sys/net`.
    Write { path: String, value: Vec<u8> },
    /// A file of the namespace's sysfs.
    LinkFile { path: String, value: Vec<u8> },
    /// A link that no message makes.
    Tun(Tun),
    /// Joins a link-layer multicast address for all who use the link, or leaves it (`SIOCADDMULTI`,
    /// `SIOCDELMULTI` of `linux/sockios.h`).
    Membership { link: String, address: Vec<u8>, join: bool },
}

/// A persistent tun or tap, as `/dev/net/tun` makes it (`linux/if_tun.h`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tun {
    pub name: String,
    pub index: u32,
    /// `IFF_TUN` or `IFF_TAP`, and `IFF_NO_PI`, `IFF_VNET_HDR`, `IFF_MULTI_QUEUE`.
    pub flags: i32,
    /// User and group that may attach to it.
    pub owner: Option<u32>,
    pub group: Option<u32>,
}

/// One message of a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// As [`Step::label`].
    pub label: String,
    pub message: Vec<u8>,
}

impl Part {
    pub fn new(label: impl Into<String>, message: Vec<u8>) -> Self {
        Self { label: label.into(), message }
    }
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub stage: Stage,
    pub side: Side,
    /// Name of the class of objects that it is about.
    pub class: &'static str,
    /// What it does to which object, for people: `make eth0`, `add 10.0.0.2/24 on eth0`.
    pub label: String,
    pub action: Action,
    /// Answers (positive errno) that mean that what the step is for is the case already.
    pub tolerated: &'static [i32],
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Inside => "",
            Side::Host => "host: ",
        };
        write!(f, "{side}{}: {}", self.class, self.label)
    }
}
