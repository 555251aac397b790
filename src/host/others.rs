//! What on the node names a pod and belongs to somebody else: it is not carried, and told by name.

use std::net::IpAddr;

use crate::hold;
use crate::image::NotCarried;
use crate::netlink::{Message, attributes, messages};
use crate::state::classes::{
    BRIDGE_FDB, BRIDGE_VLANS, IP6TABLES, IPTABLES, NEIGHBOURS, NFT_RULES, NFT_SET_ELEMENTS, RULES,
};
use crate::state::table::Class;
use crate::state::{Names, ReadError, Reader, decode};

/// Things named of one class: a service may name a pod in many rules.
const MOST: usize = 32;

/// Where to look, and whose it is.
const LOOKED: [(&Class, &str); 8] = [
    (&RULES, "a rule of the node's routing belongs to who made it (the node's CNI)"),
    (&NEIGHBOURS, "it is an entry of another link of the node, and is learned or made anew there"),
    (&BRIDGE_FDB, "the node's bridge learns it anew, or who made it has to make it there"),
    (&BRIDGE_VLANS, "which VLANs a port has is for the node's CNI to say, not for an image"),
    (&NFT_RULES, RULESET),
    (&NFT_SET_ELEMENTS, RULESET),
    (&IPTABLES, RULESET),
    (&IP6TABLES, RULESET),
];
const RULESET: &str = "the node's packet filter belongs to who made it: portmap makes its hostPorts \
                       anew for the restored addresses, kube-proxy and network policies follow the \
                       new pod";

/// A pod by what others call it.
#[derive(Debug)]
pub struct Named<'a> {
    /// The pod's outer ends.
    pub ends: &'a Names,
    /// The pod's addresses of global scope.
    pub addresses: &'a [IpAddr],
    /// Hardware addresses that are the outer ends' own.
    pub own: &'a [Vec<u8>],
}

/// Looks for it. On a thread in the node's namespace. What can't be read is named as well.
pub fn find(
    named: &Named<'_>,
    read: impl Fn(&'static Class, &mut Reader) -> Result<Vec<u8>, ReadError>,
) -> Vec<NotCarried> {
    let mut reader = Reader::new();
    let mut found = Vec::new();
    for (class, why) in LOOKED {
        let tell = |object: String, why: String| NotCarried {
            class: format!("host/{}", class.name),
            object,
            why,
            matters: false,
        };
        let section = match read(class, &mut reader) {
            Ok(section) => section,
            Err(error) => {
                found.push(tell("all".to_owned(), format!("it can't be looked at: {error}")));
                continue;
            }
        };
        let mut names: Vec<String> = messages(&section)
            .map_while(Result::ok)
            .filter(|one| {
                one.kind == class.tells && (class.belongs)(one) && named.is_in(class, one)
            })
            .map(|one| (class.label)(&decode(class, one.bytes), named.ends))
            .collect();
        names.sort();
        names.dedup();
        let more = names.len().saturating_sub(MOST);
        names.truncate(MOST);
        names.extend((more > 0).then(|| format!("{more} more")));
        found.extend(names.into_iter().map(|object| tell(object, why.to_owned())));
    }
    found
}

impl Named<'_> {
    fn is_in(&self, class: &Class, message: &Message<'_>) -> bool {
        let index = message.body.get(4..8).and_then(|four| four.first_chunk());
        let on_end = index.is_some_and(|index| self.ends.has(u32::from_ne_bytes(*index)));
        match class.name {
            name if name == NEIGHBOURS.name => {
                let lasts = !(class.fleeting)(&decode(class, message.bytes));
                lasts && !on_end && self.names(message, 12)
            }
            name if name == BRIDGE_FDB.name => {
                let attributes = message.attributes(12).map_while(Result::ok);
                let group = |one: &[u8]| one.first().is_some_and(|first| first & 1 != 0);
                let own = |one: &[u8]| self.own.iter().any(|own| own == one) || group(one);
                let given = !(class.fleeting)(&decode(class, message.bytes));
                on_end && given && attributes.filter(|one| one.id == 2).all(|one| !own(one.payload))
            }
            name if name == BRIDGE_VLANS.name => on_end && !is_first_vlan(message),
            name if name == RULES.name => self.names(message, 12),
            name if name == IPTABLES.name || name == IP6TABLES.name => self.holds(message.body),
            _ => !is_hold(message) && self.names(message, 4),
        }
    }

    /// Whether an attribute, however deep, is an address of the pod or the name of an outer end.
    fn names(&self, message: &Message<'_>, header: usize) -> bool {
        message.body.get(header..).is_some_and(|body| self.within(body, 0))
    }

    fn within(&self, bytes: &[u8], depth: u32) -> bool {
        const DEEPEST: u32 = 10;
        depth < DEEPEST
            && attributes(bytes).map_while(Result::ok).any(|one| {
                self.is(one.payload) || one.payload.len() > 4 && self.within(one.payload, depth + 1)
            })
    }

    fn is(&self, payload: &[u8]) -> bool {
        let text = payload.split(|byte| *byte == 0).next().unwrap_or_default();
        self.addresses.iter().any(|address| match address {
            IpAddr::V4(v4) => payload == v4.octets(),
            IpAddr::V6(v6) => payload == v6.octets(),
        }) || self.ends.iter().any(|(_, name)| name.as_bytes() == text)
    }

    /// The same for a rule of a legacy table, in which numbers stand at multiples of four.
    fn holds(&self, rule: &[u8]) -> bool {
        let has =
            |wanted: &[u8]| rule.windows(wanted.len()).step_by(4).any(|window| window == wanted);
        self.addresses.iter().any(|address| match address {
            IpAddr::V4(v4) => has(&v4.octets()),
            IpAddr::V6(v6) => has(&v6.octets()),
        }) || self.ends.iter().any(|(_, name)| {
            let wanted = [name.as_bytes(), &[0]].concat();
            rule.windows(wanted.len()).any(|window| window == wanted)
        })
    }
}

/// Whether what a message of nftables tells of is a hold of this project's, which goes with its time.
fn is_hold(message: &Message<'_>) -> bool {
    /// `NFTA_RULE_TABLE`, `NFTA_SET_ELEM_LIST_TABLE`.
    const TABLE: u16 = 1;
    let mut attributes = message.attributes(4).map_while(Result::ok);
    attributes.find(|one| one.id == TABLE).is_some_and(|table| hold::is_own(&table.text()))
}

/// Whether it is the VLAN that every port has by itself: 1, untagged.
fn is_first_vlan(message: &Message<'_>) -> bool {
    /// `BRIDGE_VLANDB_ENTRY`, `BRIDGE_VLANDB_ENTRY_INFO`.
    const ENTRY: u16 = 1;
    const INFO: u16 = 1;
    let mut entries = message.attributes(8).map_while(Result::ok).filter(|one| one.id == ENTRY);
    entries.all(|entry| {
        let mut parts = attributes(entry.payload).map_while(Result::ok);
        // `struct bridge_vlan_info`: flags, number.
        parts
            .find(|one| one.id == INFO)
            .is_some_and(|info| info.payload.get(2..4) == Some(&1_u16.to_ne_bytes()))
    })
}
