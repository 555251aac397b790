//! What hangs on the outer ends of a pod's veth pairs: the same classes, tables and plans as inside,
//! moved onto the ends that the pod has here.
//!
//! What the node's own setup gave an end stays: an image adds, and changes only what has the same key.
//! A link on which somebody here shapes keeps that. Where a namespace becomes again what it was, all
//! counts.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::{Finding, of_class};
use super::draft::{Draft, Objects, Sides};
use super::link::Link;
use super::veth::outer_of;
use super::{Side, Terms, addresses, neighbours, routes, sysctls, tc};
use crate::host::bounds::{self, CLASSES};
use crate::netlink::{Builder, attributes, messages};
use crate::state::classes::{
    ADDRESSES, LINKS, NEIGHBOUR_TABLES, QDISCS, ROUTES, SYSCTLS, TC_CHAINS, TC_CLASSES, TC_FILTERS,
};
use crate::state::table::Class;
use crate::state::{self, Names, Object};

/// Settings that an image may give an outer end: they say how the node speaks to the pod. All others
/// say what the node takes from it, which is the node's own business; how they differ is told.
const SPEAKING: &[&str] = &[
    "accept_dad",
    "arp_announce",
    "arp_evict_nocarrier",
    "arp_filter",
    "arp_ignore",
    "arp_notify",
    "dad_transmits",
    "disable_ipv6",
    "enhanced_dad",
    "force_igmp_version",
    "force_mld_version",
    "force_tllao",
    "hop_limit",
    "igmpv2_unsolicited_report_interval",
    "igmpv3_unsolicited_report_interval",
    "ignore_routes_with_linkdown",
    "keep_addr_on_down",
    "log_martians",
    "medium_id",
    "mldv1_unsolicited_report_interval",
    "mldv2_unsolicited_report_interval",
    "ndisc_evict_nocarrier",
    "ndisc_notify",
    "ndisc_tclass",
    "promote_secondaries",
    "proxy_arp",
    "proxy_arp_pvlan",
    "proxy_ndp",
    "send_redirects",
    "suppress_frag_ndisc",
];

/// Both sides of the outer ends that are there and captured, in terms of those that are there.
struct Ends {
    from: Objects,
    to: Objects,
    /// Settings that are the node's own business and differ: as they are, as they were captured.
    left: [Objects; 2],
}

/// Plans it; outer ends that are yet to be made get theirs in the next plan.
pub fn plan(sides: &Sides<'_>, terms: &Terms, draft: &mut Draft) {
    let Some(ends) = Ends::of(sides.from, sides.to) else { return };
    let sides = Sides { from: &ends.from, to: &ends.to };
    let mut beyond = Draft::default();
    sysctls::plan(&sides, &mut beyond);
    addresses::plan(&sides, &mut beyond);
    neighbours::tables(&sides, &mut beyond);
    routes::plan(&sides, terms, &mut beyond);
    neighbours::plan(&sides, &mut beyond);
    tc::plan(&sides, &mut beyond);
    draft.take_for_host(beyond);
}

/// How the outer ends differ.
pub fn differences(from: &Objects, to: &Objects, found: &mut Vec<Finding>) {
    let Some(ends) = Ends::of(from, to) else { return };
    let start = found.len();
    for class in CLASSES.into_iter().filter(|class| ends.to.knows(class)) {
        of_class(class, &ends.from, &ends.to, found);
    }
    let mut left = Vec::new();
    of_class(&SYSCTLS, &ends.left[0], &ends.left[1], &mut left);
    found.extend(left.into_iter().map(Finding::informing));
    for finding in &mut found[start..] {
        finding.side = Side::Host;
    }
}

impl Ends {
    fn of(from: &Objects, to: &Objects) -> Option<Self> {
        let known: Vec<&'static Class> = CLASSES
            .into_iter()
            .filter(|class| from.host.contains_key(class.name) && to.host.contains_key(class.name))
            .filter(|class| !(to.led_by_others && class.name == ROUTES.name))
            .collect();
        let pairs = pairs(from, to);
        if known.is_empty() || pairs.is_empty() {
            return None;
        }
        let mut is: BTreeMap<&'static str, Vec<Object>> = BTreeMap::new();
        let mut shall = is.clone();
        for class in known {
            let on = |all: &Objects, link: &Link<'_>| -> Vec<Object> {
                let own = |object: &&Object| is_on(object, link);
                all.host.get(class.name).into_iter().flatten().filter(own).cloned().collect()
            };
            let (mut now, mut wanted) = (Vec::new(), Vec::new());
            for (here, captured) in &pairs {
                now.extend(on(from, here));
                let moved = on(to, captured).into_iter().map(|one| moved(&one, captured, here));
                wanted.extend(moved.filter(|one| !to.led_by_others || is_of_link(one)));
            }
            is.insert(class.name, now);
            shall.insert(class.name, again(class, &wanted));
        }
        let mut left = [Objects::default(), Objects::default()];
        if to.adds {
            keep_others_shaping(&is, &mut shall);
            for (name, objects) in &mut shall {
                if *name == SYSCTLS.name {
                    let (own, others) = std::mem::take(objects).into_iter().partition(is_speaking);
                    *objects = own;
                    left = [is[name].clone(), others].map(|all| side([(*name, all)], &[], to));
                }
                keep_more(&is[name], objects);
            }
        }
        let outer: Vec<Object> = pairs.iter().map(|(here, _)| here.object.clone()).collect();
        Some(Self { from: side(is, &outer, from), to: side(shall, &outer, to), left })
    }
}

/// Outer ends of the same inner link: the one that is there, and the captured one.
fn pairs<'a>(from: &'a Objects, to: &'a Objects) -> Vec<(Link<'a>, Link<'a>)> {
    let inner = Link::all(from.of(&LINKS));
    let pair = |link: Link<'_>| {
        let now = inner.iter().find(|now| now.name == link.name)?;
        let here = outer_of(now, &from.outer).map(Link::new)?;
        Some((here, outer_of(&link, &to.outer).map(Link::new)?))
    };
    Link::all(to.of(&LINKS)).into_iter().filter_map(pair).collect()
}

fn is_on(object: &Object, link: &Link<'_>) -> bool {
    if object.class.name == SYSCTLS.name {
        return bounds::file(&object.key).is_some_and(|(_, device, _)| device == link.name);
    }
    let message = messages(&object.bytes).next().and_then(Result::ok);
    message.is_some_and(|one| bounds::link_of(object.class, &one) == Some(link.index))
}

/// The object of one link as one of another. Where it names the link by its name, it is renamed.
fn moved(object: &Object, from: &Link<'_>, to: &Link<'_>) -> Object {
    let mut moved = object.clone();
    if object.class.name == SYSCTLS.name {
        let Some((tree, _, name)) = bounds::file(&object.key) else { return moved };
        let key = format!("{tree}/{}/{name}", to.name);
        let value = object.bytes.get(object.key.len()..).unwrap_or_default();
        moved.bytes = [key.as_bytes(), value].concat();
        moved.key = key;
        return moved;
    }
    let size = bounds::header(object.class);
    let Some(Ok(message)) = messages(&object.bytes).next() else { return moved };
    let mut header = message.body.get(..size).unwrap_or_default().to_vec();
    let index = to.index.to_ne_bytes();
    if bounds::names_link_first(object.class) {
        header[4..8].copy_from_slice(&index);
    }
    let mut builder = Builder::new(message.kind, message.flags, &header);
    for attribute in message.attributes(size).map_while(Result::ok) {
        let id = attribute.id | attribute.flags;
        match (object.class.name, attribute.id) {
            // `RTA_OIF`
            (name, 4) if name == ROUTES.name => builder.put(id, &index),
            // `IFA_LABEL`
            (name, 3) if name == ADDRESSES.name => {
                let label = attribute.text();
                let rest = label
                    .strip_prefix(from.name)
                    .filter(|rest| rest.is_empty() || rest.starts_with(':'));
                let label = rest.map_or(label.clone(), |rest| format!("{}{rest}", to.name));
                builder.put_text(id, &label)
            }
            // `NDTA_PARMS` and its `NDTPA_IFINDEX`
            (name, 6) if name == NEIGHBOUR_TABLES.name => {
                let mut parameters = Vec::new();
                for one in attributes(attribute.payload).map_while(Result::ok) {
                    let payload = if one.id == 1 { &index[..] } else { one.payload };
                    parameters.extend(Builder::attribute(one.id | one.flags, payload));
                }
                builder.put(id, &parameters)
            }
            _ => builder.put(id, attribute.payload),
        };
    }
    moved.bytes = builder.finish();
    moved
}

/// The objects of these messages, with the keys that they have now.
fn again(class: &'static Class, objects: &[Object]) -> Vec<Object> {
    if class.name == SYSCTLS.name {
        return objects.to_vec();
    }
    let mut section = Vec::new();
    for object in objects {
        section.extend_from_slice(&object.bytes);
        section.resize(crate::netlink::align(section.len()), 0);
    }
    state::objects(class, &section).unwrap_or_default()
}

/// Whether an address is of the link alone. Others, and routes, are made by who leads to the pod.
fn is_of_link(object: &Object) -> bool {
    const IFA_ADDRESS: u16 = 1;
    if object.class.name != ADDRESSES.name {
        return true;
    }
    let raw = super::raw::Raw::new(&object.bytes, 8);
    matches!(raw.attribute(IFA_ADDRESS), Some([169, 254, 1, _] | [0xfe, 0x80..=0xbf, ..]))
}

fn is_speaking(object: &Object) -> bool {
    bounds::file(&object.key).is_some_and(|(_, _, name)| SPEAKING.contains(&name))
}

/// What is there stays, in its order; what is the same by its key is as it was captured. What comes is
/// what the kernel would take for the youngest: at the end, or for IPv6 addresses at the head.
fn keep_more(is: &[Object], shall: &mut Vec<Object>) {
    let mut rest = std::mem::take(shall);
    for there in is {
        let captured = rest.iter().position(|object| object.key == there.key);
        shall.push(captured.map_or_else(|| there.clone(), |at| rest.remove(at)));
    }
    let at_head = |object: &Object| {
        let family = super::raw::Raw::new(&object.bytes, 8).header_u8(0);
        object.class.name == ADDRESSES.name && i32::from(family) == libc::AF_INET6
    };
    let (head, tail): (Vec<_>, Vec<_>) = rest.into_iter().partition(at_head);
    shall.splice(0..0, head);
    shall.extend(tail);
}

/// Links on which there is traffic control keep it.
fn keep_others_shaping(
    is: &BTreeMap<&'static str, Vec<Object>>,
    shall: &mut BTreeMap<&'static str, Vec<Object>>,
) {
    let link = |object: &Object| {
        let message = messages(&object.bytes).next()?.ok()?;
        bounds::link_of(object.class, &message)
    };
    let shaped: BTreeSet<_> = is.get(QDISCS.name).into_iter().flatten().map(link).collect();
    for class in [&QDISCS, &TC_CLASSES, &TC_CHAINS, &TC_FILTERS] {
        if let Some(objects) = shall.get_mut(class.name) {
            objects.retain(|object| !shaped.contains(&link(object)));
        }
    }
}

/// A side of its own, of these classes and links.
fn side(
    classes: impl IntoIterator<Item = (&'static str, Vec<Object>)>,
    outer: &[Object],
    of: &Objects,
) -> Objects {
    let mut classes: BTreeMap<_, _> = classes.into_iter().collect();
    let bytes: Vec<u8> = outer.iter().flat_map(|link| link.bytes.clone()).collect();
    classes.insert(LINKS.name, outer.to_vec());
    let known = |class: &&'static Class| !classes.contains_key(class.name);
    let unknown = state::CLASSES.into_iter().filter(known).map(|class| class.name).collect();
    let (names, foreign) = (Names::of(&bytes), of.foreign);
    Objects { classes, names, unknown, foreign, ..Objects::default() }
}
