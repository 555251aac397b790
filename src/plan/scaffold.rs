//! Ways to gateways, there for a moment only.
//!
//! The kernel checks a gateway when a route or a nexthop through it is made, and never again, so an
//! image may hold one that nothing leads to any more. Such a gateway is shown to the kernel by a
//! route of its own, behind every other, which is removed at once.

use super::Stage;
use super::draft::{APPEND, Draft, PLAIN};
use super::raw::{Raw, find};
use crate::netlink::{Builder, attributes};
use crate::state::classes::ROUTES;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_MULTIPATH: u16 = 9;
const RTA_TABLE: u16 = 15;
const RTA_VIA: u16 = 18;
const NHA_OIF: u16 = 5;
const NHA_GATEWAY: u16 = 6;
/// Bytes of `struct rtnexthop`, and of the family in `struct rtvia`.
const MEMBER: usize = 8;
const VIA: usize = 2;

/// A gateway, the link it is on, and the table in which it is looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Gateway<'a> {
    family: u8,
    address: &'a [u8],
    link: u32,
    table: u32,
}

/// The gateways of a route, of all its paths.
pub fn of_route<'a>(raw: &Raw<'a>) -> Vec<Gateway<'a>> {
    let family = raw.header_u8(0);
    let table = raw.number(RTA_TABLE).unwrap_or_else(|| u32::from(raw.header_u8(4)));
    let mut found = Vec::new();
    let mut add = |link: u32, gateway: Option<&'a [u8]>, via: Option<&'a [u8]>| {
        let via = via.and_then(|via| Some((*via.first()?, via.get(VIA..)?)));
        if let Some((family, address)) = gateway.map(|address| (family, address)).or(via) {
            found.push(Gateway { family, address, link, table });
        }
    };
    if let Some(link) = raw.number(RTA_OIF) {
        add(link, raw.attribute(RTA_GATEWAY), raw.attribute(RTA_VIA));
    }
    let mut rest = raw.attribute(RTA_MULTIPATH).unwrap_or_default();
    while let Some(header) = rest.first_chunk::<MEMBER>() {
        let length = usize::from(u16::from_ne_bytes([header[0], header[1]]));
        let Some(inner) = rest.get(MEMBER..length) else { break };
        let link = u32::from_ne_bytes([header[4], header[5], header[6], header[7]]);
        add(link, find(attributes(inner), RTA_GATEWAY), find(attributes(inner), RTA_VIA));
        rest = rest.get(crate::netlink::align(length)..).unwrap_or_default();
    }
    found
}

/// The gateway of a nexthop.
pub fn of_nexthop<'a>(raw: &Raw<'a>) -> Vec<Gateway<'a>> {
    let gateway = raw.attribute(NHA_GATEWAY).zip(raw.number(NHA_OIF));
    let table = u32::from(libc::RT_TABLE_MAIN);
    let of = |(address, link)| Gateway { family: raw.header_u8(0), address, link, table };
    gateway.map(of).into_iter().collect()
}

/// Adds steps before and after those that `between` adds.
pub fn around(
    gateways: &[Gateway<'_>],
    stage: Stage,
    name: &str,
    draft: &mut Draft,
    between: impl FnOnce(&mut Draft),
) {
    for gateway in gateways {
        let message = gateway.message(ROUTES.make, APPEND);
        draft.send(stage, &ROUTES, format!("show the gateway of {name}"), message, &[libc::EEXIST]);
    }
    between(draft);
    for gateway in gateways {
        let message = gateway.message(ROUTES.remove, PLAIN);
        draft.send(stage, &ROUTES, format!("hide the gateway of {name}"), message, &[libc::ESRCH]);
    }
}

impl Gateway<'_> {
    fn message(&self, kind: u16, flags: u16) -> Vec<u8> {
        const LAST: u32 = u32::MAX - 1;
        const RTPROT_BOOT: u8 = 3;
        let bits = u8::try_from(self.address.len() * 8).unwrap_or_default();
        let (scope, unicast) = (libc::RT_SCOPE_LINK, libc::RTN_UNICAST);
        let header = [self.family, bits, 0, 0, 0, RTPROT_BOOT, scope, unicast, 0, 0, 0, 0];
        let mut builder = Builder::new(kind, flags, &header);
        builder.put_u32(RTA_TABLE, self.table).put(RTA_DST, self.address);
        builder.put_u32(RTA_OIF, self.link).put_u32(RTA_PRIORITY, LAST);
        builder.finish()
    }
}
