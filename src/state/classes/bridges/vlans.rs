//! VLANs of bridges and their ports, and what a bridge keeps of each (`linux/if_bridge.h`,
//! `BRIDGE_VLANDB_*`). From the headers: no kernel at hand has them.

use super::{AF_BRIDGE, HEADER, dump, split};
use crate::netlink::{Builder, Protocol};
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{Names, ReadError, Reader, Value};

const RTM_NEWVLAN: u16 = 112;
const RTM_DELVLAN: u16 = 113;
const RTM_GETVLAN: u16 = 114;
const RTNLGRP_BRVLAN: u32 = 33;
const BRIDGE_VLANDB_ENTRY: u16 = 1;
const BRIDGE_VLANDB_GLOBAL_OPTIONS: u16 = 2;
/// `BRIDGE_VLANDB_DUMP_FLAGS` with `BRIDGE_VLANDB_DUMPF_GLOBAL`.
const DUMP_FLAGS: u16 = 1;
const DUMPF_GLOBAL: u32 = 2;
/// `BR_STATE_FORWARDING`, and `MDB_RTR_TYPE_TEMP_QUERY`: what a new VLAN has. A bridge whose kernel
/// makes the states refuses to be told even that.
const FORWARDING: u64 = 3;
const ROUTER_LEARNED: u64 = 1;

const HEADER_FIELDS: &[Field] = &[
    Field::new("family", 0, Shape::U8, Fate::Keep),
    Field::new("ifindex", 4, Shape::U32, Fate::Ifindex),
];

/// `struct bridge_vlan_info`. Where one VLAN ends and whose it is are not in these flags.
const INFO: &[Field] = &[
    Field::new(
        "flags",
        0,
        Shape::Fixed(
            2,
            &Shape::BitsOf(
                &[
                    (1, "master"),
                    (2, "pvid"),
                    (4, "untagged"),
                    (8, "range_begin"),
                    (16, "range_end"),
                    (32, "brentry"),
                    (64, "only_opts"),
                ],
                6,
            ),
        ),
        Fate::Keep,
    ),
    Field::new("vid", 2, Shape::U16, Fate::Keep),
];

pub static BRIDGE_VLANS: Class = Class {
    name: "bridge-vlans",
    source: Source::Watched {
        read: |reader| read(reader, 0, BRIDGE_VLANDB_ENTRY),
        protocol: Protocol::Route,
        groups: &[RTNLGRP_BRVLAN],
        notices: &[RTM_NEWVLAN, RTM_DELVLAN],
    },
    header: HEADER_FIELDS,
    attributes: &[Attr::keep(
        BRIDGE_VLANDB_ENTRY,
        "entry",
        Shape::Nest(&[
            Attr::keep(1, "info", Shape::Struct(INFO)),
            Attr::keep(2, "range", Shape::U16),
            Attr::new(3, "state", Shape::U8, Fate::SetBut(FORWARDING)),
            Attr::keep(
                4,
                "tunnel_info",
                Shape::Nest(&[
                    Attr::keep(1, "id", Shape::U32),
                    // What to do with it; a plan puts it beside.
                    Attr::strip(2, "cmd", Shape::U32),
                ]),
            ),
            Attr::strip(5, "stats", Shape::Bytes),
            Attr::new(6, "mcast_router", Shape::U8, Fate::SetBut(ROUTER_LEARNED)),
            Attr::strip(7, "mcast_n_groups", Shape::U32),
            Attr::new(8, "mcast_max_groups", Shape::U32, Fate::Set),
            Attr::new(9, "neigh_suppress", Shape::U8, Fate::Set),
        ]),
    )],
    key: &["ifindex", "entry.info.vid", "entry.range"],
    tells: RTM_NEWVLAN,
    make: RTM_NEWVLAN,
    remove: RTM_DELVLAN,
    after: &["links"],
    label: |value, names| label(value, names, "entry.info.vid", "entry.range"),
    shown_by: "unit tests; from the headers, not tested live",
    ..Class::BASE
};

pub static BRIDGE_VLAN_OPTIONS: Class = Class {
    name: "bridge-vlan-options",
    source: Source::Watched {
        read: |reader| read(reader, DUMPF_GLOBAL, BRIDGE_VLANDB_GLOBAL_OPTIONS),
        protocol: Protocol::Route,
        groups: &[RTNLGRP_BRVLAN],
        notices: &[RTM_NEWVLAN, RTM_DELVLAN],
    },
    header: HEADER_FIELDS,
    attributes: &[Attr::keep(
        BRIDGE_VLANDB_GLOBAL_OPTIONS,
        "options",
        Shape::Nest(&[
            Attr::keep(1, "id", Shape::U16),
            Attr::keep(2, "range", Shape::U16),
            Attr::keep(3, "mcast_snooping", Shape::U8),
            Attr::keep(4, "mcast_igmp_version", Shape::U8),
            Attr::keep(5, "mcast_mld_version", Shape::U8),
            Attr::keep(6, "mcast_last_member_cnt", Shape::U32),
            Attr::keep(7, "mcast_startup_query_cnt", Shape::U32),
            Attr::keep(8, "mcast_last_member_intvl", Shape::U64),
            Attr::strip(9, "pad", Shape::Bytes),
            Attr::keep(10, "mcast_membership_intvl", Shape::U64),
            Attr::keep(11, "mcast_querier_intvl", Shape::U64),
            Attr::keep(12, "mcast_query_intvl", Shape::U64),
            Attr::keep(13, "mcast_query_response_intvl", Shape::U64),
            Attr::keep(14, "mcast_startup_query_intvl", Shape::U64),
            Attr::keep(15, "mcast_querier", Shape::U8),
            Attr::strip(16, "mcast_router_ports", Shape::Bytes),
            Attr::strip(17, "mcast_querier_state", Shape::Bytes),
            Attr::keep(18, "msti", Shape::U16),
        ]),
    )],
    key: &["ifindex", "options.id", "options.range"],
    tells: RTM_NEWVLAN,
    make: RTM_NEWVLAN,
    after: &["bridge-vlans"],
    label: |value, names| label(value, names, "options.id", "options.range"),
    shown_by: "unit tests; from the headers, not tested live",
    ..Class::BASE
};

fn label(value: &Value, names: &Names, id: &str, range: &str) -> String {
    let link = names.link(value.number("ifindex").unwrap_or_default());
    let id = value.number(id).unwrap_or_default();
    match value.number(range) {
        Some(end) => format!("VLANs {id}-{end} of {link}"),
        None => format!("VLAN {id} of {link}"),
    }
}

fn read(reader: &mut Reader, flags: u32, entry: u16) -> Result<Vec<u8>, ReadError> {
    let mut body = [&[AF_BRIDGE][..], &[0; HEADER - 1]].concat();
    if flags != 0 {
        body.extend(Builder::attribute(DUMP_FLAGS, &flags.to_ne_bytes()));
    }
    Ok(split(&dump(reader, "VLANs of bridges", RTM_GETVLAN, &body)?, entry))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netlink::messages;
    use crate::state::{check, objects, replay};

    /// As `br_vlan_dump_dev` of the kernel makes it: VLAN 1 as PVID and untagged, 10 to 20 blocked and
    /// with a tunnel's identifier.
    fn dumped() -> Vec<u8> {
        let mut builder = Builder::new(RTM_NEWVLAN, 2, &[AF_BRIDGE, 0, 0, 0, 7, 0, 0, 0]);
        let entry = builder.begin(BRIDGE_VLANDB_ENTRY | Builder::NESTED);
        builder.put(1, &[6, 0, 1, 0]).put(3, &[3]).put(6, &[1]).put(5, &[0; 32]);
        builder.end(entry);
        let entry = builder.begin(BRIDGE_VLANDB_ENTRY | Builder::NESTED);
        builder.put(1, &[0, 0, 10, 0]).put(2, &[20, 0]).put(3, &[4]);
        let tunnel = builder.begin(4 | Builder::NESTED);
        builder.put_u32(1, 1010).end(tunnel);
        builder.end(entry);
        builder.finish()
    }

    #[test]
    fn each_entry_is_an_object_that_is_sent_as_it_was_told() {
        let section = split(&dumped(), BRIDGE_VLANDB_ENTRY);
        let vlans = objects(&BRIDGE_VLANS, &section).unwrap();
        let names = Names::default();
        let labels: Vec<_> = vlans.iter().map(|vlan| vlan.label(&names)).collect();
        assert_eq!(labels, ["VLAN 1 of #7", "VLANs 10-20 of #7"]);
        for vlan in &vlans {
            let faults = check(&BRIDGE_VLANS, &vlan.bytes, &names);
            assert_eq!(faults.len(), 1, "only the link is not known: {faults:?}");
        }
        let sent = |at: usize| {
            let bytes = replay(&BRIDGE_VLANS, &vlans[at].bytes, 0);
            messages(&bytes).next().unwrap().unwrap().body.to_vec()
        };
        // What a new VLAN has by itself is not told to it.
        assert_eq!(
            sent(0),
            [&[7, 0, 0, 0, 7, 0, 0, 0][..], &[12, 0, 1, 0x80], &[8, 0, 1, 0, 6, 0, 1, 0],].concat()
        );
        assert_eq!(
            sent(1),
            [
                &[7, 0, 0, 0, 7, 0, 0, 0][..],
                &[40, 0, 1, 0x80],
                &[8, 0, 1, 0, 0, 0, 10, 0],
                &[6, 0, 2, 0, 20, 0, 0, 0],
                &[5, 0, 3, 0, 4, 0, 0, 0],
                &[12, 0, 4, 0x80],
                &[8, 0, 1, 0, 0xf2, 3, 0, 0],
            ]
            .concat()
        );
    }
}
