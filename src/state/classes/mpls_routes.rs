//! Routes of MPLS labels (`linux/rtnetlink.h`, `linux/mpls.h`, RFC 3032).

use super::families::{FAMILY, PROTOCOL, SCOPE, shown};
use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{ReadError, Reader, Value};

const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTNLGRP_MPLS_ROUTE: u32 = 27;
const AF_MPLS: u8 = 28;

const PATH: &[Attr] =
    &[Attr::keep(18, "via", Shape::Bytes), Attr::keep(19, "newdst", Shape::Bytes)];

pub static MPLS_ROUTES: Class = Class {
    name: "mpls-routes",
    source: Source::Watched {
        read,
        protocol: Protocol::Route,
        groups: &[RTNLGRP_MPLS_ROUTE],
        notices: &[RTM_NEWROUTE, RTM_DELROUTE],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        Field::new("dst_len", 1, Shape::U8, Fate::Keep),
        Field::new("src_len", 2, Shape::U8, Fate::Keep),
        Field::new("tos", 3, Shape::U8, Fate::Keep),
        Field::new("table", 4, Shape::U8, Fate::Keep),
        Field::new("protocol", 5, Shape::Fixed(1, &PROTOCOL), Fate::Keep),
        Field::new("scope", 6, SCOPE, Fate::Keep),
        Field::new("type", 7, Shape::U8, Fate::Keep),
        // Of a link that is down or gone.
        Field::new("flags", 8, Shape::U32, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(1, "dst", Shape::Fixed(4, &Shape::Bytes)),
        Attr::link(4, "oif"),
        Attr::keep(9, "multipath", Shape::Nexthops(PATH)),
        Attr::keep(18, "via", Shape::Bytes),
        Attr::keep(19, "newdst", Shape::Bytes),
        Attr::keep(26, "ttl_propagate", Shape::U8),
    ],
    key: &["dst"],
    tells: RTM_NEWROUTE,
    make: RTM_NEWROUTE,
    remove: RTM_DELROUTE,
    belongs: |message: &Message<'_>| message.body.first() == Some(&AF_MPLS),
    // The number of labels is a sysctl.
    after: &["links", "sysctls", "addresses"],
    label: |value: &Value, _| {
        let entry = u32::from_str_radix(&shown(value, "dst"), 16).unwrap_or_default();
        // The label is the first 20 bits.
        format!("label {}", entry >> 12)
    },
    strict: true,
    shown_by: "messages by the header, in its plan: this project's machines have no MPLS routing",
    ..Class::BASE
};

/// A kernel without MPLS routing would answer with the routes of all other families.
fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    if !std::path::Path::new("/proc/sys/net/mpls").exists() {
        return Ok(section);
    }
    let body = [AF_MPLS, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    match reader.dump(Protocol::Route, RTM_GETROUTE, &body, &mut section) {
        Err(source) if source.errno() != Some(libc::EOPNOTSUPP) => {
            Err(ReadError::Netlink { what: "MPLS routes", source })
        }
        _ => Ok(section),
    }
}
