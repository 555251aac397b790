//! Multipath TCP: the addresses that a namespace offers and uses for further subflows, and how many
//! (`linux/mptcp_pm.h`, `Documentation/netlink/specs/mptcp_pm.yaml`).

use super::families::shown;
use crate::netlink::Message;
use crate::state::Value;
use crate::state::table::{Attr, Class, GENERIC, Shape, Source, generic_header};

const FAMILY: &str = "mptcp_pm";
const ADD_ADDR: u8 = 1;
const GET_ADDR: u8 = 3;
const SET_LIMITS: u8 = 5;
const GET_LIMITS: u8 = 6;
pub const ATTR_ADDR: u16 = 1;
const ADDR_FLAGS: u16 = 6;
/// Made by the kernel for a subflow that is there.
const IMPLICIT: u32 = 1 << 4;

const ADDRESS_FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::Bits(&[
        (1, "signal"),
        (2, "subflow"),
        (4, "backup"),
        (8, "fullmesh"),
        (IMPLICIT as u64, "implicit"),
        (32, "laminar"),
    ]),
);

const ADDRESS: &[Attr] = &[
    Attr::keep(1, "family", Shape::U16),
    Attr::keep(2, "id", Shape::U8),
    Attr::keep(3, "addr4", Shape::Ip),
    Attr::keep(4, "addr6", Shape::Ip),
    Attr::keep(5, "port", Shape::U16),
    Attr::keep(ADDR_FLAGS, "flags", ADDRESS_FLAGS),
    Attr::link(7, "ifindex"),
];

pub static MPTCP_ENDPOINTS: Class = Class {
    name: "mptcp-endpoints",
    source: Source::Generic { family: FAMILY, dumps: &[GET_ADDR], gets: &[] },
    header: &generic_header(ADD_ADDR),
    attributes: &[Attr::keep(ATTR_ADDR, "endpoint", Shape::Nest(ADDRESS))],
    key: &["endpoint.id"],
    tells: GENERIC,
    make: GENERIC,
    remove: GENERIC,
    belongs,
    // An endpoint with a port is listened on.
    after: &["links", "addresses"],
    label: |value, names| {
        let address = ["endpoint.addr4", "endpoint.addr6"].map(|path| shown(value, path)).concat();
        let port = value.number("endpoint.port").filter(|port| *port != 0);
        let port = port.map(|port| format!(" port {port}")).unwrap_or_default();
        let index = value.number("endpoint.ifindex").filter(|index| *index != 0);
        let link = index.map(|index| format!(" dev {}", names.link(index))).unwrap_or_default();
        let id = shown(value, "endpoint.id");
        format!("{address} id {id}{port}{link} {}", shown(value, "endpoint.flags"))
    },
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};

fn belongs(message: &Message<'_>) -> bool {
    let mut all = message.attributes(4).map_while(Result::ok);
    let Some(address) = all.find(|attribute| attribute.id == ATTR_ADDR) else { return false };
    let mut parts = crate::netlink::attributes(address.payload).map_while(Result::ok);
    let flags = parts.find(|part| part.id == ADDR_FLAGS).map_or(0, |flags| flags.number());
    flags & u64::from(IMPLICIT) == 0
}

pub static MPTCP_LIMITS: Class = Class {
    name: "mptcp-limits",
    source: Source::Generic { family: FAMILY, dumps: &[], gets: &[GET_LIMITS] },
    header: &generic_header(SET_LIMITS),
    attributes: &[
        Attr::keep(2, "rcv_add_addrs", Shape::U32),
        Attr::keep(3, "subflows", Shape::U32),
    ],
    tells: GENERIC,
    make: GENERIC,
    label: |value: &Value, _| {
        let (accepted, subflows) = (shown(value, "rcv_add_addrs"), shown(value, "subflows"));
        format!("limits: {accepted} accepted addresses, {subflows} subflows")
    },
    strict: true,
    shown_by: "tests/tables.rs",
    ..Class::BASE
};
