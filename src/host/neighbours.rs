//! What the pod has learned of its old link, put right for the new one.
//!
//! The image brings back the neighbours that the pod knew, with the hardware addresses of the node
//! that it came from. Left alone, the first packets after a move would go to an address that nobody
//! has here, until the kernel's probes have failed: seconds. Entries that somebody made (permanent,
//! proxy, extern-learned) are state of the pod and stay.

use std::net::IpAddr;

use crate::netlink::{Builder, Error as Netlink, Protocol, Socket};
use crate::netns::{self, Namespace};

use super::Inside;

/// The pod's neighbour table could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Enter(#[from] netns::Error),
    #[error("the pod's neighbour table can't be changed: {0}")]
    Netlink(#[from] Netlink),
}

/// `NUD_REACHABLE`: usable, and confirmed some half a minute later.
const REACHABLE: u16 = 0x02;
/// `NUD_STALE`: usable at once, and confirmed by the first use.
const STALE: u16 = 0x04;
const NDA_DST: u16 = 1;
const NDA_LLADDR: u16 = 2;

/// Gives learned entries of `gateways` the hardware address that answers for them now, and forgets
/// all others that were learned: also where the pod comes back to its link, as they are of the one
/// that it was on last. Blocks.
///
/// # Errors
/// [`Error`]; an entry that has gone by itself in the meantime is none.
pub fn mend(
    netns: &Namespace,
    inside: &Inside,
    gateways: &[IpAddr],
    mac: &[u8],
) -> Result<(), Error> {
    let mut messages = Vec::new();
    for neighbour in &inside.neighbours {
        messages.push(if gateways.contains(&neighbour.address) {
            known(STALE, inside.index, neighbour.address, mac)
        } else {
            gone(inside.index, neighbour.address)
        });
    }
    if messages.is_empty() {
        return Ok(());
    }
    let refused = netns.run(|| {
        let mut socket = Socket::open(Protocol::Route)?;
        socket.batch(messages.iter().map(Vec::as_slice))
    })??;
    let real = refused.into_iter().find(|(_, refusal)| refusal.errno != libc::ENOENT);
    real.map_or(Ok(()), |(_, refusal)| Err(Netlink::from(refusal).into()))
}

/// Forgets what a link of the socket's namespace has learned of an address; that it has learned
/// nothing is no error.
///
/// # Errors
/// The kernel's.
pub fn forget(socket: &mut Socket, device: u32, address: IpAddr) -> Result<(), Netlink> {
    match socket.request(gone(device, address)) {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

/// Gives a link of the socket's namespace the hardware address of a neighbour, as if it had just
/// answered. On links without such addresses it is forgotten, as by [`forget`].
///
/// # Errors
/// The kernel's.
pub fn know(socket: &mut Socket, device: u32, address: IpAddr, mac: &[u8]) -> Result<(), Netlink> {
    match mac.is_empty() {
        true => forget(socket, device, address),
        false => socket.request(known(REACHABLE, device, address, mac)),
    }
}

fn known(state: u16, index: u32, address: IpAddr, mac: &[u8]) -> Vec<u8> {
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    let mut message = message(libc::RTM_NEWNEIGH, flags, state, index, address);
    message.put(NDA_LLADDR, mac);
    message.finish()
}

fn gone(index: u32, address: IpAddr) -> Vec<u8> {
    message(libc::RTM_DELNEIGH, 0, STALE, index, address).finish()
}

fn message(kind: u16, flags: u16, state: u16, index: u32, address: IpAddr) -> Builder {
    let family = if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
    // `struct ndmsg` of `linux/neighbour.h`.
    let mut header = [0; 12];
    header[0] = family as u8;
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    header[8..10].copy_from_slice(&state.to_ne_bytes());
    let mut builder = Builder::new(kind, flags, &header);
    match address {
        IpAddr::V4(v4) => builder.put(NDA_DST, &v4.octets()),
        IpAddr::V6(v6) => builder.put(NDA_DST, &v6.octets()),
    };
    builder
}
