//! Counters and quotas that rules name (`nfacct`, `-m nfacct`; `linux/netfilter/nfnetlink_acct.h`).

use super::families::{NFGENMSG, name_fault};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Dump, Fate, Shape, Source};

/// `NFNL_SUBSYS_ACCT` in the upper byte of message types, with `NFNL_MSG_ACCT_*`.
const SUBSYSTEM: u16 = 7 << 8;
const GET: u16 = SUBSYSTEM | 1;
/// That the quota was used up is told beside these two, and found again by the counters.
const FLAGS: Shape = Shape::Net(&Shape::Fixed(
    4,
    &Shape::BitsOf(&[(1, "quota_pkts"), (2, "quota_bytes"), (4, "overquota")], 3),
));

pub static ACCOUNTING: Class = Class {
    name: "accounting",
    source: Source::Netlink {
        protocol: Protocol::Netfilter,
        dumps: &[Dump { kind: GET, body: &[0; 4] }],
        groups: &[],
        notices: &[],
    },
    header: NFGENMSG,
    attributes: &[
        Attr::keep(1, "name", Shape::Text),
        // They move as packets pass.
        Attr::new(2, "pkts", Shape::Be64, Fate::Send),
        Attr::new(3, "bytes", Shape::Be64, Fate::Send),
        Attr::strip(4, "use", Shape::Be32),
        Attr::keep(5, "flags", FLAGS),
        Attr::keep(6, "quota", Shape::Be64),
        Attr::strip(8, "pad", Shape::Bytes),
    ],
    key: &["name", "flags", "quota"],
    tells: SUBSYSTEM,
    make: SUBSYSTEM,
    remove: SUBSYSTEM | 3,
    strict: true,
    label: |value, _| format!("counter {}", value.text("name").unwrap_or_default()),
    faults: |value| name_fault(value).into_iter().collect(),
    shown_by: "tests/xtables",
    ..Class::BASE
};
