//! What a multicast routing daemon holds: interfaces and routes of every table. They are its sockets',
//! and gone with them.

use super::kernel::{RTM_GETLINK, dump, find, number_at};
use super::{Probe, files};
use crate::netlink::{Attribute, Message, Protocol, attributes, ip};
use crate::state::ReadError;

const RTM_GETROUTE: u16 = 26;
/// `RTNL_FAMILY_IPMR`, `RTNL_FAMILY_IP6MR` (`linux/rtnetlink.h`).
const FAMILIES: [u8; 2] = [128, 129];
/// Bytes of `struct rtmsg`, and of `struct ifinfomsg`.
const ROUTE: usize = 12;
const LINK: usize = 16;
const RTA_DST: u16 = 1;
const RTA_SRC: u16 = 2;
const RTA_TABLE: u16 = 15;
const RT_TABLE_DEFAULT: u64 = 253;

pub(super) fn routes(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    let mut found = files::multicast_interfaces()?;
    found.extend(interfaces(probe)?);
    for family in FAMILIES {
        let mut body = [0; ROUTE];
        body[0] = family;
        let asked =
            dump(probe.reader, "multicast routes", Protocol::Route, RTM_GETROUTE, &body, route);
        match asked {
            Err(error) if super::is_absent(&error) => {}
            asked => found.extend(asked?),
        }
    }
    Ok(found)
}

/// `route of 10.0.0.1 to 239.1.1.1 (table 100)`; the source may be any.
fn route(message: &Message<'_>) -> Option<String> {
    let address = |id| find(message, ROUTE, id).and_then(|one| ip(one.payload));
    let from = address(RTA_SRC).map_or_else(|| "any".to_owned(), |from| from.to_string());
    let table = find(message, ROUTE, RTA_TABLE).map_or(RT_TABLE_DEFAULT, |table| table.number());
    Some(format!("route of {from} to {}{}", address(RTA_DST)?, of_table(table)))
}

fn of_table(table: u64) -> String {
    if table == RT_TABLE_DEFAULT { String::new() } else { format!(" (table {table})") }
}

/// Interfaces of the tables of IPv4 that procfs does not tell of. Those of IPv6 are told nowhere; only
/// their routes are.
fn interfaces(probe: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    const IFLA_AF_SPEC: u16 = 26;
    let mut body = [0; LINK];
    body[0] = FAMILIES[0];
    let table = |message: &Message<'_>| {
        let spec = find(message, LINK, IFLA_AF_SPEC)?.payload;
        Some(table(spec, &probe.links))
    };
    match dump(probe.reader, "multicast tables", Protocol::Route, RTM_GETLINK, &body, table) {
        Err(error) if super::is_absent(&error) => Ok(Vec::new()),
        told => Ok(told?.into_iter().flatten().collect()),
    }
}

fn part(nest: &[u8], id: u16) -> Option<Attribute<'_>> {
    attributes(nest).map_while(Result::ok).find(|one| one.id == id)
}

/// `IPMRA_TABLE_*` (`linux/mroute.h`).
fn table(spec: &[u8], links: &[(u32, String)]) -> Vec<String> {
    const ID: u16 = 1;
    const VIFS: u16 = 6;
    const VIF_IFINDEX: u16 = 1;
    let id = part(spec, ID).map_or(RT_TABLE_DEFAULT, |id| id.number());
    if id == RT_TABLE_DEFAULT {
        return Vec::new();
    }
    let vifs = part(spec, VIFS).map(|vifs| vifs.payload).unwrap_or_default();
    let name = |vif: Attribute<'_>| {
        let index = part(vif.payload, VIF_IFINDEX).map(|index| number_at(index.payload, 0))?;
        let name = links.iter().find(|(at, _)| *at == index).map(|(_, name)| name.as_str());
        Some(format!("interface {}{}", name.unwrap_or("of no link"), of_table(id)))
    };
    attributes(vifs).map_while(Result::ok).filter_map(name).collect()
}
