//! Gratuitous ARP (RFC 5227, 3) and unsolicited neighbour advertisements (RFC 4861, 7.2.6): who has
//! learned another hardware address for a moved address learns the one that answers now.
//!
//! The frames leave through packet sockets of the calling thread's namespace.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// A frame could not be sent.
#[derive(Debug, thiserror::Error)]
#[error("{address} can't be announced on link {device}: {source}")]
pub struct Error {
    address: IpAddr,
    device: u32,
    source: io::Error,
}

/// An Ethernet address.
type Mac = [u8; 6];

const BROADCAST: Mac = [0xff; 6];
/// That of `ff02::1` (RFC 2464, 7).
const ALL_NODES: Mac = [0x33, 0x33, 0, 0, 0, 1];
const ETH_P_ARP: u16 = 0x0806;
const ETH_P_IPV6: u16 = 0x86dd;
const ARPOP_REQUEST: u16 = 1;
const ARPOP_REPLY: u16 = 2;

/// Tells everyone on the link of `device` that each address is at the hardware address beside it.
/// `source` is the sender of the frames. What has no Ethernet address is passed over: on such links
/// nobody learns any.
///
/// # Errors
/// [`Error`] with the first that could not be sent.
pub fn announce<'a>(
    device: u32,
    source: &[u8],
    all: impl IntoIterator<Item = (IpAddr, &'a [u8])>,
) -> Result<(), Error> {
    let Ok(source) = Mac::try_from(source) else { return Ok(()) };
    for (address, mac) in all {
        let Ok(mac) = Mac::try_from(mac) else { continue };
        let failed = |source| Error { address, device, source };
        for frame in frames(address, mac, source) {
            match send(device, &frame) {
                // A held link drops what is sent through it, and the kernel says so.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
                outcome => outcome.map_err(failed)?,
            }
        }
    }
    Ok(())
}

/// What is sent for one address. ARP in both forms: some hosts heed requests only, others answers.
fn frames(address: IpAddr, mac: Mac, source: Mac) -> Vec<Vec<u8>> {
    match address {
        IpAddr::V4(v4) => {
            vec![arp(v4, mac, source, ARPOP_REQUEST), arp(v4, mac, source, ARPOP_REPLY)]
        }
        IpAddr::V6(v6) => vec![advertisement(v6, mac, source)],
    }
}

fn ethernet(to: Mac, from: Mac, protocol: u16) -> Vec<u8> {
    [&to[..], &from, &protocol.to_be_bytes()].concat()
}

/// RFC 826, with the address as sender and as target.
fn arp(address: Ipv4Addr, mac: Mac, source: Mac, operation: u16) -> Vec<u8> {
    let mut frame = ethernet(BROADCAST, source, ETH_P_ARP);
    // Ethernet and IPv4, with the lengths of their addresses.
    frame.extend_from_slice(&[0, 1, 8, 0, 6, 4]);
    frame.extend_from_slice(&operation.to_be_bytes());
    for target in [mac, BROADCAST] {
        frame.extend_from_slice(&target);
        frame.extend_from_slice(&address.octets());
    }
    frame
}

/// RFC 4861, 4.4, with the flag *override*: without it nobody gives up what was learned.
fn advertisement(address: Ipv6Addr, mac: Mac, source: Mac) -> Vec<u8> {
    const TYPE: u8 = 136;
    const OVERRIDE: u8 = 0x20;
    const TARGET_LINK_LAYER: [u8; 2] = [2, 1];
    const ICMPV6: u8 = 58;
    const HOP_LIMIT: u8 = 255;
    let to = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let mut body = vec![TYPE, 0, 0, 0, OVERRIDE, 0, 0, 0];
    body.extend_from_slice(&address.octets());
    body.extend_from_slice(&TARGET_LINK_LAYER);
    body.extend_from_slice(&mac);
    let length = body.len() as u16;
    let pseudo = [&address.octets()[..], &to.octets(), &[0, 0], &length.to_be_bytes()];
    let sum = checksum(&[&pseudo.concat(), &[0, 0, 0, ICMPV6][..], &body].concat());
    body[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = ethernet(ALL_NODES, source, ETH_P_IPV6);
    frame.extend_from_slice(&[0x60, 0, 0, 0]);
    frame.extend_from_slice(&length.to_be_bytes());
    frame.extend_from_slice(&[ICMPV6, HOP_LIMIT]);
    frame.extend_from_slice(&address.octets());
    frame.extend_from_slice(&to.octets());
    frame.extend_from_slice(&body);
    frame
}

/// The Internet checksum (RFC 1071) of an even number of bytes.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks_exact(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let mut sum: u32 = words.sum();
    while sum >> 16 != 0 {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn send(device: u32, frame: &[u8]) -> io::Result<()> {
    // SAFETY: a plain system call; the descriptor is owned from here on.
    let socket = unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW | libc::SOCK_CLOEXEC, 0);
        if socket < 0 {
            return Err(io::Error::last_os_error());
        }
        OwnedFd::from_raw_fd(socket)
    };
    // SAFETY: all zeroes is a valid address.
    let mut to: libc::sockaddr_ll = unsafe { std::mem::zeroed() };
    to.sll_family = libc::AF_PACKET as u16;
    to.sll_protocol = u16::from_ne_bytes([frame[12], frame[13]]);
    to.sll_ifindex = device.cast_signed();
    to.sll_halen = 6;
    to.sll_addr[..6].copy_from_slice(&frame[..6]);
    // SAFETY: pointers and lengths are those of `frame` and `to`.
    let sent = unsafe {
        libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            std::ptr::from_ref(&to).cast(),
            size_of::<libc::sockaddr_ll>() as libc::socklen_t,
        )
    };
    if sent >= 0 {
        return Ok(());
    }
    match io::Error::last_os_error() {
        // Nobody hears anything on a link that is down.
        error if error.raw_os_error() == Some(libc::ENETDOWN) => Ok(()),
        error => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: Mac = [2, 0, 0, 0, 0, 7];
    const NODE: Mac = [2, 0, 0, 0, 0, 1];

    #[test]
    fn a_gratuitous_arp_has_the_address_twice() {
        let frame = arp(Ipv4Addr::new(10, 244, 1, 7), MAC, NODE, ARPOP_REQUEST);
        assert_eq!(frame.len(), 42);
        assert_eq!(frame[..14], [255, 255, 255, 255, 255, 255, 2, 0, 0, 0, 0, 1, 8, 6]);
        assert_eq!(frame[20..22], [0, 1]);
        assert_eq!(frame[22..32], [2, 0, 0, 0, 0, 7, 10, 244, 1, 7]);
        assert_eq!(frame[38..], [10, 244, 1, 7]);
    }

    #[test]
    fn an_advertisement_adds_up() {
        let address: Ipv6Addr = "fd00:1::7".parse().unwrap();
        let frame = advertisement(address, MAC, NODE);
        assert_eq!(frame.len(), 14 + 40 + 32);
        let (ip, body) = frame[14..].split_at(40);
        assert_eq!(ip[7], 255, "whoever gets it sees that no router was between");
        let sum = [&ip[8..40], &[0, 0, 0, 32, 0, 0, 0, 58], body].concat();
        assert_eq!(checksum(&sum), 0);
        assert_eq!(body[8..24], address.octets());
        assert_eq!(body[26..], MAC);
    }
}
