//! WireGuard devices and their peers (`linux/wireguard.h`). From the headers: no kernel at hand has
//! them. Keys are secret, and shown as such.

use super::families::shown;
use crate::netlink::{Builder, Protocol, attributes, messages};
use crate::state::table::{Attr, Class, Fate, Field, GENERIC, Shape, Source, generic_header};
use crate::state::{Names, ReadError, Reader, Value};

pub const FAMILY: &str = "wireguard";
const GET_DEVICE: u8 = 0;
pub const SET_DEVICE: u8 = 1;

/// `WGDEVICE_A_*`.
pub const IFINDEX: u16 = 1;
pub const PEERS: u16 = 8;
/// `WGPEER_A_*`.
pub const PEER_PUBLIC_KEY: u16 = 1;
pub const PEER_FLAGS: u16 = 3;
const PEER_ALLOWED_IPS: u16 = 9;
/// Bytes of `struct genlmsghdr`.
const HEADER: usize = 4;
const FIELDS: &[Field] = &generic_header(SET_DEVICE);

pub static WIREGUARD_DEVICES: Class = Class {
    name: "wireguard-devices",
    source: Source::Read(|reader| Ok(devices(&read(reader)?))),
    header: FIELDS,
    attributes: &[
        Attr::link(IFINDEX, "ifindex"),
        Attr::strip(2, "ifname", Shape::Text),
        Attr::keep(3, "private_key", Shape::Secret),
        // Of the private one.
        Attr::strip(4, "public_key", Shape::Bytes),
        Attr::strip(5, "flags", Shape::U32),
        Attr::keep(6, "listen_port", Shape::U16),
        Attr::keep(7, "fwmark", Shape::U32),
    ],
    key: &["ifindex"],
    tells: GENERIC,
    make: GENERIC,
    after: &["links"],
    label: |value, names| names.link(value.number("ifindex").unwrap_or_default()),
    shown_by: "unit tests; from the headers, not tested live",
    ..Class::BASE
};

pub static WIREGUARD_PEERS: Class = Class {
    name: "wireguard-peers",
    source: Source::Read(|reader| Ok(peers(&read(reader)?))),
    header: FIELDS,
    attributes: &[
        Attr::link(IFINDEX, "ifindex"),
        Attr::keep(PEERS, "peers", Shape::List(&Shape::Nest(PEER))),
    ],
    key: &["ifindex", "peers.0.public_key"],
    tells: GENERIC,
    make: GENERIC,
    after: &["wireguard-devices"],
    label: |value, names: &Names| {
        let link = names.link(value.number("ifindex").unwrap_or_default());
        format!("peer {} of {link}", shown(value, "peers.0.public_key"))
    },
    strict: true,
    shown_by: "unit tests; from the headers, not tested live",
    ..Class::BASE
};

const PEER: &[Attr] = &[
    Attr::keep(PEER_PUBLIC_KEY, "public_key", Shape::Bytes),
    Attr::keep(2, "preshared_key", Shape::Secret),
    // What is to be done; a plan puts it beside.
    Attr::strip(PEER_FLAGS, "flags", Shape::U32),
    // `struct sockaddr_in` or `sockaddr_in6`.
    Attr::keep(4, "endpoint", Shape::Bytes),
    Attr::keep(5, "persistent_keepalive_interval", Shape::U16),
    Attr::strip(6, "last_handshake_time", Shape::Bytes),
    Attr::strip(7, "rx_bytes", Shape::U64),
    Attr::strip(8, "tx_bytes", Shape::U64),
    Attr::keep(PEER_ALLOWED_IPS, "allowed_ips", Shape::List(&Shape::Nest(ALLOWED_IP))),
    Attr::new(10, "protocol_version", Shape::U32, Fate::Strip),
];

const ALLOWED_IP: &[Attr] = &[
    Attr::keep(1, "family", Shape::U16),
    Attr::keep(2, "ipaddr", Shape::Ip),
    Attr::keep(3, "cidr_mask", Shape::U8),
];

/// What the kernel tells of every WireGuard link; a device with many peers is told in several messages.
fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Netlink { what: FAMILY, source };
    let Some(family) = reader.family(FAMILY).map_err(failed)?.cloned() else {
        return Ok(Vec::new());
    };
    let mut links = Vec::new();
    reader.dump(Protocol::Route, 18, &[0; 16], &mut links).map_err(failed)?;
    let mut told = Vec::new();
    for index in messages(&links).map_while(Result::ok).filter_map(|link| index(&link)) {
        let mut body = family.header(GET_DEVICE).to_vec();
        body.extend(Builder::attribute(IFINDEX, &index.to_ne_bytes()));
        match reader.dump(Protocol::Generic, family.id, &body, &mut told) {
            // It went since.
            Err(error) if error.errno() == Some(libc::ENODEV) => {}
            outcome => outcome.map_err(failed)?,
        }
    }
    Ok(told)
}

/// Index of a link of this kind.
fn index(link: &crate::netlink::Message<'_>) -> Option<u32> {
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    let info = link.attributes(16).map_while(Result::ok).find(|a| a.id == IFLA_LINKINFO)?;
    let kind = attributes(info.payload).map_while(Result::ok).find(|a| a.id == IFLA_INFO_KIND)?;
    let index = link.body.get(4..8)?.first_chunk().copied()?;
    (kind.text() == FAMILY).then_some(u32::from_ne_bytes(index))
}

/// The devices alone, each once.
fn devices(told: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    let mut last = None;
    for message in messages(told).map_while(Result::ok) {
        let mut builder = Builder::new(GENERIC, 0, &[SET_DEVICE, 1, 0, 0]);
        let mut of = None;
        for attribute in message.attributes(HEADER).map_while(Result::ok) {
            if attribute.id == IFINDEX {
                of = Some(attribute.number());
            }
            if attribute.id != PEERS {
                builder.put(attribute.id | attribute.flags, attribute.payload);
            }
        }
        if of.is_some() && of != last {
            section.extend(builder.finish());
        }
        last = of;
    }
    section
}

/// A peer, as far as it was told.
struct Told {
    link: u32,
    key: Vec<u8>,
    /// Its attributes, without its addresses.
    rest: Vec<u8>,
    addresses: Vec<u8>,
}

/// One message for each peer, with all its addresses: they too may come in parts.
fn peers(told: &[u8]) -> Vec<u8> {
    let mut found: Vec<Told> = Vec::new();
    for message in messages(told).map_while(Result::ok) {
        let mut link = 0;
        let mut list: &[u8] = &[];
        for attribute in message.attributes(HEADER).map_while(Result::ok) {
            match attribute.id {
                IFINDEX => link = attribute.number() as u32,
                PEERS => list = attribute.payload,
                _ => {}
            }
        }
        for peer in attributes(list).map_while(Result::ok) {
            let (mut key, mut rest, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
            for part in attributes(peer.payload).map_while(Result::ok) {
                match part.id {
                    PEER_ALLOWED_IPS => addresses = part.payload.to_vec(),
                    id => {
                        if id == PEER_PUBLIC_KEY {
                            key = part.payload.to_vec();
                        }
                        rest.extend(Builder::attribute(id | part.flags, part.payload));
                    }
                }
            }
            match found.iter_mut().find(|known| known.link == link && known.key == key) {
                Some(known) => known.addresses.extend(addresses),
                None => found.push(Told { link, key, rest, addresses }),
            }
        }
    }
    let one = |Told { link, rest, addresses, .. }: Told| {
        let mut builder = Builder::new(GENERIC, 0, &[SET_DEVICE, 1, 0, 0]);
        builder.put_u32(IFINDEX, link);
        let list = builder.begin(PEERS | Builder::NESTED);
        let peer = builder.begin(Builder::NESTED);
        builder.raw(&rest);
        if !addresses.is_empty() {
            builder.put(PEER_ALLOWED_IPS | Builder::NESTED, &addresses);
        }
        builder.end(peer);
        builder.end(list);
        builder.finish()
    };
    found.into_iter().flat_map(one).collect()
}

/// The public key of a decoded peer.
#[must_use]
pub fn public_key(peer: &Value) -> Option<&[u8]> {
    match peer.field("peers.0.public_key")? {
        Value::Bytes(key) => Some(key),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{objects, replay};

    /// As the kernel tells a device with one peer in two parts.
    fn told() -> Vec<u8> {
        let part = |whole: bool, address: [u8; 4]| {
            let mut builder = Builder::new(33, 2, &[GET_DEVICE, 1, 0, 0]);
            builder.put_u32(IFINDEX, 7);
            if whole {
                builder.put(3, &[0x11; 32]).put(6, &51820_u16.to_ne_bytes()).put_u32(7, 9);
            }
            let list = builder.begin(PEERS | Builder::NESTED);
            let peer = builder.begin(Builder::NESTED);
            builder.put(PEER_PUBLIC_KEY, &[0x22; 32]);
            if whole {
                builder.put(2, &[0x33; 32]).put(5, &25_u16.to_ne_bytes());
            }
            let ips = builder.begin(PEER_ALLOWED_IPS | Builder::NESTED);
            let ip = builder.begin(Builder::NESTED);
            builder.put(1, &[2, 0]).put(2, &address).put(3, &[24]).end(ip);
            builder.end(ips);
            builder.end(peer);
            builder.end(list);
            builder.finish()
        };
        [part(true, [10, 1, 0, 0]), part(false, [10, 2, 0, 0])].concat()
    }

    #[test]
    fn a_peer_in_parts_is_one_and_no_key_is_shown() {
        let devices = objects(&WIREGUARD_DEVICES, &devices(&told())).unwrap();
        let peers = objects(&WIREGUARD_PEERS, &peers(&told())).unwrap();
        assert_eq!((devices.len(), peers.len()), (1, 1));
        let (device, peer) = (devices[0].value(), peers[0].value());
        assert_eq!(device.number("listen_port"), Some(51820));
        assert_eq!(peer.address("peers.0.allowed_ips.0.ipaddr").unwrap().to_string(), "10.1.0.0");
        assert_eq!(peer.address("peers.0.allowed_ips.1.ipaddr").unwrap().to_string(), "10.2.0.0");
        for (value, secret) in [(device, "1111"), (peer, "3333")] {
            assert!(!value.to_string().contains(secret), "{value}");
            assert!(!crate::state::to_json(&value).to_string().contains(secret));
        }
        let sent = replay(&WIREGUARD_DEVICES, &devices[0].bytes, 0);
        let sent = messages(&sent).next().unwrap().unwrap();
        assert_eq!(sent.body[0], SET_DEVICE);
        let key = sent.attributes(HEADER).map(Result::unwrap).find(|a| a.id == 3).unwrap();
        assert_eq!(key.payload, [0x11; 32]);
    }
}
