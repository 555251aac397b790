//! Ports: who joins which master in which order, and what the master keeps of each.

use std::collections::{BTreeMap, BTreeSet};

use super::{PLAIN, RTM_NEWLINK, RTM_SETLINK, data, header};
use crate::netlink::{Attribute, Builder, attributes};
use crate::plan::Stage;
use crate::plan::draft::{Draft, Sides};
use crate::plan::link::{HEADER, Link};
use crate::plan::raw::{Raw, find};
use crate::state::classes::links::port_setting;
use crate::state::classes::{BRIDGE_FDB, LINKS};
use crate::state::{self, Difference, Object, replay_where};

/// Bytes of `struct ndmsg`, and attributes after it (`linux/neighbour.h`).
const NDMSG: usize = 12;
const NDA_LLADDR: u16 = 2;
const NDA_MASTER: u16 = 9;

const IFLA_ADDRESS: u16 = 1;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_OPERSTATE: u16 = 16;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_BR_STP_STATE: u16 = 5;
const IFLA_BRPORT_STATE: u16 = 1;
const IFLA_BRPORT_COST: u16 = 3;
const IFLA_BRPORT_NO: u16 = 18;
/// `BR_STATE_FORWARDING` of `linux/if_bridge.h`: without spanning tree, the state of every port that
/// has a carrier.
const FORWARDING: u8 = 3;
/// MTU of a bridge without ports (`ETH_DATA_LEN`).
const BRIDGE_MTU: u32 = 1500;
const STATE: &str = "linkinfo.slave_data.state";

type Kept<'a> = BTreeMap<u32, Link<'a>>;

/// Plans the joining of those ports that are there, or planned so far, to the link that `link` is to
/// be made upon.
pub fn join_below(
    link: &Link<'_>,
    links: &[&Link<'_>],
    kept: &Kept<'_>,
    joined: &mut BTreeSet<u32>,
    draft: &mut Draft,
) {
    let Some(lower) = link.lower() else { return };
    for port in in_order(links).into_iter().filter(|port| port.master == lower) {
        if draft.made.contains(&port.index) && joined.insert(port.index) {
            join(Stage::MakeLinks, kept.get(&port.index), port, draft);
        }
    }
}

/// By master, in the order in which they have joined: a bridge numbers its ports as they join.
fn in_order<'a, 'b>(links: &[&'b Link<'a>]) -> Vec<&'b Link<'a>> {
    let mut ports: Vec<&Link<'_>> = links.to_vec();
    ports.sort_by_key(|link| (link.master, port_number(link)));
    ports
}

/// Plans masters and ports, but for those that have `joined` before.
pub fn plan(
    links: &[&Link<'_>],
    kept: &Kept<'_>,
    joined: &BTreeSet<u32>,
    sides: &Sides<'_>,
    draft: &mut Draft,
) {
    let ports = in_order(links);
    for link in ports.iter().filter(|port| !joined.contains(&port.index)) {
        join(Stage::JoinLinks, kept.get(&link.index), link, draft);
    }
    for bridge in links.iter().filter(|link| link.is_bridge()) {
        settle(bridge, links, kept.get(&bridge.index), sides, draft);
    }
    for link in &ports {
        settings(kept.get(&link.index), link, draft);
    }
    for master in links {
        data::of_ports(kept.get(&master.index), master, draft);
    }
}

fn port_number(link: &Link<'_>) -> u16 {
    let number = port_attribute(link, IFLA_BRPORT_NO).and_then(|number| number.first_chunk());
    number.map_or(0, |number| u16::from_ne_bytes(*number))
}

fn port_attribute<'a>(link: &Link<'a>, id: u16) -> Option<&'a [u8]> {
    find(attributes(link.port_data()?), id)
}

/// The master that a link has when all links are there: that of one that is made anew is lost.
fn master(old: Option<&Link<'_>>, draft: &Draft) -> u32 {
    let master = old.map_or(0, |old| old.master);
    if draft.made.contains(&master) || draft.gone.contains(&master) { 0 } else { master }
}

fn join(stage: Stage, old: Option<&Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    if master(old, draft) == new.master {
        return;
    }
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(new.index, 0, 0));
    builder.put_u32(IFLA_MASTER, new.master);
    let label = format!("master of {}", new.name);
    draft.send(stage, &LINKS, label, builder.finish(), &[]);
}

/// Whether a bridge has the address of one of its ports, and took it after that one had joined: the
/// entry of the forwarding database for it is then the port's, not the bridge's.
pub fn has_address_of_port(bridge: &Link<'_>, links: &[Link<'_>], sides: &Sides<'_>) -> bool {
    let address = bridge.raw.attribute(IFLA_ADDRESS);
    let same = |port: &Link<'_>| {
        port.master == bridge.index && port.raw.attribute(IFLA_ADDRESS) == address
    };
    let first = |entry: &Object| {
        let raw = Raw::new(&entry.bytes, NDMSG);
        raw.header_u32(4) == bridge.index
            && raw.number(NDA_MASTER) == Some(bridge.index)
            && raw.attribute(NDA_LLADDR) == address
    };
    bridge.is_bridge()
        && address.is_some()
        && links.iter().any(same)
        && !sides.to.of(&BRIDGE_FDB).iter().any(first)
}

/// Address and MTU of a bridge, which follow its ports until someone sets them.
fn settle(
    bridge: &Link<'_>,
    links: &[&Link<'_>],
    old: Option<&Link<'_>>,
    sides: &Sides<'_>,
    draft: &mut Draft,
) {
    let ports: Vec<Link<'_>> =
        links.iter().filter(|link| link.master == bridge.index).map(|link| **link).collect();
    if old.is_some() {
        return;
    }
    let mtu = bridge.raw.number(IFLA_MTU);
    let lowest = ports.iter().filter_map(|port| port.raw.number(IFLA_MTU)).min();
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &header(bridge.index, 0, 0));
    let empty = builder.len();
    if has_address_of_port(bridge, &ports, sides) {
        builder.put(IFLA_ADDRESS, bridge.raw.attribute(IFLA_ADDRESS).unwrap_or_default());
    }
    if let Some(mtu) = mtu.filter(|mtu| *mtu != lowest.unwrap_or(BRIDGE_MTU)) {
        builder.put_u32(IFLA_MTU, mtu);
    }
    if builder.len() > empty {
        let label = format!("address and MTU of {}", bridge.name);
        draft.send(Stage::JoinLinks, &LINKS, label, builder.finish(), &[]);
    }
}

/// What the master keeps of a port.
fn settings(old: Option<&Link<'_>>, new: &Link<'_>, draft: &mut Draft) {
    if new.master == 0 || new.port_kind().is_empty() {
        return;
    }
    let stays = old.filter(|old| master(Some(old), draft) == new.master);
    let message =
        replay_where(&LINKS, &new.object.bytes, RTM_NEWLINK, 0, |attr| attr.id == IFLA_LINKINFO);
    let sent = Raw::new(&message, HEADER);
    let all = attributes(sent.within(IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA).unwrap_or_default());
    let wanted: Vec<Attribute<'_>> = match stays {
        Some(old) => {
            let ids = differing(old, new);
            all.map_while(Result::ok).filter(|setting| ids.contains(&setting.id)).collect()
        }
        None => all.map_while(Result::ok).filter(|s| is_new(new.port_kind(), s)).collect(),
    };
    if wanted.is_empty() {
        return;
    }
    let mut builder = Builder::new(RTM_NEWLINK, PLAIN, &header(new.index, 0, 0));
    let info = builder.begin(IFLA_LINKINFO | Builder::NESTED);
    builder.put_text(IFLA_INFO_SLAVE_KIND, new.port_kind());
    let data = builder.begin(IFLA_INFO_SLAVE_DATA | Builder::NESTED);
    for setting in wanted {
        builder.put(setting.id | setting.flags, setting.payload);
    }
    builder.end(data);
    builder.end(info);
    let label = format!("port {}", new.name);
    draft.send(Stage::JoinLinks, &LINKS, label, builder.finish(), &[]);
}

/// What of a port's settings is told to a master that it has just joined. The cost of a bridge's port
/// follows its speed until it is told, so that it is told only where that is seen to give another one.
fn is_new(kind: &str, setting: &Attribute<'_>) -> bool {
    match kind {
        "bridge" => setting.id != IFLA_BRPORT_COST,
        _ => setting.payload.iter().any(|byte| *byte != 0),
    }
}

/// Numbers of the settings that differ.
fn differing(old: &Link<'_>, new: &Link<'_>) -> Vec<u16> {
    let differences = state::compare(old.object, new.object);
    let names = differences.iter().filter_map(|difference| {
        difference.path.strip_prefix("linkinfo.slave_data.")?.split('.').next()
    });
    names.filter_map(|name| port_setting(new.port_kind(), name)).collect()
}

/// The states of ports of bridges without spanning tree, which someone has set. They can be told
/// only with a carrier.
pub fn states(links: &[Link<'_>], kept: &Kept<'_>, draft: &mut Draft) {
    for link in links.iter().filter(|link| link.port_kind() == "bridge" && has_carrier(link)) {
        let bridge = links.iter().find(|bridge| bridge.index == link.master);
        let tree = bridge.and_then(|bridge| bridge.data_number(IFLA_BR_STP_STATE)).unwrap_or(0);
        let state = |link: &Link<'_>| port_attribute(link, IFLA_BRPORT_STATE)?.first().copied();
        let Some(wanted) = state(link).filter(|_| tree == 0) else { continue };
        let old = kept.get(&link.index).filter(|old| master(Some(old), draft) == link.master);
        let steady = old.filter(|_| !draft.raised.contains(&link.index));
        let now = steady.map_or(Some(FORWARDING), state);
        if now == Some(wanted) {
            continue;
        }
        // Told as a setting of a kind, it would be followed by the notice of a change, upon which the
        // bridge enables a port again that has a carrier.
        let mut of_bridge = header(link.index, 0, 0);
        of_bridge[0] = libc::AF_BRIDGE as u8;
        let mut builder = Builder::new(RTM_SETLINK, PLAIN, &of_bridge);
        let port = builder.begin(IFLA_PROTINFO | Builder::NESTED);
        builder.put(IFLA_BRPORT_STATE, &[wanted]).end(port);
        let label = format!("state of port {}", link.name);
        draft.send(Stage::LateLinks, &LINKS, label, builder.finish(), &[]);
    }
}

fn has_carrier(link: &Link<'_>) -> bool {
    const IF_OPER_UP: u8 = 6;
    let state = link.raw.attribute(IFLA_OPERSTATE).and_then(|state| state.first().copied());
    link.is_up() && state == Some(IF_OPER_UP)
}

/// How the state of a port differs, where it is all that differs of a link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortState {
    /// Spanning tree makes it, or there was no carrier on one of the two sides.
    Follows,
    /// It comes with the carrier.
    Settles,
}

/// See [`PortState`]; `bridges` are the links that shall be.
pub fn only_port_state(
    from: &Object,
    to: &Object,
    differences: &[Difference],
    bridges: &[Object],
) -> Option<PortState> {
    if differences.iter().any(|difference| difference.path != STATE) {
        return None;
    }
    let (from, to) = (Link::new(from), Link::new(to));
    let bridge = bridges.iter().map(Link::new).find(|bridge| bridge.index == to.master);
    let tree = bridge.and_then(|bridge| bridge.data_number(IFLA_BR_STP_STATE)).unwrap_or(0);
    let follows = tree != 0 || !has_carrier(&to) || !from.is_up();
    Some(if follows { PortState::Follows } else { PortState::Settles })
}

/// Whether all that differs of two bridges is how long they remember addresses, while the spanning tree
/// of one of them changes: until that is over it is shorter than it was set.
pub fn only_while_changing(from: &Object, to: &Object, differences: &[Difference]) -> bool {
    const IFLA_BR_TOPOLOGY_CHANGE: u16 = 14;
    let changes = |object| {
        let data = Link::new(object).data().map(attributes);
        data.and_then(|data| find(data, IFLA_BR_TOPOLOGY_CHANGE)) == Some(&[1])
    };
    differences.iter().all(|difference| difference.path == "linkinfo.data.ageing_time")
        && (changes(from) || changes(to))
}
