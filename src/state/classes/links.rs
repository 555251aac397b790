//! Links (`linux/if_link.h`).

use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};

pub static LINKS: Class = Class {
    name: "links",
    header: &[Field::new("index", 4, Shape::U32, Fate::Keep)],
    attributes: &[Attr::keep(3, "ifname", Shape::Text)],
    key: &["index"],
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: 18, body: &[0; 16] }],
        groups: &[1],
        notices: &[16, 17],
    },
    tells: 16,
    make: 16,
    remove: 17,
    label: |value, names| names.link(value.number("index").unwrap_or_default()),
    ..Class::BASE
};
