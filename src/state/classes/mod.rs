//! The classes, one file each.

mod accounting;
mod address_labels;
mod addresses;
mod bpf;
pub mod bridges;
pub mod conntrack;
pub mod devices;
mod encapsulations;
mod families;
mod fou;
pub mod ioam6;
pub mod ipset;
pub mod ipvs;
pub mod link_files;
pub mod links;
mod mpls_routes;
pub mod mptcp;
pub mod multicast;
mod neighbour_tables;
mod neighbours;
mod nexthops;
pub mod nftables;
mod routes;
mod rules;
pub mod segments;
mod sockets;
pub mod sysctls;
pub mod tc;
pub mod wireguard;
pub mod xfrm;
pub mod xtables;

use super::table::Class;

pub use accounting::ACCOUNTING;
pub use address_labels::ADDRESS_LABELS;
pub use addresses::ADDRESSES;
pub use bpf::BPF;
pub use bridges::{
    BRIDGE_FDB, BRIDGE_MDB, BRIDGE_MST, BRIDGE_VLAN_OPTIONS, BRIDGE_VLANS, VXLAN_VNIS,
};
pub use conntrack::{CONNTRACK, CONNTRACK_EXPECTATIONS, CONNTRACK_TIMEOUTS};
pub use devices::{
    DEVICE_CHANNELS, DEVICE_COALESCING, DEVICE_FEATURES, DEVICE_LINK_INFO, DEVICE_LINK_MODES,
    DEVICE_MESSAGES,
};
pub use fou::FOU;
pub use ioam6::{IOAM6_NAMESPACES, IOAM6_SCHEMAS};
pub use ipset::{IPSET_MEMBERS, IPSETS};
pub use ipvs::{IPVS_DAEMONS, IPVS_DESTINATIONS, IPVS_SERVICES, IPVS_TIMEOUTS};
pub use link_files::LINK_FILES;
pub use links::LINKS;
pub use mpls_routes::MPLS_ROUTES;
pub use mptcp::{MPTCP_ENDPOINTS, MPTCP_LIMITS};
pub use multicast::{MULTICAST_ADDRESSES, MULTICAST_GROUPS};
pub use neighbour_tables::NEIGHBOUR_TABLES;
pub use neighbours::{NEIGHBOURS, PROXY_NEIGHBOURS};
pub use nexthops::NEXTHOPS;
pub use nftables::{
    NFT_CHAINS, NFT_FLOWTABLES, NFT_OBJECTS, NFT_RULES, NFT_SET_ELEMENTS, NFT_SETS, NFT_TABLES,
};
pub use routes::ROUTES;
pub use rules::{MULTICAST_RULES, RULES};
pub use segments::{SEG6_HMAC, SEG6_SOURCE};
pub use sockets::{NETLINK_SOCKETS, OTHER_SOCKETS, PACKET_SOCKETS, SOCKETS, UNIX_SOCKETS};
pub use sysctls::SYSCTLS;
pub use tc::{QDISCS, TC_ACTIONS, TC_CHAINS, TC_CLASSES, TC_FILTERS};
pub use wireguard::{WIREGUARD_DEVICES, WIREGUARD_PEERS};
pub use xfrm::{XFRM_DEFAULTS, XFRM_POLICIES, XFRM_STATES, XFRM_THRESHOLDS};
pub use xtables::{ARPTABLES, IP6TABLES, IPTABLES};

/// Every class, each after those that its objects refer to.
pub static CLASSES: [&Class; 71] = [
    &LINKS,
    &SYSCTLS,
    &NEIGHBOUR_TABLES,
    &ADDRESSES,
    &NEIGHBOURS,
    &PROXY_NEIGHBOURS,
    &NEXTHOPS,
    &BRIDGE_VLANS,
    &BRIDGE_VLAN_OPTIONS,
    &BRIDGE_MST,
    &VXLAN_VNIS,
    &BRIDGE_FDB,
    &BRIDGE_MDB,
    &WIREGUARD_DEVICES,
    &WIREGUARD_PEERS,
    &DEVICE_FEATURES,
    &DEVICE_CHANNELS,
    &DEVICE_COALESCING,
    &DEVICE_LINK_MODES,
    &DEVICE_LINK_INFO,
    &DEVICE_MESSAGES,
    &LINK_FILES,
    &RULES,
    &MULTICAST_RULES,
    &ROUTES,
    &MPLS_ROUTES,
    &MULTICAST_ADDRESSES,
    &ADDRESS_LABELS,
    &MPTCP_LIMITS,
    &MPTCP_ENDPOINTS,
    &SEG6_HMAC,
    &SEG6_SOURCE,
    &IOAM6_SCHEMAS,
    &IOAM6_NAMESPACES,
    &FOU,
    &IPVS_SERVICES,
    &IPVS_DESTINATIONS,
    &IPVS_DAEMONS,
    &IPVS_TIMEOUTS,
    &XFRM_THRESHOLDS,
    &XFRM_STATES,
    &XFRM_POLICIES,
    &XFRM_DEFAULTS,
    &IPSETS,
    &IPSET_MEMBERS,
    &CONNTRACK_TIMEOUTS,
    &ACCOUNTING,
    &IPTABLES,
    &IP6TABLES,
    &ARPTABLES,
    &NFT_TABLES,
    &NFT_CHAINS,
    &NFT_SETS,
    &NFT_OBJECTS,
    &NFT_FLOWTABLES,
    &NFT_SET_ELEMENTS,
    &NFT_RULES,
    &CONNTRACK,
    &CONNTRACK_EXPECTATIONS,
    &QDISCS,
    &TC_CLASSES,
    &TC_CHAINS,
    &TC_ACTIONS,
    &TC_FILTERS,
    &SOCKETS,
    &PACKET_SOCKETS,
    &UNIX_SOCKETS,
    &NETLINK_SOCKETS,
    &OTHER_SOCKETS,
    &MULTICAST_GROUPS,
    &BPF,
];

/// The class of this name.
#[must_use]
pub fn class(name: &str) -> Option<&'static Class> {
    CLASSES.into_iter().find(|class| class.name == name)
}
