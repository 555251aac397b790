//! Network identifiers that a vxlan with a filter of them takes in (`linux/if_link.h`,
//! `VXLAN_VNIFILTER_*`).

use super::{AF_BRIDGE, HEADER, dump, split};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{ReadError, Reader};

const RTM_NEWTUNNEL: u16 = 120;
const RTM_DELTUNNEL: u16 = 121;
const RTM_GETTUNNEL: u16 = 122;
const RTNLGRP_TUNNEL: u32 = 35;
const VXLAN_VNIFILTER_ENTRY: u16 = 1;

pub static VXLAN_VNIS: Class = Class {
    name: "vxlan-vnis",
    source: Source::Watched {
        read,
        protocol: Protocol::Route,
        groups: &[RTNLGRP_TUNNEL],
        notices: &[RTM_NEWTUNNEL, RTM_DELTUNNEL],
    },
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Keep),
        // Whether statistics are told.
        Field::new("flags", 1, Shape::U8, Fate::Zero),
        Field::new("reserved", 2, Shape::U16, Fate::Zero),
        Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
    ],
    attributes: &[Attr::keep(
        VXLAN_VNIFILTER_ENTRY,
        "entry",
        Shape::Nest(&[
            Attr::keep(1, "start", Shape::U32),
            Attr::keep(2, "end", Shape::U32),
            Attr::keep(3, "group", Shape::Ip),
            Attr::keep(4, "group6", Shape::Ip),
            Attr::strip(5, "stats", Shape::Bytes),
        ]),
    )],
    key: &["ifindex", "entry.start", "entry.end"],
    tells: RTM_NEWTUNNEL,
    make: RTM_NEWTUNNEL,
    remove: RTM_DELTUNNEL,
    after: &["links"],
    label: |value, names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        let start = value.number("entry.start").unwrap_or_default();
        match value.number("entry.end") {
            Some(end) => format!("{start}-{end} on {link}"),
            None => format!("{start} on {link}"),
        }
    },
    shown_by: "tests/roundtrip, bridges",
    ..Class::BASE
};

fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let body = [&[AF_BRIDGE][..], &[0; HEADER - 1]].concat();
    let dumped = dump(reader, "network identifiers", RTM_GETTUNNEL, &body)?;
    Ok(split(&dumped, VXLAN_VNIFILTER_ENTRY))
}
