//! eBPF programs on the links of the namespace, and on the namespace itself (`linux/bpf.h`): XDP, tcx,
//! netkit, netfilter, the flow dissector and the lookup of sockets. Those of filters and actions of traffic
//! control are told by these.
//!
//! A program has no form outside the kernel that loaded it, and its maps are its owner's. So all that
//! there is of each is what it is called and where it is: an inventory, told by name as not carried.

mod netfilter;
mod read;

use crate::state::table::{Class, Fate, Field, Shape, Source};
use crate::state::{Fault, Names, Value};

/// Type of the messages of this class, which no kernel sends: they are made from its answers.
const ATTACHMENT: u16 = 0x4b50;

/// Where a program may be: `enum bpf_attach_type`, and a number of our own for what can't be asked.
const PLACES: &[(u64, &str)] = &[
    (UNKNOWN as u64, "places that can't be looked at"),
    (17, "flow dissector"),
    (36, "socket lookup"),
    (37, "xdp"),
    (45, "netfilter"),
    (46, "tcx ingress"),
    (47, "tcx egress"),
    (54, "netkit primary"),
    (55, "netkit peer"),
];
const UNKNOWN: u32 = u32::MAX;

/// `enum bpf_prog_type`.
const TYPES: &[(u64, &str)] = &[
    (3, "sched_cls"),
    (4, "sched_act"),
    (6, "xdp"),
    (22, "flow_dissector"),
    (30, "sk_lookup"),
    (32, "netfilter"),
];

const fn listed(name: &'static str, at: usize, shape: Shape) -> Field {
    Field::new(name, at, shape, Fate::List)
}

pub static BPF: Class = Class {
    name: "bpf",
    source: Source::Inventory(read::programs),
    header: &[
        listed("place", 0, Shape::Fixed(4, &Shape::Enum(PLACES))),
        // 0 for the namespace.
        listed("ifindex", 4, Shape::U32),
        // Among those of the place, in the order in which they run.
        listed("position", 8, Shape::U32),
        listed("program", 12, Shape::U32),
        // Of a program that is held by a link of its own kind; else 0.
        listed("link", 16, Shape::U32),
        listed("type", 20, Shape::Fixed(4, &Shape::Enum(TYPES))),
        listed("tag", 24, Shape::Fixed(8, &Shape::Bytes)),
        listed("name", 32, Shape::Fixed(16, &Shape::Text)),
    ],
    attributes: &[],
    key: &["place", "ifindex", "position"],
    tells: ATTACHMENT,
    after: &["links"],
    label,
    faults,
    shown_by: "tests/bpf.rs",
    ..Class::BASE
};

/// `eBPF program cil_to_container (tag 0102030405060708) at tcx egress of eth0`.
fn label(value: &Value, names: &Names) -> String {
    let part = |path| value.field(path).map(ToString::to_string).unwrap_or_default();
    let link = value.number("ifindex").filter(|link| *link != 0);
    let link = link.map(|link| format!(" of {}", names.link(link))).unwrap_or_default();
    if value.number("place") == Some(u64::from(UNKNOWN)) {
        return format!("eBPF programs at {}{link}", part("place"));
    }
    let name = value.text("name").filter(|name| !name.is_empty());
    let name = name.map(|name| format!(" {name}")).unwrap_or_default();
    format!("eBPF program{name} (tag {}) at {}{link}", part("tag"), part("place"))
}

fn faults(value: &Value) -> Vec<Fault> {
    let why = match value.number("place") {
        Some(place) if place == u64::from(UNKNOWN) => {
            "it is not known whether there are any: the kernel does not let this process look"
        }
        _ => "it is its owner's to load and attach where the pod goes",
    };
    vec![Fault::Object(why.to_owned())]
}
