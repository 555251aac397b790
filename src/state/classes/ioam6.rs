//! In-situ measurement over IPv6: what a node says of itself in each namespace of measurement, and the
//! schemas that it may add (RFC 9197; `linux/ioam6_genl.h`).

use super::families::shown;
use crate::state::table::{Attr, Class, Fate, GENERIC, Shape, Source, generic_header};

const FAMILY: &str = "IOAM6";
const ADD_NAMESPACE: u8 = 1;
const DUMP_NAMESPACES: u8 = 3;
const ADD_SCHEMA: u8 = 4;
const DUMP_SCHEMAS: u8 = 6;
pub const NS_ID: u16 = 1;
pub const SC_ID: u16 = 4;
pub const SC_NONE: u16 = 6;

pub static IOAM6_SCHEMAS: Class = Class {
    name: "ioam6-schemas",
    source: Source::Generic { family: FAMILY, dumps: &[DUMP_SCHEMAS], gets: &[] },
    header: &generic_header(ADD_SCHEMA),
    attributes: &[
        // Told by the namespace as well.
        Attr::strip(NS_ID, "namespace", Shape::U16),
        Attr::keep(SC_ID, "id", Shape::U32),
        Attr::keep(5, "data", Shape::Bytes),
        Attr::strip(7, "pad", Shape::Bytes),
    ],
    key: &["id"],
    tells: GENERIC,
    make: GENERIC,
    remove: GENERIC,
    label: |value, _| format!("schema {}", shown(value, "id")),
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};

pub static IOAM6_NAMESPACES: Class = Class {
    name: "ioam6-namespaces",
    source: Source::Generic { family: FAMILY, dumps: &[DUMP_NAMESPACES], gets: &[] },
    header: &generic_header(ADD_NAMESPACE),
    attributes: &[
        Attr::keep(NS_ID, "id", Shape::U16),
        Attr::keep(2, "data", Shape::U32),
        Attr::keep(3, "data_wide", Shape::U64),
        // By a command of its own.
        Attr::new(SC_ID, "schema", Shape::U32, Fate::Synthesise),
        Attr::strip(7, "pad", Shape::Bytes),
    ],
    key: &["id"],
    tells: GENERIC,
    make: GENERIC,
    remove: GENERIC,
    after: &["ioam6-schemas"],
    label: |value, _| format!("namespace {}", shown(value, "id")),
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};
