//! Neighbours of IPv4 and IPv6, and the addresses that are answered for (proxy) (`linux/neighbour.h`).

use super::families::{FAMILY, PROTOCOL, shown};
use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Map, Shape, Source};
use crate::state::{Names, Value};

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTNLGRP_NEIGH: u32 = 3;

const NUD_REACHABLE: u64 = 0x02;
const NUD_STALE: u64 = 0x04;
const NUD_DELAY: u64 = 0x08;
const NUD_PROBE: u64 = 0x10;
const NUD_NOARP: u64 = 0x40;
const NUD_PERMANENT: u64 = 0x80;
/// States in which the link-layer address is known and may age.
const RESOLVED: u64 = NUD_REACHABLE | NUD_STALE | NUD_DELAY | NUD_PROBE;

const STATES: Shape = Shape::Fixed(
    2,
    &Shape::Bits(&[
        (0x01, "incomplete"),
        (NUD_REACHABLE, "reachable"),
        (NUD_STALE, "stale"),
        (NUD_DELAY, "delay"),
        (NUD_PROBE, "probe"),
        (0x20, "failed"),
        (NUD_NOARP, "noarp"),
        (NUD_PERMANENT, "permanent"),
    ]),
);

const NTF_PROXY: u8 = 0x08;
const NTF_EXT_LEARNED: u8 = 0x10;
/// `NTF_*`; kept are those that say what the entry is, not how the request is meant.
const FLAGS: Shape = Shape::Fixed(
    1,
    &Shape::BitsOf(
        &[
            (0x01, "use"),
            (0x02, "self"),
            (0x04, "master"),
            (NTF_PROXY as u64, "proxy"),
            (NTF_EXT_LEARNED as u64, "extern_learn"),
            (0x20, "offloaded"),
            (0x40, "sticky"),
            (0x80, "router"),
        ],
        0xd8,
    ),
);

const NDA_FLAGS_EXT: u16 = 15;
const NTF_EXT_MANAGED: u32 = 1;

const HEADER: &[Field] = &[
    Field::new("family", 0, FAMILY, Fate::Keep),
    Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
    Field::new("state", 8, STATES, Fate::Map(STATE)),
    Field::new("flags", 10, FLAGS, Fate::Keep),
    // `RTN_*`, by the routes.
    Field::new("type", 11, Shape::U8, Fate::Strip),
];

const ATTRIBUTES: &[Attr] = &[
    Attr::keep(1, "dst", Shape::Ip),
    // What the kernel keeps resolved for someone is the kernel's to resolve.
    Attr::new(2, "lladdr", Shape::Mac, Fate::Unless(NDA_FLAGS_EXT, &(Fate::Keep, Fate::Send))),
    Attr::strip(3, "cacheinfo", Shape::Bytes),
    Attr::strip(4, "probes", Shape::U32),
    // Of forwarding databases, not of neighbours.
    Attr::refuse(5, "vlan"),
    Attr::refuse(6, "port"),
    Attr::refuse(7, "vni"),
    Attr::refuse(8, "ifindex"),
    Attr::refuse(9, "master"),
    Attr::refuse(10, "link_netnsid"),
    Attr::refuse(11, "src_vni"),
    Attr::keep(12, "protocol", Shape::Fixed(1, &PROTOCOL)),
    Attr::refuse(13, "nh_id"),
    Attr::refuse(14, "fdb_ext_attrs"),
    Attr::keep(
        NDA_FLAGS_EXT,
        "flags_ext",
        Shape::Fixed(
            4,
            &Shape::BitsOf(&[(1, "managed"), (2, "locked"), (4, "ext_validated")], 0b101),
        ),
    ),
    Attr::strip(16, "ndm_state_mask", Shape::U16),
    Attr::strip(17, "ndm_flags_mask", Shape::U8),
];

pub static NEIGHBOURS: Class = Class {
    name: "neighbours",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETNEIGH, body: &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
            Dump { kind: RTM_GETNEIGH, body: &[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
        ],
        groups: &[RTNLGRP_NEIGH],
        notices: &[RTM_NEWNEIGH, RTM_DELNEIGH],
    },
    header: HEADER,
    attributes: ATTRIBUTES,
    key: &["ifindex", "family", "dst"],
    tells: RTM_NEWNEIGH,
    make: RTM_NEWNEIGH,
    remove: RTM_DELNEIGH,
    belongs,
    after: &["links", "addresses"],
    label,
    fleeting: |value| {
        let state = value.number("state").unwrap_or_default();
        let flags = value.number("flags").unwrap_or_default();
        let managed = value.number("flags_ext").unwrap_or_default() & u64::from(NTF_EXT_MANAGED);
        let learned = flags & u64::from(NTF_EXT_LEARNED) != 0;
        state & NUD_PERMANENT == 0 && managed == 0 && !learned
    },
    shown_by: "tests/roundtrip, neighbours",
    ..Class::BASE
};

pub static PROXY_NEIGHBOURS: Class = Class {
    name: "proxy-neighbours",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETNEIGH, body: &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, NTF_PROXY, 0] },
            Dump { kind: RTM_GETNEIGH, body: &[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, NTF_PROXY, 0] },
        ],
        // The kernel tells nobody of changes here.
        groups: &[],
        notices: &[],
    },
    header: HEADER,
    attributes: ATTRIBUTES,
    key: &["ifindex", "family", "dst"],
    tells: RTM_NEWNEIGH,
    make: RTM_NEWNEIGH,
    remove: RTM_DELNEIGH,
    belongs: |message| flags(message) & NTF_PROXY != 0 && is_ip(message),
    after: &["links"],
    label: |value, names| format!("proxy {}", label(value, names)),
    shown_by: "tests/roundtrip, proxy_neighbours",
    ..Class::BASE
};

/// What is known is used at once and asked again before it is trusted for long: it is sent as stale.
/// How fresh it is, is not compared.
const STATE: Map = Map {
    sent: |state| match state & RESOLVED {
        0 => state & (NUD_PERMANENT | NUD_NOARP),
        _ => NUD_STALE,
    },
    compared: |state| state & (NUD_PERMANENT | NUD_NOARP),
};

/// Resolved, permanent, or kept by someone. What is being asked for, has failed, or is made by the
/// kernel for groups and its own addresses (noarp) is no state.
fn belongs(message: &Message<'_>) -> bool {
    const RTN_UNICAST: u8 = 1;
    let state = message.body.get(8..10).and_then(|state| state.first_chunk());
    let state = u64::from(state.map_or(0, |state| u16::from_ne_bytes(*state)));
    let kind = message.body.get(11).copied().unwrap_or(0);
    if flags(message) & NTF_PROXY != 0 || !is_ip(message) {
        return false;
    }
    let kept = state & (RESOLVED | NUD_PERMANENT) != 0;
    let noarp = state & NUD_NOARP != 0 && kind == RTN_UNICAST && has_address(message);
    kept || noarp || flags(message) & NTF_EXT_LEARNED != 0 || is_managed(message)
}

fn flags(message: &Message<'_>) -> u8 {
    message.body.get(10).copied().unwrap_or(0)
}

fn is_ip(message: &Message<'_>) -> bool {
    message.body.first().is_some_and(|family| matches!(family, 2 | 10))
}

fn is_managed(message: &Message<'_>) -> bool {
    message.attributes(12).map_while(Result::ok).any(|attribute| {
        let flags = attribute.payload.first_chunk().map_or(0, |flags| u32::from_ne_bytes(*flags));
        attribute.id == NDA_FLAGS_EXT && flags & NTF_EXT_MANAGED != 0
    })
}

/// Whether there is a link-layer address that is not all zero (as the loopback's is).
fn has_address(message: &Message<'_>) -> bool {
    const NDA_LLADDR: u16 = 2;
    let mut all = message.attributes(12).map_while(Result::ok);
    all.any(|attribute| attribute.id == NDA_LLADDR && attribute.payload.iter().any(|b| *b != 0))
}

fn label(value: &Value, names: &Names) -> String {
    let link = names.link(value.number("ifindex").unwrap_or_default());
    format!("{} on {link}", shown(value, "dst"))
}
