//! The way of the node to another node, and routes that go it.

use std::net::IpAddr;

use crate::api::ROUTE_PROTOCOL;
use crate::netlink::{Builder, Error, Socket, ip, messages};

const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;
const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// Bytes of `struct rtmsg`, and where its flags are.
const RTMSG: usize = 12;
/// `RTM_F_FIB_MATCH` (`linux/rtnetlink.h`): the answer is the route that matched, not what came of it.
const FIB_MATCH: u32 = 0x2000;
/// `RTNH_F_ONLINK`: the gateway need not be of a range of the link (tunnels).
const ONLINK: u32 = 4;

/// The next hop to another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Hop {
    pub gateway: IpAddr,
    pub device: u32,
}

/// The way to a pod on another node: that of the node's own pod range, where this node has a route to
/// it that is not the default one, else the node itself, where it is on the same link.
///
/// # Errors
/// As [`Socket::get`].
pub fn find(
    socket: &mut Socket,
    v4: bool,
    range_ips: &[IpAddr],
    node_ips: &[IpAddr],
) -> Result<Option<Hop>, Error> {
    let of_family = |all: &[IpAddr]| all.iter().copied().find(|one| one.is_ipv4() == v4);
    if let Some(range) = of_family(range_ips)
        && matched(socket, range)? > 0
        && let Some((Some(gateway), device)) = route(socket, range)?
    {
        return Ok(Some(Hop { gateway, device }));
    }
    let Some(node) = of_family(node_ips) else { return Ok(None) };
    Ok(match route(socket, node)? {
        Some((None, device)) => Some(Hop { gateway: node, device }),
        _ => None,
    })
}

/// Gateway and device of the route to an address; none when there is no route.
fn route(socket: &mut Socket, to: IpAddr) -> Result<Option<(Option<IpAddr>, u32)>, Error> {
    let Some(answer) = ask(socket, to, 0)? else { return Ok(None) };
    let found = messages(&answer).map_while(Result::ok).find_map(|message| {
        let of = |id| message.attributes(RTMSG).map_while(Result::ok).find(|one| one.id == id);
        let device = of(RTA_OIF)?.payload.first_chunk().map(|index| u32::from_ne_bytes(*index))?;
        // A local or a refused destination is no way.
        let unicast = message.body.get(7) == Some(&libc::RTN_UNICAST);
        unicast.then(|| (of(RTA_GATEWAY).and_then(|one| ip(one.payload)), device))
    });
    Ok(found)
}

/// Length of the prefix that leads to an address; 0 for a default route, and for none.
fn matched(socket: &mut Socket, to: IpAddr) -> Result<u8, Error> {
    let answer = ask(socket, to, FIB_MATCH)?.unwrap_or_default();
    let first = messages(&answer).map_while(Result::ok).next();
    Ok(first.and_then(|message| message.body.get(1).copied()).unwrap_or_default())
}

fn ask(socket: &mut Socket, to: IpAddr, flags: u32) -> Result<Option<Vec<u8>>, Error> {
    let mut header = header(to);
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut builder = Builder::new(RTM_GETROUTE, 0, &header);
    put(&mut builder, RTA_DST, to);
    match socket.get(RTM_GETROUTE, &builder.finish().split_off(16)) {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if unreachable(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

fn unreachable(error: &Error) -> bool {
    let none = [libc::ENETUNREACH, libc::EHOSTUNREACH, libc::EACCES, libc::EINVAL, libc::ENODEV];
    error.errno().is_some_and(|errno| none.contains(&errno))
}

/// The message that leads a single address to another node, in the place of a route that is there.
#[must_use]
pub fn lead(address: IpAddr, hop: &Hop) -> Vec<u8> {
    let mut header = header(address);
    header[4] = libc::RT_TABLE_MAIN;
    header[5] = ROUTE_PROTOCOL;
    header[7] = libc::RTN_UNICAST;
    header[8..12].copy_from_slice(&ONLINK.to_ne_bytes());
    let flags = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    let mut builder = Builder::new(RTM_NEWROUTE, flags, &header);
    put(&mut builder, RTA_DST, address);
    put(&mut builder, RTA_GATEWAY, hop.gateway);
    builder.put_u32(RTA_OIF, hop.device);
    builder.finish()
}

/// `struct rtmsg` for a single address.
fn header(address: IpAddr) -> [u8; RTMSG] {
    let mut header = [0; RTMSG];
    let (family, length) =
        if address.is_ipv4() { (libc::AF_INET, 32) } else { (libc::AF_INET6, 128) };
    (header[0], header[1]) = (family as u8, length);
    header
}

fn put(builder: &mut Builder, id: u16, address: IpAddr) {
    match address {
        IpAddr::V4(v4) => builder.put(id, &v4.octets()),
        IpAddr::V6(v6) => builder.put(id, &v6.octets()),
    };
}
