//! The data of a link's kind: what of it makes the link, what has to wait, what can be changed.

use super::{PLAIN, RTM_NEWLINK, header};
use crate::netlink::{Attribute, Builder, attributes};
use crate::plan::draft::Draft;
use crate::plan::link::{HEADER, Link};
use crate::plan::raw::{Raw, find};
use crate::plan::{Stage, Tun};
use crate::state::classes::LINKS;
use crate::state::classes::links::setting;
use crate::state::{self, replay_where};

const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;

/// `IFLA_MACVLAN_MACADDR_MODE` and its value that replaces the whole list of sources.
const IFLA_MACVLAN_MACADDR_MODE: u16 = 3;
const IFLA_MACVLAN_MACADDR_DATA: u16 = 5;
const MACVLAN_MACADDR_SET: u32 = 3;

/// Settings that a link of the kind takes at any time, by their names in its table; of a bridge all.
const CHANGEABLE: &[(&str, &[&str])] = &[
    ("bond", &["active_slave", "primary"]),
    ("bridge", &[]),
    ("macvlan", &["flags", "macaddr_data", "macaddr_count", "bc_queue_len", "bc_cutoff"]),
    ("macvtap", &["flags", "macaddr_data", "macaddr_count", "bc_queue_len", "bc_cutoff"]),
];

/// Settings that name a port, which has to be one first.
const OF_PORTS: &[(&str, &[u16])] = &[("bond", &[IFLA_BOND_ACTIVE_SLAVE, IFLA_BOND_PRIMARY])];
const IFLA_BOND_ACTIVE_SLAVE: u16 = 2;
const IFLA_BOND_PRIMARY: u16 = 11;

/// `IFLA_BOND_MODE`, and the modes that settings of a bond are for (`bond_opts` of the kernel): in
/// others it tells them and refuses to be told.
const IFLA_BOND_MODE: u16 = 1;
const RR: u8 = 1;
const BACKUP: u8 = 1 << 1;
const LACP: u8 = 1 << 4;
const TLB: u8 = 1 << 5;
const ALB: u8 = 1 << 6;
const ANY_BUT_ADAPTIVE: u8 = !(LACP | TLB | ALB);
const BOND_MODES: &[(u16, u8)] = &[
    (7, ANY_BUT_ADAPTIVE), // arp_interval
    (9, ANY_BUT_ADAPTIVE), // arp_validate
    (IFLA_BOND_ACTIVE_SLAVE, BACKUP | TLB | ALB),
    (IFLA_BOND_PRIMARY, BACKUP | TLB | ALB),
    (20, RR),               // packets_per_slave
    (21, LACP),             // ad_lacp_rate
    (24, LACP),             // ad_actor_sys_prio
    (25, LACP),             // ad_user_port_key
    (26, LACP),             // ad_actor_system
    (27, TLB | ALB),        // tlb_dynamic_lb
    (29, LACP),             // ad_lacp_active
    (30, ANY_BUT_ADAPTIVE), // missed_max
    (32, LACP),             // coupled_control
    (33, LACP),             // broadcast_neigh
];

/// `IFLA_BR_MULTI_BOOLOPT`: `struct br_boolopt_multi`, which are set and which of them are meant. The
/// kernel tells all, and refuses those that it is built without even where they shall be off.
const IFLA_BR_MULTI_BOOLOPT: u16 = 46;

/// Whether `old` can be made what `new` is without being made anew, as far as the kind goes. That of
/// a veth only tells its other end.
pub fn can_stay(old: &Link<'_>, new: &Link<'_>) -> bool {
    if old.is_veth() {
        return true;
    }
    let changeable = CHANGEABLE.iter().find(|(kind, _)| *kind == new.kind).map(|(_, names)| *names);
    differing(old, new).iter().all(|(name, is_there)| match changeable {
        Some([]) => *is_there,
        Some(names) => *is_there && names.contains(&name.as_str()),
        None => false,
    })
}

/// Names of the settings that differ, and whether the new link has them.
fn differing(old: &Link<'_>, new: &Link<'_>) -> Vec<(String, bool)> {
    let mut names: Vec<(String, bool)> = Vec::new();
    for difference in state::compare(old.object, new.object) {
        let Some(rest) = difference.path.strip_prefix("linkinfo.data") else { continue };
        let rest = rest.trim_start_matches('.');
        let name = rest.split('.').next().unwrap_or_default();
        if names.iter().all(|(known, _)| known != name) {
            names.push((name.to_owned(), difference.right.is_some() || rest != name));
        }
    }
    names
}

/// The settings as they are sent.
fn settings(link: &Link<'_>) -> Vec<u8> {
    let message =
        replay_where(&LINKS, &link.object.bytes, RTM_NEWLINK, 0, |attr| attr.id == IFLA_LINKINFO);
    let sent = Raw::new(&message, HEADER);
    sent.within(IFLA_LINKINFO, IFLA_INFO_DATA).unwrap_or_default().to_vec()
}

/// Whether the kernel takes a setting of the link's kind and mode.
fn is_taken(link: &Link<'_>, id: u16) -> bool {
    let modes = BOND_MODES.iter().find(|(setting, _)| link.kind == "bond" && *setting == id);
    let mode = link.data().and_then(|data| find(attributes(data), IFLA_BOND_MODE));
    let mode = mode.and_then(|mode| mode.first().copied()).unwrap_or_default();
    modes.is_none_or(|(_, modes)| mode < 8 && modes & (1 << mode) != 0)
}

fn is_of_port(link: &Link<'_>, id: u16) -> bool {
    OF_PORTS.iter().any(|(kind, ids)| *kind == link.kind && ids.contains(&id))
}

/// Adds `IFLA_LINKINFO` with the kind and those settings that `wanted` says yes to; `old` is how the
/// link is now, if it is there.
fn put(
    old: Option<&Link<'_>>,
    link: &Link<'_>,
    wanted: impl Fn(u16) -> bool,
    builder: &mut Builder,
) {
    let info = builder.begin(IFLA_LINKINFO | Builder::NESTED);
    builder.put_text(IFLA_INFO_KIND, link.kind);
    let settings = settings(link);
    let sent: Vec<Attribute<'_>> = attributes(&settings)
        .map_while(Result::ok)
        .filter(|setting| is_taken(link, setting.id) && wanted(setting.id))
        .collect();
    if !sent.is_empty() {
        let data = builder.begin(IFLA_INFO_DATA | Builder::NESTED);
        for setting in &sent {
            // A list of sources comes with the word of what to do with it.
            if setting.id == IFLA_MACVLAN_MACADDR_DATA && is_macvlan(link) {
                builder.put_u32(IFLA_MACVLAN_MACADDR_MODE, MACVLAN_MACADDR_SET);
            }
            let options = link.is_bridge() && setting.id == IFLA_BR_MULTI_BOOLOPT;
            let payload = if options { bridge_options(old, setting.payload) } else { None };
            let payload = payload.as_deref().unwrap_or(setting.payload);
            builder.put(setting.id | setting.flags, payload);
        }
        builder.end(data);
    }
    builder.end(info);
}

/// Options of a bridge of which only those that are to be changed are meant.
fn bridge_options(old: Option<&Link<'_>>, payload: &[u8]) -> Option<Vec<u8>> {
    let wanted = u32::from_ne_bytes(*payload.first_chunk()?);
    let now = old.and_then(|old| old.data_number(IFLA_BR_MULTI_BOOLOPT)).unwrap_or_default();
    Some([wanted.to_ne_bytes(), (wanted ^ now).to_ne_bytes()].concat())
}

fn is_macvlan(link: &Link<'_>) -> bool {
    matches!(link.kind, "macvlan" | "macvtap")
}

/// How a tun or tap is made (`IFLA_TUN_*`).
pub fn tun(link: &Link<'_>) -> Tun {
    const IFLA_TUN_OWNER: u16 = 1;
    const IFLA_TUN_GROUP: u16 = 2;
    const IFLA_TUN_TYPE: u16 = 3;
    const IFLA_TUN_PI: u16 = 4;
    const IFLA_TUN_VNET_HDR: u16 = 5;
    const IFLA_TUN_MULTI_QUEUE: u16 = 7;
    let byte = |id| {
        let payload = link.data().and_then(|data| find(attributes(data), id));
        payload.and_then(|payload| payload.first().copied()).unwrap_or_default()
    };
    let flag = |is_set: bool, flag| if is_set { flag } else { 0 };
    // Its type is told by the number of the flag.
    let flags = i32::from(byte(IFLA_TUN_TYPE)) & (libc::IFF_TUN | libc::IFF_TAP)
        | flag(byte(IFLA_TUN_PI) == 0, libc::IFF_NO_PI)
        | flag(byte(IFLA_TUN_VNET_HDR) != 0, libc::IFF_VNET_HDR)
        | flag(byte(IFLA_TUN_MULTI_QUEUE) != 0, libc::IFF_MULTI_QUEUE);
    let (owner, group) = (link.data_number(IFLA_TUN_OWNER), link.data_number(IFLA_TUN_GROUP));
    Tun { name: link.name.to_owned(), index: link.index, flags, owner, group }
}

/// Adds `IFLA_LINKINFO` to the message that makes the link.
pub fn info(link: &Link<'_>, builder: &mut Builder) {
    put(None, link, |id| !is_of_port(link, id), builder);
}

/// Sets what of the kind's settings of a link that stays is not as it shall be.
pub fn change(old: &Link<'_>, new: &Link<'_>, draft: &mut Draft) {
    if old.is_veth() {
        return;
    }
    let differing = differing(old, new);
    let ids: Vec<u16> = differing.iter().filter_map(|(name, _)| setting(new.kind, name)).collect();
    if ids.iter().any(|id| !is_of_port(new, *id)) {
        let mut builder = Builder::new(RTM_NEWLINK, PLAIN, &header(new.index, 0, 0));
        put(Some(old), new, |id| ids.contains(&id) && !is_of_port(new, id), &mut builder);
        let label = format!("settings of {}", new.name);
        draft.send(Stage::SetLinks, &LINKS, label, builder.finish(), &[]);
    }
}

/// Sets what names a port, after all ports have joined.
pub fn of_ports(old: Option<&Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    let of = |link: &Link<'_>, id| link.data_number(id).filter(|port| *port != 0);
    let differs = |id: &u16| of(new, *id) != old.and_then(|old| of(old, *id));
    let known = OF_PORTS.iter().find(|(kind, _)| *kind == new.kind).map(|(_, ids)| *ids);
    let ids: Vec<u16> = known.unwrap_or_default().iter().copied().filter(differs).collect();
    if ids.iter().any(|id| of(new, *id).is_some()) {
        let mut builder = Builder::new(RTM_NEWLINK, PLAIN, &header(new.index, 0, 0));
        put(old, new, |id| ids.contains(&id), &mut builder);
        let label = format!("ports of {}", new.name);
        draft.send(Stage::JoinLinks, &LINKS, label, builder.finish(), &[]);
    }
}
