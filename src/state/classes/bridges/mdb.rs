//! Multicast groups that somebody gave a bridge or a vxlan (`linux/if_bridge.h`). What is learned from
//! membership reports is learned again.
//!
//! The kernel tells them in one form and takes them in another. A section has the second.

use super::{AF_BRIDGE, HEADER, dump};
use crate::netlink::{Attribute, Builder, Message, Protocol, attributes, messages};
use crate::state::classes::families::PROTOCOL;
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Names, ReadError, Reader, Value};

const RTM_NEWMDB: u16 = 84;
const RTM_DELMDB: u16 = 85;
const RTM_GETMDB: u16 = 86;
const RTNLGRP_MDB: u32 = 26;

/// As told: `MDBA_MDB`, in it an `MDBA_MDB_ENTRY` for each group, in it an `MDBA_MDB_ENTRY_INFO` for
/// each port.
const MDBA_MDB: u16 = 1;
const MDBA_MDB_ENTRY: u16 = 1;
const MDBA_MDB_ENTRY_INFO: u16 = 1;
const MDBA_MDB_EATTR_SRC_LIST: u16 = 2;
const MDBA_MDB_EATTR_GROUP_MODE: u16 = 3;
const MDBA_MDB_EATTR_SOURCE: u16 = 4;
const MDBA_MDB_EATTR_RTPROT: u16 = 5;
const RTPROT_KERNEL: u8 = 2;
/// As set: `MDBA_SET_ENTRY`, and `MDBE_ATTR_*` in `MDBA_SET_ENTRY_ATTRS`.
const MDBA_SET_ENTRY: u16 = 1;
const MDBA_SET_ENTRY_ATTRS: u16 = 2;
/// `MDBA_MDB_EATTR_*` to `MDBE_ATTR_*`.
const AS_SET: &[(u16, u16)] = &[
    (MDBA_MDB_EATTR_SRC_LIST, 2),
    (MDBA_MDB_EATTR_GROUP_MODE, 3),
    (MDBA_MDB_EATTR_SOURCE, 1),
    (MDBA_MDB_EATTR_RTPROT, 4),
    (6, 5),
    (7, 6),
    (8, 7),
    (9, 8),
    (10, 9),
];
/// The address of a source, and its time left, in both forms.
const SRCATTR_ADDRESS: u16 = 1;

/// Bytes of `struct br_mdb_entry`, and where it has what.
const ENTRY: usize = 28;
const STATE: usize = 4;
const FLAGS: usize = 5;
const MDB_PERMANENT: u8 = 1;
/// The kernel made it, of a group that excludes sources.
const MDB_FLAGS_STAR_EXCL: u8 = 4;
const ETH_P_IP: u64 = 0x0800;
const ETH_P_IPV6: u64 = 0x86dd;

const FIELDS: &[Field] = &[
    Field::new("ifindex", 0, Shape::U32, Fate::Ifindex),
    Field::new("state", STATE, Shape::U8, Fate::Keep),
    Field::new("flags", FLAGS, Shape::U8, Fate::Strip),
    Field::new("vid", 6, Shape::U16, Fate::Keep),
    Field::new("address", 8, Shape::Fixed(16, &Shape::Bytes), Fate::Keep),
    Field::new("proto", 24, Shape::Be16, Fate::Keep),
    // What the compiler pads it to.
    Field::new("pad", 26, Shape::U16, Fate::Strip),
];

const SOURCES: &[Attr] =
    &[Attr::keep(1, "source", Shape::Nest(&[Attr::keep(SRCATTR_ADDRESS, "address", Shape::Ip)]))];

pub static BRIDGE_MDB: Class = Class {
    name: "bridge-mdb",
    source: Source::Watched {
        read,
        protocol: Protocol::Route,
        groups: &[RTNLGRP_MDB],
        notices: &[RTM_NEWMDB, RTM_DELMDB],
    },
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Keep),
        Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
    ],
    attributes: &[
        Attr::keep(MDBA_SET_ENTRY, "entry", Shape::Struct(FIELDS)),
        Attr::keep(
            MDBA_SET_ENTRY_ATTRS,
            "attrs",
            Shape::Nest(&[
                Attr::keep(1, "source", Shape::Ip),
                Attr::keep(2, "src_list", Shape::Repeat(SOURCES)),
                Attr::keep(
                    3,
                    "group_mode",
                    Shape::Fixed(1, &Shape::Enum(&[(0, "include"), (1, "exclude")])),
                ),
                Attr::keep(4, "rtprot", Shape::Fixed(1, &PROTOCOL)),
                Attr::keep(5, "dst", Shape::Ip),
                Attr::keep(6, "dst_port", Shape::U16),
                Attr::keep(7, "vni", Shape::U32),
                Attr::link(8, "via"),
                Attr::keep(9, "src_vni", Shape::U32),
            ]),
        ),
    ],
    key: &[
        "ifindex",
        "entry.ifindex",
        "entry.proto",
        "entry.address",
        "entry.vid",
        "attrs.source",
        "attrs.dst",
        "attrs.dst_port",
        "attrs.vni",
        "attrs.via",
        "attrs.src_vni",
    ],
    tells: RTM_NEWMDB,
    make: RTM_NEWMDB,
    remove: RTM_DELMDB,
    after: &["links", "bridge-vlans"],
    label,
    fleeting: |value| value.number("entry.state") == Some(0),
    shown_by: "tests/roundtrip, bridges",
    ..Class::BASE
};

fn label(value: &Value, names: &Names) -> String {
    let link = |path| names.link(value.number(path).unwrap_or_default());
    let source = value.field("attrs.source").map(|from| format!(" from {from}"));
    let vlan = value.number("entry.vid").filter(|vlan| *vlan != 0);
    let vlan = vlan.map(|vlan| format!(" in VLAN {vlan}")).unwrap_or_default();
    format!(
        "group {}{}{vlan} on {} of {}",
        group(value),
        source.unwrap_or_default(),
        link("entry.ifindex"),
        link("ifindex")
    )
}

/// The group's address: of IP, or without a protocol of Ethernet.
fn group(value: &Value) -> String {
    let Some(Value::Bytes(bytes)) = value.field("entry.address") else { return String::new() };
    let four: Option<[u8; 4]> = bytes.first_chunk().copied();
    let sixteen: Option<[u8; 16]> = bytes.first_chunk().copied();
    match (value.number("entry.proto"), four, sixteen) {
        (Some(ETH_P_IP), Some(four), _) => std::net::Ipv4Addr::from(four).to_string(),
        (Some(ETH_P_IPV6), _, Some(all)) => std::net::Ipv6Addr::from(all).to_string(),
        _ => {
            let bytes = bytes.iter().take(6).map(|byte| format!("{byte:02x}"));
            bytes.collect::<Vec<_>>().join(":")
        }
    }
}

fn read(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let dumped = dump(reader, "multicast groups", RTM_GETMDB, &[AF_BRIDGE, 0, 0, 0, 0, 0, 0, 0])?;
    Ok(as_set(&dumped))
}

/// A message in the form of setting for each entry of a dump that somebody has made.
fn as_set(dumped: &[u8]) -> Vec<u8> {
    let mut section = Vec::new();
    for message in messages(dumped).map_while(Result::ok) {
        let of = |bytes, id| attributes(bytes).map_while(Result::ok).filter(move |a| a.id == id);
        for table in message.attributes(HEADER).map_while(Result::ok).filter(|a| a.id == MDBA_MDB) {
            for entry in of(table.payload, MDBA_MDB_ENTRY) {
                for info in of(entry.payload, MDBA_MDB_ENTRY_INFO) {
                    section.extend(one(&message, &info));
                }
            }
        }
    }
    section
}

fn one(message: &Message<'_>, info: &Attribute<'_>) -> Vec<u8> {
    let Some((entry, rest)) = info.payload.split_at_checked(ENTRY) else { return Vec::new() };
    // One that ends by itself was learned, unless somebody says that it is theirs.
    let mut told = attributes(rest).map_while(Result::ok);
    let maker = told.find(|attribute| attribute.id == MDBA_MDB_EATTR_RTPROT);
    let learned = maker.is_none_or(|maker| maker.payload == [RTPROT_KERNEL]);
    let ends = entry[STATE] & MDB_PERMANENT == 0;
    if ends && learned || entry[FLAGS] & MDB_FLAGS_STAR_EXCL != 0 {
        return Vec::new();
    }
    let mut header = [0; HEADER];
    header[0] = AF_BRIDGE;
    header[4..].copy_from_slice(message.body.get(4..HEADER).unwrap_or(&[0; 4]));
    let mut builder = Builder::new(RTM_NEWMDB, 0, &header);
    builder.put(MDBA_SET_ENTRY, entry);
    let told: Vec<_> = attributes(rest).map_while(Result::ok).collect();
    // Sources and a mode belong to a group of all sources.
    let of_source = told.iter().any(|attribute| attribute.id == MDBA_MDB_EATTR_SOURCE);
    let only_of_all = [MDBA_MDB_EATTR_SRC_LIST, MDBA_MDB_EATTR_GROUP_MODE];
    let nest = builder.begin(MDBA_SET_ENTRY_ATTRS | Builder::NESTED);
    for attribute in told.iter().filter(|a| !(of_source && only_of_all.contains(&a.id))) {
        let Some((_, id)) = AS_SET.iter().find(|(told, _)| *told == attribute.id) else { continue };
        if attribute.id == MDBA_MDB_EATTR_SRC_LIST {
            let list = builder.begin(id | Builder::NESTED);
            sources(attribute.payload, &mut builder);
            builder.end(list);
        } else {
            builder.put(*id, attribute.payload);
        }
    }
    builder.end(nest);
    builder.finish()
}

/// A list of sources without their times.
fn sources(list: &[u8], builder: &mut Builder) {
    for source in attributes(list).map_while(Result::ok) {
        let mut parts = attributes(source.payload).map_while(Result::ok);
        if let Some(address) = parts.find(|part| part.id == SRCATTR_ADDRESS) {
            let one = builder.begin(source.id | Builder::NESTED);
            builder.put(SRCATTR_ADDRESS, address.payload).end(one);
        }
    }
}
