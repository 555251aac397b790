//! The classes, one file each.

mod addresses;
pub mod conntrack;
mod encapsulations;
mod families;
pub mod ipset;
pub mod links;
mod neighbour_tables;
mod neighbours;
mod nexthops;
pub mod nftables;
mod routes;
mod rules;
pub mod sysctls;
pub mod tc;

use super::table::Class;

pub use addresses::ADDRESSES;
pub use conntrack::{CONNTRACK, CONNTRACK_EXPECTATIONS};
pub use ipset::{IPSET_MEMBERS, IPSETS};
pub use links::LINKS;
pub use neighbour_tables::NEIGHBOUR_TABLES;
pub use neighbours::{NEIGHBOURS, PROXY_NEIGHBOURS};
pub use nexthops::NEXTHOPS;
pub use nftables::{
    NFT_CHAINS, NFT_FLOWTABLES, NFT_OBJECTS, NFT_RULES, NFT_SET_ELEMENTS, NFT_SETS, NFT_TABLES,
};
pub use routes::ROUTES;
pub use rules::RULES;
pub use sysctls::SYSCTLS;
pub use tc::{QDISCS, TC_ACTIONS, TC_CHAINS, TC_CLASSES, TC_FILTERS};

/// Every class, each after those that its objects refer to.
pub static CLASSES: [&Class; 25] = [
    &LINKS,
    &SYSCTLS,
    &NEIGHBOUR_TABLES,
    &ADDRESSES,
    &NEIGHBOURS,
    &PROXY_NEIGHBOURS,
    &NEXTHOPS,
    &RULES,
    &ROUTES,
    &IPSETS,
    &IPSET_MEMBERS,
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
];

/// The class of this name.
#[must_use]
pub fn class(name: &str) -> Option<&'static Class> {
    CLASSES.into_iter().find(|class| class.name == name)
}
