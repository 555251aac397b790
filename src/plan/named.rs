//! What rules name beside sets: policies of timeouts, counters and quotas. They are made before the rules,
//! and those that no rule names any more are removed after.

use std::collections::BTreeSet;

use super::Stage;
use super::difference::delta;
use super::draft::{CREATE, Draft, PLAIN, REPLACE, Sides};
use super::raw::Raw;
use crate::state::classes::{ACCOUNTING, CONNTRACK_TIMEOUTS};
use crate::state::table::Class;
use crate::state::{Object, replay, replay_where};

/// `CTA_TIMEOUT_NAME`, `NFACCT_NAME`.
const NAME: u16 = 1;
/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;

/// Plans both classes.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    for class in [&CONNTRACK_TIMEOUTS, &ACCOUNTING] {
        plan_class(class, sides, draft);
    }
}

fn plan_class(class: &'static Class, sides: &Sides<'_>, draft: &mut Draft) {
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let again: BTreeSet<&[u8]> = delta.added.iter().map(|object| name(object)).collect();
    for object in &delta.removed {
        // Of one name there is only one: what has another protocol or quota gives way first.
        let stage = match again.contains(name(object)) {
            true => Stage::Named,
            false => Stage::Unnamed,
        };
        let label = format!("remove {}", object.label(&sides.from.names));
        let message = replay_where(class, &object.bytes, class.remove, PLAIN, |a| a.id == NAME);
        draft.send(stage, class, label, message, &[libc::ENOENT]);
    }
    for object in &delta.added {
        let label = format!("add {}", object.label(&sides.to.names));
        draft.send(Stage::Named, class, label, replay(class, &object.bytes, CREATE), &[]);
    }
    for changed in &delta.changed {
        let label = format!("set {}", changed.to.label(&sides.to.names));
        draft.send(Stage::Named, class, label, replay(class, &changed.to.bytes, REPLACE), &[]);
    }
}

fn name(object: &Object) -> &[u8] {
    Raw::new(&object.bytes, GENMSG).attribute(NAME).unwrap_or_default()
}
