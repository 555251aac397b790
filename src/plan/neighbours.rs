//! Neighbours, proxied ones, and the parameters of neighbour tables.

use super::Stage;
use super::difference::delta;
use super::draft::{Draft, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use crate::state::classes::{NEIGHBOUR_TABLES, NEIGHBOURS, PROXY_NEIGHBOURS};
use crate::state::table::Class;
use crate::state::{Object, replay, replay_where};

/// Bytes of `struct ndmsg`.
const HEADER: usize = 12;

fn index(object: &Object) -> u32 {
    Raw::new(&object.bytes, HEADER).header_u32(4)
}

/// Plans the neighbours.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    for class in [&NEIGHBOURS, &PROXY_NEIGHBOURS] {
        one_class(class, sides, draft);
    }
}

fn one_class(class: &'static Class, sides: &Sides<'_>, draft: &mut Draft) {
    let gone = draft.gone.clone();
    let from = sides.from.of(class).iter().filter(|object| !gone.contains(&index(object)));
    let from: Vec<Object> = from.cloned().collect();
    let delta = delta(&from, sides.to.of(class), |_| true);
    for object in delta.removed {
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |_| true);
        let label = format!("remove {}", object.label(&sides.from.names));
        draft.send(Stage::RemoveNeighbours, class, label, message, &[libc::ENOENT]);
    }
    let changed = delta.changed.iter().map(|changed| changed.to);
    for object in delta.added.iter().copied().chain(changed) {
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(Stage::Neighbours, class, label, replay(class, &object.bytes, REPLACE), &[]);
    }
}

/// Plans the parameters of neighbour tables. They come and go with their links.
pub fn tables(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &NEIGHBOUR_TABLES;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let changed = delta.changed.iter().map(|changed| changed.to);
    for object in delta.added.iter().copied().chain(changed) {
        let label = format!("set {}", object.label(&sides.to.names));
        draft.send(Stage::NeighbourTables, class, label, replay(class, &object.bytes, PLAIN), &[]);
    }
}
