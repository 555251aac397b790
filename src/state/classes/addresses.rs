//! Addresses of IPv4 and IPv6 (`linux/if_addr.h`).

use super::families::{FAMILY, SCOPE};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Lifetime, Shape, Source};
use crate::state::{Fault, Names, Value};

const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_GETADDR: u16 = 22;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;

/// `IFA_F_*`. Of these the kernel takes from others those of [`KEPT`]; the rest is what duplicate
/// address detection and the order of addresses make of them.
const FLAGS: &[(u64, &str)] = &[
    (0x01, "secondary"),
    (0x02, "nodad"),
    (0x04, "optimistic"),
    (0x08, "dadfailed"),
    (0x10, "homeaddress"),
    (0x20, "deprecated"),
    (0x40, "tentative"),
    (0x80, "permanent"),
    (0x100, "mngtmpaddr"),
    (0x200, "noprefixroute"),
    (0x400, "autojoin"),
    (0x800, "stable_privacy"),
];
const KEPT: u64 = 0x02 | 0x04 | 0x10 | 0x100 | 0x200 | 0x400;
const SECONDARY: u64 = 0x01;
/// What the kernel takes without a word and forgets, of IPv6.
const FORGOTTEN: &[(u64, &str)] = &[
    (SECONDARY, "comes back without being temporary: the kernel alone makes such addresses"),
    (0x08, "comes back without the mark that its duplicate was seen: it is looked for again"),
    (0x800, "comes back without the mark stable_privacy, which the kernel alone sets"),
];

/// `INFINITY_LIFE_TIME`.
const FOREVER: u32 = u32::MAX;

const CACHEINFO: &[Field] = &[
    Field::new(
        "preferred",
        0,
        Shape::U32,
        Fate::Lifetime(Lifetime { per_second: 1, forever: FOREVER, least: 0 }),
    ),
    // A valid lifetime of 0 is an error, not an end.
    Field::new(
        "valid",
        4,
        Shape::U32,
        Fate::Lifetime(Lifetime { per_second: 1, forever: FOREVER, least: 1 }),
    ),
    Field::new("created", 8, Shape::U32, Fate::Strip),
    Field::new("updated", 12, Shape::U32, Fate::Strip),
];

pub static ADDRESSES: Class = Class {
    name: "addresses",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETADDR, body: &[2, 0, 0, 0, 0, 0, 0, 0] },
            Dump { kind: RTM_GETADDR, body: &[10, 0, 0, 0, 0, 0, 0, 0] },
        ],
        groups: &[RTNLGRP_IPV4_IFADDR, RTNLGRP_IPV6_IFADDR],
        notices: &[RTM_NEWADDR, RTM_DELADDR],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        Field::new("prefixlen", 1, Shape::U8, Fate::Keep),
        // Eight bits of what `IFA_FLAGS` says in full.
        Field::new("header_flags", 2, Shape::U8, Fate::Strip),
        Field::new("scope", 3, SCOPE, Fate::Keep),
        Field::new("index", 4, Shape::U32, Fate::Ifindex),
    ],
    attributes: &[
        Attr::keep(1, "address", Shape::Ip),
        Attr::keep(2, "local", Shape::Ip),
        Attr::keep(3, "label", Shape::Text),
        Attr::keep(4, "broadcast", Shape::Ip),
        Attr::keep(5, "anycast", Shape::Ip),
        Attr::keep(6, "cacheinfo", Shape::Struct(CACHEINFO)),
        // What a multicast dump tells.
        Attr::refuse(7, "multicast"),
        Attr::keep(8, "flags", Shape::Fixed(4, &Shape::BitsOf(FLAGS, KEPT))),
        Attr::keep(9, "rt_priority", Shape::U32),
        Attr::strip(10, "target_netnsid", Shape::I32),
        Attr::keep(11, "proto", Shape::Fixed(1, &Shape::Enum(PROTOCOLS))),
    ],
    key: &["index", "family", "local", "address", "prefixlen"],
    tells: RTM_NEWADDR,
    make: RTM_NEWADDR,
    remove: RTM_DELADDR,
    after: &["links", "sysctls"],
    label,
    // Of IPv4 the order of addresses makes it: the first of a subnet is the primary one.
    also: |value| match (value.number("family"), value.number("flags")) {
        (Some(2), Some(flags)) => vec![("secondary", Value::Number(flags & SECONDARY))],
        _ => Vec::new(),
    },
    faults,
    // Lifetimes.
    drifts: |_| true,
    shown_by: "tests/roundtrip, addresses",
    ..Class::BASE
};

fn faults(value: &Value) -> Vec<Fault> {
    let flags = value.number("flags").filter(|_| value.number("family") == Some(10)).unwrap_or(0);
    let forgotten = FORGOTTEN.iter().filter(|(flag, _)| flags & flag != 0);
    forgotten.map(|(_, why)| Fault::Part((*why).to_owned())).collect()
}

/// `IFAPROT_*`: who made the address.
const PROTOCOLS: &[(u64, &str)] =
    &[(0, "unspec"), (1, "kernel_lo"), (2, "kernel_ra"), (3, "kernel_ll")];

fn label(value: &Value, names: &Names) -> String {
    let show = |path| value.field(path).map(ToString::to_string);
    let length = value.number("prefixlen").unwrap_or_default();
    let local = show("local").or_else(|| show("address")).unwrap_or_default();
    let link = names.link(value.number("index").unwrap_or_default());
    match show("address").filter(|address| *address != local) {
        Some(peer) => format!("{local} peer {peer}/{length} on {link}"),
        None => format!("{local}/{length} on {link}"),
    }
}
