//! A link, as far as decisions need it.

use super::raw::{Raw, find, text};
use crate::netlink::attributes;
use crate::state::Object;
use crate::state::classes::links::FALLBACK;

/// Bytes of `struct ifinfomsg`.
pub const HEADER: usize = 16;
/// Flags and attributes of `linux/if.h` and `linux/if_link.h`.
pub const UP: u32 = libc::IFF_UP as u32;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_MASTER: u16 = 10;
const IFLA_LINKINFO: u16 = 18;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_NUM_TX_QUEUES: u16 = 31;
const IFLA_NUM_RX_QUEUES: u16 = 32;
const IFLA_LINK_NETNSID: u16 = 37;
const IFLA_PROP_LIST: u16 = 52;
const IFLA_ALT_IFNAME: u16 = 53;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const IFLA_INFO_SLAVE_KIND: u16 = 4;
const IFLA_INFO_SLAVE_DATA: u16 = 5;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;

/// Kinds that name the link that they stand on in their data, and the attribute of it
/// (`IFLA_VXLAN_LINK`, `IFLA_GRE_LINK`, `IFLA_IPTUN_LINK`, `IFLA_VTI_LINK`, `IFLA_XFRM_LINK`).
const LOWER_IN_DATA: &[(&str, u16)] = &[
    ("erspan", 1),
    ("gre", 1),
    ("gretap", 1),
    ("ip6erspan", 1),
    ("ip6gre", 1),
    ("ip6gretap", 1),
    ("ip6tnl", 1),
    ("ipip", 1),
    ("sit", 1),
    ("vti", 1),
    ("vti6", 1),
    ("vxlan", 3),
    ("xfrm", 1),
];

/// Where the link is that another stands on (for veth: its other end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parent {
    None,
    Inside(u32),
    Outside(u32),
}

/// A link, as far as decisions need it.
#[derive(Debug, Clone, Copy)]
pub struct Link<'a> {
    pub object: &'a Object,
    pub raw: Raw<'a>,
    pub index: u32,
    pub flags: u32,
    pub name: &'a str,
    /// Empty for links that no one makes (lo, hardware).
    pub kind: &'a str,
    pub parent: Parent,
    /// 0 for none.
    pub master: u32,
}

impl<'a> Link<'a> {
    pub fn new(object: &'a Object) -> Self {
        let raw = Raw::new(&object.bytes, HEADER);
        let index = raw.header_u32(4);
        let parent = match raw.number(IFLA_LINK) {
            Some(0) | None => Parent::None,
            Some(other) if raw.has(IFLA_LINK_NETNSID) => Parent::Outside(other),
            // Some kinds name themselves.
            Some(other) if other == index => Parent::None,
            Some(other) => Parent::Inside(other),
        };
        Self {
            object,
            raw,
            index,
            flags: raw.header_u32(8),
            name: raw.text(IFLA_IFNAME).unwrap_or_default(),
            kind: raw.within(IFLA_LINKINFO, IFLA_INFO_KIND).and_then(text).unwrap_or_default(),
            parent,
            master: raw.number(IFLA_MASTER).unwrap_or_default(),
        }
    }

    pub fn all(objects: &'a [Object]) -> Vec<Self> {
        objects.iter().map(Self::new).collect()
    }

    pub fn is_up(&self) -> bool {
        self.flags & UP != 0
    }

    /// Whether the link below it is told in the data of its kind.
    pub fn has_lower_in_data(&self) -> bool {
        LOWER_IN_DATA.iter().any(|(kind, _)| *kind == self.kind)
    }

    /// Index of the link inside that it stands on, which has to be there, and up, before it. The other
    /// end of a veth is none.
    pub fn lower(&self) -> Option<u32> {
        if let Some((_, id)) = LOWER_IN_DATA.iter().find(|(kind, _)| *kind == self.kind) {
            let index = find(attributes(self.data()?), *id)?.first_chunk()?;
            return Some(u32::from_ne_bytes(*index)).filter(|index| *index != 0);
        }
        match self.parent {
            Parent::Inside(parent) if !self.is_veth() => Some(parent),
            _ => None,
        }
    }

    /// The attributes of its kind (`IFLA_INFO_DATA`).
    pub fn data(&self) -> Option<&'a [u8]> {
        self.raw.within(IFLA_LINKINFO, IFLA_INFO_DATA)
    }

    /// A number in the data of its kind.
    pub fn data_number(&self, id: u16) -> Option<u32> {
        let payload = find(attributes(self.data()?), id)?;
        payload.first_chunk().map(|number| u32::from_ne_bytes(*number))
    }

    /// The kind of its master, as a port of it; empty without one.
    pub fn port_kind(&self) -> &'a str {
        self.raw.within(IFLA_LINKINFO, IFLA_INFO_SLAVE_KIND).and_then(text).unwrap_or_default()
    }

    /// What its master keeps of it as a port (`IFLA_INFO_SLAVE_DATA`).
    pub fn port_data(&self) -> Option<&'a [u8]> {
        self.raw.within(IFLA_LINKINFO, IFLA_INFO_SLAVE_DATA)
    }

    pub fn is_bridge(&self) -> bool {
        self.kind == "bridge"
    }

    /// Whether its address is its own: that of a tunnel of IP is the tunnel's local one.
    pub fn is_ethernet(&self) -> bool {
        const ARPHRD_ETHER: u16 = 1;
        self.raw.header_u16(2) == ARPHRD_ETHER
    }

    /// Whether the kernel gives it to a namespace together with a module.
    pub fn is_fallback(&self) -> bool {
        FALLBACK.contains(&(self.name, self.kind))
    }

    pub fn is_veth(&self) -> bool {
        self.kind == "veth"
    }

    /// Queues for sending and receiving.
    pub fn queues(&self) -> (u32, u32) {
        let of = |id| self.raw.number(id).unwrap_or(1);
        (of(IFLA_NUM_TX_QUEUES), of(IFLA_NUM_RX_QUEUES))
    }

    pub fn is_loopback(&self) -> bool {
        self.flags & libc::IFF_LOOPBACK as u32 != 0
    }

    /// Whether the kernel makes it with the namespace, so that it can neither be made nor removed.
    pub fn is_given(&self) -> bool {
        self.is_loopback() || self.kind.is_empty() || self.is_fallback()
    }

    /// How it makes IPv6 addresses (`IN6_ADDR_GEN_MODE_*`).
    pub fn address_mode(&self) -> Option<u8> {
        self.ipv6(IFLA_INET6_ADDR_GEN_MODE)?.first().copied()
    }

    /// An attribute of `IFLA_AF_SPEC` for IPv6.
    pub fn ipv6(&self, id: u16) -> Option<&'a [u8]> {
        let families = attributes(self.raw.attribute(IFLA_AF_SPEC)?);
        find(attributes(find(families, libc::AF_INET6 as u16)?), id)
    }

    /// Alternative names, in their order.
    pub fn other_names(&self) -> Vec<&'a str> {
        let list = self.raw.attribute(IFLA_PROP_LIST).unwrap_or_default();
        let all = attributes(list).map_while(Result::ok);
        all.filter(|name| name.id == IFLA_ALT_IFNAME)
            .filter_map(|name| text(name.payload))
            .collect()
    }
}
