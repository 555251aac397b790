//! Routes of IPv4 and IPv6, of all tables and types (`linux/rtnetlink.h`).

use super::encapsulations::{ENCAP, ENCAP_TYPE};
use super::families::{CONGESTION_CONTROLS, FAMILY, PROTOCOL, SCOPE, TABLE, prefix, shown};
use crate::netlink::{Message, Protocol, messages};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Lifetime, Shape, Source};
use crate::state::{Names, Value};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_NEWADDR: u16 = 20;
const RTM_DELADDR: u16 = 21;
const RTM_NEWNEXTHOP: u16 = 104;
const RTM_DELNEXTHOP: u16 = 105;
const RTM_NEWROUTE: u16 = 24;
const RTM_DELROUTE: u16 = 25;
const RTM_GETROUTE: u16 = 26;
const RTNLGRP_LINK: u32 = 1;
const RTNLGRP_IPV4_IFADDR: u32 = 5;
const RTNLGRP_IPV6_IFADDR: u32 = 9;
const RTNLGRP_NEXTHOP: u32 = 32;
const RTNLGRP_IPV4_ROUTE: u32 = 7;
const RTNLGRP_IPV6_ROUTE: u32 = 11;

const RTA_CACHEINFO: u16 = 12;
const RTA_EXPIRES: u16 = 23;
const RTA_NH_ID: u16 = 30;
const RTM_F_CLONED: u32 = 0x200;
/// `USER_HZ`, the unit of `rta_cacheinfo`.
const USER_HZ: u32 = 100;

/// `RTNH_F_*` and `RTM_F_*`. All but `onlink` tell what links, neighbours and hardware make of the route.
pub const PATH_FLAGS: Shape = Shape::Fixed(
    4,
    &Shape::BitsOf(
        &[
            (0x01, "dead"),
            (0x02, "pervasive"),
            (0x04, "onlink"),
            (0x08, "nexthop_offload"),
            (0x10, "linkdown"),
            (0x20, "unresolved"),
            (0x40, "nexthop_trap"),
            (0x100, "notify"),
            (RTM_F_CLONED as u64, "cloned"),
            (0x800, "prefix"),
            (0x4000, "offload"),
            (0x8000, "trap"),
            (0x2000_0000, "offload_failed"),
        ],
        0x04,
    ),
);

/// `RTN_*`.
const TYPE: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "unspec"),
        (1, "unicast"),
        (2, "local"),
        (3, "broadcast"),
        (4, "anycast"),
        (5, "multicast"),
        (6, "blackhole"),
        (7, "unreachable"),
        (8, "prohibit"),
        (9, "throw"),
        (10, "nat"),
        (11, "xresolve"),
    ]),
);

const PREFERENCE: Shape = Shape::Fixed(1, &Shape::Enum(&[(0, "medium"), (1, "high"), (3, "low")]));

/// With a nexthop object the dump spells out what the object says; only its id may be sent.
const PATH: Fate = Fate::Unless(RTA_NH_ID, &(Fate::Keep, Fate::Derived));
const PATH_LINK: Fate = Fate::Unless(RTA_NH_ID, &(Fate::Ifindex, Fate::Derived));

/// `RTAX_*`.
const METRICS: &[Attr] = &[
    Attr::keep(1, "lock", Shape::U32),
    Attr::keep(2, "mtu", Shape::U32),
    Attr::keep(3, "window", Shape::U32),
    Attr::keep(4, "rtt", Shape::U32),
    Attr::keep(5, "rttvar", Shape::U32),
    Attr::keep(6, "ssthresh", Shape::U32),
    Attr::keep(7, "cwnd", Shape::U32),
    Attr::keep(8, "advmss", Shape::U32),
    Attr::keep(9, "reordering", Shape::U32),
    Attr::keep(10, "hoplimit", Shape::U32),
    Attr::keep(11, "initcwnd", Shape::U32),
    Attr::keep(12, "features", Shape::U32),
    Attr::keep(13, "rto_min", Shape::U32),
    Attr::keep(14, "initrwnd", Shape::U32),
    Attr::keep(15, "quickack", Shape::U32),
    Attr::keep(16, "cc_algo", Shape::Word(CONGESTION_CONTROLS)),
    Attr::keep(17, "fastopen_no_cookie", Shape::U32),
];

/// `struct rta_cacheinfo`.
const CACHEINFO: &[Field] = &[
    Field::new("clntref", 0, Shape::U32, Fate::Strip),
    Field::new("lastuse", 4, Shape::U32, Fate::Strip),
    Field::new(
        "expires",
        8,
        Shape::I32,
        Fate::Lifetime(Lifetime { per_second: USER_HZ, forever: 0, least: 1 }),
    ),
    Field::new("error", 12, Shape::I32, Fate::Derived),
    Field::new("used", 16, Shape::U32, Fate::Strip),
    Field::new("id", 20, Shape::U32, Fate::Strip),
    Field::new("ts", 24, Shape::U32, Fate::Strip),
    Field::new("tsage", 28, Shape::U32, Fate::Strip),
];

/// Attributes of one path of a multipath route.
const MEMBER: &[Attr] = &[
    Attr::keep(5, "gateway", Shape::Ip),
    Attr::keep(11, "flow", Shape::U32),
    Attr::keep(18, "via", Shape::Via),
    Attr::keep(19, "newdst", Shape::Bytes),
    Attr::keep(21, "encap_type", ENCAP_TYPE),
    Attr::keep(22, "encap", ENCAP),
];

pub static ROUTES: Class = Class {
    name: "routes",
    source: Source::Netlink {
        protocol: Protocol::Route,
        dumps: &[
            Dump { kind: RTM_GETROUTE, body: &[2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
            Dump { kind: RTM_GETROUTE, body: &[10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] },
        ],
        groups: &[
            RTNLGRP_IPV4_ROUTE,
            RTNLGRP_IPV6_ROUTE,
            RTNLGRP_LINK,
            RTNLGRP_IPV4_IFADDR,
            RTNLGRP_IPV6_IFADDR,
            RTNLGRP_NEXTHOP,
        ],
        notices: &[
            RTM_NEWROUTE,
            RTM_DELROUTE,
            // IPv4 routes that go with one of these go untold.
            RTM_NEWLINK,
            RTM_DELLINK,
            RTM_NEWADDR,
            RTM_DELADDR,
            RTM_NEWNEXTHOP,
            RTM_DELNEXTHOP,
        ],
    },
    header: &[
        Field::new("family", 0, FAMILY, Fate::Keep),
        Field::new("dst_len", 1, Shape::U8, Fate::Keep),
        Field::new("src_len", 2, Shape::U8, Fate::Keep),
        Field::new("tos", 3, Shape::U8, Fate::Keep),
        // Eight bits of what the attribute `table` says in full.
        Field::new("header_table", 4, Shape::U8, Fate::Strip),
        Field::new("protocol", 5, Shape::Fixed(1, &PROTOCOL), Fate::Keep),
        Field::new("scope", 6, SCOPE, Fate::Keep),
        Field::new("type", 7, TYPE, Fate::Keep),
        Field::new("flags", 8, PATH_FLAGS, Fate::Keep),
    ],
    attributes: &[
        Attr::keep(1, "dst", Shape::Ip),
        Attr::keep(2, "src", Shape::Ip),
        Attr::strip(3, "iif", Shape::U32),
        Attr::new(4, "oif", Shape::U32, PATH_LINK),
        Attr::new(5, "gateway", Shape::Ip, PATH),
        Attr::keep(6, "priority", Shape::U32),
        Attr::keep(7, "prefsrc", Shape::Ip),
        Attr::keep(8, "metrics", Shape::Nest(METRICS)),
        Attr::new(9, "multipath", Shape::Nexthops(MEMBER), PATH),
        Attr::strip(10, "protoinfo", Shape::Bytes),
        Attr::keep(11, "flow", Shape::U32),
        // Told in one form and set in another: see `mend`.
        Attr::new(RTA_CACHEINFO, "cacheinfo", Shape::Struct(CACHEINFO), Fate::Synthesise),
        Attr::strip(13, "session", Shape::Bytes),
        Attr::strip(14, "mp_algo", Shape::Bytes),
        Attr::keep(15, "table", Shape::Fixed(4, &TABLE)),
        Attr::strip(16, "mark", Shape::U32),
        Attr::strip(17, "mfc_stats", Shape::Bytes),
        Attr::new(18, "via", Shape::Via, PATH),
        Attr::keep(19, "newdst", Shape::Bytes),
        Attr::keep(20, "pref", PREFERENCE),
        Attr::new(21, "encap_type", ENCAP_TYPE, PATH),
        Attr::new(22, "encap", ENCAP, PATH),
        Attr::keep(RTA_EXPIRES, "expires", Shape::U32),
        Attr::strip(24, "pad", Shape::Bytes),
        Attr::strip(25, "uid", Shape::U32),
        Attr::keep(26, "ttl_propagate", Shape::U8),
        Attr::strip(27, "ip_proto", Shape::U8),
        Attr::strip(28, "sport", Shape::Be16),
        Attr::strip(29, "dport", Shape::Be16),
        Attr::keep(RTA_NH_ID, "nh_id", Shape::U32),
        Attr::strip(31, "flowlabel", Shape::Be32),
    ],
    // Several routes to one prefix differ by where they lead.
    key: &[
        "family", "table", "dst", "dst_len", "src", "src_len", "tos", "priority", "type", "oif",
        "gateway", "via", "nh_id",
    ],
    tells: RTM_NEWROUTE,
    make: RTM_NEWROUTE,
    remove: RTM_DELROUTE,
    belongs,
    after: &["links", "addresses", "neighbours", "nexthops"],
    label,
    mend: expiry,
    fleeting: follows_an_address,
    drifts: |section| messages(section).map_while(Result::ok).any(|route| expires(&route)),
    shown_by: "tests/roundtrip, routes",
    ..Class::BASE
};

/// IPv4 and IPv6, and no copies that lookups made.
fn belongs(message: &Message<'_>) -> bool {
    let flags = message.body.get(8..12).and_then(|flags| flags.first_chunk());
    let flags = flags.map_or(0, |flags| u32::from_ne_bytes(*flags));
    let ip = message.body.first().is_some_and(|family| matches!(family, 2 | 10));
    ip && flags & RTM_F_CLONED == 0
}

/// IPv6 routes of addresses and links. The kernel makes them when it has seen that no one else has
/// the address; nobody else can, since the metric 0 that they have stands for 1024 when asked for.
fn follows_an_address(value: &Value) -> bool {
    const RTPROT_KERNEL: u64 = 2;
    value.number("family") == Some(10)
        && value.number("protocol") == Some(RTPROT_KERNEL)
        && value.number("priority") == Some(0)
}

/// Whether the route ends by itself (`rta_expires` of `struct rta_cacheinfo`).
fn expires(route: &Message<'_>) -> bool {
    let mut all = route.attributes(12).map_while(Result::ok);
    let times = all.find(|attribute| attribute.id == RTA_CACHEINFO);
    times.is_some_and(|times| times.payload.get(8..12).is_some_and(|left| left != [0; 4]))
}

/// `RTA_EXPIRES` is in seconds.
fn expiry(value: &Value) -> Vec<(u16, Vec<u8>)> {
    let left = value.number("cacheinfo.expires").filter(|left| *left > 0);
    let seconds =
        left.map(|left| left.div_ceil(u64::from(USER_HZ)).min(u64::from(u32::MAX)) as u32);
    seconds.map(|seconds| (RTA_EXPIRES, seconds.to_ne_bytes().to_vec())).into_iter().collect()
}

fn label(value: &Value, names: &Names) -> String {
    let kind = match value.text("type") {
        Some("unicast") | None => String::new(),
        Some(kind) => format!("{kind} "),
    };
    let mut text = match value.field("dst") {
        Some(_) => format!("{kind}{}", prefix(value, "dst", "dst_len")),
        None => format!("{kind}default"),
    };
    if value.field("dst").is_none() && value.number("family") == Some(10) {
        text.push_str(" (ipv6)");
    }
    for path in ["gateway", "via"] {
        if value.field(path).is_some() {
            text.push_str(&format!(" via {}", shown(value, path)));
        }
    }
    if let Some(id) = value.number("nh_id") {
        text.push_str(&format!(" nhid {id}"));
    }
    if let Some(Value::List(paths)) = value.field("multipath") {
        text.push_str(&format!(" over {} paths", paths.len()));
    }
    if let Some(link) = value.number("oif") {
        text.push_str(&format!(" dev {}", names.link(link)));
    }
    match value.field("table") {
        Some(table) => format!("{text} (table {table})"),
        None => text,
    }
}
