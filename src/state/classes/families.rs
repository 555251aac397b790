//! Names of numbers that several classes share.

use crate::state::table::{Fate, Field, Shape};
use crate::state::{Fault, Value};

/// Address families (`linux/socket.h`); where one has no other meaning.
pub const FAMILY: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "any"),
        (2, "ipv4"),
        (7, "bridge"),
        (10, "ipv6"),
        (28, "mpls"),
        (128, "ipmr"),
        (129, "ip6mr"),
    ]),
);

/// `struct nfgenmsg` of tables that are of no family (`linux/netfilter/nfnetlink.h`).
pub const NFGENMSG: &[Field] = &[
    Field::new("nfgen_family", 0, Shape::U8, Fate::Zero),
    Field::new("version", 1, Shape::U8, Fate::Zero),
    Field::new("res_id", 2, Shape::Be16, Fate::Zero),
];

/// Who made it (`RTPROT_*` of `linux/rtnetlink.h`).
pub const PROTOCOL: Shape = Shape::Enum(&[
    (0, "unspec"),
    (1, "redirect"),
    (2, "kernel"),
    (3, "boot"),
    (4, "static"),
    (8, "gated"),
    (9, "ra"),
    (10, "mrt"),
    (11, "zebra"),
    (12, "bird"),
    (13, "dnrouted"),
    (14, "xorp"),
    (15, "ntk"),
    (16, "dhcp"),
    (17, "mrouted"),
    (18, "keepalived"),
    (42, "babel"),
    (84, "ovn"),
    (99, "openr"),
    (186, "bgp"),
    (187, "isis"),
    (188, "ospf"),
    (189, "rip"),
    (192, "eigrp"),
]);

/// `RT_SCOPE_*` of `linux/rtnetlink.h`.
pub const SCOPE: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[(0, "global"), (200, "site"), (253, "link"), (254, "host"), (255, "nowhere")]),
);

/// Routing tables (`RT_TABLE_*`).
pub const TABLE: Shape =
    Shape::Enum(&[(0, "unspec"), (252, "compat"), (253, "default"), (254, "main"), (255, "local")]);

/// Bytes of a name with its NUL, of sets and of what else rules name (`IPSET_MAXNAMELEN`,
/// `CTNL_TIMEOUT_NAME_MAX`, `NFACCT_NAME_MAX`).
const NAME_SIZE: usize = 32;

/// Whether a text may be such a name.
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.len() < NAME_SIZE && !name.contains(char::is_control)
}

/// What is wrong with the name of something that rules name.
pub fn name_fault(value: &Value) -> Option<Fault> {
    let named = value.text("name").is_some_and(is_name);
    (!named).then(|| Fault::Object("its name is none that it can have".to_owned()))
}

/// Printed value at `path`, or nothing.
pub fn shown(value: &Value, path: &str) -> String {
    value.field(path).map(ToString::to_string).unwrap_or_default()
}

/// `address/length`; the family's zero address where the message has none.
pub fn prefix(value: &Value, address: &str, length: &str) -> String {
    let none = if value.number("family") == Some(10) { "::" } else { "0.0.0.0" };
    let address = value.field(address).map_or_else(|| none.to_owned(), ToString::to_string);
    format!("{address}/{}", value.number(length).unwrap_or_default())
}

/// Controls of congestion that kernels have (`net/ipv4/tcp_*.c`), and those that are on their way in.
pub const CONGESTION_CONTROLS: &[&str] = &[
    "bbr",
    "bbr2",
    "bbr3",
    "bic",
    "cdg",
    "cubic",
    "dctcp",
    "highspeed",
    "htcp",
    "hybla",
    "illinois",
    "lp",
    "nv",
    "prague",
    "reno",
    "scalable",
    "vegas",
    "veno",
    "westwood",
    "yeah",
];
