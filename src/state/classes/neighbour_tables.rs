//! Parameters of the neighbour tables (ARP, neighbour discovery) per device (`linux/neighbour.h`).
//!
//! The files below `/proc/sys/net/*/neigh` show the same numbers rounded to hundredths of a second,
//! so they are read and written here. What the dump tells of the tables as a whole belongs to the
//! machine: a namespace other than the first has no defaults of its own.

use super::families::{FAMILY, shown};
use crate::netlink::{Message, Protocol, attributes};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};

const RTM_NEWNEIGHTBL: u16 = 64;
const RTM_GETNEIGHTBL: u16 = 66;
const RTM_SETNEIGHTBL: u16 = 67;
const NDTA_PARMS: u16 = 6;
const NDTPA_IFINDEX: u16 = 1;

/// Times are in milliseconds.
const PARAMETERS: &[Attr] = &[
    Attr::link(NDTPA_IFINDEX, "ifindex"),
    Attr::strip(2, "refcnt", Shape::U32),
    // Drawn at random around the base.
    Attr::strip(3, "reachable_time", Shape::U64),
    Attr::keep(4, "base_reachable_time", Shape::U64),
    Attr::keep(5, "retrans_time", Shape::U64),
    Attr::keep(6, "gc_staletime", Shape::U64),
    Attr::keep(7, "delay_probe_time", Shape::U64),
    // What `queue_lenbytes` makes in packets.
    Attr::strip(8, "queue_len", Shape::U32),
    Attr::keep(9, "app_probes", Shape::U32),
    Attr::keep(10, "ucast_probes", Shape::U32),
    Attr::keep(11, "mcast_probes", Shape::U32),
    Attr::keep(12, "anycast_delay", Shape::U64),
    Attr::keep(13, "proxy_delay", Shape::U64),
    Attr::keep(14, "proxy_qlen", Shape::U32),
    Attr::keep(15, "locktime", Shape::U64),
    Attr::keep(16, "queue_lenbytes", Shape::U32),
    Attr::keep(17, "mcast_reprobes", Shape::U32),
    Attr::strip(18, "pad", Shape::Bytes),
    Attr::keep(19, "interval_probe_time_ms", Shape::U64),
];

pub static NEIGHBOUR_TABLES: Class = Class {
    name: "neighbour-tables",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: RTM_GETNEIGHTBL, body: &[0, 0, 0, 0] }],
        // The kernel tells nobody of changes here.
        groups: &[],
        notices: &[],
    },
    header: &[Field::new("family", 0, FAMILY, Fate::Keep)],
    attributes: &[
        Attr::keep(1, "name", Shape::Text),
        Attr::strip(2, "thresh1", Shape::U32),
        Attr::strip(3, "thresh2", Shape::U32),
        Attr::strip(4, "thresh3", Shape::U32),
        Attr::strip(5, "config", Shape::Bytes),
        Attr::keep(NDTA_PARMS, "parms", Shape::Nest(PARAMETERS)),
        Attr::strip(7, "stats", Shape::Bytes),
        Attr::strip(8, "gc_interval", Shape::U64),
        Attr::strip(9, "pad", Shape::Bytes),
    ],
    key: &["name", "parms.ifindex"],
    tells: RTM_NEWNEIGHTBL,
    make: RTM_SETNEIGHTBL,
    belongs,
    after: &["links"],
    label: |value, names| {
        let link = names.link(value.number("parms.ifindex").unwrap_or_default());
        format!("{} of {link}", shown(value, "name"))
    },
    shown_by: "tests/roundtrip, neighbour_tables",
    ..Class::BASE
};

/// Only what is of a device.
fn belongs(message: &Message<'_>) -> bool {
    let mut all = message.attributes(4).map_while(Result::ok);
    let parms = all.find(|attribute| attribute.id == NDTA_PARMS);
    parms.is_some_and(|parms| {
        attributes(parms.payload).map_while(Result::ok).any(|inner| inner.id == NDTPA_IFINDEX)
    })
}
