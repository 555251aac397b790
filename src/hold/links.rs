//! The links through which a pod speaks to the world: its own that lead out of its namespace, and the
//! node's ends of its veth pairs.

use std::net::IpAddr;

use super::Error;
use super::unreachable::Reach;
use crate::host::{number_of, outer_ends};
use crate::netlink::{Message, Protocol, Socket, attributes, messages};
use crate::netns::Namespace;

const RTM_GETLINK: u16 = 18;
const RTM_GETADDR: u16 = 22;
/// Bytes of `struct ifaddrmsg`.
const IFADDR: usize = 8;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
const IFLA_IFNAME: u16 = 3;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_LINK_NETNSID: u16 = 37;

/// The links of one side, by index and name.
pub(super) type Side = Vec<(u32, String)>;

/// Both sides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Links {
    pub(super) pod: Side,
    pub(super) node: Side,
    pub(super) reach: Reach,
}

impl Links {
    /// Reads them.
    ///
    /// A link of the pod leads out if its lower or other end is in another namespace (veth, macvlan,
    /// netkit …), or if it has no kind (a device of the machine). All others (tunnels, bridges, tun)
    /// speak through one of these or stay inside.
    pub(super) fn read(pod: &Namespace, node: &Namespace) -> Result<Self, Error> {
        let failed = |source| Error::Netlink { what: "links", source };
        let descriptor = node.as_raw_fd();
        let (section, addresses, number) = pod
            .run(|| {
                let number = number_of(descriptor)?;
                let mut socket = Socket::open(Protocol::Route)?;
                let links = socket.dump(RTM_GETLINK, &[0; IFINFO])?.bytes;
                Ok((links, socket.dump(RTM_GETADDR, &[0; IFADDR])?.bytes, number))
            })?
            .map_err(failed)?;
        let outer = node.run(|| {
            let mut socket = Socket::open(Protocol::Route)?;
            outer_ends(&mut socket, &section, number)
        })?;
        let outer = outer.map_err(failed)?;
        let pod = messages(&section).map_while(Result::ok).filter(leads_out);
        let pod: Side = pod.filter_map(|link| named(&link)).collect();
        let node = || messages(&outer).map_while(Result::ok);
        let addresses = messages(&addresses).map_while(Result::ok);
        let mut through: Vec<_> = node().filter_map(|link| way(&link)).collect();
        through.sort_unstable();
        through.dedup();
        let reach = Reach {
            addresses: addresses.filter_map(|address| global(&address, &pod)).collect(),
            through,
        };
        Ok(Self { pod, node: node().filter_map(|link| named(&link)).collect(), reach })
    }
}

fn named(link: &Message<'_>) -> Option<(u32, String)> {
    let index = link.body.get(4..8)?.first_chunk().map(|index| u32::from_ne_bytes(*index))?;
    let mut all = link.attributes(IFINFO).map_while(Result::ok);
    Some((index, all.find(|one| one.id == IFLA_IFNAME)?.text()))
}

/// The link through which the node reaches what is behind this one.
fn way(link: &Message<'_>) -> Option<u32> {
    let master = link.attributes(IFINFO).map_while(Result::ok).find(|one| one.id == IFLA_MASTER);
    let own = link.body.get(4..8).and_then(|index| index.first_chunk());
    let master = master.and_then(|master| master.payload.first_chunk());
    master.or(own).map(|index| u32::from_ne_bytes(*index))
}

/// An address of global scope on one of these links.
fn global(address: &Message<'_>, links: &Side) -> Option<IpAddr> {
    let index = address.body.get(4..8)?.first_chunk().map(|index| u32::from_ne_bytes(*index))?;
    let is_global = address.body.get(3) == Some(&libc::RT_SCOPE_UNIVERSE);
    if !is_global || !links.iter().any(|(link, _)| *link == index) {
        return None;
    }
    let find = |id| address.attributes(IFADDR).map_while(Result::ok).find(|one| one.id == id);
    // The local end of a pair, where there is one.
    let bytes = find(IFA_LOCAL).or_else(|| find(IFA_ADDRESS))?.payload;
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

fn leads_out(link: &Message<'_>) -> bool {
    let flags = link.body.get(8..12).and_then(|flags| flags.first_chunk());
    let flags = flags.map_or(0, |flags| u32::from_ne_bytes(*flags));
    if flags & libc::IFF_LOOPBACK as u32 != 0 {
        return false;
    }
    let find = |id| link.attributes(IFINFO).map_while(Result::ok).find(|one| one.id == id);
    let kind = find(IFLA_LINKINFO).and_then(|info| {
        attributes(info.payload).map_while(Result::ok).find(|one| one.id == IFLA_INFO_KIND)
    });
    find(IFLA_LINK_NETNSID).is_some() || kind.is_none()
}
