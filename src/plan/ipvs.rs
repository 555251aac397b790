//! Virtual servers. What has changed is set in place: a service that is made again would have lost its
//! connections.

use super::difference::delta;
use super::draft::{Draft, PLAIN, Sides};
use super::{Action, Stage};
use crate::state::classes::ipvs::{
    DEL_DAEMON, DEL_DEST, DEL_SERVICE, FAMILY, SET_DEST, SET_SERVICE,
};
use crate::state::classes::{IPVS_DAEMONS, IPVS_DESTINATIONS, IPVS_SERVICES, IPVS_TIMEOUTS};
use crate::state::table::Class;
use crate::state::{Names, Object, replay, set_field};

/// Plans services, then their destinations; what goes, goes in the other order.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    removed(&IPVS_DESTINATIONS, DEL_DEST, sides, draft);
    removed(&IPVS_SERVICES, DEL_SERVICE, sides, draft);
    set(&IPVS_SERVICES, Some(SET_SERVICE), sides, draft);
    set(&IPVS_DESTINATIONS, Some(SET_DEST), sides, draft);
    super::tables::set(&IPVS_TIMEOUTS, Stage::Tables, sides, draft);
    daemons(sides, draft);
}

fn removed(class: &'static Class, command: u64, sides: &Sides<'_>, draft: &mut Draft) {
    for object in &delta(sides.from.of(class), sides.to.of(class), |_| true).removed {
        send("remove", class, object, &sides.from.names, Some(command), draft);
    }
}

fn set(class: &'static Class, change: Option<u64>, sides: &Sides<'_>, draft: &mut Draft) {
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    for object in &delta.added {
        send("add", class, object, &sides.to.names, None, draft);
    }
    for changed in &delta.changed {
        send("set", class, changed.to, &sides.to.names, change, draft);
    }
}

/// There is one in each state, and none is changed.
fn daemons(sides: &Sides<'_>, draft: &mut Draft) {
    let class = &IPVS_DAEMONS;
    let delta = delta(sides.from.of(class), sides.to.of(class), |_| true);
    let changed = delta.changed.iter().map(|changed| changed.from);
    for object in delta.removed.iter().copied().chain(changed) {
        send("stop", class, object, &sides.from.names, Some(DEL_DAEMON), draft);
    }
    let changed = delta.changed.iter().map(|changed| changed.to);
    for object in delta.added.iter().copied().chain(changed) {
        send("start", class, object, &sides.to.names, None, draft);
    }
}

/// Sends an object under the command of its class, or another.
fn send(
    word: &str,
    class: &'static Class,
    object: &Object,
    names: &Names,
    command: Option<u64>,
    draft: &mut Draft,
) {
    let label = format!("{word} {}", object.label(names));
    let mut message = replay(class, &object.bytes, PLAIN);
    if command.is_none_or(|command| set_field(class, &mut message, "command", command)) {
        draft.act(Stage::Tables, class, label, Action::Command { family: FAMILY, message });
    }
}
