//! Address translation: what the kernel tells only as its result, and must be told as the act.
//!
//! A dumped entry has the tuple of the first packet and that of the answers; where the second is not
//! the first turned round, addresses or ports are translated. The kernel makes an entry with
//! translation from the answers as they would be without, and from what is put in their place
//! (`ctnetlink_setup_nat` of `net/netfilter/nf_conntrack_netlink.c`).

use std::net::IpAddr;

use super::layout::{DCCP, SCTP, TCP, UDP, UDPLITE};
use super::{
    CTA_NAT_DST, CTA_NAT_SRC, CTA_PROTOINFO, CTA_SYNPROXY, CTA_TIMEOUT, CTA_TUPLE_REPLY, IPS_NAT,
};
use crate::netlink::Builder;
use crate::state::Value;

/// `NLA_F_NESTED`.
const NESTED: u16 = Builder::NESTED;
/// What an established TCP flow, and one of another protocol that was answered, gets by default
/// (`nf_conntrack_tcp_timeout_established`, `nf_conntrack_udp_timeout_stream`), in seconds.
const ESTABLISHED: u32 = 432_000;
const ANSWERED: u32 = 120;

/// Attributes that are made from the whole entry.
pub fn mend(value: &Value) -> Vec<(u16, Vec<u8>)> {
    let mut made = Vec::new();
    if let (Some(first), Some(answer)) =
        (Tuple::of(value, "tuple_orig"), Tuple::of(value, "tuple_reply"))
    {
        made.push((CTA_TUPLE_REPLY, first.answer(&answer)));
        let status = value.number("status").unwrap_or_default();
        if status & IPS_NAT != 0 || answer.is_translated(&first) {
            // Both, and each with all it may choose from being one: the kernel has no choice left.
            made.push((CTA_NAT_DST, answer.range(Side::Source)));
            made.push((CTA_NAT_SRC, answer.range(Side::Destination)));
        }
    }
    made.extend(offloaded(value));
    made.extend(syn_proxy(value));
    made
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Source,
    Destination,
}

/// One direction of a flow.
#[derive(Debug, PartialEq, Eq)]
struct Tuple {
    source: IpAddr,
    destination: IpAddr,
    protocol: u8,
    ports: Option<(u16, u16)>,
    /// Of ICMP: identifier, type, code.
    icmp: Option<(u16, u8, u8)>,
    zone: Option<u16>,
}

impl Tuple {
    fn of(value: &Value, tuple: &str) -> Option<Self> {
        let value = value.field(tuple)?;
        let address = |v4, v6| value.address(v4).or_else(|| value.address(v6));
        let short = |path| value.number(path).and_then(|number| u16::try_from(number).ok());
        let byte = |path| value.number(path).and_then(|number| u8::try_from(number).ok());
        let icmp = |id, kind, code| Some((short(id)?, byte(kind)?, byte(code)?));
        Some(Self {
            source: address("ip.v4_src", "ip.v6_src")?,
            destination: address("ip.v4_dst", "ip.v6_dst")?,
            protocol: byte("proto.num")?,
            ports: short("proto.src_port").zip(short("proto.dst_port")),
            icmp: icmp("proto.icmp_id", "proto.icmp_type", "proto.icmp_code")
                .or_else(|| icmp("proto.icmpv6_id", "proto.icmpv6_type", "proto.icmpv6_code")),
            zone: short("zone"),
        })
    }

    /// Whether ports are ports: those of GRE are keys, which are never translated by a range.
    fn has_ports(&self) -> bool {
        [TCP, UDP, DCCP, SCTP, UDPLITE].contains(&self.protocol.into()) && self.ports.is_some()
    }

    /// Of an answer: whether it is not its first packet turned round.
    fn is_translated(&self, first: &Self) -> bool {
        let turned = first.ports.map(|(source, destination)| (destination, source));
        self.source != first.destination
            || self.destination != first.source
            || self.has_ports() && self.ports != turned
            || self.icmp.map(|icmp| icmp.0) != first.icmp.map(|icmp| icmp.0)
    }

    /// The tuple of the answer to this first packet as it would be without translation.
    fn answer(&self, told: &Self) -> Vec<u8> {
        let ports = match self.ports {
            Some((source, destination)) if self.has_ports() => Some((destination, source)),
            _ => told.ports,
        };
        let identifier = |(id, _, _): (u16, u8, u8)| id;
        let icmp = told.icmp.map(|(id, kind, code)| (self.icmp.map_or(id, identifier), kind, code));
        let turned = Self {
            source: self.destination,
            destination: self.source,
            protocol: self.protocol,
            ports,
            icmp,
            zone: told.zone,
        };
        turned.bytes()
    }

    /// As the payload of `CTA_TUPLE_*`.
    fn bytes(&self) -> Vec<u8> {
        let mut addresses = Vec::new();
        let v6 = self.source.is_ipv6();
        let (source, destination) = if v6 { (3, 4) } else { (1, 2) };
        addresses.extend(Builder::attribute(source, &octets(self.source)));
        addresses.extend(Builder::attribute(destination, &octets(self.destination)));
        let mut protocol = Builder::attribute(1, &[self.protocol]);
        if let Some((source, destination)) = self.ports {
            protocol.extend(Builder::attribute(2, &source.to_be_bytes()));
            protocol.extend(Builder::attribute(3, &destination.to_be_bytes()));
        }
        if let Some((id, kind, code)) = self.icmp {
            let first = if v6 { 7 } else { 4 };
            protocol.extend(Builder::attribute(first, &id.to_be_bytes()));
            protocol.extend(Builder::attribute(first + 1, &[kind]));
            protocol.extend(Builder::attribute(first + 2, &[code]));
        }
        let mut tuple = Builder::attribute(1 | NESTED, &addresses);
        tuple.extend(Builder::attribute(2 | NESTED, &protocol));
        if let Some(zone) = self.zone {
            tuple.extend(Builder::attribute(3, &zone.to_be_bytes()));
        }
        tuple
    }

    /// The one address and port of a side, as the payload of `CTA_NAT_*`.
    fn range(&self, side: Side) -> Vec<u8> {
        let (address, port) = match side {
            Side::Source => (self.source, self.ports.map(|ports| ports.0)),
            Side::Destination => (self.destination, self.ports.map(|ports| ports.1)),
        };
        let (least, most) = if address.is_ipv6() { (4, 5) } else { (1, 2) };
        let mut range = Builder::attribute(least, &octets(address));
        range.extend(Builder::attribute(most, &octets(address)));
        // The identifier of an ICMP query belongs to its sender.
        let id = self.icmp.map(|icmp| icmp.0).filter(|_| side == Side::Destination);
        if let Some(port) = port.filter(|_| self.has_ports()).or(id) {
            let mut ports = Builder::attribute(1, &port.to_be_bytes());
            ports.extend(Builder::attribute(2, &port.to_be_bytes()));
            range.extend(Builder::attribute(3 | NESTED, &ports));
        }
        range
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// Of a flow in a flowtable the kernel tells neither how long it lasts nor its state. It comes back as
/// one outside, which the flowtable takes up again with the next packet.
fn offloaded(value: &Value) -> Vec<(u16, Vec<u8>)> {
    const TCP_ESTABLISHED: u8 = 3;
    const BE_LIBERAL: u8 = 8;
    if value.field("timeout").is_some() {
        return Vec::new();
    }
    if value.number("tuple_orig.proto.num") != Some(TCP) {
        return vec![(CTA_TIMEOUT, ANSWERED.to_be_bytes().to_vec())];
    }
    let mut tcp = Builder::attribute(1, &[TCP_ESTABLISHED]);
    for direction in [4, 5] {
        tcp.extend(Builder::attribute(direction, &[BE_LIBERAL, 0xff]));
    }
    let state = Builder::attribute(1 | NESTED, &tcp);
    vec![(CTA_TIMEOUT, ESTABLISHED.to_be_bytes().to_vec()), (CTA_PROTOINFO, state)]
}

/// The kernel wants all three numbers or none.
fn syn_proxy(value: &Value) -> Option<(u16, Vec<u8>)> {
    let number = |name| value.number(&format!("synproxy.{name}"));
    let numbers = [number("isn")?, number("its")?, number("tsoff")?];
    if numbers == [0; 3] {
        return None;
    }
    let mut payload = Vec::new();
    for (id, number) in (1..).zip(numbers) {
        let number = u32::try_from(number).ok()?;
        payload.extend(Builder::attribute(id, &number.to_be_bytes()));
    }
    Some((CTA_SYNPROXY, payload))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tuple(source: &str, destination: &str, ports: (u16, u16)) -> Tuple {
        Tuple {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            protocol: 6,
            ports: Some(ports),
            icmp: None,
            zone: None,
        }
    }

    #[test]
    fn a_redirected_flow_is_told_as_what_was_asked_and_where_it_went() {
        let first = tuple("10.0.0.1", "10.9.9.9", (4000, 80));
        let answer = tuple("127.0.0.1", "10.0.0.1", (15001, 4000));
        assert!(answer.is_translated(&first));
        assert_eq!(first.answer(&answer), tuple("10.9.9.9", "10.0.0.1", (80, 4000)).bytes());
        let range = answer.range(Side::Source);
        assert_eq!(range[4..8], [127, 0, 0, 1]);
        assert_eq!(range[24..26], 15001_u16.to_be_bytes());
    }

    #[test]
    fn an_answer_that_is_the_question_turned_round_is_not_translated() {
        let first = tuple("10.0.0.1", "10.9.9.9", (4000, 80));
        assert!(!tuple("10.9.9.9", "10.0.0.1", (80, 4000)).is_translated(&first));
    }

    #[test]
    fn keys_of_gre_are_not_ports() {
        let gre = |ports| Tuple { protocol: 47, ..tuple("10.0.0.1", "10.0.0.2", ports) };
        let answer = Tuple { protocol: 47, ..tuple("10.0.0.2", "10.0.0.1", (7, 9)) };
        assert!(!answer.is_translated(&gre((3, 5))));
        assert_eq!(gre((3, 5)).answer(&answer), answer.bytes());
    }
}
