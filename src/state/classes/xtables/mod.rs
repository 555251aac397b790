//! Legacy tables of iptables, ip6tables and arptables.
//!
//! The kernel knows a table as one block of entries that refer to each other by offset. A section holds
//! it taken apart ([`apart`]): a message for the table, one for each chain, one for each rule, with jumps
//! by the name of their chain; of an image, [`together`] makes a block of its own from them, so that no
//! offset comes from outside. Message types are this project's own.
//!
//! A table is made by the first question for it, and stays: none is asked for but those that the
//! namespace has.

mod apart;
pub mod extensions;
mod family;
mod kernel;
#[cfg(test)]
mod tests;
mod together;

use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Fault, Names, ReadError, Reader, Value};

pub use family::{ARP, Family, IPV4, IPV6};
pub use kernel::Control;
pub use together::{Block, Unfit, empty, is_empty, table_of, together};

use extensions::Kind;
use family::{CHAIN_NAME, RETURN};

pub const TABLE: u16 = 1;
pub const CHAIN: u16 = 2;
const RULE: u16 = 3;
const HOOKS: u16 = 4;
const HOOK: u16 = 5;
pub const POLICY: u16 = 6;
const COUNTED: u16 = 7;
const MATCHED: u16 = 8;
const NFCACHE: u16 = 9;
const MATCHES: u16 = 10;
const VERDICT: u16 = 11;
const JUMP: u16 = 12;
const TARGET: u16 = 13;
const IRREGULAR: u16 = 14;
/// Of a match or target.
const NAME: u16 = 1;
const REVISION: u16 = 2;
const DATA: u16 = 3;

const VERDICTS: Shape = Shape::Fixed(
    4,
    &Shape::Enum(&[(0, "drop"), (1, "accept"), (3, "queue"), (RETURN as u64, "return")]),
);

const COUNTERS: &[Field] = &[
    Field::new("packets", 0, Shape::U64, Fate::Send),
    Field::new("bytes", 8, Shape::U64, Fate::Send),
];

const EXTENSION: &[Attr] = &[
    Attr::keep(NAME, "name", Shape::Text),
    Attr::keep(REVISION, "revision", Shape::U8),
    Attr::keep(DATA, "data", Shape::Bytes),
];

const V4: Shape = Shape::Fixed(4, &Shape::Ip);
const V6: Shape = Shape::Fixed(16, &Shape::Ip);
const INTERFACE: Shape = Shape::Fixed(16, &Shape::Text);
const MASK: Shape = Shape::Fixed(16, &Shape::Bytes);
/// Hardware address, or its mask (`struct arpt_devaddr_info`).
const DEVICE: Shape = Shape::Fixed(16, &Shape::Mac);

const fn field(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::Keep)
}

/// `IPT_F_*`, `IP6T_F_*` and `IPT_INV_*`, `IP6T_INV_*`.
const IP_FLAGS: Shape = Shape::Fixed(1, &Shape::Bits(&[(1, "fragment"), (2, "goto")]));
const IP6_FLAGS: Shape = Shape::Fixed(1, &Shape::Bits(&[(1, "protocol"), (2, "tos"), (4, "goto")]));
const IP_INVERTED: Shape = Shape::Fixed(
    1,
    &Shape::Bits(&[
        (1, "in"),
        (2, "out"),
        (4, "tos"),
        (8, "source"),
        (16, "destination"),
        (32, "fragment"),
        (64, "protocol"),
    ]),
);

/// `struct ipt_ip`.
const IP: &[Field] = &[
    field("source", 0, V4),
    field("destination", 4, V4),
    field("source_mask", 8, V4),
    field("destination_mask", 12, V4),
    field("in", 16, INTERFACE),
    field("out", 32, INTERFACE),
    field("in_mask", 48, MASK),
    field("out_mask", 64, MASK),
    field("protocol", 80, Shape::U16),
    field("flags", 82, IP_FLAGS),
    field("inverted", 83, IP_INVERTED),
];

/// `struct ip6t_ip6`.
const IP6: &[Field] = &[
    field("source", 0, V6),
    field("destination", 16, V6),
    field("source_mask", 32, V6),
    field("destination_mask", 48, V6),
    field("in", 64, INTERFACE),
    field("out", 80, INTERFACE),
    field("in_mask", 96, MASK),
    field("out_mask", 112, MASK),
    field("protocol", 128, Shape::U16),
    field("tos", 130, Shape::U8),
    field("flags", 131, IP6_FLAGS),
    field("inverted", 132, IP_INVERTED),
];

/// `struct arpt_arp`.
const ARP_HEADER: &[Field] = &[
    field("source", 0, V4),
    field("destination", 4, V4),
    field("source_mask", 8, V4),
    field("destination_mask", 12, V4),
    field("hardware_length", 16, Shape::U8),
    field("hardware_length_mask", 17, Shape::U8),
    field("source_device", 18, DEVICE),
    field("source_device_mask", 34, DEVICE),
    field("destination_device", 50, DEVICE),
    field("destination_device_mask", 66, DEVICE),
    field("operation", 82, Shape::Be16),
    field("operation_mask", 84, Shape::Be16),
    field("hardware", 86, Shape::Be16),
    field("hardware_mask", 88, Shape::Be16),
    field("protocol", 90, Shape::Be16),
    field("protocol_mask", 92, Shape::Be16),
    field("in", 94, INTERFACE),
    field("out", 110, INTERFACE),
    field("in_mask", 126, MASK),
    field("out_mask", 142, MASK),
    field("flags", 158, Shape::Fixed(1, &Shape::Bits(&[(1, "goto")]))),
    field("inverted", 160, Shape::U16),
];

const IP_HOOK: Shape = Shape::Fixed(
    4,
    &Shape::Enum(&[
        (0, "prerouting"),
        (1, "input"),
        (2, "forward"),
        (3, "output"),
        (4, "postrouting"),
    ]),
);
const ARP_HOOK: Shape =
    Shape::Fixed(4, &Shape::Enum(&[(0, "input"), (1, "output"), (2, "forward")]));

const fn attributes(hook: Shape, matched: &'static [Field]) -> [Attr; 14] {
    [
        Attr::keep(TABLE, "table", Shape::Text),
        Attr::keep(CHAIN, "chain", Shape::Text),
        // From 1, within the chain: for people. What counts is the order.
        Attr::strip(RULE, "rule", Shape::U32),
        // Bits of their numbers.
        Attr::keep(HOOKS, "hooks", Shape::U32),
        Attr::keep(HOOK, "hook", hook),
        Attr::keep(POLICY, "policy", VERDICTS),
        Attr::keep(COUNTED, "counters", Shape::Struct(COUNTERS)),
        Attr::keep(MATCHED, "header", Shape::Struct(matched)),
        Attr::keep(NFCACHE, "nfcache", Shape::U32),
        Attr::keep(MATCHES, "matches", Shape::List(&Shape::Nest(EXTENSION))),
        Attr::keep(VERDICT, "verdict", VERDICTS),
        Attr::keep(JUMP, "jump", Shape::Text),
        Attr::keep(TARGET, "target", Shape::Nest(EXTENSION)),
        Attr::refuse(IRREGULAR, "irregular"),
    ]
}

const fn class(
    name: &'static str,
    kind: u16,
    attributes: &'static [Attr],
    read: fn(&mut Reader) -> Result<Vec<u8>, ReadError>,
    faults: fn(&Value) -> Vec<Fault>,
) -> Class {
    Class {
        name,
        source: Source::Read(read),
        attributes,
        // A chain's own message comes first, and its rules are told apart by their order.
        key: &["table", "chain"],
        tells: kind,
        after: &["links", "ipsets", "ipset-members", "conntrack-timeouts", "accounting"],
        strict: true,
        label,
        faults,
        shown_by: "tests/xtables",
        ..Class::BASE
    }
}

static IP_ATTRIBUTES: [Attr; 14] = attributes(IP_HOOK, IP);
static IP6_ATTRIBUTES: [Attr; 14] = attributes(IP_HOOK, IP6);
static ARP_ATTRIBUTES: [Attr; 14] = attributes(ARP_HOOK, ARP_HEADER);

/// Message types of this project's own.
const KIND: u16 = 0xff00;

pub static IPTABLES: Class =
    class("iptables", KIND | 2, &IP_ATTRIBUTES, |_| read(&IPV4), |value| faults(&IPV4, value));
pub static IP6TABLES: Class =
    class("ip6tables", KIND | 10, &IP6_ATTRIBUTES, |_| read(&IPV6), |value| faults(&IPV6, value));
pub static ARPTABLES: Class =
    class("arptables", KIND | 3, &ARP_ATTRIBUTES, |_| read(&ARP), |value| faults(&ARP, value));

impl Family {
    /// The class of the family's tables.
    #[must_use]
    pub fn class(&self) -> &'static Class {
        match self.class {
            "iptables" => &IPTABLES,
            "ip6tables" => &IP6TABLES,
            _ => &ARPTABLES,
        }
    }
}

/// `filter`, `filter INPUT`, `filter INPUT 3: DNAT`.
fn label(value: &Value, _: &Names) -> String {
    let part = |path: &str| value.field(path).map(ToString::to_string);
    let place: Vec<_> = ["table", "chain", "rule"].into_iter().filter_map(part).collect();
    let what = ["verdict", "jump", "target.name"].into_iter().find_map(part);
    let what = what.map(|what| format!(": {what}")).unwrap_or_default();
    format!("{}{what}", place.join(" "))
}

fn read(family: &'static Family) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    let failed = |source| ReadError::File { path: family.names.to_owned(), source };
    let names = match std::fs::read_to_string(family.names) {
        Ok(names) => names,
        // This kernel has no such tables, or nobody has used any.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(section),
        Err(error) => return Err(failed(error)),
    };
    let mut names: Vec<&str> = names.lines().collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return Ok(section);
    }
    let control = Control::open(family).map_err(failed)?;
    for name in names {
        let unread = |source| ReadError::File { path: format!("{} {name}", family.class), source };
        let table = control.read(name).map_err(unread)?;
        apart::apart(family, name, &table, &mut section);
    }
    Ok(section)
}

fn is_name(name: &str, longest: usize) -> bool {
    !name.is_empty() && name.len() < longest && !name.contains(char::is_control)
}

fn faults(family: &Family, value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut object = |why: String| faults.push(Fault::Object(why));
    let name = value.text("table").unwrap_or_default();
    if !family.tables.contains(&name) {
        object(format!("a table that is not known ({name})"));
    }
    let has = |path: &str| value.field(path).is_some();
    for path in ["chain", "jump"].into_iter().filter(|path| has(path)) {
        if !value.text(path).is_some_and(|name| is_name(name, CHAIN_NAME)) {
            object(format!("{path}: not a name that a chain can have"));
        }
    }
    // A table has hooks, a rule what packets are compared with.
    if has("chain") == has("hooks") && !has("irregular") || has("rule") != has("header") {
        object("neither a table, nor a chain, nor a rule".to_owned());
    }
    let targets = ["verdict", "jump", "target"].into_iter().filter(|path| has(path)).count();
    if targets > 1 {
        object("a rule with more than one target".to_owned());
    }
    let fault = |kind, extension: &Value| {
        let name = extension.text("name").unwrap_or_default();
        let revision = extension.number("revision").unwrap_or_default();
        extensions::fault(kind, name, revision, extension.field("data"))
    };
    if let Some(Value::List(matches)) = value.field("matches") {
        faults.extend(matches.iter().filter_map(|found| fault(Kind::Match, found)));
    }
    faults.extend(value.field("target").and_then(|target| fault(Kind::Target, target)));
    faults
}

/// Whether a rule has a match or target that holds on to a set of ipset.
#[must_use]
pub fn looks_into_sets(rule: &Value) -> bool {
    let matches = match rule.field("matches") {
        Some(Value::List(matches)) => matches.as_slice(),
        _ => &[],
    };
    matches.iter().any(|found| found.text("name") == Some("set"))
        || rule.text("target.name") == Some("SET")
}
