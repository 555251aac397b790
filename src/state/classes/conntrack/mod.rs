//! Connection tracking: flows and what is expected of them
//! (`linux/netfilter/nfnetlink_conntrack.h`, `nf_conntrack_common.h`, `nf_conntrack_tcp.h`).
//!
//! The kernel has one table for all namespaces and walks all of it for a dump, which takes some
//! milliseconds. It is walked once in a capture, and not at all where the namespace has no entry.
//!
//! **One instant.** Where there is traffic, the table is never quiet. So it is not walked again when it
//! changes: what the kernel tells of it from before the walk on is taken into what was read
//! ([`told`]), up to the moment at which all other classes held. Of entries that are older than the
//! capture the kernel tells nothing, unless `nf_conntrack_events` is 1 or somebody else listened when
//! they were made: where anything had to be read again, each entry is asked for again as well, by its
//! tuple. So every entry is one that was there, as it was, while all other classes were as they are in
//! the image. Among each other, such older entries may be of moments some milliseconds apart. Nothing
//! follows from that: entries are independent of each other, and no other class refers to one. Times
//! left and counters run on in any case, and are not compared. Of a pod that stands still nothing
//! changes, and all is exact.
//!
//! **Not carried.** Counters and times of start: the kernel takes none. A capture names them where the
//! namespace keeps them (`nf_conntrack_acct`, `nf_conntrack_timestamp`).

mod expectations;
mod layout;
mod timeouts;
mod told;
mod translation;

pub use expectations::CONNTRACK_EXPECTATIONS;
pub use timeouts::CONNTRACK_TIMEOUTS;

use std::io::ErrorKind;

use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Class, Fate, Field, Map, Shape, Source};
use crate::state::{Fault, ReadError, Reader, Value};

pub use layout::HELPERS;
use layout::{NFGENMSG, SECONDS, TUPLE, flow, is_of_the_kernel};
use told::Form;

/// `NFNL_SUBSYS_CTNETLINK` with `IPCTNL_MSG_CT_*`.
const CT_NEW: u16 = 0x100;
const CT_GET: u16 = 0x101;
const CT_DELETE: u16 = 0x102;
/// `NFNLGRP_CONNTRACK_NEW`, `_UPDATE`, `_DESTROY`.
const GROUPS: &[u32] = &[1, 2, 3];

pub const CTA_TUPLE_ORIG: u16 = 1;
pub const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_NAT_SRC: u16 = 6;
const CTA_TIMEOUT: u16 = 7;
const CTA_NAT_DST: u16 = 13;
pub const CTA_TUPLE_MASTER: u16 = 14;
pub const CTA_ZONE: u16 = 18;
const CTA_SYNPROXY: u16 = 24;

const FORM: Form =
    Form { key: &[CTA_TUPLE_ORIG, CTA_ZONE], asked: CT_GET, made: CT_NEW, ended: CT_DELETE };

/// `enum ip_conntrack_status`.
const IPS_SEEN_REPLY: u64 = 1 << 1;
const IPS_ASSURED: u64 = 1 << 2;
const IPS_CONFIRMED: u64 = 1 << 3;
const IPS_SRC_NAT: u64 = 1 << 4;
const IPS_DST_NAT: u64 = 1 << 5;
const IPS_SEQ_ADJUST: u64 = 1 << 6;
const IPS_SRC_NAT_DONE: u64 = 1 << 7;
const IPS_DST_NAT_DONE: u64 = 1 << 8;
const IPS_DYING: u64 = 1 << 9;
const IPS_FIXED_TIMEOUT: u64 = 1 << 10;
const IPS_HELPER: u64 = 1 << 13;
/// Whether translation was looked at, be it that there is none.
const IPS_NAT: u64 = IPS_SRC_NAT | IPS_DST_NAT | IPS_SRC_NAT_DONE | IPS_DST_NAT_DONE;

const STATUS: Shape = Shape::Net(&Shape::Fixed(
    4,
    &Shape::Bits(&[
        (1, "expected"),
        (IPS_SEEN_REPLY, "seen-reply"),
        (IPS_ASSURED, "assured"),
        (IPS_CONFIRMED, "confirmed"),
        (IPS_SRC_NAT, "src-nat"),
        (IPS_DST_NAT, "dst-nat"),
        (IPS_SEQ_ADJUST, "seq-adjust"),
        (IPS_SRC_NAT_DONE, "src-nat-done"),
        (IPS_DST_NAT_DONE, "dst-nat-done"),
        (IPS_DYING, "dying"),
        (IPS_FIXED_TIMEOUT, "fixed-timeout"),
        (1 << 11, "template"),
        (1 << 12, "nat-clash"),
        (IPS_HELPER, "helper"),
        (1 << 14, "offload"),
        (1 << 15, "hw-offload"),
    ]),
));

/// The kernel sets what follows from translation, sequence adjustment and a master by itself, and
/// refuses a request that says otherwise. Whether a flow is in a flowtable is for its next packet.
const STATUS_BITS: Map = Map {
    sent: |status| {
        masked(
            status,
            IPS_SEEN_REPLY | IPS_ASSURED | IPS_CONFIRMED | IPS_FIXED_TIMEOUT | IPS_HELPER,
        )
    },
    compared: |status| {
        let lasting = IPS_SEEN_REPLY | IPS_ASSURED | IPS_FIXED_TIMEOUT | IPS_HELPER;
        masked(status, lasting | IPS_SRC_NAT | IPS_DST_NAT | IPS_SEQ_ADJUST)
    },
};

/// Bits of a number of 32 bits in network byte order.
fn masked(number: u64, mask: u64) -> u64 {
    number & u64::from((mask as u32).to_be())
}

const TCP_ESTABLISHED: u64 = 3;
const TCP_STATES: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "none"),
        (1, "syn-sent"),
        (2, "syn-recv"),
        (TCP_ESTABLISHED, "established"),
        (4, "fin-wait"),
        (5, "close-wait"),
        (6, "last-ack"),
        (7, "time-wait"),
        (8, "close"),
        (9, "syn-sent2"),
    ]),
);
/// States in which a flow is about to begin or has ended.
const PASSING: &[u64] = &[1, 2, 6, 7, 8, 9];

/// `struct nf_ct_tcp_flags`: `IP_CT_TCP_FLAG_*`, and which of them to set (told as 0).
///
/// Sequence numbers and windows are not told. Without `BE_LIBERAL` the kernel would take the flow's
/// next packets for invalid ones; what the last acknowledgement was it learns from them.
const TCP_FLAGS: &[Field] = &[
    Field::new(
        "flags",
        0,
        Shape::Fixed(
            1,
            &Shape::Bits(&[
                (0x01, "window-scale"),
                (0x02, "sack-perm"),
                (0x04, "close-init"),
                (0x08, "be-liberal"),
                (0x10, "data-unacknowledged"),
                (0x20, "maxack-set"),
                (0x40, "exp-challenge-ack"),
                (0x80, "simultaneous-open"),
            ]),
        ),
        Fate::Map(Map { sent: |flags| flags & 0x87 | 0x08, compared: |flags| flags & 0x07 }),
    ),
    Field::new("mask", 1, Shape::U8, Fate::Fill(0xff)),
];

const PROTOCOL_STATE: &[Attr] = &[
    Attr::keep(
        1,
        "tcp",
        Shape::Nest(&[
            Attr::keep(1, "state", TCP_STATES),
            Attr::keep(2, "wscale_original", Shape::U8),
            Attr::keep(3, "wscale_reply", Shape::U8),
            Attr::keep(4, "flags_original", Shape::Struct(TCP_FLAGS)),
            Attr::keep(5, "flags_reply", Shape::Struct(TCP_FLAGS)),
        ]),
    ),
    Attr::keep(
        2,
        "dccp",
        Shape::Nest(&[
            Attr::keep(1, "state", Shape::U8),
            Attr::keep(2, "role", Shape::U8),
            Attr::keep(3, "handshake_seq", Shape::Be64),
            Attr::strip(4, "pad", Shape::Bytes),
        ]),
    ),
    Attr::keep(
        3,
        "sctp",
        Shape::Nest(&[
            Attr::keep(1, "state", Shape::U8),
            Attr::keep(2, "vtag_original", Shape::Be32),
            Attr::keep(3, "vtag_reply", Shape::Be32),
        ]),
    ),
];

const COUNTERS: Shape = Shape::Nest(&[
    Attr::strip(1, "packets", Shape::Be64),
    Attr::strip(2, "bytes", Shape::Be64),
    Attr::strip(3, "packets32", Shape::Be32),
    Attr::strip(4, "bytes32", Shape::Be32),
    Attr::strip(5, "pad", Shape::Bytes),
]);

const SEQUENCE_ADJUSTMENT: Shape = Shape::Nest(&[
    Attr::keep(1, "correction_pos", Shape::Be32),
    Attr::keep(2, "offset_before", Shape::Be32),
    Attr::keep(3, "offset_after", Shape::Be32),
]);

/// Every entry that was made over netlink has it, with zeroes.
const SYN_PROXY: Shape = Shape::Nest(&[
    Attr::new(1, "isn", Shape::Be32, Fate::Set),
    Attr::new(2, "its", Shape::Be32, Fate::Set),
    Attr::new(3, "tsoff", Shape::Be32, Fate::Set),
]);

const ATTRIBUTES: &[Attr] = &[
    Attr::keep(CTA_TUPLE_ORIG, "tuple_orig", Shape::Nest(TUPLE)),
    // Sent as it would be without translation.
    Attr::new(CTA_TUPLE_REPLY, "tuple_reply", Shape::Nest(TUPLE), Fate::Synthesise),
    Attr::new(CTA_STATUS, "status", STATUS, Fate::Map(STATUS_BITS)),
    Attr::keep(CTA_PROTOINFO, "protoinfo", Shape::Nest(PROTOCOL_STATE)),
    Attr::keep(
        5,
        "help",
        Shape::Nest(&[Attr::keep(1, "name", Shape::Text), Attr::strip(2, "info", Shape::Bytes)]),
    ),
    // Never told; made from the tuples.
    Attr::strip(CTA_NAT_SRC, "nat_src", Shape::Bytes),
    Attr::new(CTA_TIMEOUT, "timeout", Shape::Be32, Fate::Lifetime(SECONDS)),
    // An event tells of a mark only where there is one, a dump always.
    Attr::new(8, "mark", Shape::Be32, Fate::Set),
    // The kernel takes none: they start again at 0.
    Attr::leave(9, "counters_orig", COUNTERS),
    Attr::leave(10, "counters_reply", COUNTERS),
    Attr::strip(11, "use", Shape::Be32),
    Attr::strip(12, "id", Shape::Be32),
    Attr::strip(CTA_NAT_DST, "nat_dst", Shape::Bytes),
    // The flow that this one was expected of. It stays told after that flow has ended.
    Attr::new(CTA_TUPLE_MASTER, "tuple_master", Shape::Nest(TUPLE), Fate::Send),
    Attr::keep(15, "seq_adj_orig", SEQUENCE_ADJUSTMENT),
    Attr::keep(16, "seq_adj_reply", SEQUENCE_ADJUSTMENT),
    Attr::strip(17, "secmark", Shape::Be32),
    Attr::keep(CTA_ZONE, "zone", Shape::Be16),
    // Of the security policy of its machine.
    Attr::leave(19, "secctx", Shape::Nest(&[Attr::strip(1, "name", Shape::Text)])),
    // When the flow began: for the kernel that is when the entry was made.
    Attr::leave(
        20,
        "timestamp",
        Shape::Nest(&[
            Attr::strip(1, "start", Shape::Be64),
            Attr::strip(2, "stop", Shape::Be64),
            Attr::strip(3, "pad", Shape::Bytes),
        ]),
    ),
    Attr::strip(21, "mark_mask", Shape::Be32),
    Attr::keep(22, "labels", Shape::Bytes),
    Attr::strip(23, "labels_mask", Shape::Bytes),
    Attr::new(CTA_SYNPROXY, "synproxy", SYN_PROXY, Fate::Synthesise),
    Attr::strip(25, "filter", Shape::Bytes),
    Attr::strip(26, "status_mask", Shape::Be32),
    Attr::strip(27, "timestamp_event", Shape::Be64),
];

pub static CONNTRACK: Class = Class {
    name: "conntrack",
    source: Source::Flows {
        read: |reader| read(reader, CT_GET, "entries"),
        protocol: Protocol::Netfilter,
        groups: GROUPS,
        merge: |section, events| FORM.merge(section, events),
        missed: |known| !matches!(count(), Ok(Some(count)) if count <= known),
        again: |reader, section| FORM.again(reader, section),
    },
    header: NFGENMSG,
    attributes: ATTRIBUTES,
    key: &["tuple_orig", "zone"],
    tells: CT_NEW,
    make: CT_NEW,
    remove: CT_DELETE,
    belongs: |message| lasts(message, CTA_TIMEOUT) && is_in_the_table(message),
    label: |value, _| {
        let zone = value.number("zone").map(|zone| format!(" (zone {zone})"));
        format!("{}{}", flow(value, "tuple_orig"), zone.unwrap_or_default())
    },
    faults,
    mend: translation::mend,
    fleeting: |value| {
        let state = value.number("protoinfo.tcp.state");
        state.is_some_and(|state| PASSING.contains(&state)) || is_ending(value)
    },
    grows: true,
    shown_by: "tests/conntrack",
    ..Class::BASE
};

/// Dumps, unless the namespace has no entry and with that no expectation.
fn read(reader: &mut Reader, kind: u16, what: &'static str) -> Result<Vec<u8>, ReadError> {
    const ANY_FAMILY: [u8; 4] = [0; 4];
    let mut section = Vec::new();
    if matches!(count()?, None | Some(0)) {
        return Ok(section);
    }
    reader
        .dump(Protocol::Netfilter, kind, &ANY_FAMILY, &mut section)
        .map_err(|source| ReadError::Netlink { what, source })?;
    Ok(section)
}

/// Entries of the calling thread's namespace; none where the kernel tracks nothing.
fn count() -> Result<Option<usize>, ReadError> {
    const COUNT: &str = "/proc/sys/net/netfilter/nf_conntrack_count";
    let failed = |source| ReadError::File { path: COUNT.to_owned(), source };
    match std::fs::read_to_string(COUNT) {
        Ok(count) => {
            let what = "number of entries of connection tracking";
            let count = count.trim();
            let wrong = || ReadError::Unexpected { what, why: format!("{count:?} is no number") };
            Ok(Some(count.parse().map_err(|_| wrong())?))
        }
        // This kernel tracks nothing.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(source) => Err(failed(source)),
    }
}

fn be32(message: &Message<'_>, id: u16) -> Option<u32> {
    let mut all = message.attributes(4).map_while(Result::ok);
    let payload = all.find(|attribute| attribute.id == id)?.payload;
    payload.first_chunk().map(|bytes| u32::from_be_bytes(*bytes))
}

/// Whether there is time left, or no word of it (in a flowtable).
fn lasts(message: &Message<'_>, timeout: u16) -> bool {
    be32(message, timeout) != Some(0)
}

fn is_in_the_table(message: &Message<'_>) -> bool {
    let status = u64::from(be32(message, CTA_STATUS).unwrap_or_default());
    status & IPS_CONFIRMED != 0 && status & IPS_DYING == 0
}

/// Whether it ends about now, so that it may be there and may be not.
fn is_ending(value: &Value) -> bool {
    const SOON: u64 = 5;
    value.number("timeout").is_some_and(|left| left <= SOON)
}

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let tuple = |name: &str| value.field(name).is_some();
    if !tuple("tuple_orig") || !tuple("tuple_reply") {
        faults.push(Fault::Object("an entry without its two directions".to_owned()));
    }
    faults.extend(value.text("help.name").and_then(foreign_helper));
    faults
}

fn foreign_helper(name: &str) -> Option<Fault> {
    let why = format!("its helper {name} is none of the kernel's own");
    (!is_of_the_kernel(name)).then_some(Fault::Object(why))
}
