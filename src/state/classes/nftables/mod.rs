//! nftables (`linux/netfilter/nf_tables.h`): tables of rules, of all families.
//!
//! Numbers in these messages are in network byte order. All classes change together: each
//! transaction of anyone ends with a notice of the new generation, and then all are read again.

mod chains;
mod elements;
mod expressions;
mod flowtables;
mod objects;
mod rules;
mod sets;
mod tables;
mod xtables;

use crate::hold;
use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Dump, Fate, Field, Shape, Source};
use crate::state::{Fault, Value};

pub use chains::NFT_CHAINS;
pub use elements::NFT_SET_ELEMENTS;
pub use flowtables::NFT_FLOWTABLES;
pub use objects::NFT_OBJECTS;
pub use rules::NFT_RULES;
pub use sets::NFT_SETS;
pub use tables::{NFT_TABLES, is_owned};
pub use xtables::looks_into_sets;

/// `NFNL_SUBSYS_NFTABLES` in the upper byte of message types.
const SUBSYSTEM: u16 = 10 << 8;
/// `NFNLGRP_NFTABLES`.
const GROUPS: &[u32] = &[7];
/// `NFT_MSG_NEWGEN`, which ends what is told of each transaction.
const NOTICES: &[u16] = &[SUBSYSTEM | 15];

/// One dump of all families (`struct nfgenmsg` with `AF_UNSPEC`).
const fn dump(kind: u16) -> Dump {
    Dump { kind: SUBSYSTEM | kind, body: &[0, 0, 0, 0] }
}

const fn source(dumps: &'static [Dump]) -> Source {
    Source::Netlink { protocol: Protocol::Netfilter, dumps, groups: GROUPS, notices: NOTICES }
}

/// `NFPROTO_*`.
const FAMILY: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[(1, "inet"), (2, "ip"), (3, "arp"), (5, "netdev"), (7, "bridge"), (10, "ip6")]),
);

/// `struct nfgenmsg`. `res_id` is the generation at the time of the dump.
const HEADER: &[Field] = &[
    Field::new("family", 0, FAMILY, Fate::Keep),
    Field::new("version", 1, Shape::U8, Fate::Zero),
    Field::new("res_id", 2, Shape::Be16, Fate::Strip),
];

/// `NFTA_DATA_*`: a value, or a verdict with the chain that it leads to.
const DATA: Shape = Shape::Nest(&[
    Attr::keep(1, "value", Shape::Bytes),
    Attr::keep(2, "verdict", Shape::Nest(VERDICT)),
]);
const VERDICT: &[Attr] = &[
    Attr::keep(1, "code", Shape::Net(&Shape::Enum(VERDICTS))),
    Attr::keep(2, "chain", Shape::Text),
    Attr::strip(3, "chain_id", Shape::Be32),
];
const VERDICTS: &[(u64, &str)] = &[
    (0, "drop"),
    (1, "accept"),
    (3, "queue"),
    (0xffff_ffff, "continue"),
    (0xffff_fffe, "break"),
    (0xffff_fffd, "jump"),
    (0xffff_fffc, "goto"),
    (0xffff_fffb, "return"),
];

/// Devices of a hook (`NFTA_DEVICE_*`), by name.
const DEVICES: &[Attr] =
    &[Attr::keep(1, "name", Shape::Text), Attr::keep(2, "prefix", Shape::Text)];

/// `family table`, as all labels begin.
fn place(value: &Value) -> String {
    let part = |path| value.field(path).map(ToString::to_string).unwrap_or_default();
    format!("{} {}", part("family"), part("table"))
}

/// `family table name`.
fn named(value: &Value) -> String {
    format!("{} {}", place(value), value.text("name").unwrap_or_default())
}

/// Families whose number this version does not know have no meaning that it could check.
fn family_fault(value: &Value) -> Option<Fault> {
    match value.field("family") {
        Some(Value::Named(..)) => None,
        other => {
            let family = other.map(ToString::to_string).unwrap_or_default();
            Some(Fault::Object(format!("a family that this version does not know ({family})")))
        }
    }
}

fn family_faults(value: &Value) -> Vec<Fault> {
    family_fault(value).into_iter().collect()
}

/// Whether a table is the pod's own: a hold of this project's (`netckpt hold`) and a lock of CRIU's stand
/// in its namespace for the time of a checkpoint, and are no part of its state.
fn belongs_to_pod(family: u8, table: &str) -> bool {
    const INET: u8 = 1;
    const NETDEV: u8 = 5;
    match family {
        INET => !hold::criu::is_lock(table),
        NETDEV => !hold::is_own(table),
        _ => true,
    }
}

/// As [`belongs_to_pod`], for messages whose first attribute is their table, as that of all of these is.
fn belongs(message: &Message<'_>) -> bool {
    /// `NFTA_TABLE_NAME`, `NFTA_CHAIN_TABLE`, `NFTA_RULE_TABLE` and so on.
    const TABLE: u16 = 1;
    /// Bytes of `struct nfgenmsg`.
    const GENMSG: usize = 4;
    let family = message.body.first().copied().unwrap_or_default();
    let mut all = message.attributes(GENMSG).map_while(Result::ok);
    all.find(|one| one.id == TABLE).is_none_or(|table| belongs_to_pod(family, &table.text()))
}
