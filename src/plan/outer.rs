//! Outer ends of veth pairs that the node's own network setup has made: what they had where the pod
//! came from and have not here.
//!
//! The two ends of a pair must agree on what passes (MTU, sizes of segments), and a bridge must treat
//! its port as the pod knows it (hairpin, isolation, flooding). The hardware address stays the node's
//! own, but where the end is no port and a neighbour that the pod knows has it.

use super::Stage;
use super::draft::{Draft, PLAIN};
use super::link::Link;
use super::links::header;
use super::raw::{find, text};
use crate::netlink::{Attributes, Builder, attributes};
use crate::state::classes::LINKS;

const RTM_NEWLINK: u16 = 16;
const RTM_SETLINK: u16 = 19;
pub const IFLA_ADDRESS: u16 = 1;
const IFLA_LINKINFO: u16 = 18;
const IFLA_IFALIAS: u16 = 20;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
/// `IFF_NOARP`, `IFF_PROMISC`, `IFF_ALLMULTI`, `IFF_MULTICAST`.
const FLAGS: u32 =
    (libc::IFF_NOARP | libc::IFF_PROMISC | libc::IFF_ALLMULTI | libc::IFF_MULTICAST) as u32;
/// `IFLA_MTU`, `IFLA_TXQLEN`, `IFLA_GROUP`, `IFLA_GSO_MAX_SEGS`, `IFLA_GSO_MAX_SIZE`,
/// `IFLA_GRO_MAX_SIZE`, `IFLA_GSO_IPV4_MAX_SIZE`, `IFLA_GRO_IPV4_MAX_SIZE`.
const SETTINGS: &[u16] = &[4, 13, 27, 40, 41, 58, 63, 64];
/// Of `IFLA_BRPORT_*`: priority, cost, mode (hairpin), guard, protect (root block), fast leave,
/// learning, unicast flood, proxy ARP, proxy ARP for Wi-Fi, multicast router, multicast flood, multicast
/// to unicast, VLAN tunnel, broadcast flood, group forward mask, neighbour suppression, isolated,
/// locked, MAC authentication bypass, most multicast groups, suppression by VLAN. The state is the bridge's own.
const PORT: &[u16] =
    &[2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 25, 27, 28, 29, 30, 31, 32, 33, 39, 40, 42, 43];

/// Plans what `now` lacks to be as it was captured.
pub fn mend(now: &Link<'_>, captured: &Link<'_>, known_by_address: bool, draft: &mut Draft) {
    let flags = captured.flags & FLAGS;
    let changed = (now.flags & FLAGS) ^ flags;
    // To name flags and no change is to name all of them: the link would go down, and its routes go.
    let head = header(now.index, flags & changed, changed);
    let mut builder = Builder::new(RTM_SETLINK, PLAIN, &head);
    let bare = builder.len();
    for id in SETTINGS {
        // What one of the two kernels does not know is left to it.
        if let (Some(is), Some(shall)) = (now.raw.attribute(*id), captured.raw.attribute(*id))
            && is != shall
        {
            builder.put(*id, shall);
        }
    }
    let address = |link: &Link<'_>| link.raw.attribute(IFLA_ADDRESS).unwrap_or_default().to_vec();
    if known_by_address && address(now) != address(captured) {
        builder.put(IFLA_ADDRESS, &address(captured));
    }
    let alias = |link: &Link<'_>| link.raw.attribute(IFLA_IFALIAS).unwrap_or_default().to_vec();
    if alias(now) != alias(captured) {
        builder.put(IFLA_IFALIAS, &alias(captured));
    }
    if changed != 0 || builder.len() != bare {
        let label = format!("mend {}", now.name);
        draft.send_host(Stage::HostLinks, &LINKS, label, builder.finish());
    }
    port(now, captured, draft);
}

/// The settings of a bridge's port, by their kind.
fn slave<'a>(link: &Link<'a>) -> Option<Attributes<'a>> {
    let info = link.raw.attribute(IFLA_LINKINFO)?;
    let kind = text(find(attributes(info), IFLA_INFO_SLAVE_KIND)?)?;
    let data = find(attributes(info), IFLA_INFO_SLAVE_DATA)?;
    (kind == "bridge").then(|| attributes(data))
}

fn port(now: &Link<'_>, captured: &Link<'_>, draft: &mut Draft) {
    let (Some(is), Some(shall)) = (slave(now), slave(captured)) else { return };
    let mut data = Vec::new();
    for id in PORT {
        if let (Some(is), Some(shall)) = (find(is.clone(), *id), find(shall.clone(), *id))
            && is != shall
        {
            data.extend(Builder::attribute(*id, shall));
        }
    }
    if data.is_empty() {
        return;
    }
    // `RTM_SETLINK` passes over the settings of a kind.
    let mut builder = Builder::new(RTM_NEWLINK, PLAIN, &header(now.index, 0, 0));
    let info = builder.begin(IFLA_LINKINFO | Builder::NESTED);
    builder.put_text(IFLA_INFO_SLAVE_KIND, "bridge");
    builder.put(IFLA_INFO_SLAVE_DATA | Builder::NESTED, &data);
    builder.end(info);
    let label = format!("mend the bridge port {}", now.name);
    draft.send_host(Stage::HostLinks, &LINKS, label, builder.finish());
}
