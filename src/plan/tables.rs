//! Small tables: multicast addresses, address labels, Multipath TCP, segment routing, measurement, foo
//! over UDP, MPLS.

use super::difference::{Delta, delta, groups};
use super::draft::{CREATE, Draft, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use super::{Action, Stage};
use crate::netlink::Builder;
use crate::state::classes::{
    ADDRESS_LABELS, FOU, IOAM6_NAMESPACES, IOAM6_SCHEMAS, MPLS_ROUTES, MPTCP_ENDPOINTS,
    MPTCP_LIMITS, MULTICAST_ADDRESSES, SEG6_HMAC, SEG6_SOURCE, ioam6, mptcp, multicast, segments,
};
use crate::state::table::{Class, GENERIC};
use crate::state::{self, Object, replay, replay_where, set_field};

/// Bytes of `struct genlmsghdr`.
const GENERIC_HEADER: usize = 4;

/// A table whose objects are removed by a command, which takes these attributes.
struct Listed {
    class: &'static Class,
    remove: u8,
    by: &'static [u16],
}

const LISTED: &[Listed] = &[
    Listed { class: &MPTCP_ENDPOINTS, remove: 2, by: &[mptcp::ATTR_ADDR] },
    Listed { class: &FOU, remove: 2, by: &[1, 2, 6, 7, 8, 9, 10, 11] },
    Listed { class: &IOAM6_SCHEMAS, remove: 5, by: &[ioam6::SC_ID] },
];

/// Plans them all.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    memberships(sides, draft);
    labels(sides, draft);
    set(&MPTCP_LIMITS, Stage::Tables, sides, draft);
    set(&SEG6_SOURCE, Stage::Tables, sides, draft);
    keys(sides, draft);
    for table in LISTED {
        listed(table, sides, draft);
    }
    measurement(sides, draft);
    mpls(sides, draft);
}

/// Sets what is always there.
pub fn set(class: &'static Class, stage: Stage, sides: &Sides<'_>, draft: &mut Draft) {
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for object in wanted(&delta) {
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(stage, class, label, replay(class, &object.bytes, PLAIN), &[]);
    }
}

/// What is to be made, be it again.
fn wanted<'a>(delta: &Delta<'a>) -> impl Iterator<Item = &'a Object> {
    let changed: Vec<_> = delta.changed.iter().map(|changed| changed.to).collect();
    delta.added.clone().into_iter().chain(changed)
}

/// What is in the way.
fn unwanted<'a>(delta: &Delta<'a>) -> impl Iterator<Item = &'a Object> {
    let changed: Vec<_> = delta.changed.iter().map(|changed| changed.from).collect();
    delta.removed.clone().into_iter().chain(changed)
}

fn listed(table: &Listed, sides: &Sides<'_>, draft: &mut Draft) {
    let class = table.class;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for object in unwanted(&delta) {
        let by = |id: u16| table.by.contains(&id);
        let mut message = replay_where(class, &object.bytes, class.remove, PLAIN, |a| by(a.id));
        if set_field(class, &mut message, "command", table.remove.into()) {
            let label = format!("remove {}", object.label(&sides.from.names));
            draft.send(Stage::Tables, class, label, message, &[libc::ENOENT]);
        }
    }
    for object in wanted(&delta) {
        let label = format!("add {}", object.label(&sides.to.names));
        draft.send(Stage::Tables, class, label, replay(class, &object.bytes, PLAIN), &[]);
    }
}

/// A key that is set again is replaced; one of no length is removed.
fn keys(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &SEG6_HMAC;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for object in &delta.removed {
        let raw = Raw::new(&object.bytes, GENERIC_HEADER);
        let mut builder = Builder::new(GENERIC, PLAIN, &[segments::SETHMAC, 1, 0, 0]);
        for id in [segments::HMACKEYID, segments::ALGID] {
            builder.put(id, raw.attribute(id).unwrap_or_default());
        }
        builder.put(segments::SECRETLEN, &[0]);
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::Tables, class, label, builder.finish(), &[libc::ENOENT]);
    }
    for object in wanted(&delta) {
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(Stage::Tables, class, label, replay(class, &object.bytes, PLAIN), &[]);
    }
}

/// Namespaces of measurement, and then which schema each adds.
fn measurement(sides: &Sides<'_>, draft: &mut Draft) {
    const DEL_NAMESPACE: u64 = 2;
    const SET_SCHEMA: u8 = 7;
    let class = &IOAM6_NAMESPACES;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let is_schema =
        |differences: &[state::Difference]| differences.iter().all(|d| d.path == "schema");
    let again: Vec<_> = delta.changed.iter().filter(|c| !is_schema(&c.differences)).collect();
    for object in delta.removed.iter().copied().chain(again.iter().map(|changed| changed.from)) {
        let by = |id| id == ioam6::NS_ID;
        let mut message = replay_where(class, &object.bytes, class.remove, PLAIN, |a| by(a.id));
        if set_field(class, &mut message, "command", DEL_NAMESPACE) {
            let label = format!("remove {}", object.label(&sides.from.names));
            draft.send(Stage::Tables, class, label, message, &[libc::ENOENT]);
        }
    }
    for object in delta.added.iter().copied().chain(again.iter().map(|changed| changed.to)) {
        let label = format!("add {}", object.label(&sides.to.names));
        draft.send(Stage::Tables, class, label, replay(class, &object.bytes, PLAIN), &[]);
    }
    // A schema that was made anew has lost its namespaces.
    let schemas = self::delta(sides.from.of(&IOAM6_SCHEMAS), sides.to.of(&IOAM6_SCHEMAS), |_| true);
    let renewed = |schema: Option<&[u8]>| {
        schema.is_some()
            && wanted(&schemas)
                .any(|made| Raw::new(&made.bytes, GENERIC_HEADER).attribute(ioam6::SC_ID) == schema)
    };
    let changed: Vec<&str> = wanted(&delta).map(|object| object.key.as_str()).collect();
    for object in sides.to.of(class) {
        let raw = Raw::new(&object.bytes, GENERIC_HEADER);
        let schema = raw.attribute(ioam6::SC_ID);
        let is_new = delta.added.iter().any(|added| added.key == object.key);
        let due = changed.contains(&object.key.as_str()) && !(is_new && schema.is_none());
        if !due && !renewed(schema) {
            continue;
        }
        let mut builder = Builder::new(GENERIC, PLAIN, &[SET_SCHEMA, 1, 0, 0]);
        builder.put(ioam6::NS_ID, raw.attribute(ioam6::NS_ID).unwrap_or_default());
        match schema {
            Some(schema) => builder.put(ioam6::SC_ID, schema),
            None => builder.put(ioam6::SC_NONE, &[]),
        };
        let label = format!("schema of {}", object.label(&sides.to.names));
        draft.send(Stage::Tables, class, label, builder.finish(), &[]);
    }
}

/// Addresses that were joined by hand. Those of a link that goes, go with it.
fn memberships(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &MULTICAST_ADDRESSES;
    let gone = draft.gone.clone();
    let raw = |object: &Object| {
        let raw = Raw::new(&object.bytes, 16);
        (raw.header_u32(4), raw.attribute(multicast::IFLA_ADDRESS).unwrap_or_default().to_vec())
    };
    let from = sides.from.of(class).iter().filter(|object| !gone.contains(&raw(object).0));
    let from: Vec<Object> = from.cloned().collect();
    let delta = delta(&from, sides.to.of(class), |_| true);
    let mut act = |stage, object: &Object, names: &state::Names, join| {
        let (index, address) = raw(object);
        let word = if join { "join" } else { "leave" };
        let label = format!("{word} {}", object.label(names));
        let link = names.link(index.into());
        draft.act(stage, class, label, Action::Membership { link, address, join });
    };
    for object in &delta.removed {
        act(Stage::RemoveNeighbours, object, &sides.from.names, false);
    }
    for object in &delta.added {
        act(Stage::Tables, object, &sides.to.names, true);
    }
}

/// Labels whose order among each other is the kernel's choice: of one prefix length, those of a link
/// and those of none.
pub fn group(object: &Object) -> Option<String> {
    let raw = Raw::new(&object.bytes, 12);
    Some(format!("{} {}", raw.header_u8(2), is_of_link(object)))
}

fn is_of_link(object: &Object) -> bool {
    Raw::new(&object.bytes, 12).header_u32(4) != 0
}

/// The kernel puts a new label before those of the same length without a link, and after those with
/// one; it looks for an equal one only up to that place, and so may come to have two. Only what is
/// removed and made again is where it shall be.
fn labels(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &ADDRESS_LABELS;
    let same = |(old, new): &(&&Object, &&Object)| {
        old.key == new.key && state::compare(old, new).is_empty()
    };
    for (old, new) in groups(sides.from.of(class), sides.to.of(class), group) {
        let at_the_front = !new.iter().chain(&old).any(|object| is_of_link(object));
        let kept = match at_the_front {
            true => old.iter().rev().zip(new.iter().rev()).take_while(same).count(),
            false => old.iter().zip(&new).take_while(same).count(),
        };
        let (old, mut new) = match at_the_front {
            true => (&old[..old.len() - kept], new[..new.len() - kept].to_vec()),
            false => (&old[kept..], new[kept..].to_vec()),
        };
        for object in old {
            let label = format!("remove {}", object.label(&sides.from.names));
            let message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
            draft.send(Stage::Tables, class, label, message, &[libc::ESRCH, libc::ENOENT]);
        }
        if at_the_front {
            new.reverse();
        }
        for object in new {
            let label = format!("add {}", object.label(&sides.to.names));
            draft.send(Stage::Tables, class, label, replay(class, &object.bytes, CREATE), &[]);
        }
    }
}

/// Routes of labels; the number of labels is a sysctl, which is written long before.
fn mpls(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &MPLS_ROUTES;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for object in &delta.removed {
        let label = format!("remove {}", object.label(&sides.from.names));
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
        draft.send(Stage::RemoveRoutes, class, label, message, &[libc::ENOENT, libc::ESRCH]);
    }
    for object in wanted(&delta) {
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(Stage::FarRoutes, class, label, replay(class, &object.bytes, REPLACE), &[]);
    }
}
