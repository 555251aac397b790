//! Flows that a helper expects because of what it read in another one.

use super::layout::{NFGENMSG, SECONDS, TUPLE, flow};
use super::told::Form;
use super::{foreign_helper, is_ending, lasts, read};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Fate, Shape, Source};

/// `NFNL_SUBSYS_CTNETLINK_EXP` with `IPCTNL_MSG_EXP_*`.
const EXP_NEW: u16 = 0x200;
const EXP_GET: u16 = 0x201;
const EXP_DELETE: u16 = 0x202;
/// `NFNLGRP_CONNTRACK_EXP_NEW`, `_UPDATE`, `_DESTROY`.
const GROUPS: &[u32] = &[4, 5, 6];

const CTA_EXPECT_TUPLE: u16 = 2;
const CTA_EXPECT_MASK: u16 = 3;
const CTA_EXPECT_TIMEOUT: u16 = 4;
const CTA_EXPECT_ZONE: u16 = 7;

const FORM: Form = Form {
    key: &[CTA_EXPECT_TUPLE, CTA_EXPECT_MASK, CTA_EXPECT_ZONE],
    asked: EXP_GET,
    made: EXP_NEW,
    ended: EXP_DELETE,
};

/// `NF_CT_EXPECT_*`.
const FLAGS: Shape = Shape::Net(&Shape::Fixed(
    4,
    &Shape::Bits(&[(1, "permanent"), (2, "inactive"), (4, "userspace")]),
));

pub static CONNTRACK_EXPECTATIONS: Class = Class {
    name: "conntrack-expectations",
    source: Source::Flows {
        read: |reader| read(reader, EXP_GET, "expectations"),
        protocol: Protocol::Netfilter,
        groups: GROUPS,
        merge: |section, events| FORM.merge(section, events),
        // Nothing counts them.
        missed: |_| false,
        again: |reader, section| FORM.again(reader, section),
    },
    header: NFGENMSG,
    attributes: &[
        Attr::keep(1, "master", Shape::Nest(TUPLE)),
        Attr::keep(CTA_EXPECT_TUPLE, "tuple", Shape::Nest(TUPLE)),
        Attr::keep(CTA_EXPECT_MASK, "mask", Shape::Nest(TUPLE)),
        // Taken for expectations of programs only: for those of a helper the kernel starts anew.
        Attr::new(CTA_EXPECT_TIMEOUT, "timeout", Shape::Be32, Fate::Lifetime(SECONDS)),
        Attr::strip(5, "id", Shape::Be32),
        Attr::keep(6, "help_name", Shape::Text),
        Attr::keep(CTA_EXPECT_ZONE, "zone", Shape::Be16),
        Attr::keep(8, "flags", FLAGS),
        Attr::keep(9, "class", Shape::Be32),
        Attr::keep(
            10,
            "nat",
            Shape::Nest(&[
                Attr::keep(1, "dir", Shape::Be32),
                Attr::keep(2, "tuple", Shape::Nest(TUPLE)),
            ]),
        ),
        Attr::keep(11, "fn", Shape::Text),
    ],
    key: &["tuple", "mask", "zone"],
    tells: EXP_NEW,
    make: EXP_NEW,
    remove: EXP_DELETE,
    belongs: |message| lasts(message, CTA_EXPECT_TIMEOUT),
    after: &["conntrack"],
    label: |value, _| format!("{} of {}", flow(value, "tuple"), flow(value, "master")),
    faults: |value| value.text("help_name").and_then(foreign_helper).into_iter().collect(),
    fleeting: is_ending,
    grows: true,
    shown_by: "tests/conntrack",
    ..Class::BASE
};
