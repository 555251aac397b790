//! What a node would say of a silent pod: "host unreachable".
//!
//! Behind a hold the node finds no neighbour at the pod's address after a while, and would tell every
//! client so whose packets it forwards. So what it would forward to the pod is dropped before it looks
//! for the neighbour, in a table of the family inet beside the hold's own, by the pod's addresses and
//! the link that leads to it. What leads elsewhere, as when the address has moved to another node,
//! passes.
//!
//! A successor's node forwards to it as soon as it leads there, since the moment at which its sockets
//! come alive is CRIU's, and what is lost then is repeated after a second only. So of a successor that
//! does not answer yet, the node's own word is dropped: ICMP errors about the pod's addresses.

use std::net::IpAddr;
use std::time::Duration;

use super::ruleset::{ACCEPT, Batch, Chain, DROP, Expression, Family, Key, Set, Table};
use super::{Element, Kind};

/// Addresses at most; a pod has few.
const MOST: usize = 64;
/// `NF_INET_FORWARD`.
const FORWARD: u32 = 2;
/// `NF_INET_LOCAL_OUT`.
const OUTPUT: u32 = 3;
/// `NFT_META_PROTOCOL`, `NFT_META_OIF`, `NFT_META_NFPROTO`.
const PROTOCOL: u32 = 1;
const OIF: u32 = 5;
const NFPROTO: u32 = 15;
/// nft's `ether_type`.
const ETHER_TYPE: u32 = 10;

/// Where the node sends what is for the pod.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) addresses: Vec<IpAddr>,
    /// Indexes of the node's links: bridges, or the outer ends themselves.
    pub(super) through: Vec<u32>,
}

fn of(name: &str) -> Table<'_> {
    Table { family: Family::Inet, name }
}

/// Adds the table, in the place of one of that name.
pub(super) fn plant(batch: &mut Batch, name: &str, reach: &Reach, element: Element) {
    let (table, set, chain) = begin(batch, name, ("forward", FORWARD), element);
    for address in reach.addresses.iter().take(MOST) {
        // `NFPROTO_IPV4`, `NFPROTO_IPV6`; where the destination is in the header.
        let (family, bytes, place) = match address {
            IpAddr::V4(v4) => ([2], v4.octets().to_vec(), (16, 4)),
            IpAddr::V6(v6) => ([10], v6.octets().to_vec(), (24, 16)),
        };
        for link in &reach.through {
            let rule = [
                Expression::Meta(NFPROTO),
                Expression::Equals(&family),
                Expression::Meta(OIF),
                Expression::Equals(&link.to_ne_bytes()),
                Expression::Network(place.0, place.1),
                Expression::Equals(&bytes),
                Expression::Meta(PROTOCOL),
                Expression::In(set),
                Expression::Verdict(DROP),
            ];
            batch.rule(table, chain, &rule);
        }
    }
}

/// Adds the table of a successor, in the place of one of that name, for that long.
pub(super) fn hush(batch: &mut Batch, name: &str, addresses: &[IpAddr], time: Duration) {
    let (table, set, chain) = begin(batch, name, ("output", OUTPUT), Element::For(time));
    for address in addresses.iter().take(MOST) {
        // In the IP header: where the protocol is, and ICMP's number. Behind it: the type of "destination
        // unreachable", and where the destination is in the header that it is about.
        let (family, bytes, (protocol, icmp), (kind, unreachable), place) = match address {
            IpAddr::V4(v4) => ([2], v4.octets().to_vec(), (9, [1]), (20, [3]), (44, 4)),
            IpAddr::V6(v6) => ([10], v6.octets().to_vec(), (6, [58]), (40, [1]), (72, 16)),
        };
        let rule = [
            Expression::Meta(NFPROTO),
            Expression::Equals(&family),
            Expression::Network(protocol, 1),
            Expression::Equals(&icmp),
            Expression::Network(kind, 1),
            Expression::Equals(&unreachable),
            Expression::Network(place.0, place.1),
            Expression::Equals(&bytes),
            Expression::Meta(PROTOCOL),
            Expression::In(set),
            Expression::Verdict(DROP),
        ];
        batch.rule(table, chain, &rule);
    }
}

/// The table with its set and its chain. Of both kinds the element is there while something is to be
/// dropped: that ends by time whoever has died.
fn begin<'a>(
    batch: &mut Batch,
    name: &'a str,
    (chain, hook): (&'static str, u32),
    element: Element,
) -> (Table<'a>, &'static str, &'static str) {
    let (table, set) = (of(name), Kind::Source.set());
    batch.replace_table(table, &[]);
    batch.set(table, Set { name: set, key_type: ETHER_TYPE, key_length: 2 });
    match element {
        Element::None => {}
        Element::For(time) => batch.element(table, set, Key::All, Some(time)),
        Element::Endless => batch.element(table, set, Key::All, None),
    }
    let base = Chain { name: chain, hook, priority: i32::MIN, devices: &[], policy: ACCEPT };
    batch.chain(table, &base);
    (table, set, chain)
}

/// Takes the table away.
pub(super) fn remove(batch: &mut Batch, name: &str) {
    batch.delete_table(of(name));
}
