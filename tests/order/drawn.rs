//! Networks by chance, as a kernel would tell them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use netckpt::image::Snapshot;
use netckpt::netlink::Builder;
use proptest::prelude::*;

use crate::{NEWADDR, NEWLINK, NEWNEIGH, NEWNEXTHOP, NEWROUTE, NEWRULE};

/// What a drawn link is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// A veth whose other end is outside.
    Door,
    /// A pair of veth inside; the other end has the next index.
    Pair,
    Bridge,
    /// On another link, by its place among those that can carry one.
    Macvlan(usize),
}

#[derive(Debug, Clone)]
struct Link {
    kind: Kind,
    /// Even, so that a pair's other end has room.
    index: u32,
    mtu: u32,
    up: bool,
    /// Of a door: whether it is a port of the first bridge.
    joins: bool,
    addresses: u8,
    gateways: u8,
    nexthops: u8,
}

fn link() -> impl Strategy<Value = Link> {
    let kind = prop_oneof![
        3 => Just(Kind::Door),
        2 => Just(Kind::Pair),
        1 => Just(Kind::Bridge),
        1 => (0_usize..4).prop_map(Kind::Macvlan),
    ];
    (kind, 1_u32..12, 1300_u32..1500, any::<bool>(), any::<bool>(), 0_u8..3, 0_u8..3, 0_u8..3)
        .prop_map(|(kind, index, mtu, up, joins, addresses, gateways, nexthops)| Link {
            kind,
            index: index * 2,
            mtu,
            up,
            joins,
            addresses,
            gateways,
            nexthops,
        })
}

pub fn network() -> impl Strategy<Value = Snapshot> {
    proptest::collection::vec(link(), 0..6).prop_map(|mut links| {
        let mut seen = BTreeSet::new();
        links.retain(|link| seen.insert(link.index));
        snapshot(&links)
    })
}

/// The sections as a kernel would tell them.
fn snapshot(links: &[Link]) -> Snapshot {
    let mut sections: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    let mut add = |name, message: Vec<u8>| sections.entry(name).or_default().extend(message);
    add("links", told(1, "lo", "", 65536, 9, None, None));
    let carriers: Vec<u32> = links
        .iter()
        .filter(|link| !matches!(link.kind, Kind::Macvlan(_)))
        .map(|l| l.index)
        .collect();
    let bridge = links.iter().find(|link| link.kind == Kind::Bridge).map(|link| link.index);
    for link in links {
        let flags = u32::from(link.up);
        let name = format!("eth{}", link.index);
        match link.kind {
            Kind::Door => {
                let master = bridge.filter(|_| link.joins);
                let parent = Some((link.index + 100, true));
                add("links", told(link.index, &name, "veth", link.mtu, flags, parent, master));
                let outer = format!("out{}", link.index);
                let inner = Some((link.index, true));
                add("host/links", told(link.index + 100, &outer, "veth", link.mtu, 1, inner, None));
            }
            Kind::Pair => {
                let other = link.index + 1;
                let (this, that) = (Some((other, false)), Some((link.index, false)));
                add("links", told(link.index, &name, "veth", link.mtu, flags, this, None));
                let name = format!("eth{other}");
                add("links", told(other, &name, "veth", link.mtu, flags, that, None));
            }
            Kind::Bridge => {
                add("links", told(link.index, &name, "bridge", link.mtu, flags, None, None))
            }
            Kind::Macvlan(on) => {
                let Some(parent) = carriers.get(on) else { continue };
                let parent = Some((*parent, false));
                add("links", told(link.index, &name, "macvlan", link.mtu, flags, parent, None));
            }
        }
        let net = link.index as u8;
        for host in 0..link.addresses {
            add("addresses", address(link.index, [10, net, 0, host + 2]));
        }
        if link.addresses == 0 || !link.up {
            continue;
        }
        for number in 0..link.gateways {
            let gateway = [10, net, 0, 100 + number];
            add("routes", route([20, net, number, 0], link.index, Some(gateway), None));
            add("neighbours", neighbour(link.index, gateway));
            // A gateway that only a route to the link leads to.
            let far = [169, 254, net, number];
            add("routes", route([21, net, number, 0], link.index, Some(far), None));
            add("routes", route([169, 254, net, number], link.index, None, None));
        }
        let ids: Vec<u32> =
            (0..link.nexthops).map(|n| 1000 + link.index * 10 + u32::from(n)).collect();
        // Groups are told before their members where their id is lower.
        for (id, member) in ids.iter().zip(1_u32..) {
            add("nexthops", group(member + link.index * 10, *id));
            add(
                "routes",
                route([22, net, member as u8, 0], 0, None, Some(member + link.index * 10)),
            );
        }
        for id in &ids {
            add("nexthops", nexthop(*id, link.index, [10, net, 0, 1]));
        }
        add("rules", rule(100 + u32::from(link.gateways), net));
        add("sysctls", format!("ipv4/conf/{name}/rp_filter\0{}\0", link.addresses).into_bytes());
    }
    // Sections in the order of a kernel: by index, by destination.
    let sections = sections.into_iter().map(|(name, bytes)| (name.to_owned(), Bytes::from(bytes)));
    Snapshot { sections: sections.collect() }
}

/// A link's message. `parent`: the link that it stands on, and whether that is outside.
fn told(
    index: u32,
    name: &str,
    kind: &str,
    mtu: u32,
    flags: u32,
    parent: Option<(u32, bool)>,
    master: Option<u32>,
) -> Vec<u8> {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut builder = Builder::new(NEWLINK, 0, &header);
    builder.put_text(3, name).put_u32(4, mtu);
    if let Some((parent, outside)) = parent {
        builder.put_u32(5, parent);
        if outside {
            builder.put_u32(37, 0);
        }
    }
    if let Some(master) = master {
        builder.put_u32(10, master);
    }
    if !kind.is_empty() {
        let info = builder.begin(18);
        builder.put_text(1, kind).end(info);
    }
    builder.finish()
}

fn address(index: u32, address: [u8; 4]) -> Vec<u8> {
    let mut header = [2, 24, 0, 0, 0, 0, 0, 0];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(NEWADDR, 0, &header);
    builder.put(1, &address).put(2, &address).put_u32(8, 0x80);
    builder.finish()
}

fn route(to: [u8; 4], link: u32, gateway: Option<[u8; 4]>, nexthop: Option<u32>) -> Vec<u8> {
    let scope = if gateway.is_none() && nexthop.is_none() { 253 } else { 0 };
    let length = if to[0] == 169 { 32 } else { 24 };
    let mut builder = Builder::new(NEWROUTE, 0, &[2, length, 0, 0, 254, 3, scope, 1, 0, 0, 0, 0]);
    builder.put_u32(15, 254).put(1, &to);
    if link != 0 {
        builder.put_u32(4, link);
    }
    if let Some(gateway) = gateway {
        builder.put(5, &gateway);
    }
    if let Some(nexthop) = nexthop {
        builder.put_u32(30, nexthop);
    }
    builder.finish()
}

fn neighbour(index: u32, address: [u8; 4]) -> Vec<u8> {
    let mut header = [2, 0, 0, 0, 0, 0, 0, 0, 0x80, 0, 0, 1];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(NEWNEIGH, 0, &header);
    builder.put(1, &address).put(2, &[2, 0, 0, 0, 0, 1]);
    builder.finish()
}

fn nexthop(id: u32, link: u32, gateway: [u8; 4]) -> Vec<u8> {
    let mut builder = Builder::new(NEWNEXTHOP, 0, &[2, 0, 0, 0, 0, 0, 0, 0]);
    builder.put_u32(1, id).put_u32(5, link).put(6, &gateway);
    builder.finish()
}

fn group(id: u32, member: u32) -> Vec<u8> {
    let mut builder = Builder::new(NEWNEXTHOP, 0, &[0; 8]);
    let mut members = member.to_ne_bytes().to_vec();
    members.extend_from_slice(&[0; 4]);
    builder.put_u32(1, id).put(2, &members);
    builder.finish()
}

fn rule(priority: u32, mark: u8) -> Vec<u8> {
    let mut builder = Builder::new(NEWRULE, 0, &[2, 0, 0, 0, 254, 0, 0, 1, 0, 0, 0, 0]);
    builder.put_u32(6, priority).put_u32(10, u32::from(mark)).put_u32(15, 254);
    builder.finish()
}
