//! WireGuard: the device's own settings, then its peers.

use super::difference::delta;
use super::draft::{Draft, PLAIN, Sides};
use super::raw::{Raw, find};
use super::{Action, Stage};
use crate::netlink::{Builder, attributes};
use crate::state::classes::wireguard::{
    FAMILY, IFINDEX, PEER_FLAGS, PEER_PUBLIC_KEY, PEERS, SET_DEVICE, public_key,
};
use crate::state::classes::{WIREGUARD_DEVICES, WIREGUARD_PEERS};
use crate::state::table::GENERIC;
use crate::state::{Object, replay};

/// Bytes of `struct genlmsghdr`.
const HEADER: usize = 4;
/// `WGPEER_F_REMOVE_ME` and `WGPEER_F_REPLACE_ALLOWEDIPS`.
const REMOVE_ME: u32 = 1;
const REPLACE_ALLOWED_IPS: u32 = 2;

/// Plans both.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let stays = |object: &&Object| !draft.gone.contains(&index(object));
    let staying =
        |class| -> Vec<Object> { sides.from.of(class).iter().filter(stays).cloned().collect() };
    let (devices, peers) = (staying(&WIREGUARD_DEVICES), staying(&WIREGUARD_PEERS));
    let devices = delta(&devices, sides.to.of(&WIREGUARD_DEVICES), |_| true);
    let mut act = |class, label, message| {
        let action = Action::Command { family: FAMILY, message };
        draft.act(Stage::SetLinks, class, label, action);
    };
    let changed = devices.changed.iter().map(|changed| changed.to);
    for device in devices.added.iter().copied().chain(changed) {
        let label = format!("set {}", device.label(&sides.to.names));
        act(&WIREGUARD_DEVICES, label, replay(&WIREGUARD_DEVICES, &device.bytes, PLAIN));
    }
    let peers = delta(&peers, sides.to.of(&WIREGUARD_PEERS), |_| true);
    for peer in &peers.removed {
        let value = peer.value();
        let key = Builder::attribute(PEER_PUBLIC_KEY, public_key(&value).unwrap_or_default());
        let label = format!("remove {}", peer.label(&sides.from.names));
        act(&WIREGUARD_PEERS, label, of_peer(index(peer), &key, REMOVE_ME));
    }
    let changed = peers.changed.iter().map(|changed| changed.to);
    for peer in peers.added.iter().copied().chain(changed) {
        let sent = replay(&WIREGUARD_PEERS, &peer.bytes, PLAIN);
        let sent = Raw::new(&sent, HEADER);
        let parts = find(attributes(sent.attribute(PEERS).unwrap_or_default()), 0);
        let label = format!("set {}", peer.label(&sides.to.names));
        let message = of_peer(index(peer), parts.unwrap_or_default(), REPLACE_ALLOWED_IPS);
        act(&WIREGUARD_PEERS, label, message);
    }
}

fn index(object: &Object) -> u32 {
    Raw::new(&object.bytes, HEADER).number(IFINDEX).unwrap_or_default()
}

/// The message about one peer, with what is to be done.
fn of_peer(index: u32, parts: &[u8], flags: u32) -> Vec<u8> {
    let mut builder = Builder::new(GENERIC, PLAIN, &[SET_DEVICE, 1, 0, 0]);
    builder.put_u32(IFINDEX, index);
    let list = builder.begin(PEERS | Builder::NESTED);
    let peer = builder.begin(Builder::NESTED);
    builder.raw(parts).put_u32(PEER_FLAGS, flags);
    builder.end(peer);
    builder.end(list);
    builder.finish()
}
