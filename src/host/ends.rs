//! The outer ends of a namespace's veth pairs, found by index and seen to be the same pair.

use std::os::fd::RawFd;

use crate::netlink::{Builder, Error, Protocol, Socket, attributes, messages};

const RTM_GETLINK: u16 = 18;
/// `RTM_GETNSID`, and its attributes (`linux/net_namespace.h`).
const RTM_GETNSID: u16 = 90;
const NETNSA_NSID: u16 = 1;
const NETNSA_FD: u16 = 3;
/// Bytes of `struct rtgenmsg`, aligned.
const RTGEN: usize = 4;
const IFLA_IFNAME: u16 = 3;
const IFLA_LINK: u16 = 5;
const IFLA_LINKINFO: u16 = 18;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_EXT_MASK: u16 = 29;
const IFLA_LINK_NETNSID: u16 = 37;
/// `RTEXT_FILTER_SKIP_STATS`.
const SKIP_STATS: u32 = 8;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;

/// The links of the namespace of `host` that are the other ends of `inside`, a section of links
/// of another namespace, which knows the host's by `number` ([`number_of`]). As a section of links.
///
/// # Errors
/// As [`Socket::get`].
pub fn outer_ends(host: &mut Socket, inside: &[u8], number: Option<i32>) -> Result<Vec<u8>, Error> {
    let mut section = Vec::new();
    for message in messages(inside).map_while(Result::ok) {
        let of = |id| {
            let found = message.attributes(IFINFO).map_while(Result::ok).find(|a| a.id == id);
            found.and_then(|found| found.payload.first_chunk().map(|n| u32::from_ne_bytes(*n)))
        };
        let (Some(outer), Some(place)) = (of(IFLA_LINK), of(IFLA_LINK_NETNSID)) else { continue };
        // An index means something only together with its namespace.
        if number != Some(place.cast_signed()) {
            continue;
        }
        let index = message.body.get(4..8).unwrap_or_default();
        if let Some(link) = by_index(host, outer)?.filter(|link| stands_on(link, index)) {
            section.extend_from_slice(&link);
        }
    }
    Ok(section)
}

/// The number that the calling thread's namespace knows the namespace of the descriptor by; none when
/// it knows it by none, and then no link can name it.
///
/// # Errors
/// As [`Socket::get`].
pub fn number_of(descriptor: RawFd) -> Result<Option<i32>, Error> {
    let mut socket = Socket::open(Protocol::Route)?;
    let mut builder = Builder::new(RTM_GETNSID, 0, &[0; RTGEN]);
    builder.put(NETNSA_FD, &descriptor.to_ne_bytes());
    let answer = socket.get(RTM_GETNSID, &builder.finish().split_off(16))?;
    let number = messages(&answer).map_while(Result::ok).find_map(|message| {
        let found = message.attributes(RTGEN).map_while(Result::ok).find(|a| a.id == NETNSA_NSID);
        found.and_then(|found| found.payload.first_chunk().map(|n| i32::from_ne_bytes(*n)))
    });
    Ok(number.filter(|number| *number >= 0))
}

/// The veths of a section of links whose other end is in a namespace that is neither theirs nor the
/// one of this number ([`number_of`]): a namespace that the pod has made. By name.
#[must_use]
pub fn elsewhere(inside: &[u8], host: Option<i32>) -> Vec<String> {
    let links = messages(inside).map_while(Result::ok);
    let elsewhere = links.filter_map(|message| {
        let of = |id| message.attributes(IFINFO).map_while(Result::ok).find(|a| a.id == id);
        let number = of(IFLA_LINK_NETNSID)?.payload.first_chunk().map(|n| i32::from_ne_bytes(*n));
        let mut info = attributes(of(IFLA_LINKINFO)?.payload).map_while(Result::ok);
        let veth = info.any(|a| a.id == IFLA_INFO_KIND && a.payload.starts_with(b"veth"));
        if !veth || (number.is_some() && number == host) {
            return None;
        }
        let name = of(IFLA_IFNAME).map(|name| name.payload).unwrap_or_default();
        let name = name.strip_suffix(&[0]).unwrap_or(name);
        Some(String::from_utf8_lossy(name).into_owned())
    });
    elsewhere.collect()
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
