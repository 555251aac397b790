//! The outer ends of a namespace's veth pairs, found by index and seen to be the same pair.

use crate::netlink::{Builder, Error, Socket, messages};

const RTM_GETLINK: u16 = 18;
const IFLA_LINK: u16 = 5;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
/// `RTEXT_FILTER_SKIP_STATS`.
const SKIP_STATS: u32 = 8;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;

/// The links of the namespace of `host` that are the other ends of `inside`, a section of links
/// of another namespace. As a section of links.
///
/// # Errors
/// As [`Socket::get`].
pub fn outer_ends(host: &mut Socket, inside: &[u8]) -> Result<Vec<u8>, Error> {
    let mut section = Vec::new();
    for message in messages(inside).map_while(Result::ok) {
        let of = |id| {
            let found = message.attributes(IFINFO).map_while(Result::ok).find(|a| a.id == id);
            found.and_then(|found| found.payload.first_chunk().map(|n| u32::from_ne_bytes(*n)))
        };
        let (Some(outer), Some(_)) = (of(IFLA_LINK), of(IFLA_LINK_NETNSID)) else { continue };
        let index = message.body.get(4..8).unwrap_or_default();
        if let Some(link) = by_index(host, outer)?.filter(|link| stands_on(link, index)) {
            section.extend_from_slice(&link);
        }
    }
    Ok(section)
}

/// Whether a link message of the host names this link (four bytes) as the one that it stands on.
fn stands_on(link: &[u8], index: &[u8]) -> bool {
    let Some(Ok(message)) = messages(link).next() else { return false };
    let parent = message.attributes(IFINFO).map_while(Result::ok).find(|a| a.id == IFLA_LINK);
    parent.is_some_and(|parent| parent.payload == index)
}

fn by_index(host: &mut Socket, index: u32) -> Result<Option<Vec<u8>>, Error> {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(RTM_GETLINK, 0, &header);
    builder.put_u32(IFLA_EXT_MASK, SKIP_STATS);
    match host.get(RTM_GETLINK, &builder.finish().split_off(16)) {
        Ok(link) => Ok(Some(link).filter(|link| !link.is_empty())),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(None),
        Err(error) => Err(error),
    }
}
