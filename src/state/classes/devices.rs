//! Settings of devices that `ethtool` shows: features, channels, coalescing, and what
//! a tap pretends to be
//! (`linux/ethtool_netlink.h`, `Documentation/netlink/specs/ethtool.yaml`).
//!
//! They are set in a link that is there, and only what differs: a device knows its own features, which
//! are not those of another kernel.

use super::families::shown;
use crate::netlink::{Message, Protocol, align, attributes, messages};
use crate::state::table::{Attr, Class, Fate, Field, GENERIC, Shape, Source, generic_header};
use crate::state::{Names, ReadError, Reader, Value};

/// The family, and what all its messages begin with.
pub const FAMILY: &str = "ethtool";
pub const HEADER: u16 = 1;
pub const HEADER_INDEX: u16 = 1;
pub const HEADER_FLAGS: u16 = 3;

const LINK_INFO_GET: u8 = 2;
pub const LINK_INFO_SET: u8 = 3;
const LINK_MODES_GET: u8 = 4;
pub const LINK_MODES_SET: u8 = 5;
const MESSAGES_GET: u8 = 7;
pub const MESSAGES_SET: u8 = 8;
const FEATURES_GET: u8 = 11;
pub const FEATURES_SET: u8 = 12;
const CHANNELS_GET: u8 = 17;
pub const CHANNELS_SET: u8 = 18;
const COALESCE_GET: u8 = 19;
pub const COALESCE_SET: u8 = 20;

/// `ETHTOOL_A_FEATURES_WANTED`, and what is in a set of bits.
pub const WANTED: u16 = 3;
pub const BITS: u16 = 3;
pub const BIT: u16 = 1;
pub const BIT_NAME: u16 = 2;
pub const BIT_VALUE: u16 = 3;

const OF: Attr = Attr::new(
    HEADER,
    "header",
    Shape::Nest(&[
        Attr::link(HEADER_INDEX, "dev_index"),
        Attr::strip(2, "dev_name", Shape::Text),
        Attr::strip(HEADER_FLAGS, "flags", Shape::U32),
        Attr::strip(4, "phy_index", Shape::U32),
    ]),
    Fate::Keep,
);

/// Told by name; the numbers are the running kernel's.
const FEATURES: &[Attr] = &[
    Attr::keep(1, "nomask", Shape::Flag),
    Attr::strip(2, "size", Shape::U32),
    Attr::keep(
        BITS,
        "bits",
        Shape::Repeat(&[Attr::keep(
            BIT,
            "bit",
            Shape::Nest(&[
                Attr::strip(1, "index", Shape::U32),
                Attr::keep(BIT_NAME, "name", Shape::Text),
                Attr::keep(BIT_VALUE, "value", Shape::Flag),
            ]),
        )]),
    ),
];

const FEATURES_HEADER: &[Field] = &generic_header(FEATURES_SET);

/// A class of settings that every device has one object of.
const SETTINGS: Class = Class {
    key: &["header.dev_index"],
    tells: GENERIC,
    make: GENERIC,
    belongs,
    after: &["links"],
    label,
    shown_by: "tests/roundtrip, devices",
    ..Class::BASE
};

pub static DEVICE_FEATURES: Class = Class {
    name: "device-features",
    source: Source::Generic { family: FAMILY, dumps: &[FEATURES_GET], gets: &[] },
    header: FEATURES_HEADER,
    attributes: &[
        OF,
        // What the device could do, does and never changes.
        Attr::strip(2, "hw", Shape::Bytes),
        Attr::keep(WANTED, "wanted", Shape::Nest(FEATURES)),
        Attr::strip(4, "active", Shape::Bytes),
        Attr::strip(5, "nochange", Shape::Bytes),
    ],
    ..SETTINGS
};

pub static DEVICE_CHANNELS: Class = Class {
    name: "device-channels",
    source: Source::Generic { family: FAMILY, dumps: &[CHANNELS_GET], gets: &[] },
    header: &generic_header(CHANNELS_SET),
    attributes: &[
        OF,
        Attr::strip(2, "rx_max", Shape::U32),
        Attr::strip(3, "tx_max", Shape::U32),
        Attr::strip(4, "other_max", Shape::U32),
        Attr::strip(5, "combined_max", Shape::U32),
        Attr::keep(6, "rx_count", Shape::U32),
        Attr::keep(7, "tx_count", Shape::U32),
        Attr::keep(8, "other_count", Shape::U32),
        Attr::keep(9, "combined_count", Shape::U32),
    ],
    ..SETTINGS
};

pub static DEVICE_COALESCING: Class = Class {
    name: "device-coalescing",
    source: Source::Generic { family: FAMILY, dumps: &[COALESCE_GET], gets: &[] },
    header: &generic_header(COALESCE_SET),
    attributes: &[
        OF,
        Attr::keep(2, "rx_usecs", Shape::U32),
        Attr::keep(3, "rx_max_frames", Shape::U32),
        Attr::keep(4, "rx_usecs_irq", Shape::U32),
        Attr::keep(5, "rx_max_frames_irq", Shape::U32),
        Attr::keep(6, "tx_usecs", Shape::U32),
        Attr::keep(7, "tx_max_frames", Shape::U32),
        Attr::keep(8, "tx_usecs_irq", Shape::U32),
        Attr::keep(9, "tx_max_frames_irq", Shape::U32),
        Attr::keep(10, "stats_block_usecs", Shape::U32),
        Attr::keep(11, "use_adaptive_rx", Shape::U8),
        Attr::keep(12, "use_adaptive_tx", Shape::U8),
        Attr::keep(13, "pkt_rate_low", Shape::U32),
        Attr::keep(14, "rx_usecs_low", Shape::U32),
        Attr::keep(15, "rx_max_frames_low", Shape::U32),
        Attr::keep(16, "tx_usecs_low", Shape::U32),
        Attr::keep(17, "tx_max_frames_low", Shape::U32),
        Attr::keep(18, "pkt_rate_high", Shape::U32),
        Attr::keep(19, "rx_usecs_high", Shape::U32),
        Attr::keep(20, "rx_max_frames_high", Shape::U32),
        Attr::keep(21, "tx_usecs_high", Shape::U32),
        Attr::keep(22, "tx_max_frames_high", Shape::U32),
        Attr::keep(23, "rate_sample_interval", Shape::U32),
        Attr::keep(24, "use_cqe_mode_tx", Shape::U8),
        Attr::keep(25, "use_cqe_mode_rx", Shape::U8),
    ],
    ..SETTINGS
};

/// What a tap says of a cable that it does not have. All other links without hardware say what follows
/// from elsewhere.
pub static DEVICE_LINK_MODES: Class = Class {
    name: "device-link-modes",
    source: Source::Read(|reader| of_taps(reader, LINK_MODES_GET)),
    header: &generic_header(LINK_MODES_SET),
    attributes: &[
        OF,
        Attr::keep(2, "autoneg", Shape::U8),
        // Which of all modes it has is told by name, and mostly none.
        Attr::keep(3, "ours", Shape::Nest(FEATURES)),
        Attr::strip(4, "peer", Shape::Bytes),
        Attr::keep(5, "speed", Shape::U32),
        Attr::keep(6, "duplex", Shape::U8),
        Attr::strip(7, "master_slave_cfg", Shape::U8),
        Attr::strip(8, "master_slave_state", Shape::U8),
        Attr::strip(9, "lanes", Shape::U32),
        Attr::strip(10, "rate_matching", Shape::U8),
    ],
    ..SETTINGS
};

/// As [`DEVICE_LINK_MODES`].
pub static DEVICE_LINK_INFO: Class = Class {
    name: "device-link-info",
    source: Source::Read(|reader| of_taps(reader, LINK_INFO_GET)),
    header: &generic_header(LINK_INFO_SET),
    attributes: &[
        OF,
        Attr::keep(2, "port", Shape::U8),
        Attr::keep(3, "phyaddr", Shape::U8),
        Attr::strip(4, "tp_mdix", Shape::U8),
        Attr::strip(5, "tp_mdix_ctrl", Shape::U8),
        Attr::strip(6, "transceiver", Shape::U8),
    ],
    ..SETTINGS
};

/// What the driver of a tap writes to the kernel's log.
pub static DEVICE_MESSAGES: Class = Class {
    name: "device-messages",
    source: Source::Read(|reader| of_taps(reader, MESSAGES_GET)),
    header: &generic_header(MESSAGES_SET),
    attributes: &[OF, Attr::keep(2, "msgmask", Shape::Nest(FEATURES))],
    ..SETTINGS
};

/// What a command tells of each tun and tap.
fn of_taps(reader: &mut Reader, command: u8) -> Result<Vec<u8>, ReadError> {
    const RTM_GETLINK: u16 = 18;
    const IFINFO: usize = 16;
    const IFLA_LINKINFO: u16 = 18;
    const IFLA_INFO_KIND: u16 = 1;
    let failed = |source| ReadError::Netlink { what: FAMILY, source };
    let mut links = Vec::new();
    reader.dump(Protocol::Route, RTM_GETLINK, &[0; IFINFO], &mut links).map_err(failed)?;
    let find = |payload, id| attributes(payload).map_while(Result::ok).find(|a| a.id == id);
    let taps = messages(&links).map_while(Result::ok).filter(|link| {
        let info = find(link.body.get(IFINFO..).unwrap_or_default(), IFLA_LINKINFO);
        let kind = info.and_then(|info| find(info.payload, IFLA_INFO_KIND));
        kind.is_some_and(|kind| kind.text() == "tun")
    });
    let taps: Vec<&[u8]> = taps.filter_map(|link| link.body.get(4..8)).collect();
    let mut section = Vec::new();
    if taps.is_empty() {
        return Ok(section);
    }
    let mut all = Vec::new();
    reader.generic(FAMILY, &[command], &[], &mut all).map_err(failed)?;
    for message in messages(&all).map_while(Result::ok) {
        let header = find(message.body.get(4..).unwrap_or_default(), HEADER);
        let index = header.and_then(|header| find(header.payload, HEADER_INDEX));
        if index.is_some_and(|index| taps.contains(&index.payload)) {
            section.extend_from_slice(message.bytes);
            section.resize(align(section.len()), 0);
        }
    }
    Ok(section)
}

/// The end of a dump may come as an object without attributes.
fn belongs(message: &Message<'_>) -> bool {
    message.attributes(4).map_while(Result::ok).any(|attribute| attribute.id == HEADER)
}

fn label(value: &Value, names: &Names) -> String {
    names.link(value.number("header.dev_index").unwrap_or_default())
}

/// Names of the features that are wanted.
#[must_use]
pub fn wanted(value: &Value) -> Vec<String> {
    let Some(Value::List(bits)) = value.field("wanted.bits") else { return Vec::new() };
    bits.iter().map(|bit| shown(bit, "bit.name")).collect()
}
