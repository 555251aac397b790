//! Virtual servers (`ipvsadm`, `linux/ip_vs.h`): services, their destinations, the daemons that tell
//! others of connections, and timeouts. Connections themselves are not told over netlink.

use super::families::shown;
use crate::netlink::{Attribute, Builder, Message, Protocol, align, attributes, messages};
use crate::state::table::{Attr, Class, Fate, Field, GENERIC, Shape, Source, generic_header};
use crate::state::{Fault, ReadError, Reader, Value};

pub const FAMILY: &str = "IPVS";
pub const NEW_SERVICE: u8 = 1;
pub const SET_SERVICE: u64 = 2;
pub const DEL_SERVICE: u64 = 3;
const GET_SERVICE: u8 = 4;
const NEW_DEST: u8 = 5;
pub const SET_DEST: u64 = 6;
pub const DEL_DEST: u64 = 7;
const GET_DEST: u8 = 8;
const NEW_DAEMON: u8 = 9;
pub const DEL_DAEMON: u64 = 10;
const GET_DAEMON: u8 = 11;
const SET_CONFIG: u8 = 12;
const GET_CONFIG: u8 = 13;
const SERVICE: u16 = 1;
const DEST: u16 = 2;
const DAEMON: u16 = 3;
/// Bytes of `struct genlmsghdr`.
const HEADER: usize = 4;

/// Schedulers and engines of persistence that the kernel has. It would load a module for any other name.
const SCHEDULERS: &[&str] = &[
    "rr", "wrr", "lc", "wlc", "fo", "ovf", "lblc", "lblcr", "dh", "sh", "mh", "sed", "nq", "twos",
];
const ENGINES: &[&str] = &["sip"];

/// `IP_VS_SVC_F_*`. That it is hashed is the kernel's own mark, which it takes from nobody.
const FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::BitsOf(
        &[
            (1, "persistent"),
            (2, "hashed"),
            (4, "one-packet"),
            (8, "sched-1"),
            (0x10, "sched-2"),
            (0x20, "sched-3"),
        ],
        0x3d,
    ),
);

/// Which of the services it is: by address or by mark.
const AF: u16 = 1;
const MARK: u16 = 5;
const WHICH: [u16; 5] = [AF, 2, 3, 4, MARK];

const SERVICE_ATTRIBUTES: &[Attr] = &[
    Attr::keep(AF, "af", Shape::Fixed(2, &Shape::Enum(&[(2, "ipv4"), (10, "ipv6")]))),
    Attr::keep(
        2,
        "protocol",
        Shape::Fixed(2, &Shape::Enum(&[(6, "tcp"), (17, "udp"), (132, "sctp")])),
    ),
    // Of either family in 16 bytes.
    Attr::keep(3, "addr", Shape::Fixed(16, &Shape::Bytes)),
    Attr::keep(4, "port", Shape::Be16),
    Attr::keep(MARK, "fwmark", Shape::U32),
    Attr::keep(6, "sched_name", Shape::Word(SCHEDULERS)),
    Attr::keep(
        7,
        "flags",
        Shape::Struct(&[
            Field::new("flags", 0, FLAGS, Fate::Keep),
            Field::new("mask", 4, Shape::U32, Fate::Fill(0xffff_ffff)),
        ]),
    ),
    // Seconds for which a client stays with its destination.
    Attr::keep(8, "timeout", Shape::U32),
    Attr::keep(9, "netmask", Shape::Fixed(4, &Shape::Bytes)),
    Attr::strip(10, "stats", Shape::Bytes),
    Attr::keep(11, "pe_name", Shape::Word(ENGINES)),
    Attr::strip(12, "stats64", Shape::Bytes),
];

const DEST_ATTRIBUTES: &[Attr] = &[
    Attr::keep(1, "addr", Shape::Fixed(16, &Shape::Bytes)),
    Attr::keep(2, "port", Shape::Be16),
    Attr::keep(
        3,
        "fwd_method",
        Shape::Fixed(
            4,
            &Shape::Enum(&[(0, "masquerade"), (1, "local"), (2, "tunnel"), (3, "route")]),
        ),
    ),
    Attr::keep(4, "weight", Shape::U32),
    Attr::keep(5, "u_thresh", Shape::U32),
    Attr::keep(6, "l_thresh", Shape::U32),
    Attr::strip(7, "active_conns", Shape::U32),
    Attr::strip(8, "inact_conns", Shape::U32),
    Attr::strip(9, "persist_conns", Shape::U32),
    Attr::strip(10, "stats", Shape::Bytes),
    Attr::keep(11, "addr_family", Shape::U16),
    Attr::strip(12, "stats64", Shape::Bytes),
    Attr::keep(
        13,
        "tun_type",
        Shape::Fixed(1, &Shape::Enum(&[(0, "ipip"), (1, "gue"), (2, "gre")])),
    ),
    Attr::keep(14, "tun_port", Shape::Be16),
    Attr::keep(15, "tun_flags", Shape::U16),
];

const SHOWN_BY: &str =
    "messages by the header, in their plan: this project's machines have no IPVS";

const BASE: Class =
    Class { tells: GENERIC, make: GENERIC, strict: true, shown_by: SHOWN_BY, ..Class::BASE };

pub static IPVS_SERVICES: Class = Class {
    name: "ipvs-services",
    source: Source::Generic { family: FAMILY, dumps: &[GET_SERVICE], gets: &[] },
    header: &generic_header(NEW_SERVICE),
    attributes: &[Attr::keep(SERVICE, "service", Shape::Nest(SERVICE_ATTRIBUTES))],
    key: &["service.af", "service.protocol", "service.addr", "service.port", "service.fwmark"],
    remove: GENERIC,
    belongs: |message| part(message, SERVICE).is_some(),
    label: |value, _| service(value),
    ..BASE
};

/// In a section each is told with which service it is of, as a request tells it.
pub static IPVS_DESTINATIONS: Class = Class {
    name: "ipvs-destinations",
    source: Source::Read(destinations),
    header: &generic_header(NEW_DEST),
    attributes: &[
        Attr::keep(SERVICE, "service", Shape::Nest(SERVICE_ATTRIBUTES)),
        Attr::keep(DEST, "dest", Shape::Nest(DEST_ATTRIBUTES)),
    ],
    key: &[
        "service.af",
        "service.protocol",
        "service.addr",
        "service.port",
        "service.fwmark",
        "dest.addr_family",
        "dest.addr",
        "dest.port",
    ],
    remove: GENERIC,
    after: &["ipvs-services"],
    label: |value, _| {
        let family = value.number("dest.addr_family").or_else(|| value.number("service.af"));
        format!("{} of {}", end(value, "dest", family), service(value))
    },
    ..BASE
};

pub static IPVS_DAEMONS: Class = Class {
    name: "ipvs-daemons",
    source: Source::Generic { family: FAMILY, dumps: &[GET_DAEMON], gets: &[] },
    header: &generic_header(NEW_DAEMON),
    attributes: &[Attr::keep(
        DAEMON,
        "daemon",
        Shape::Nest(&[
            Attr::keep(1, "state", Shape::Fixed(4, &Shape::Enum(&[(1, "master"), (2, "backup")]))),
            Attr::keep(2, "mcast_ifn", Shape::Text),
            Attr::keep(3, "sync_id", Shape::U32),
            Attr::keep(4, "sync_maxlen", Shape::U16),
            Attr::keep(5, "mcast_group", Shape::Ip),
            Attr::keep(6, "mcast_group6", Shape::Ip),
            Attr::keep(7, "mcast_port", Shape::U16),
            Attr::keep(8, "mcast_ttl", Shape::U8),
        ]),
    )],
    key: &["daemon.state"],
    remove: GENERIC,
    belongs: |message| part(message, DAEMON).is_some(),
    after: &["links", "addresses"],
    label: |value, _| {
        format!("{} on {}", shown(value, "daemon.state"), shown(value, "daemon.mcast_ifn"))
    },
    ..BASE
};

pub static IPVS_TIMEOUTS: Class = Class {
    name: "ipvs-timeouts",
    source: Source::Generic { family: FAMILY, dumps: &[], gets: &[GET_CONFIG] },
    header: &generic_header(SET_CONFIG),
    attributes: &[
        Attr::keep(4, "tcp", Shape::U32),
        Attr::keep(5, "tcp_fin", Shape::U32),
        Attr::keep(6, "udp", Shape::U32),
    ],
    label: |_, _| "timeouts".to_owned(),
    faults: |value| {
        // The kernel leaves what is told as zero as it is.
        let none = ["tcp", "tcp_fin", "udp"].iter().any(|path| value.number(path) == Some(0));
        let why = "a timeout of zero, which the kernel does not take";
        if none { vec![Fault::Object(why.to_owned())] } else { Vec::new() }
    },
    ..BASE
};

/// `tcp 10.0.0.1:80`, `mark 7 (ipv6)`.
fn service(value: &Value) -> String {
    let family = value.number("service.af");
    match value.number("service.fwmark").filter(|mark| *mark != 0) {
        Some(mark) => format!("mark {mark} ({})", shown(value, "service.af")),
        None => {
            format!("{} {}", shown(value, "service.protocol"), end(value, "service", family))
        }
    }
}

/// Address and port.
fn end(value: &Value, of: &str, family: Option<u64>) -> String {
    let port = shown(value, &format!("{of}.port"));
    let Some(Value::Bytes(bytes)) = value.field(&format!("{of}.addr")) else { return port };
    let six = <[u8; 16]>::try_from(bytes.as_slice()).map(std::net::Ipv6Addr::from);
    let four = bytes.first_chunk::<4>().map(|four| std::net::Ipv4Addr::from(*four));
    match (family, six, four) {
        (Some(10), Ok(six), _) => format!("[{six}]:{port}"),
        (_, _, Some(four)) => format!("{four}:{port}"),
        _ => port,
    }
}

fn part<'a>(message: &Message<'a>, id: u16) -> Option<Attribute<'a>> {
    message.attributes(HEADER).map_while(Result::ok).find(|one| one.id == id)
}

/// A dump of destinations is one of a service's, and does not say which. They are told newest first, and
/// schedulers take them in their order: what is made first comes first in the section.
fn destinations(reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let failed = |source| ReadError::Netlink { what: "virtual servers", source };
    let Some(family) = reader.family(FAMILY).map_err(failed)?.cloned() else {
        return Ok(Vec::new());
    };
    let (mut services, mut section) = (Vec::new(), Vec::new());
    let body = family.header(GET_SERVICE);
    reader.dump(Protocol::Generic, family.id, &body, &mut services).map_err(failed)?;
    for told in messages(&services) {
        let told = told.map_err(|error| failed(error.into()))?;
        let Some(service) = part(&told, SERVICE) else { continue };
        let which = which(service.payload);
        let body = [&family.header(GET_DEST)[..], &which].concat();
        let mut answer = Vec::new();
        reader.dump(Protocol::Generic, family.id, &body, &mut answer).map_err(failed)?;
        let mut found: Vec<Vec<u8>> = Vec::new();
        for told in messages(&answer) {
            let told = told.map_err(|error| failed(error.into()))?;
            let Some(dest) = part(&told, DEST) else { continue };
            let mut builder = Builder::new(GENERIC, 0, &[NEW_DEST, family.version, 0, 0]);
            builder.raw(&which).put(DEST | Builder::NESTED, dest.payload);
            found.push(builder.finish());
        }
        for message in found.into_iter().rev() {
            section.extend_from_slice(&message);
            section.resize(align(section.len()), 0);
        }
    }
    Ok(section)
}

/// The service's nest with only what a request names it by.
fn which(service: &[u8]) -> Vec<u8> {
    let all = attributes(service).map_while(Result::ok).filter(|one| WHICH.contains(&one.id));
    let all: Vec<u8> = all.flat_map(|one| Builder::attribute(one.id, one.payload)).collect();
    Builder::attribute(SERVICE | Builder::NESTED, &all)
}
