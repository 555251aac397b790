//! Queueing disciplines.

use super::disciplines::{DISCIPLINES, discipline_faults};
use super::{
    HANDLE, LINK, PARENT, RTM_DELQDISC, RTM_NEWQDISC, STATS, TCA_EGRESS_BLOCK, TCA_INGRESS_BLOCK,
    made, read, told, watched,
};
use crate::netlink::Message;
use crate::state::table::{Attr, Class, Fate, Field, Shape};
use crate::state::{Names, Value};

/// One at each place; the handle tells it from what the kernel puts there by itself.
pub static QDISCS: Class = Class {
    name: "qdiscs",
    source: watched(read::qdiscs, &[RTM_NEWQDISC, RTM_DELQDISC]),
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        LINK,
        Field::new("handle", 8, HANDLE, Fate::Keep),
        PARENT,
        // How often it is referred to.
        Field::new("info", 16, Shape::U32, Fate::Strip),
    ],
    attributes: &[
        Attr::keep(1, "kind", Shape::Text),
        Attr::keep(2, "options", Shape::By("kind", DISCIPLINES)),
        told(3, "stats"),
        told(4, "xstats"),
        told(5, "rate"),
        told(6, "fcnt"),
        Attr::keep(7, "stats2", STATS),
        Attr::keep(8, "stab", Shape::Nest(made::STAB)),
        told(9, "pad"),
        told(10, "dump_invisible"),
        told(11, "chain"),
        told(12, "hw_offload"),
        Attr::keep(TCA_INGRESS_BLOCK, "ingress_block", Shape::U32),
        Attr::keep(TCA_EGRESS_BLOCK, "egress_block", Shape::U32),
        told(15, "dump_flags"),
        told(16, "ext_warn_msg"),
    ],
    key: &["ifindex", "parent"],
    tells: RTM_NEWQDISC,
    make: RTM_NEWQDISC,
    remove: RTM_DELQDISC,
    belongs: has_handle,
    after: &["links"],
    label,
    faults: discipline_faults,
    shown_by: "tests/tc",
    ..Class::BASE
};

/// Those that the kernel makes by itself have none: roots by `net.core.default_qdisc`, what stands on
/// each queue below mq, and the leaf that a new class begins with.
fn has_handle(message: &Message<'_>) -> bool {
    message.body.get(8..12).is_some_and(|handle| handle != [0; 4])
}

fn label(value: &Value, names: &Names) -> String {
    let part = |path| value.field(path).map(ToString::to_string).unwrap_or_default();
    let link = names.link(value.number("ifindex").unwrap_or_default());
    format!("qdisc {} {} at {} of {link}", part("kind"), part("handle"), part("parent"))
}
