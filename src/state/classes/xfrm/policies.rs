//! Policies: which packets are transformed, and which let through or dropped.

use super::super::families::shown;
use super::{
    CURRENT, DIRECTION, FAMILY, GROUP_EXPIRE, GROUP_POLICY, LIMITS, MARK, MODE, PROTOCOL, SELECTOR,
    XFRMA_IF_ID, XFRMA_MARK,
};
use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};
use crate::state::{Fault, Names, Value};

const XFRM_MSG_NEWPOLICY: u16 = 0x13;
const XFRM_MSG_DELPOLICY: u16 = 0x14;
const XFRM_MSG_GETPOLICY: u16 = 0x15;
const XFRM_MSG_UPDPOLICY: u16 = 0x19;
const XFRM_MSG_POLEXPIRE: u16 = 0x1b;
const XFRM_MSG_FLUSHPOLICY: u16 = 0x1d;
pub const POLICY_TYPE: u16 = 16;
/// Offset of `index` in `struct xfrm_userpolicy_info`, and of `dir`.
pub const POLICY_INDEX: usize = 156;
const DIR: usize = 160;
/// Policies of sockets have the directions from here on.
const OF_SOCKETS: u8 = 3;

/// `struct xfrm_user_tmpl`.
const TEMPLATE: &[Field] = &[
    Field::new("dst", 0, Shape::AddressBy("family"), Fate::Keep),
    Field::new("spi", 16, Shape::Be32, Fate::Keep),
    Field::new("proto", 20, PROTOCOL, Fate::Keep),
    Field::new("family", 24, FAMILY, Fate::Keep),
    Field::new("src", 28, Shape::AddressBy("family"), Fate::Keep),
    Field::new("reqid", 44, Shape::U32, Fate::Keep),
    Field::new("mode", 48, MODE, Fate::Keep),
    Field::new("share", 49, Shape::U8, Fate::Keep),
    Field::new("optional", 50, Shape::U8, Fate::Keep),
    Field::new("aalgos", 52, Shape::U32, Fate::Keep),
    Field::new("ealgos", 56, Shape::U32, Fate::Keep),
    Field::new("calgos", 60, Shape::U32, Fate::Keep),
];
const TEMPLATE_SIZE: usize = 64;

/// The kernel looks at those of one priority in the order in which they were made, and tells the one
/// made last first.
pub static XFRM_POLICIES: Class = Class {
    name: "xfrm-policies",
    source: Source::Netlink {
        protocol: Protocol::Xfrm,
        dumps: &[Dump { kind: XFRM_MSG_GETPOLICY, body: &[] }],
        groups: &[GROUP_EXPIRE, GROUP_POLICY],
        notices: &[
            XFRM_MSG_NEWPOLICY,
            XFRM_MSG_UPDPOLICY,
            XFRM_MSG_DELPOLICY,
            XFRM_MSG_FLUSHPOLICY,
            XFRM_MSG_POLEXPIRE,
        ],
    },
    header: &[
        Field::new("sel", 0, Shape::Struct(SELECTOR), Fate::Keep),
        Field::new("limits", 56, Shape::Struct(LIMITS), Fate::Keep),
        Field::new("current", 120, Shape::Struct(CURRENT), Fate::Strip),
        Field::new("priority", 152, Shape::U32, Fate::Keep),
        Field::new("index", POLICY_INDEX, Shape::U32, Fate::Keep),
        Field::new("dir", DIR, DIRECTION, Fate::Keep),
        Field::new(
            "action",
            161,
            Shape::Fixed(1, &Shape::Enum(&[(0, "allow"), (1, "block")])),
            Fate::Keep,
        ),
        Field::new(
            "flags",
            162,
            Shape::Fixed(1, &Shape::Bits(&[(1, "localok"), (2, "icmp"), (4, "cpu-acquire")])),
            Fate::Keep,
        ),
        Field::new("share", 163, Shape::U8, Fate::Keep),
        Field::new("padding", 164, Shape::U32, Fate::Zero),
    ],
    attributes: &[
        Attr::keep(5, "templates", Shape::Array(TEMPLATE_SIZE, TEMPLATE)),
        // Without it the policy would hold for more.
        Attr::refuse(8, "sec_ctx"),
        Attr::keep(
            POLICY_TYPE,
            "policy_type",
            Shape::Struct(&[Field::new(
                "type",
                0,
                Shape::Fixed(6, &Shape::Enum(&[(0, "main"), (1, "sub")])),
                Fate::Keep,
            )]),
        ),
        Attr::keep(XFRMA_MARK, "mark", Shape::Struct(MARK)),
        Attr::strip(27, "pad", Shape::Bytes),
        // What the device does, the kernel does without it.
        Attr::leave(28, "offload_dev", Shape::Bytes),
        Attr::keep(XFRMA_IF_ID, "if_id", Shape::U32),
        Attr::keep(33, "sa_dir", Shape::U8),
    ],
    key: &["dir", "policy_type.type", "sel", "mark", "if_id"],
    tells: XFRM_MSG_NEWPOLICY,
    make: XFRM_MSG_NEWPOLICY,
    remove: XFRM_MSG_DELPOLICY,
    belongs: |message: &Message<'_>| message.body.get(DIR).is_some_and(|dir| *dir < OF_SOCKETS),
    after: &["links"],
    label,
    faults,
    strict: true,
    drifts: |section| !section.is_empty(),
    shown_by: "tests/xfrm.rs",
    ..Class::BASE
};

fn label(value: &Value, names: &Names) -> String {
    let shown = |path: &str| shown(value, path);
    let index = value.number("sel.ifindex").filter(|index| *index != 0);
    let link = index.map(|index| format!(" dev {}", names.link(index))).unwrap_or_default();
    let sub = if value.number("policy_type.type") == Some(1) { " sub" } else { "" };
    format!(
        "{}{sub} {}/{} to {}/{}{link} priority {} {}",
        shown("dir"),
        shown("sel.src"),
        shown("sel.src_len"),
        shown("sel.dst"),
        shown("sel.dst_len"),
        shown("priority"),
        shown("action"),
    )
}

fn faults(value: &Value) -> Vec<Fault> {
    let ends = ["soft_add", "hard_add", "soft_use", "hard_use"]
        .iter()
        .any(|name| value.number(&format!("limits.{name}_seconds")).unwrap_or_default() != 0);
    let why = "its age and use begin anew: the kernel takes none for a policy";
    if ends { vec![Fault::Part(why.to_owned())] } else { Vec::new() }
}
