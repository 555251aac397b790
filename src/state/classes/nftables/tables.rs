//! Tables.

use super::{HEADER, SUBSYSTEM, belongs, dump, family_fault, source};
use crate::state::table::{Attr, Class, Shape};
use crate::state::{Fault, Value};

/// `NFT_TABLE_F_*`.
const FLAGS: &[(u64, &str)] = &[(1, "dormant"), (OWNER, "owner"), (4, "persist")];
const OWNER: u64 = 2;

pub static NFT_TABLES: Class = Class {
    name: "nft-tables",
    source: source(&[dump(1)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "name", Shape::Text),
        Attr::keep(2, "flags", Shape::Net(&Shape::Bits(FLAGS))),
        Attr::strip(3, "use", Shape::Be32),
        Attr::strip(4, "handle", Shape::Be64),
        Attr::strip(5, "pad", Shape::Bytes),
        Attr::keep(6, "userdata", Shape::Bytes),
        // The port of the owner's socket.
        Attr::strip(7, "owner", Shape::Be32),
    ],
    key: &["family", "name"],
    tells: SUBSYSTEM,
    make: SUBSYSTEM,
    remove: SUBSYSTEM | 2,
    strict: true,
    belongs,
    label: |value, _| {
        let family = value.text("family").unwrap_or_default();
        format!("{family} {}", value.text("name").unwrap_or_default())
    },
    faults,
    shown_by: "tests/nftables",
    ..Class::BASE
};

/// Whether the table lives and dies with a process (`NFT_TABLE_F_OWNER`).
pub fn is_owned(value: &Value) -> bool {
    value.number("flags").is_some_and(|flags| flags & OWNER != 0)
}

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults: Vec<_> = family_fault(value).into_iter().collect();
    if is_owned(value) {
        let why = "a table that a process owns: the process makes it again, or it goes with it";
        faults.push(Fault::Object(why.to_owned()));
    }
    faults
}
