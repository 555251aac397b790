//! What of the node belongs to a pod: what hangs on the outer ends of its veth pairs and touches nobody
//! else. A capture takes that and names the rest; an image from outside may say nothing more.

use std::net::IpAddr;

use super::need::{NARROW_V4, NARROW_V6, contains};
use crate::api::ROUTE_PROTOCOL;
use crate::netlink::{Message, attributes, ip, messages};
use crate::state::classes::tc::{self, TCA_KIND, TCA_OPTIONS};
use crate::state::classes::{
    ADDRESSES, NEIGHBOUR_TABLES, NEIGHBOURS, PROXY_NEIGHBOURS, QDISCS, ROUTES, SYSCTLS, TC_CHAINS,
    TC_CLASSES, TC_FILTERS,
};
use crate::state::table::Class;
use crate::state::{Names, decode};

/// The classes of which outer ends have something, beside the links themselves; each has a section
/// `host/CLASS`.
pub static CLASSES: [&Class; 10] = [
    &SYSCTLS,
    &NEIGHBOUR_TABLES,
    &ADDRESSES,
    &NEIGHBOURS,
    &PROXY_NEIGHBOURS,
    &ROUTES,
    &QDISCS,
    &TC_CLASSES,
    &TC_CHAINS,
    &TC_FILTERS,
];

/// Disciplines that touch nothing but their link's queue.
const DISCIPLINES: &[&str] = &[
    "bfifo",
    "cake",
    "clsact",
    "codel",
    "drr",
    "fq",
    "fq_codel",
    "fq_pie",
    "hfsc",
    "hhf",
    "htb",
    "ingress",
    "mq",
    "netem",
    "noqueue",
    "pfifo",
    "pfifo_fast",
    "pfifo_head_drop",
    "pie",
    "prio",
    "red",
    "sfb",
    "sfq",
    "tbf",
];
/// Filters that only choose a class.
const FILTERS: &[&str] = &["basic", "flow", "flower", "fw", "matchall", "u32"];

/// Protocols of addresses that the kernel makes by itself (`IFAPROT_KERNEL_LO`, `_RA`, `_LL`).
const BY_KERNEL: [u8; 3] = [1, 2, 3];

/// A pod, as far as the bounds depend on it.
#[derive(Debug, Clone, Default)]
pub struct Pod {
    /// Indexes and names of its outer ends.
    ends: Names,
    /// Its addresses, with the lengths of their prefixes.
    addresses: Vec<(IpAddr, u8)>,
}

/// What something on the node is to the pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// The pod's: it is carried.
    Own,
    /// On the pod's link, and touches more than the pod: named, and why.
    Wide(&'static str),
    /// Somebody else's, or what the kernel makes by itself.
    Other,
}

impl Pod {
    /// From the sections of its outer ends and of its addresses.
    #[must_use]
    pub fn new(ends: &[u8], addresses: &[u8]) -> Self {
        let addresses = messages(addresses).map_while(Result::ok);
        let addresses = addresses.filter_map(|one| Some((own(&one)?, *one.body.get(1)?)));
        Self { ends: Names::of(ends), addresses: addresses.collect() }
    }

    /// Its outer ends.
    #[must_use]
    pub fn ends(&self) -> &Names {
        &self.ends
    }

    /// Its addresses but those of a link or of the pod alone.
    #[must_use]
    pub fn known_by(&self) -> Vec<IpAddr> {
        let known = |address: &IpAddr| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && !v6.is_unicast_link_local(),
        };
        self.addresses.iter().map(|(address, _)| *address).filter(known).collect()
    }

    /// Judges a message of one of [`CLASSES`] but sysctls.
    #[must_use]
    pub fn bound(&self, class: &Class, message: &Message<'_>) -> Bound {
        let link = link_of(class, message);
        if !link.is_some_and(|link| self.ends.has(link)) {
            return Bound::Other;
        }
        match class.name {
            name if name == ADDRESSES.name => self.address(message),
            name if name == ROUTES.name => self.route(message),
            name if name == NEIGHBOURS.name && (class.fleeting)(&decode(class, message.bytes)) => {
                Bound::Other
            }
            name if name == QDISCS.name => discipline(message),
            name if name == TC_FILTERS.name => filter(message),
            _ => Bound::Own,
        }
    }

    /// Whether a file below `/proc/sys/net` is a setting of an outer end.
    #[must_use]
    pub fn has_file(&self, path: &str) -> bool {
        file(path).is_some_and(|(_, device, _)| self.ends.index(device).is_some())
    }

    fn address(&self, message: &Message<'_>) -> Bound {
        const IFA_PROTO: u16 = 11;
        const WIDE: Bound = Bound::Wide(
            "it is neither in the range of the pod's addresses nor of the link alone; \
             the node's own setup has to give it",
        );
        let by = payload(message, 8, IFA_PROTO).and_then(|proto| proto.first().copied());
        if by.is_some_and(|by| BY_KERNEL.contains(&by) || by == ROUTE_PROTOCOL) {
            return Bound::Other;
        }
        let (Some(address), Some(length)) = (own(message), message.body.get(1)) else {
            return WIDE;
        };
        let of_link = match address {
            IpAddr::V4(v4) => matches!(v4.octets(), [169, 254, 1, _]) && *length >= 24,
            IpAddr::V6(v6) => v6.is_unicast_link_local() && *length >= 64,
        };
        let near = |(pod, prefix): &(IpAddr, u8)| {
            let narrow = if pod.is_ipv4() { NARROW_V4 } else { NARROW_V6 };
            *prefix >= narrow
                && *length >= *prefix
                && *pod != address
                && contains(*pod, *prefix, address)
        };
        if of_link || self.addresses.iter().any(near) { Bound::Own } else { WIDE }
    }

    fn route(&self, message: &Message<'_>) -> Bound {
        /// `RTA_GATEWAY`, `RTA_MULTIPATH`, `RTA_VIA`, `RTA_ENCAP_TYPE`, `RTA_NH_ID`.
        const FAR: [u16; 5] = [5, 9, 18, 21, 30];
        const RTPROT_KERNEL: u8 = 2;
        let [_, length, from, _, _, protocol, _, kind, ..] = *message.body else {
            return Bound::Other;
        };
        if protocol == RTPROT_KERNEL || protocol == ROUTE_PROTOCOL {
            return Bound::Other;
        }
        let to = payload(message, 12, 1).and_then(ip);
        let single = to.is_some_and(|to| length == if to.is_ipv4() { 32 } else { 128 });
        let pods = self.addresses.iter().any(|(address, _)| Some(*address) == to);
        let near = FAR.iter().all(|id| payload(message, 12, *id).is_none());
        match single && pods && near && from == 0 && kind == libc::RTN_UNICAST {
            true => Bound::Own,
            false => Bound::Wide(
                "it leads to more than the pod's own addresses; whoever made it has to make it anew",
            ),
        }
    }
}

fn discipline(message: &Message<'_>) -> Bound {
    let kind = text(payload(message, tc::TCMSG, TCA_KIND));
    let shared = !tc::blocks_of(message.bytes).is_empty();
    match DISCIPLINES.contains(&kind.as_str()) && !shared {
        true => Bound::Own,
        false => Bound::Wide("it reaches beyond the link; whoever made it has to make it anew"),
    }
}

fn filter(message: &Message<'_>) -> Bound {
    let kind = text(payload(message, tc::TCMSG, TCA_KIND));
    let options = payload(message, tc::TCMSG, TCA_OPTIONS).unwrap_or_default();
    let actions = tc::actions_of(&kind);
    let acts = attributes(options).map_while(Result::ok).any(|one| Some(one.id) == actions);
    match FILTERS.contains(&kind.as_str()) && !acts {
        true => Bound::Own,
        false => Bound::Wide(
            "its actions are the node's and may reach beyond the link (the bandwidth plugin's \
             redirection to its ifb); the node's CNI plugins make it anew, from the annotations of \
             the new pod",
        ),
    }
}

/// The link that a message is about.
#[must_use]
pub fn link_of(class: &Class, message: &Message<'_>) -> Option<u32> {
    const RTA_OIF: u16 = 4;
    if class.name == ROUTES.name {
        return payload(message, 12, RTA_OIF).and_then(number);
    }
    if class.name == NEIGHBOUR_TABLES.name {
        let index = decode(class, message.bytes).number("parms.ifindex")?;
        return u32::try_from(index).ok();
    }
    message.body.get(4..8).and_then(number).filter(|_| names_link_first(class))
}

/// Bytes before the attributes of a message of one of [`CLASSES`].
#[must_use]
pub fn header(class: &Class) -> usize {
    match class.name {
        name if name == NEIGHBOUR_TABLES.name => 4,
        name if name == ADDRESSES.name => 8,
        name if [ROUTES.name, NEIGHBOURS.name, PROXY_NEIGHBOURS.name].contains(&name) => 12,
        _ => tc::TCMSG,
    }
}

/// Whether the index of the link is the first number of the header, behind four bytes.
#[must_use]
pub fn names_link_first(class: &Class) -> bool {
    ![NEIGHBOUR_TABLES.name, ROUTES.name].contains(&class.name)
}

/// Tree, device and name of a file such as `ipv4/conf/eth0/forwarding`.
#[must_use]
pub fn file(path: &str) -> Option<(&str, &str, &str)> {
    let (rest, name) = path.rsplit_once('/')?;
    let (tree, device) = rest.rsplit_once('/')?;
    let known = matches!(tree, "ipv4/conf" | "ipv6/conf") && !matches!(device, "all" | "default");
    known.then_some((tree, device, name))
}

/// The local address of an address message.
fn own(message: &Message<'_>) -> Option<IpAddr> {
    payload(message, 8, 2).or_else(|| payload(message, 8, 1)).and_then(ip)
}

fn payload<'a>(message: &Message<'a>, header: usize, id: u16) -> Option<&'a [u8]> {
    message.attributes(header).map_while(Result::ok).find(|one| one.id == id).map(|one| one.payload)
}

fn number(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk().map(|four| u32::from_ne_bytes(*four))
}

fn text(bytes: Option<&[u8]>) -> String {
    let bytes = bytes.unwrap_or_default();
    String::from_utf8_lossy(bytes.strip_suffix(&[0]).unwrap_or(bytes)).into_owned()
}
