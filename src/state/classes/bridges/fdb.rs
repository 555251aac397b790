//! Forwarding databases: of bridges, of vxlan links, and the further unicast addresses that a device
//! takes in (`linux/neighbour.h`). What a bridge has learned it learns again.

use super::AF_BRIDGE;
use crate::netlink::{Message, Protocol};
use crate::state::Value;
use crate::state::classes::families::{PROTOCOL, shown};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Map, Shape, Source};

const RTM_NEWNEIGH: u16 = 28;
const RTM_DELNEIGH: u16 = 29;
const RTM_GETNEIGH: u16 = 30;
const RTNLGRP_NEIGH: u32 = 3;

const NUD_REACHABLE: u64 = 0x02;
const NUD_NOARP: u64 = 0x40;
const NUD_PERMANENT: u64 = 0x80;
/// States that do not age.
const STAYS: u64 = NUD_NOARP | NUD_PERMANENT;
const NTF_EXT_LEARNED: u8 = 0x10;

const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
const NDA_MASTER: u16 = 9;
const NDA_NH_ID: u16 = 13;

const STATES: Shape = Shape::Fixed(
    2,
    &Shape::Bits(&[
        (NUD_REACHABLE, "reachable"),
        (0x04, "stale"),
        (NUD_NOARP, "static"),
        (NUD_PERMANENT, "permanent"),
    ]),
);

/// What ages, and yet is state, was learned outside and does not age after all.
const STATE: Map = Map {
    sent: |state| if state & STAYS == 0 { NUD_REACHABLE } else { state },
    compared: |state| state & STAYS,
};

/// `NTF_*`; a plan adds whether the bridge or the device is meant.
const FLAGS: Shape = Shape::Fixed(
    1,
    &Shape::BitsOf(
        &[
            (0x01, "use"),
            (0x02, "self"),
            (0x04, "master"),
            (NTF_EXT_LEARNED as u64, "extern_learn"),
            (0x20, "offloaded"),
            (0x40, "sticky"),
            (0x80, "router"),
        ],
        0xd2,
    ),
);

pub static BRIDGE_FDB: Class = Class {
    name: "bridge-fdb",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: RTM_GETNEIGH, body: &[AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }],
        groups: &[RTNLGRP_NEIGH],
        notices: &[RTM_NEWNEIGH, RTM_DELNEIGH],
    },
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Keep),
        Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
        Field::new("state", 8, STATES, Fate::Map(STATE)),
        Field::new("flags", 10, FLAGS, Fate::Keep),
        Field::new("type", 11, Shape::U8, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(NDA_DST, "dst", Shape::Ip),
        Attr::keep(NDA_LLADDR, "lladdr", Shape::Mac),
        Attr::strip(3, "cacheinfo", Shape::Bytes),
        Attr::strip(4, "probes", Shape::U32),
        Attr::keep(5, "vlan", Shape::U16),
        Attr::keep(6, "port", Shape::Be16),
        Attr::keep(7, "vni", Shape::U32),
        Attr::link(8, "via"),
        // Told by the flags.
        Attr::derived(NDA_MASTER, "master", Shape::U32),
        Attr::refuse(10, "link_netnsid"),
        Attr::keep(11, "src_vni", Shape::U32),
        Attr::keep(12, "protocol", Shape::Fixed(1, &PROTOCOL)),
        Attr::keep(NDA_NH_ID, "nh_id", Shape::U32),
        Attr::keep(
            14,
            "fdb_ext_attrs",
            Shape::Nest(&[
                Attr::keep(
                    1,
                    "activity_notify",
                    Shape::Fixed(1, &Shape::BitsOf(&[(1, "notify"), (2, "inactive")], 1)),
                ),
                Attr::strip(2, "dont_refresh", Shape::Flag),
            ]),
        ),
        Attr::strip(15, "flags_ext", Shape::U32),
        Attr::strip(16, "ndm_state_mask", Shape::U16),
        Attr::strip(17, "ndm_flags_mask", Shape::U8),
    ],
    key: &["ifindex", "lladdr", "vlan", "master", "src_vni", "dst", "port", "vni", "via", "nh_id"],
    tells: RTM_NEWNEIGH,
    make: RTM_NEWNEIGH,
    remove: RTM_DELNEIGH,
    belongs,
    after: &["links", "nexthops"],
    label: |value, names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        let to = value.field("dst").map(|to| format!(" to {to}")).unwrap_or_default();
        let vlan = value.number("vlan").map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
        format!("{}{to}{vlan} on {link}", shown(value, "lladdr"))
    },
    shown_by: "tests/roundtrip, bridges",
    ..Class::BASE
};

/// Entries of a bridge or of a vxlan that do not age, and further unicast addresses of a device. Those
/// of groups are the class of multicast addresses'.
fn belongs(message: &Message<'_>) -> bool {
    let state = message.body.get(8..10).and_then(|state| state.first_chunk());
    let state = u64::from(state.map_or(0, |state| u16::from_ne_bytes(*state)));
    let flags = message.body.get(10).copied().unwrap_or_default();
    let stays = state & STAYS != 0 || flags & NTF_EXT_LEARNED != 0;
    let mut of_table = false;
    let mut unicast = false;
    for attribute in message.attributes(12).map_while(Result::ok) {
        match attribute.id {
            NDA_MASTER | NDA_DST | NDA_NH_ID => of_table = true,
            NDA_LLADDR => unicast = attribute.payload.first().is_some_and(|byte| byte & 1 == 0),
            _ => {}
        }
    }
    message.body.first() == Some(&AF_BRIDGE) && stays && (of_table || unicast)
}

/// Whether an entry is a further address of a device, which a link upon it may have asked for.
#[must_use]
pub fn is_of_device(entry: &Value) -> bool {
    ["master", "dst", "nh_id"].iter().all(|name| entry.field(name).is_none())
}
