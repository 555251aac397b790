//! What the node has to know of a pod's interface, read inside the pod's namespace.

use std::net::IpAddr;

use crate::netlink::{
    Attributes, Error as Netlink, Malformed, Message, Protocol, Socket, align, attributes, ip,
    messages,
};
use crate::netns::{self, Namespace};

/// The pod's interface could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error(transparent)]
    Enter(#[from] netns::Error),
    #[error("the interface `{interface}` of {netns} can't be read ({what}): {source}")]
    Netlink { interface: String, netns: String, what: &'static str, source: Netlink },
    #[error("the interface `{interface}` of {netns}: the kernel's answer can't be read: {source}")]
    Malformed { interface: String, netns: String, source: Malformed },
    #[error("{netns} has no interface `{interface}`")]
    Missing { interface: String, netns: String },
}

/// A pod's interface.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inside {
    pub index: u32,
    /// Empty for interfaces without a hardware address.
    pub mac: Vec<u8>,
    pub mtu: u32,
    /// Index of the other end in its own namespace (`IFLA_LINK` with `IFLA_LINK_NETNSID`); none when
    /// the other end is in the pod or there is none.
    pub peer: Option<u32>,
    /// Addresses of global scope with their prefix length, in the kernel's order.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Routes through the interface with a gateway: destination (none for the default), table,
    /// gateway. In the kernel's order.
    pub gateways: Vec<Gateway>,
    /// Destinations that are reached on the link itself.
    pub on_link: Vec<(IpAddr, u8)>,
    /// Entries of the neighbour table that were learned, and not set by somebody.
    pub neighbours: Vec<Neighbour>,
}

/// A route through a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    pub to: (IpAddr, u8),
    pub table: u32,
    pub gateway: IpAddr,
}

/// A learned neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    pub address: IpAddr,
    pub mac: Vec<u8>,
}

/// `struct ifinfomsg`, `ifaddrmsg`, `rtmsg`, `ndmsg`: bytes before the attributes.
const IFINFO: usize = 16;
const IFADDR: usize = 8;
const RTMSG: usize = 12;
const NDMSG: usize = 12;
/// `NDA_*` of `linux/neighbour.h`.
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;
/// `NUD_INCOMPLETE`, `NUD_REACHABLE`, `NUD_STALE`, `NUD_DELAY`, `NUD_PROBE`, `NUD_FAILED`.
const LEARNED: u16 = 0x3f;
/// `NTF_PROXY`, `NTF_EXT_LEARNED`: made by somebody.
const SET: u8 = 0x08 | 0x10;

impl Inside {
    /// Reads the interface. Blocks.
    ///
    /// # Errors
    /// [`ReadError`] with what was asked.
    pub fn read(netns: &Namespace, interface: &str) -> Result<Self, ReadError> {
        netns.run(|| Reading { netns: netns.name(), interface }.all())?
    }

    /// The hardware address as `aa:bb:…`; empty where there is none.
    #[must_use]
    pub fn mac_text(&self) -> String {
        self.mac.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
    }

    /// The default gateway of a family in the main table.
    #[must_use]
    pub fn default_gateway(&self, v4: bool) -> Option<IpAddr> {
        let main = u32::from(libc::RT_TABLE_MAIN);
        let mut routes = self.gateways.iter();
        let found =
            routes.find(|one| one.table == main && one.to.1 == 0 && one.to.0.is_ipv4() == v4);
        found.map(|one| one.gateway)
    }
}

struct Reading<'a> {
    netns: &'a str,
    interface: &'a str,
}

impl Reading<'_> {
    fn all(&self) -> Result<Inside, ReadError> {
        let mut socket =
            Socket::open(Protocol::Route).map_err(|source| self.netlink("socket", source))?;
        let mut inside = Inside::default();
        self.dump(&mut socket, "links", libc::RTM_GETLINK, IFINFO, |message| {
            link(message, self.interface, &mut inside);
        })?;
        if inside.index == 0 {
            let (interface, netns) = (self.interface.to_owned(), self.netns.to_owned());
            return Err(ReadError::Missing { interface, netns });
        }
        self.dump(&mut socket, "addresses", libc::RTM_GETADDR, IFADDR, |message| {
            address(message, &mut inside);
        })?;
        self.dump(&mut socket, "routes", libc::RTM_GETROUTE, RTMSG, |message| {
            route(message, &mut inside);
        })?;
        self.dump(&mut socket, "neighbours", libc::RTM_GETNEIGH, NDMSG, |message| {
            neighbour(message, &mut inside);
        })?;
        Ok(inside)
    }

    fn dump(
        &self,
        socket: &mut Socket,
        what: &'static str,
        kind: u16,
        header: usize,
        mut each: impl FnMut(&Message<'_>),
    ) -> Result<(), ReadError> {
        let dump = socket.dump(kind, &vec![0; header]);
        let dump = dump.map_err(|source| self.netlink(what, source))?;
        for message in messages(&dump.bytes) {
            let message = message.map_err(|source| ReadError::Malformed {
                interface: self.interface.to_owned(),
                netns: self.netns.to_owned(),
                source,
            })?;
            if message.body.len() >= header {
                each(&message);
            }
        }
        Ok(())
    }

    fn netlink(&self, what: &'static str, source: Netlink) -> ReadError {
        let (interface, netns) = (self.interface.to_owned(), self.netns.to_owned());
        ReadError::Netlink { interface, netns, what, source }
    }
}

fn link(message: &Message<'_>, interface: &str, inside: &mut Inside) {
    let attribute = |id| payload(message.attributes(IFINFO), id);
    let name = attribute(libc::IFLA_IFNAME).map(|text| text.strip_suffix(&[0]).unwrap_or(text));
    if name != Some(interface.as_bytes()) {
        return;
    }
    inside.index = number(message.body.get(4..8));
    inside.mac = attribute(libc::IFLA_ADDRESS).unwrap_or_default().to_vec();
    inside.mtu = number(attribute(libc::IFLA_MTU));
    let outside = attribute(libc::IFLA_LINK_NETNSID).is_some();
    inside.peer = attribute(libc::IFLA_LINK).filter(|_| outside).map(|link| number(Some(link)));
}

fn address(message: &Message<'_>, inside: &mut Inside) {
    let attribute = |id| payload(message.attributes(IFADDR), id);
    let global = message.body[3] == libc::RT_SCOPE_UNIVERSE;
    if !global || number(message.body.get(4..8)) != inside.index {
        return;
    }
    // The local end of a pair, where there is one (`ifa_local` in `man 7 rtnetlink`).
    let local = attribute(libc::IFA_LOCAL).or_else(|| attribute(libc::IFA_ADDRESS));
    if let Some(address) = local.and_then(ip) {
        inside.addresses.push((address, message.body[1]));
    }
}

fn route(message: &Message<'_>, inside: &mut Inside) {
    let attribute = |id| payload(message.attributes(RTMSG), id);
    let [family, length, ..] = *message.body else { return };
    let unspecified = match i32::from(family) {
        libc::AF_INET => IpAddr::from([0; 4]),
        libc::AF_INET6 => IpAddr::from([0; 16]),
        _ => return,
    };
    let unicast = message.body[7] == libc::RTN_UNICAST;
    if !unicast {
        return;
    }
    let to = (attribute(libc::RTA_DST).and_then(ip).unwrap_or(unspecified), length);
    let table = attribute(libc::RTA_TABLE);
    let table = table.map_or(u32::from(message.body[4]), |table| number(Some(table)));
    if let Some(hops) = attribute(libc::RTA_MULTIPATH) {
        return multipath(hops, to, table, inside);
    }
    if number(attribute(libc::RTA_OIF)) != inside.index {
        return;
    }
    match attribute(libc::RTA_GATEWAY).and_then(ip) {
        Some(gateway) => inside.gateways.push(Gateway { to, table, gateway }),
        None => inside.on_link.push(to),
    }
}

/// Gateways of a multipath route: `struct rtnexthop`, its attributes, the next one.
fn multipath(mut hops: &[u8], to: (IpAddr, u8), table: u32, inside: &mut Inside) {
    const RTNEXTHOP: usize = 8;
    while hops.len() >= RTNEXTHOP {
        let length = usize::from(u16::from_ne_bytes([hops[0], hops[1]]));
        let Some(hop) = hops.get(..length).filter(|hop| hop.len() >= RTNEXTHOP) else { return };
        let gateway = payload(attributes(&hop[RTNEXTHOP..]), libc::RTA_GATEWAY).and_then(ip);
        if let Some(gateway) = gateway.filter(|_| number(hop.get(4..8)) == inside.index) {
            inside.gateways.push(Gateway { to, table, gateway });
        }
        hops = hops.get(align(length)..).unwrap_or_default();
    }
}

fn neighbour(message: &Message<'_>, inside: &mut Inside) {
    let attribute = |id| payload(message.attributes(NDMSG), id);
    let state = u16::from_ne_bytes([message.body[8], message.body[9]]);
    let learned = state & LEARNED != 0 && message.body[10] & SET == 0;
    if !learned || number(message.body.get(4..8)) != inside.index {
        return;
    }
    if let Some(address) = attribute(NDA_DST).and_then(ip) {
        let mac = attribute(NDA_LLADDR).unwrap_or_default().to_vec();
        inside.neighbours.push(Neighbour { address, mac });
    }
}

fn payload(all: Attributes<'_>, id: u16) -> Option<&[u8]> {
    all.map_while(Result::ok).find(|attribute| attribute.id == id).map(|found| found.payload)
}

fn number(bytes: Option<&[u8]>) -> u32 {
    let bytes = bytes.and_then(|bytes| bytes.first_chunk());
    bytes.map_or(0, |bytes| u32::from_ne_bytes(*bytes))
}
