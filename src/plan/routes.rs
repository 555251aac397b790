//! Routes: those to links before those through gateways, in the order in which the kernel keeps
//! routes to the same destination.
//!
//! Routes that the kernel makes with addresses and links are left to it while a plan changes those;
//! once nothing changes any more, they count as all others.

use std::collections::BTreeSet;

use super::difference::{groups, same_start};
use super::draft::{APPEND, Draft, Objects, PLAIN, Sides};
use super::raw::Raw;
use super::{Stage, Terms, addresses, nexthops, scaffold};
use crate::state::classes::{ADDRESSES, ROUTES};
use crate::state::{Object, replay, replay_where};

/// Bytes of `struct rtmsg`.
const HEADER: usize = 12;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const RTA_NH_ID: u16 = 30;
const RTPROT_KERNEL: u8 = 2;

fn raw(object: &Object) -> Raw<'_> {
    Raw::new(&object.bytes, HEADER)
}

/// Routes of one family, table, destination, source, type of service and metric: of those the
/// kernel takes the first that serves.
pub fn group(object: &Object) -> Option<String> {
    let raw = raw(object);
    let table = raw.number(RTA_TABLE).unwrap_or_else(|| u32::from(raw.header_u8(4)));
    let (family, to, from, tos) =
        (raw.header_u8(0), raw.header_u8(1), raw.header_u8(2), raw.header_u8(3));
    let address = |id| hex::encode(raw.attribute(id).unwrap_or_default());
    let metric = raw.number(RTA_PRIORITY).unwrap_or_default();
    Some(format!(
        "{family} {table} {}/{to} {}/{from} {tos} {metric}",
        address(RTA_DST),
        address(RTA_SRC)
    ))
}

/// Indexes of links in the order in which they came up. The kernel gives each a route of multicast,
/// and keeps those in that order.
pub fn order_of_links(to: &Objects) -> Vec<u32> {
    let multicast = |object: &&Object| {
        let raw = raw(object);
        raw.header_u8(1) == 8 && raw.attribute(RTA_DST).is_some_and(|to| to.starts_with(&[0xff, 0]))
    };
    to.of(&ROUTES).iter().filter(multicast).filter_map(|route| raw(route).number(RTA_OIF)).collect()
}

/// Links that have an IPv6 address in common with others, in the order in which they got it: the kernel
/// keeps the routes to it in that order, and nobody else can make those.
pub fn order_of_shared(to: &Objects) -> Vec<u32> {
    const RTN_LOCAL: u8 = 2;
    let is_local = |object: &&Object| {
        let raw = raw(object);
        i32::from(raw.header_u8(0)) == libc::AF_INET6 && raw.header_u8(7) == RTN_LOCAL
    };
    let local: Vec<_> = to.of(&ROUTES).iter().filter(is_local).map(raw).collect();
    let shared = local.iter().filter(|one| {
        let same = |other: &&Raw<'_>| other.attribute(RTA_DST) == one.attribute(RTA_DST);
        local.iter().filter(same).count() > 1
    });
    shared.filter_map(|one| one.number(RTA_OIF)).collect()
}

/// Plans the routes.
pub fn plan(sides: &Sides<'_>, terms: &Terms, draft: &mut Draft) {
    let settled = !draft.stirs();
    let counts = |object: &&Object| match maker(object) {
        Made::Never => true,
        Made::ByKernel => settled,
        Made::OnlyByKernel => false,
    };
    if settled {
        remove_undone(sides, draft);
    }
    let lost = nexthops::lost(sides, &draft.gone);
    let gone = draft.gone.clone();
    let stays = |object: &&Object| !goes_along(object, &gone, &lost);
    let from = sides.from.of(&ROUTES).iter().filter(counts).filter(stays);
    let to = sides.to.of(&ROUTES).iter().filter(counts);
    for (old, new) in groups(from, to, group) {
        let same = same_start(&old, &new);
        // From the front: without a source the kernel removes the first that fits.
        for object in &old[same..] {
            let message = replay_where(&ROUTES, &object.bytes, ROUTES.remove, PLAIN, |_| true);
            let label = format!("remove {}", object.label(&sides.from.names));
            draft.send(Stage::RemoveRoutes, &ROUTES, label, message, &[libc::ESRCH]);
        }
        // A near one behind a far one comes after it, or the order would never be right.
        let near = new[same..].iter().take_while(|object| is_near(object)).count();
        for (place, object) in new[same..].iter().enumerate() {
            let stage = if place < near { Stage::NearRoutes } else { Stage::FarRoutes };
            let label = format!("add {}", object.label(&sides.to.names));
            let message = replay(&ROUTES, &object.bytes, APPEND);
            let gateways =
                if terms.scaffold { scaffold::of_route(&raw(object)) } else { Vec::new() };
            let name = object.label(&sides.to.names);
            scaffold::around(&gateways, stage, &name, draft, |draft| {
                draft.send(stage, &ROUTES, label, message, &[libc::EEXIST]);
            });
        }
    }
}

fn remove_undone(sides: &Sides<'_>, draft: &mut Draft) {
    let to = sides.to.of(&ROUTES);
    let wanted: BTreeSet<&str> = to.iter().map(|route| route.key.as_str()).collect();
    let tentative: Vec<_> =
        sides.to.of(&ADDRESSES).iter().filter_map(addresses::tentative).collect();
    for object in sides.from.of(&ROUTES) {
        if !wanted.contains(object.key.as_str()) && is_undone(object, sides.to, &tentative) {
            let message = replay_where(&ROUTES, &object.bytes, ROUTES.remove, PLAIN, |_| true);
            let label = format!("remove {}", object.label(&sides.from.names));
            draft.send(Stage::RemoveRoutes, &ROUTES, label, message, &[libc::ESRCH]);
        }
    }
}

/// Whether the kernel makes the route by itself, with an address or a link.
pub fn made_by_kernel(object: &Object) -> bool {
    !matches!(maker(object), Made::Never)
}

/// Whether this is the local route that the kernel made for an address which is among `tentative`
/// (link and address).
pub fn is_of_address(object: &Object, tentative: &[(u32, Vec<u8>)]) -> bool {
    let raw = raw(object);
    matches!(maker(object), Made::OnlyByKernel)
        && raw.header_u8(7) == libc::RTN_LOCAL
        && tentative.iter().any(|(link, address)| {
            raw.number(RTA_OIF) == Some(*link) && raw.attribute(RTA_DST) == Some(&address[..])
        })
}

/// Whether this is a local or anycast route that the kernel made with an address, and that was taken
/// from it where the image comes from. While detection is at work there it was not made yet.
pub fn is_undone(object: &Object, to: &Objects, tentative: &[(u32, Vec<u8>)]) -> bool {
    let raw = raw(object);
    let Some(link) = raw.number(RTA_OIF) else { return false };
    let address = match raw.header_u8(7) {
        libc::RTN_ANYCAST => true,
        libc::RTN_LOCAL => raw.attribute(RTA_DST).is_some_and(|a| addresses::has(to, link, a)),
        _ => false,
    };
    address
        && matches!(maker(object), Made::OnlyByKernel)
        && tentative.iter().all(|(other, _)| *other != link)
}

enum Made {
    Never,
    ByKernel,
    /// IPv6 routes of addresses have metric 0, which stands for 1024 when anyone else asks for it.
    OnlyByKernel,
}

fn maker(object: &Object) -> Made {
    let raw = raw(object);
    let ipv6 = i32::from(raw.header_u8(0)) == libc::AF_INET6;
    match raw.header_u8(5) {
        RTPROT_KERNEL if ipv6 && raw.number(RTA_PRIORITY).unwrap_or_default() == 0 => {
            Made::OnlyByKernel
        }
        RTPROT_KERNEL => Made::ByKernel,
        _ => Made::Never,
    }
}

/// Whether the route goes with a link or a nexthop that is removed.
fn goes_along(object: &Object, gone: &BTreeSet<u32>, lost: &BTreeSet<u32>) -> bool {
    let raw = raw(object);
    let through = raw.number(RTA_OIF).is_some_and(|link| gone.contains(&link));
    through || raw.number(RTA_NH_ID).is_some_and(|id| lost.contains(&id))
}

fn is_near(object: &Object) -> bool {
    let raw = raw(object);
    ![RTA_GATEWAY, RTA_VIA, RTA_MULTIPATH, RTA_NH_ID].iter().any(|id| raw.has(*id))
}
