//! Labels of IPv6 prefixes, by which a source address is chosen (RFC 6724; `linux/if_addrlabel.h`).
//!
//! Those that the kernel gives every namespace are carried like all others: somebody may have removed
//! or changed one.

use super::families::{FAMILY, prefix, shown};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};

const RTM_NEWADDRLABEL: u16 = 72;
const RTM_DELADDRLABEL: u16 = 73;
const RTM_GETADDRLABEL: u16 = 74;

pub static ADDRESS_LABELS: Class = Class {
    name: "address-labels",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump {
            kind: RTM_GETADDRLABEL,
            body: &[libc::AF_INET6 as u8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }],
        // The kernel tells nobody of changes here.
        groups: &[],
        notices: &[],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        Field::new("prefixlen", 2, Shape::U8, Fate::Keep),
        Field::new("flags", 3, Shape::U8, Fate::Strip),
        Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
        // Counts changes of the table.
        Field::new("seq", 8, Shape::U32, Fate::Strip),
    ],
    attributes: &[Attr::keep(1, "address", Shape::Ip), Attr::keep(2, "label", Shape::U32)],
    key: &["address", "prefixlen", "ifindex"],
    tells: RTM_NEWADDRLABEL,
    make: RTM_NEWADDRLABEL,
    remove: RTM_DELADDRLABEL,
    after: &["links"],
    label: |value, names| {
        let index = value.number("ifindex").filter(|index| *index != 0);
        let link = index.map(|index| format!(" dev {}", names.link(index))).unwrap_or_default();
        format!("{}{link} label {}", prefix(value, "address", "prefixlen"), shown(value, "label"))
    },
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};
