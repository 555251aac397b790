//! Members of sets, one message for each.

use super::{ADDRESS, CADT_FLAGS, HEADER, IPSET_CMD_ADD, IPSET_CMD_DEL, SPOKEN, read_members};
use crate::state::classes::families::is_name;
use crate::state::table::{Attr, Class, Fate, Lifetime, Shape, Source};
use crate::state::{Fault, Names, Value};

/// Seconds under which a member may end while a restore is at work.
pub const NEARLY_OVER: u64 = 5;
/// 0 stands for no end.
const LEFT: Lifetime = Lifetime { per_second: 1, forever: 0, least: 1 };

/// `IPSET_ATTR_*` of a member. Not among them: ends of ranges, which the kernel takes apart and never
/// tells.
const MEMBER: &[Attr] = &[
    Attr::keep(1, "ip", ADDRESS),
    Attr::keep(3, "cidr", Shape::U8),
    Attr::keep(4, "port", Shape::Be16),
    // Seconds.
    Attr::new(6, "timeout", Shape::Be32, Fate::Lifetime(LEFT)),
    Attr::keep(7, "proto", Shape::U8),
    Attr::keep(8, "cadt_flags", CADT_FLAGS),
    Attr::keep(10, "mark", Shape::Be32),
    Attr::keep(17, "ether", Shape::Mac),
    Attr::keep(18, "name", Shape::Text),
    Attr::keep(20, "ip2", ADDRESS),
    Attr::keep(21, "cidr2", Shape::U8),
    Attr::keep(23, "iface", Shape::Text),
    // They move as packets pass.
    Attr::new(24, "bytes", Shape::Be64, Fate::Send),
    Attr::new(25, "packets", Shape::Be64, Fate::Send),
    Attr::keep(26, "comment", Shape::Text),
    Attr::keep(27, "skbmark", Shape::Be64),
    Attr::keep(28, "skbprio", Shape::Be32),
    Attr::keep(29, "skbqueue", Shape::Be16),
    Attr::strip(30, "pad", Shape::Bytes),
];

/// Paths of what tells one member of a set from another, in the order of printing.
const IDENTITY: &[&str] = &[
    "setname",
    "data.ip",
    "data.cidr",
    "data.mark",
    "data.ether",
    "data.proto",
    "data.port",
    "data.ip2",
    "data.cidr2",
    "data.iface",
    "data.name",
    "data.cadt_flags",
];

pub static IPSET_MEMBERS: Class = Class {
    name: "ipset-members",
    source: Source::Read(read_members),
    header: HEADER,
    attributes: &[
        Attr::new(1, "protocol", Shape::U8, Fate::Fill(SPOKEN as u64)),
        Attr::keep(2, "setname", Shape::Text),
        Attr::keep(7, "data", Shape::Nest(MEMBER)),
    ],
    key: IDENTITY,
    tells: IPSET_CMD_ADD,
    make: IPSET_CMD_ADD,
    remove: IPSET_CMD_DEL,
    after: &["ipsets"],
    strict: true,
    label,
    faults,
    fleeting: |value| {
        value.number("data.timeout").is_some_and(|left| left != 0 && left <= NEARLY_OVER)
    },
    shown_by: "tests/ipset.rs",
    ..Class::BASE
};

/// `SET: 10.0.0.0/8,6:80`.
fn label(value: &Value, _: &Names) -> String {
    let part = |path: &str| value.field(path).map(ToString::to_string);
    let address = |ip: &str, cidr: &str| {
        let address = part(&format!("{ip}.ipv4")).or_else(|| part(&format!("{ip}.ipv6")))?;
        Some(part(cidr).map_or_else(|| address.clone(), |cidr| format!("{address}/{cidr}")))
    };
    let port = match (part("data.proto"), part("data.port")) {
        (Some(proto), Some(port)) => Some(format!("{proto}:{port}")),
        (_, port) => port,
    };
    let parts = [
        address("data.ip", "data.cidr"),
        part("data.mark"),
        part("data.ether"),
        port,
        address("data.ip2", "data.cidr2"),
        part("data.iface"),
        part("data.name"),
    ];
    let parts: Vec<_> = parts.into_iter().flatten().collect();
    format!("{}: {}", value.text("setname").unwrap_or_default(), parts.join(","))
}

fn faults(value: &Value) -> Vec<Fault> {
    let named = value.text("setname").is_some_and(is_name);
    let mut faults = Vec::new();
    if !named || !matches!(value.field("data"), Some(Value::Map(_))) {
        faults.push(Fault::Object("a member without its set or its data".to_owned()));
    }
    if value.field("data.name").is_some() && !value.text("data.name").is_some_and(is_name) {
        faults.push(Fault::Object("its name is none that a set can have".to_owned()));
    }
    faults
}
