//! The kinds of links: their data, and that of ports of a master.

use super::{bond, bridge, tunnels, virtual_links};
use crate::state::table::{Attr, Shape};
use crate::state::{Fault, Value};

/// Kinds whose links come back. Of those marked `false` the tables are from the uAPI headers, and
/// no kernel that was at hand has made one.
pub const CARRIED: &[(&str, bool)] = &[
    ("bareudp", false),
    ("bond", false),
    ("bridge", true),
    ("dummy", false),
    ("erspan", false),
    ("geneve", false),
    ("gre", false),
    ("gretap", false),
    ("ifb", true),
    ("ip6erspan", false),
    ("ip6gre", false),
    ("ip6gretap", false),
    ("ip6tnl", false),
    ("ipip", false),
    ("ipvlan", false),
    ("ipvtap", false),
    ("macvlan", true),
    ("macvtap", true),
    ("nlmon", false),
    ("sit", false),
    ("tun", true),
    ("vcan", false),
    ("veth", true),
    ("vlan", false),
    ("vrf", false),
    ("vti", false),
    ("vti6", false),
    ("vxlan", true),
    ("wireguard", false),
    ("xfrm", false),
];

/// Whether links of the kind come back.
pub fn is_carried(kind: &str) -> bool {
    CARRIED.iter().any(|(carried, _)| *carried == kind)
}

/// Kinds that are known and do not come back, and why.
pub const LEFT: &[(&str, &str)] = &[
    ("can", "it belongs to the machine"),
    ("gtp", "a process holds its sockets, and makes it again with them"),
    ("ipoib", "it belongs to the machine"),
    ("macsec", "packet numbers that are used twice with one key give the key away"),
    ("netkit", "it does nothing without the eBPF programs of its owner, who makes it"),
    ("ovpn", "a process holds its keys and peers"),
    ("team", "a daemon holds its state, and makes it again"),
    ("vxcan", "its other end may be outside of the namespace"),
    ("wwan", "it belongs to the machine"),
];

/// `IFLA_INFO_DATA` by `IFLA_INFO_KIND`.
pub const KINDS: &[(&str, Shape)] = &[
    ("bareudp", Shape::Nest(tunnels::BAREUDP)),
    ("bond", Shape::Nest(bond::BOND)),
    ("bridge", Shape::Nest(bridge::BRIDGE)),
    ("erspan", Shape::Nest(tunnels::GRE)),
    ("geneve", Shape::Nest(tunnels::GENEVE)),
    ("gre", Shape::Nest(tunnels::GRE)),
    ("gretap", Shape::Nest(tunnels::GRE)),
    ("ip6erspan", Shape::Nest(tunnels::GRE)),
    ("ip6gre", Shape::Nest(tunnels::GRE)),
    ("ip6gretap", Shape::Nest(tunnels::GRE)),
    ("ip6tnl", Shape::Nest(tunnels::IP)),
    ("ipip", Shape::Nest(tunnels::IP)),
    ("ipvlan", Shape::Nest(virtual_links::IPVLAN)),
    ("ipvtap", Shape::Nest(virtual_links::IPVLAN)),
    ("macvlan", Shape::Nest(virtual_links::MACVLAN)),
    ("macvtap", Shape::Nest(virtual_links::MACVLAN)),
    ("netkit", Shape::Nest(virtual_links::NETKIT)),
    ("sit", Shape::Nest(tunnels::IP)),
    ("tun", Shape::Nest(virtual_links::TUN)),
    // Told only to make one.
    ("veth", Shape::Nest(&[Attr::refuse(1, "peer")])),
    ("vlan", Shape::Nest(virtual_links::VLAN)),
    ("vrf", Shape::Nest(&[Attr::keep(1, "table", Shape::U32)])),
    ("vti", Shape::Nest(tunnels::VTI)),
    ("vti6", Shape::Nest(tunnels::VTI)),
    ("vxlan", Shape::Nest(tunnels::VXLAN)),
    ("xfrm", Shape::Nest(virtual_links::XFRM)),
];

/// Number of a setting of a kind, by its name in the table.
pub fn setting(kind: &str, name: &str) -> Option<u16> {
    number(KINDS, kind, name)
}

/// The same for a port of a master of this kind.
pub fn port_setting(kind: &str, name: &str) -> Option<u16> {
    number(PORT_KINDS, kind, name)
}

fn number(kinds: &[(&str, Shape)], kind: &str, name: &str) -> Option<u16> {
    let (_, shape) = kinds.iter().find(|(known, _)| *known == kind)?;
    let Shape::Nest(table) = shape else { return None };
    table.iter().find(|attr| attr.name == name).map(|attr| attr.id)
}

/// `IFLA_INFO_SLAVE_DATA` by `IFLA_INFO_SLAVE_KIND`.
pub const PORT_KINDS: &[(&str, Shape)] = &[
    ("bond", Shape::Nest(bond::PORT)),
    ("bridge", Shape::Nest(bridge::PORT)),
    ("vrf", Shape::Nest(&[Attr::derived(1, "table", Shape::U32)])),
];

/// Links that the kernel gives a namespace together with a module (unless
/// `net.core.fb_tunnels_only_for_init_net` says otherwise): nobody makes or removes them.
pub const FALLBACK: &[(&str, &str)] = &[
    ("erspan0", "erspan"),
    ("gre0", "gre"),
    ("gretap0", "gretap"),
    ("ip6_vti0", "vti6"),
    ("ip6gre0", "ip6gre"),
    ("ip6tnl0", "ip6tnl"),
    ("ip_vti0", "vti"),
    ("sit0", "sit"),
    ("tunl0", "ipip"),
];

/// Whether a link can have this name (`dev_valid_name` in `net/core/dev.c`). With a `%` a kernel would
/// choose another.
fn is_name(name: &str) -> bool {
    const IFNAMSIZ: usize = 16;
    let bad = |letter: char| matches!(letter, '/' | ':' | '%') || letter.is_whitespace();
    (1..IFNAMSIZ).contains(&name.len()) && !matches!(name, "." | "..") && !name.contains(bad)
}

/// Why this version does not bring the link back, if so.
pub fn faults(link: &Value) -> Vec<Fault> {
    const ARPHRD_LOOPBACK: u64 = 772;
    if link.text("ifname").is_some_and(|name| !is_name(name)) {
        return vec![Fault::Object("its name is none that a link can have".to_owned())];
    }
    // How bytes are shown that are no text.
    if link.text("ifname").is_some_and(|name| name.contains("\\x")) {
        let why = "a link whose name is not UTF-8 is not carried: give it another".to_owned();
        return vec![Fault::Object(why)];
    }
    let Some(kind) = link.text("linkinfo.kind") else {
        if link.number("type") == Some(ARPHRD_LOOPBACK) {
            return Vec::new();
        }
        let why = "a link of a device is not carried: it belongs to the machine".to_owned();
        return vec![Fault::Object(why)];
    };
    if !is_carried(kind) {
        let known = LEFT.iter().find(|(left, _)| *left == kind);
        let why = known.map_or("this version has no table of it", |(_, why)| why);
        return vec![Fault::Object(format!("links of kind {kind} are not carried: {why}"))];
    }
    // Of a veth it is the way out; all others would have to find another machine's link.
    if kind != "veth" && link.field("link_netnsid").is_some() {
        let why = format!(
            "a {kind} that stands on a link or on sockets of another namespace is not carried: \
             make it again where it came from"
        );
        return vec![Fault::Object(why)];
    }
    if kind == "tun" && link.number("linkinfo.data.persist") == Some(0) {
        let why =
            "a process holds it open, and makes it again: it goes when it is closed".to_owned();
        return vec![Fault::Object(why)];
    }
    if link.number("linkinfo.data.topology_change") == Some(1) {
        let why =
            "comes back with the short ageing time that it has while its spanning tree changes";
        return vec![Fault::Part(why.to_owned())];
    }
    Vec::new()
}
