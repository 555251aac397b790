//! Policies of timeouts that rules name (`nfct timeout`, `-j CT --timeout NAME`;
//! `linux/netfilter/nfnetlink_cttimeout.h`).

use crate::netlink::Protocol;
use crate::state::Fault;
use crate::state::classes::families::{NFGENMSG, name_fault};
use crate::state::table::{Attr, Class, Dump, Shape, Source};

/// `NFNL_SUBSYS_CTNETLINK_TIMEOUT` in the upper byte of message types, with `IPCTNL_MSG_TIMEOUT_*`.
const SUBSYSTEM: u16 = 8 << 8;
const GET: u16 = SUBSYSTEM | 1;

pub static CONNTRACK_TIMEOUTS: Class = Class {
    name: "conntrack-timeouts",
    source: Source::Netlink {
        protocol: Protocol::Netfilter,
        dumps: &[Dump { kind: GET, body: &[0; 4] }],
        groups: &[],
        notices: &[],
    },
    header: NFGENMSG,
    attributes: &[
        Attr::keep(1, "name", Shape::Text),
        Attr::keep(2, "l3proto", Shape::Be16),
        Attr::keep(3, "l4proto", Shape::U8),
        // Seconds for each state of the protocol.
        Attr::keep(4, "data", Shape::List(&Shape::Be32)),
        Attr::strip(5, "use", Shape::Be32),
    ],
    key: &["name", "l3proto", "l4proto"],
    tells: SUBSYSTEM,
    make: SUBSYSTEM,
    remove: SUBSYSTEM | 2,
    strict: true,
    label: |value, _| format!("policy {}", value.text("name").unwrap_or_default()),
    faults: |value| name_fault(value).into_iter().collect::<Vec<Fault>>(),
    shown_by: "tests/xtables",
    ..Class::BASE
};
