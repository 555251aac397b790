//! Segment routing over IPv6: keys for signed headers, and the source of tunnels
//! (`linux/seg6_genl.h`, `seg6_hmac.h`).

use super::families::shown;
use crate::state::table::{Attr, Class, GENERIC, Shape, Source, generic_header};

const FAMILY: &str = "SEG6";
pub const SETHMAC: u8 = 1;
const DUMPHMAC: u8 = 2;
const SET_TUNSRC: u8 = 3;
const GET_TUNSRC: u8 = 4;
pub const HMACKEYID: u16 = 3;
pub const SECRETLEN: u16 = 5;
pub const ALGID: u16 = 6;

pub static SEG6_HMAC: Class = Class {
    name: "seg6-hmac",
    source: Source::Generic { family: FAMILY, dumps: &[DUMPHMAC], gets: &[] },
    header: &generic_header(SETHMAC),
    attributes: &[
        Attr::keep(HMACKEYID, "key_id", Shape::U32),
        Attr::keep(4, "secret", Shape::Secret),
        Attr::keep(SECRETLEN, "secret_length", Shape::U8),
        Attr::keep(
            ALGID,
            "algorithm",
            Shape::Fixed(1, &Shape::Enum(&[(1, "sha1"), (2, "sha256")])),
        ),
    ],
    key: &["key_id"],
    tells: GENERIC,
    make: GENERIC,
    remove: GENERIC,
    label: |value, _| format!("key {} ({})", shown(value, "key_id"), shown(value, "algorithm")),
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};

pub static SEG6_SOURCE: Class = Class {
    name: "seg6-source",
    source: Source::Generic { family: FAMILY, dumps: &[], gets: &[GET_TUNSRC] },
    header: &generic_header(SET_TUNSRC),
    attributes: &[Attr::keep(1, "source", Shape::Ip)],
    tells: GENERIC,
    make: GENERIC,
    label: |value, _| format!("source of tunnels {}", shown(value, "source")),
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};
