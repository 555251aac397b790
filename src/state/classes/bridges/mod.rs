//! What bridges and vxlan links forward by: addresses, groups, VLANs and network identifiers
//! (`linux/if_bridge.h`, `linux/neighbour.h`).

mod fdb;
mod mdb;
mod spanning_trees;
mod vlans;
mod vnis;

pub use fdb::{BRIDGE_FDB, is_of_device};
pub use mdb::BRIDGE_MDB;
pub use spanning_trees::BRIDGE_MST;
pub use vlans::{BRIDGE_VLAN_OPTIONS, BRIDGE_VLANS};
pub use vnis::VXLAN_VNIS;

use crate::netlink::{Builder, Protocol, messages};
use crate::state::{ReadError, Reader};

/// `AF_BRIDGE`.
const AF_BRIDGE: u8 = 7;
/// Bytes of `struct br_port_msg`, `struct br_vlan_msg` and `struct tunnel_msg`, which all have the
/// family first and a link's index at 4.
const HEADER: usize = 8;

/// A dump; empty where the kernel is built without what it is asked for.
fn dump(
    reader: &mut Reader,
    what: &'static str,
    kind: u16,
    body: &[u8],
) -> Result<Vec<u8>, ReadError> {
    let mut bytes = Vec::new();
    match reader.dump(Protocol::Route, kind, body, &mut bytes) {
        Ok(()) => Ok(bytes),
        Err(error) if matches!(error.errno(), Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT)) => {
            Ok(Vec::new())
        }
        Err(source) => Err(ReadError::Netlink { what, source }),
    }
}

/// One message for each attribute of this number, so that each is an object: the kernel tells those of
/// a link in one.
fn split(dumped: &[u8], id: u16) -> Vec<u8> {
    let mut section = Vec::new();
    for message in messages(dumped).map_while(Result::ok) {
        let header = message.body.get(..HEADER).unwrap_or_default();
        for entry in message.attributes(HEADER).map_while(Result::ok).filter(|a| a.id == id) {
            let mut one = Builder::new(message.kind, 0, header);
            one.put(entry.id | Builder::NESTED, entry.payload);
            section.extend(one.finish());
        }
    }
    section
}
