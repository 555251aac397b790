//! Classes of queueing disciplines, as far as they are made one by one. Those of most kinds (bands of
//! prio, queues of mq) come with their discipline.

use super::read::{CLASSFUL, kind};
use super::{
    HANDLE, LINK, MAJOR, PARENT, RTM_DELQDISC, RTM_DELTCLASS, RTM_NEWQDISC, RTM_NEWTCLASS, STATS,
    TCMSG, kind_fault, made, read, told, watched,
};
use crate::netlink::Message;
use crate::state::table::{Attr, Class, Fate, Field, Shape};
use crate::state::{Fault, Names, Value};

pub static TC_CLASSES: Class = Class {
    name: "tc-classes",
    source: watched(read::classes, &[RTM_NEWTCLASS, RTM_DELTCLASS, RTM_NEWQDISC, RTM_DELQDISC]),
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        LINK,
        Field::new("handle", 8, HANDLE, Fate::Keep),
        PARENT,
        // The discipline on it, which tells of itself.
        Field::new("info", 16, HANDLE, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(1, "kind", Shape::Text),
        Attr::keep(2, "options", Shape::By("kind", KINDS)),
        told(3, "stats"),
        told(4, "xstats"),
        told(5, "rate"),
        told(6, "fcnt"),
        Attr::keep(7, "stats2", STATS),
        told(8, "stab"),
        told(9, "pad"),
        told(16, "ext_warn_msg"),
    ],
    key: &["ifindex", "handle"],
    tells: RTM_NEWTCLASS,
    make: RTM_NEWTCLASS,
    remove: RTM_DELTCLASS,
    belongs,
    after: &["qdiscs"],
    label,
    faults,
    shown_by: "tests/tc",
    ..Class::BASE
};

/// By the kind of the discipline.
const KINDS: &[(&str, Shape)] = &[
    ("htb", Shape::Nest(HTB)),
    ("hfsc", Shape::Nest(HFSC)),
    ("drr", Shape::Nest(&[Attr::keep(1, "quantum", Shape::U32)])),
    ("qfq", Shape::Nest(&[Attr::keep(1, "weight", Shape::U32), Attr::keep(2, "lmax", Shape::U32)])),
];

/// `TCA_HTB_*`. Rate tables are not told, and not looked at by kernels since 3.10.
const HTB: &[Attr] = &[
    Attr::keep(1, "parms", Shape::Struct(HTB_PARMS)),
    told(3, "ctab"),
    told(4, "rtab"),
    Attr::keep(6, "rate64", Shape::U64),
    Attr::keep(7, "ceil64", Shape::U64),
    told(8, "pad"),
];
/// `struct tc_htb_opt`.
const HTB_PARMS: &[Field] = &[
    Field::new("rate", 0, Shape::Fixed(12, &Shape::Struct(made::RATE)), Fate::Keep),
    Field::new("ceil", 12, Shape::Fixed(12, &Shape::Struct(made::RATE)), Fate::Keep),
    Field::new("buffer", 24, Shape::U32, Fate::Keep),
    Field::new("cbuffer", 28, Shape::U32, Fate::Keep),
    Field::new("quantum", 32, Shape::U32, Fate::Keep),
    // By what is below it.
    Field::new("level", 36, Shape::U32, Fate::Strip),
    Field::new("prio", 40, Shape::U32, Fate::Keep),
];

/// `TCA_HFSC_*`, each a `struct tc_service_curve`.
const HFSC: &[Attr] = &[
    Attr::keep(1, "rsc", Shape::Struct(CURVE)),
    Attr::keep(2, "fsc", Shape::Struct(CURVE)),
    Attr::keep(3, "usc", Shape::Struct(CURVE)),
];
const CURVE: &[Field] = &[
    Field::new("m1", 0, Shape::U32, Fate::Keep),
    Field::new("d", 4, Shape::U32, Fate::Keep),
    Field::new("m2", 8, Shape::U32, Fate::Keep),
];

/// The class that hfsc begins with bears the number of its discipline.
fn belongs(message: &Message<'_>) -> bool {
    let handle = message.body.get(8..12).and_then(|four| four.first_chunk());
    let minor = handle.is_some_and(|four| u32::from_ne_bytes(*four) & !MAJOR != 0);
    minor && kind(message, TCMSG).is_some_and(|kind| CLASSFUL.contains(&kind.as_str()))
}

fn faults(value: &Value) -> Vec<Fault> {
    kind_fault(value, "classes", KINDS).into_iter().collect()
}

fn label(value: &Value, names: &Names) -> String {
    let part = |path| value.field(path).map(ToString::to_string).unwrap_or_default();
    let link = names.link(value.number("ifindex").unwrap_or_default());
    format!("class {} {} of {link}", part("kind"), part("handle"))
}
