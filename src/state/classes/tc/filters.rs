//! Filters of a link's traffic, of a class, or of a shared block.

use super::actions::action_faults;
use super::classifiers::{ACT, CLASSIFIERS, MATCHES};
use super::ematches::ematch_faults;
use super::{
    LINK_OR_BLOCK, PARENT, RTM_DELCHAIN, RTM_DELQDISC, RTM_DELTFILTER, RTM_NEWCHAIN, RTM_NEWQDISC,
    RTM_NEWTFILTER, TCMSG, kind_fault, place, read, told, watched,
};
use crate::netlink::Message;
use crate::state::table::{Attr, Class, Fate, Field, Shape};
use crate::state::{Fault, Names, Value};

/// Where in `struct tcmsg` the upper and the lower half of `tcm_info` are: the place of the filter
/// among others, and its protocol (in network byte order).
const PRIO_AT: usize = if cfg!(target_endian = "big") { 16 } else { 18 };
const PROTOCOL_AT: usize = if cfg!(target_endian = "big") { 18 } else { 16 };

/// In a section the table that a filter of u32 begins with comes before all else of that filter.
pub static TC_FILTERS: Class = Class {
    name: "tc-filters",
    source: watched(
        read::filters,
        &[RTM_NEWTFILTER, RTM_DELTFILTER, RTM_NEWCHAIN, RTM_DELCHAIN, RTM_NEWQDISC, RTM_DELQDISC],
    ),
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Strip),
        LINK_OR_BLOCK,
        Field::new("handle", 8, Shape::Fixed(4, &Shape::Written(hexadecimal)), Fate::Keep),
        PARENT,
        Field::new("protocol", PROTOCOL_AT, Shape::Be16, Fate::Keep),
        Field::new("prio", PRIO_AT, Shape::U16, Fate::Keep),
    ],
    attributes: &[
        Attr::keep(1, "kind", Shape::Text),
        Attr::keep(2, "options", Shape::By("kind", CLASSIFIERS)),
        told(3, "stats"),
        told(4, "xstats"),
        told(5, "rate"),
        told(6, "fcnt"),
        told(7, "stats2"),
        told(9, "pad"),
        Attr::keep(11, "chain", Shape::U32),
        told(12, "hw_offload"),
        told(15, "dump_flags"),
        told(16, "ext_warn_msg"),
    ],
    key: &["ifindex", "parent", "chain", "prio", "handle"],
    tells: RTM_NEWTFILTER,
    make: RTM_NEWTFILTER,
    remove: RTM_DELTFILTER,
    belongs,
    after: &["tc-classes", "tc-chains", "tc-actions"],
    label,
    faults,
    shown_by: "tests/tc",
    ..Class::BASE
};

fn hexadecimal(number: u64) -> String {
    format!("{number:#x}")
}

/// Each place in the order of filters begins with a message without a handle. It says more than the
/// others only of fw, which maps marks to classes without any.
fn belongs(message: &Message<'_>) -> bool {
    let has_handle = message.body.get(8..12).is_some_and(|handle| handle != [0; 4]);
    has_handle || read::kind(message, TCMSG).as_deref() == Some("fw")
}

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults: Vec<_> = kind_fault(value, "filters", CLASSIFIERS).into_iter().collect();
    faults.extend(action_faults(value, &format!("options.{ACT}")));
    faults.extend(ematch_faults(value, &format!("options.{MATCHES}")));
    if value.text("kind") == Some("bpf") {
        faults.extend(super::actions::program(value, "options").map(Fault::Object));
    }
    faults
}

fn label(value: &Value, names: &Names) -> String {
    let part = |path| value.field(path).map(ToString::to_string).unwrap_or_default();
    let chain = value.number("chain").filter(|chain| *chain != 0);
    let chain = chain.map(|chain| format!(" chain {chain}")).unwrap_or_default();
    let (kind, prio, handle) = (part("kind"), part("prio"), part("handle"));
    format!("filter {kind} pref {prio}{chain} handle {handle} {}", place(value, names))
}
