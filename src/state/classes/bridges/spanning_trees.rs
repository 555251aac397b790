//! States of ports in multiple spanning trees (`linux/if_bridge.h`, `IFLA_BRIDGE_MST`). From the
//! headers: no kernel at hand has them. Media redundancy and fault management are named.

use super::AF_BRIDGE;
use crate::netlink::{Message, Protocol, attributes};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Shape, Source};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTNLGRP_LINK: u32 = 1;
const IFLA_AF_SPEC: u16 = 26;
const IFLA_BRIDGE_MRP: u16 = 4;
const IFLA_BRIDGE_CFM: u16 = 5;
const IFLA_BRIDGE_MST: u16 = 6;

/// `ifinfomsg`, then `IFLA_EXT_MASK` with `RTEXT_FILTER_MRP`, `_CFM_CONFIG`, `_MST` and `_SKIP_STATS`.
const DUMP: &[u8] = &{
    let mut body = [0; 24];
    body[0] = AF_BRIDGE;
    let length = 8_u16.to_ne_bytes();
    let id = 29_u16.to_ne_bytes();
    let mask = (1_u32 << 4 | 1 << 5 | 1 << 7 | 1 << 3).to_ne_bytes();
    (body[16], body[17], body[18], body[19]) = (length[0], length[1], id[0], id[1]);
    (body[20], body[21], body[22], body[23]) = (mask[0], mask[1], mask[2], mask[3]);
    body
};

pub static BRIDGE_MST: Class = Class {
    name: "bridge-mst",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[Dump { kind: RTM_GETLINK, body: DUMP }],
        groups: &[RTNLGRP_LINK],
        notices: &[RTM_NEWLINK, RTM_DELLINK],
    },
    header: &[
        Field::new("family", 0, Shape::U8, Fate::Keep),
        Field::new("type", 2, Shape::U16, Fate::Strip),
        Field::new("index", 4, Shape::U32, Fate::Ifindex),
        Field::new("flags", 8, Shape::U32, Fate::Strip),
        Field::new("change", 12, Shape::U32, Fate::Strip),
    ],
    attributes: &[
        Attr::strip(1, "address", Shape::Mac),
        Attr::strip(3, "ifname", Shape::Text),
        Attr::strip(4, "mtu", Shape::U32),
        Attr::strip(5, "link", Shape::U32),
        Attr::strip(10, "master", Shape::U32),
        Attr::strip(12, "protinfo", Shape::Bytes),
        Attr::strip(16, "operstate", Shape::U8),
        Attr::keep(
            IFLA_AF_SPEC,
            "af_spec",
            Shape::Nest(&[
                Attr::strip(0, "flags", Shape::U16),
                Attr::strip(1, "mode", Shape::U16),
                Attr::strip(2, "vlan_info", Shape::Bytes),
                Attr::strip(3, "vlan_tunnel_info", Shape::Bytes),
                Attr::leave(IFLA_BRIDGE_MRP, "mrp", Shape::Bytes),
                Attr::leave(IFLA_BRIDGE_CFM, "cfm", Shape::Bytes),
                Attr::keep(IFLA_BRIDGE_MST, "mst", Shape::Repeat(TREES)),
            ]),
        ),
    ],
    key: &["index"],
    tells: RTM_NEWLINK,
    make: RTM_SETLINK,
    belongs,
    after: &["bridge-vlan-options"],
    label: |value, names| {
        format!("trees of {}", names.link(value.number("index").unwrap_or_default()))
    },
    shown_by: "unit tests; from the headers, not tested live",
    ..Class::BASE
};

const TREES: &[Attr] = &[Attr::keep(
    1,
    "entry",
    Shape::Nest(&[Attr::keep(1, "msti", Shape::U16), Attr::keep(2, "state", Shape::U8)]),
)];

/// Ports that have what is not told of links.
fn belongs(message: &Message<'_>) -> bool {
    let spec = message.attributes(16).map_while(Result::ok).find(|a| a.id == IFLA_AF_SPEC);
    let known = [IFLA_BRIDGE_MRP, IFLA_BRIDGE_CFM, IFLA_BRIDGE_MST];
    message.body.first() == Some(&AF_BRIDGE)
        && spec.is_some_and(|spec| {
            let parts = attributes(spec.payload).map_while(Result::ok);
            parts.filter(|part| !part.payload.is_empty()).any(|part| known.contains(&part.id))
        })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::{Builder, messages};
    use crate::state::{Names, objects, replay, unknown};

    fn port(part: u16, payload: &[u8]) -> Vec<u8> {
        let mut header = [0; 16];
        (header[0], header[4]) = (AF_BRIDGE, 7);
        let mut builder = Builder::new(RTM_NEWLINK, 0, &header);
        builder.put_text(3, "port0").put_u32(10, 6);
        let spec = builder.begin(IFLA_AF_SPEC);
        builder.put(part | Builder::NESTED, payload).end(spec);
        builder.finish()
    }

    #[test]
    fn states_are_sent_as_they_were_told() {
        // Tree 5, blocking.
        let parts = [Builder::attribute(1, &[5, 0]), Builder::attribute(2, &[4])].concat();
        let tree = Builder::attribute(1 | Builder::NESTED, &parts);
        let found = objects(&BRIDGE_MST, &port(IFLA_BRIDGE_MST, &tree)).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].label(&Names::default()), "trees of #7");
        let sent = replay(&BRIDGE_MST, &found[0].bytes, 0);
        let sent = messages(&sent).next().unwrap().unwrap();
        assert_eq!((sent.kind, sent.body[0], sent.body[4]), (RTM_SETLINK, AF_BRIDGE, 7));
        let mst = Builder::attribute(IFLA_BRIDGE_MST | Builder::NESTED, &tree);
        let spec = Builder::attribute(IFLA_AF_SPEC | Builder::NESTED, &mst);
        assert_eq!(sent.body[16..], spec[..]);
    }

    #[test]
    fn rings_are_named() {
        let ring = port(IFLA_BRIDGE_MRP, &Builder::attribute(1, &[0; 4]));
        let found = objects(&BRIDGE_MST, &ring).unwrap();
        assert!(unknown(&BRIDGE_MST, &found[0].bytes)[0].to_string().contains("mrp"));
        assert!(objects(&BRIDGE_MST, &port(2, &[0; 4])).unwrap().is_empty());
    }
}
