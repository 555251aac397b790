//! Ports on which packets of other protocols come in UDP (foo over UDP, `linux/fou.h`).

use super::families::{FAMILY, shown};
use crate::state::table::{Attr, Class, GENERIC, Shape, Source, generic_header};

const ADD: u8 = 1;
const GET: u8 = 3;

pub static FOU: Class = Class {
    name: "fou",
    source: Source::Generic { family: "fou", dumps: &[GET], gets: &[] },
    header: &generic_header(ADD),
    attributes: &[
        Attr::keep(1, "port", Shape::Be16),
        Attr::keep(2, "family", FAMILY),
        Attr::keep(3, "ipproto", Shape::U8),
        Attr::keep(4, "type", Shape::Fixed(1, &Shape::Enum(&[(1, "direct"), (2, "gue")]))),
        Attr::keep(5, "remcsum_nopartial", Shape::Flag),
        Attr::keep(6, "local_v4", Shape::Ip),
        Attr::keep(7, "local_v6", Shape::Ip),
        Attr::keep(8, "peer_v4", Shape::Ip),
        Attr::keep(9, "peer_v6", Shape::Ip),
        Attr::keep(10, "peer_port", Shape::Be16),
        Attr::link(11, "ifindex"),
    ],
    key: &["family", "port", "local_v4", "local_v6", "peer_v4", "peer_v6", "peer_port", "ifindex"],
    tells: GENERIC,
    make: GENERIC,
    remove: GENERIC,
    after: &["links", "addresses"],
    label: |value, _| {
        format!(
            "port {} ({}, {})",
            shown(value, "port"),
            shown(value, "family"),
            shown(value, "type")
        )
    },
    strict: true,
    shown_by: "messages by the header, in its plan: this project's machines have no fou",
    ..Class::BASE
};
