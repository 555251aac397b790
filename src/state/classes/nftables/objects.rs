//! Stateful objects: named counters, quotas, limits, conntrack helpers and the like.

use super::expressions::{CONNLIMIT, COUNTER, LIMIT, QUOTA, SYNPROXY};
use super::{HEADER, SUBSYSTEM, dump, family_fault, place, source};
use crate::state::classes::xtables::extensions::is_helper;
use crate::state::table::{Attr, Class, Shape};
use crate::state::{Fault, Names, Value};

/// `NFT_OBJECT_*`.
const TYPES: &[(u64, &str)] = &[
    (1, "counter"),
    (2, "quota"),
    (3, "ct helper"),
    (4, "limit"),
    (5, "connlimit"),
    (6, "tunnel"),
    (7, "ct timeout"),
    (8, "secmark"),
    (9, "ct expectation"),
    (10, "synproxy"),
];

/// Tunnel objects have no layout here on purpose: their options reach into the drivers of tunnels.
const DATA: Shape = Shape::By(
    "type",
    &[
        ("counter", Shape::Nest(COUNTER)),
        ("quota", Shape::Nest(QUOTA)),
        ("ct helper", Shape::Nest(HELPER)),
        ("limit", Shape::Nest(LIMIT)),
        ("connlimit", Shape::Nest(CONNLIMIT)),
        ("ct timeout", Shape::Nest(TIMEOUT)),
        ("secmark", Shape::Nest(&[Attr::keep(1, "ctx", Shape::Text)])),
        ("ct expectation", Shape::Nest(EXPECTATION)),
        ("synproxy", Shape::Nest(SYNPROXY)),
    ],
);
const HELPER: &[Attr] = &[
    Attr::keep(1, "name", Shape::Text),
    Attr::keep(2, "l3proto", Shape::Be16),
    Attr::keep(3, "l4proto", Shape::U8),
];
/// Seconds for each state of the protocol.
const TIMEOUT: &[Attr] = &[
    Attr::keep(1, "l3proto", Shape::Be16),
    Attr::keep(2, "l4proto", Shape::U8),
    Attr::keep(3, "data", Shape::List(&Shape::Be32)),
];
const EXPECTATION: &[Attr] = &[
    Attr::keep(1, "l3proto", Shape::Be16),
    Attr::keep(2, "l4proto", Shape::U8),
    Attr::keep(3, "dport", Shape::Be16),
    // Milliseconds, in the order of the host.
    Attr::keep(4, "timeout", Shape::U32),
    Attr::keep(5, "size", Shape::U8),
];

pub static NFT_OBJECTS: Class = Class {
    name: "nft-objects",
    source: source(&[dump(19)]),
    header: HEADER,
    attributes: &[
        Attr::keep(1, "table", Shape::Text),
        Attr::keep(2, "name", Shape::Text),
        Attr::keep(3, "type", Shape::Net(&Shape::Enum(TYPES))),
        Attr::keep(4, "data", DATA),
        Attr::strip(5, "use", Shape::Be32),
        Attr::strip(6, "handle", Shape::Be64),
        Attr::strip(7, "pad", Shape::Bytes),
        Attr::keep(8, "userdata", Shape::Bytes),
    ],
    key: &["family", "table", "type", "name"],
    tells: SUBSYSTEM | 18,
    make: SUBSYSTEM | 18,
    remove: SUBSYSTEM | 20,
    after: &["nft-tables"],
    strict: true,
    label,
    faults,
    // They count.
    drifts: |section| !section.is_empty(),
    shown_by: "tests/nftables",
    ..Class::BASE
};

fn label(value: &Value, _: &Names) -> String {
    let kind = value.field("type").map(ToString::to_string).unwrap_or_default();
    format!("{kind} {} {}", place(value), value.text("name").unwrap_or_default())
}

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults: Vec<_> = family_fault(value).into_iter().collect();
    if !matches!(value.field("type"), Some(Value::Named(..))) {
        faults
            .push(Fault::Object("an object of a type that this version does not know".to_owned()));
    }
    // The kernel loads the module of the name.
    let of_helper = value.text("type") == Some("ct helper");
    if let Some(name) =
        value.text("data.name").filter(|name| of_helper && !is_helper(name.as_bytes()))
    {
        faults.push(Fault::Object(format!("a conntrack helper that is not known ({name})")));
    }
    faults
}
