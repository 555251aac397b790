//! States (security associations): keys, sequence numbers and counters of a transformation.

use super::super::families::shown;
use super::{
    CURRENT, FAMILY, GROUP_AEVENTS, GROUP_EXPIRE, GROUP_SA, LIMITS, MARK, MODE, PROTOCOL, SELECTOR,
    XFRMA_IF_ID, XFRMA_MARK,
};
use crate::netlink::{Message, Protocol};
use crate::state::table::{Attr, Class, Dump, Fate, Field, Mended, Shape, Source};
use crate::state::{Fault, Names, Value};

const XFRM_MSG_NEWSA: u16 = 0x10;
const XFRM_MSG_DELSA: u16 = 0x11;
const XFRM_MSG_GETSA: u16 = 0x12;
const XFRM_MSG_EXPIRE: u16 = 0x18;
const XFRM_MSG_UPDSA: u16 = 0x1a;
const XFRM_MSG_FLUSHSA: u16 = 0x1c;
const XFRM_MSG_NEWAE: u16 = 0x1e;

/// Bytes of `struct xfrm_usersa_info`.
const HEADER: usize = 224;
const XFRMA_LTIME_VAL: u16 = 9;
const XFRMA_COADDR: u16 = 14;
/// `XFRMA_ALG_AUTH`, `_CRYPT`, `_COMP`, `_AEAD`, `_AUTH_TRUNC`.
const ALGORITHMS: [(u16, &str); 5] =
    [(1, "alg_auth"), (2, "alg_crypt"), (3, "alg_comp"), (18, "alg_aead"), (20, "alg_auth_trunc")];

const NAME: Field = Field::new("name", 0, Shape::Fixed(64, &Shape::Text), Fate::Keep);
const KEY_BITS: Field = Field::new("key_bits", 64, Shape::U32, Fate::Keep);
/// `struct xfrm_algo`, then the key.
const ALGORITHM: Shape =
    Shape::Trailing(&[NAME, KEY_BITS], &Field::new("key", 68, Shape::Secret, Fate::Keep));
/// `struct xfrm_algo_auth`, `struct xfrm_algo_aead`, then the key.
const TRUNCATED: Shape = Shape::Trailing(
    &[NAME, KEY_BITS, Field::new("icv_bits", 68, Shape::U32, Fate::Keep)],
    &Field::new("key", 72, Shape::Secret, Fate::Keep),
);

const fn sent(name: &'static str, at: usize) -> Field {
    Field::new(name, at, Shape::U32, Fate::Send)
}

/// `struct xfrm_replay_state`, told and compared by [`behind`](crate::plan).
const REPLAY: &[Field] = &[sent("oseq", 0), sent("seq", 4), sent("bitmap", 8)];
/// `struct xfrm_replay_state_esn`, then the window.
const REPLAY_ESN: Shape = Shape::Trailing(
    &[
        Field::new("words", 0, Shape::U32, Fate::Keep),
        sent("oseq", 4),
        sent("seq", 8),
        sent("oseq_hi", 12),
        sent("seq_hi", 16),
        Field::new("window", 20, Shape::U32, Fate::Keep),
    ],
    &Field::new("bitmap", 24, Shape::Numbers(4), Fate::Send),
);

pub static XFRM_STATES: Class = Class {
    name: "xfrm-states",
    source: Source::Netlink {
        protocol: Protocol::Xfrm,
        dumps: &[Dump { kind: XFRM_MSG_GETSA, body: &[] }],
        groups: &[GROUP_EXPIRE, GROUP_SA, GROUP_AEVENTS],
        notices: &[
            XFRM_MSG_NEWSA,
            XFRM_MSG_UPDSA,
            XFRM_MSG_DELSA,
            XFRM_MSG_FLUSHSA,
            XFRM_MSG_EXPIRE,
            XFRM_MSG_NEWAE,
        ],
    },
    header: &[
        Field::new("sel", 0, Shape::Struct(SELECTOR), Fate::Keep),
        Field::new("dst", 56, Shape::AddressBy("family"), Fate::Keep),
        Field::new("spi", 72, Shape::Be32, Fate::Keep),
        Field::new("proto", 76, PROTOCOL, Fate::Keep),
        Field::new("src", 80, Shape::AddressBy("family"), Fate::Keep),
        Field::new("limits", 96, Shape::Struct(LIMITS), Fate::Keep),
        // Sent as `XFRMA_LTIME_VAL`.
        Field::new("current", 160, Shape::Struct(CURRENT), Fate::Strip),
        Field::new("stats", 192, Shape::Fixed(12, &Shape::Bytes), Fate::Strip),
        Field::new("seq", 204, Shape::U32, Fate::Keep),
        Field::new("reqid", 208, Shape::U32, Fate::Keep),
        Field::new("family", 212, FAMILY, Fate::Keep),
        Field::new("mode", 214, MODE, Fate::Keep),
        Field::new("replay_window", 215, Shape::U8, Fate::Keep),
        Field::new(
            "flags",
            216,
            Shape::Fixed(
                1,
                &Shape::Bits(&[
                    (1, "noecn"),
                    (2, "decap-dscp"),
                    (4, "nopmtudisc"),
                    (8, "wildrecv"),
                    (16, "icmp"),
                    (32, "af-unspec"),
                    (64, "align4"),
                    (128, "esn"),
                ]),
            ),
            Fate::Keep,
        ),
        Field::new("padding", HEADER - 4, Shape::U32, Fate::Zero),
    ],
    attributes: &[
        Attr::keep(1, "alg_auth", ALGORITHM),
        Attr::keep(2, "alg_crypt", ALGORITHM),
        Attr::keep(3, "alg_comp", ALGORITHM),
        Attr::keep(
            4,
            "encap",
            Shape::Struct(&[
                Field::new("type", 0, Shape::U16, Fate::Keep),
                Field::new("sport", 2, Shape::Be16, Fate::Keep),
                Field::new("dport", 4, Shape::Be16, Fate::Keep),
                Field::new("oa", 8, Shape::Fixed(16, &Shape::Bytes), Fate::Keep),
            ]),
        ),
        Attr::refuse(8, "sec_ctx"),
        Attr::new(XFRMA_LTIME_VAL, "ltime_val", Shape::Struct(CURRENT), Fate::Synthesise),
        Attr::new(10, "replay_val", Shape::Struct(REPLAY), Fate::Keep),
        Attr::keep(11, "replay_thresh", Shape::U32),
        Attr::keep(12, "etimer_thresh", Shape::U32),
        Attr::keep(XFRMA_COADDR, "coaddr", Shape::Fixed(16, &Shape::Bytes)),
        Attr::strip(15, "lastused", Shape::U64),
        Attr::keep(18, "alg_aead", TRUNCATED),
        Attr::keep(20, "alg_auth_trunc", TRUNCATED),
        Attr::keep(XFRMA_MARK, "mark", Shape::Struct(MARK)),
        Attr::keep(22, "tfcpad", Shape::U32),
        Attr::keep(23, "replay_esn_val", REPLAY_ESN),
        Attr::keep(
            24,
            "extra_flags",
            Shape::Fixed(4, &Shape::Bits(&[(1, "dont-encap-dscp"), (2, "oseq-may-wrap")])),
        ),
        Attr::strip(27, "pad", Shape::Bytes),
        // What the device does, the kernel does without it.
        Attr::leave(28, "offload_dev", Shape::Bytes),
        Attr::keep(29, "set_mark", Shape::U32),
        Attr::keep(30, "set_mark_mask", Shape::U32),
        Attr::keep(XFRMA_IF_ID, "if_id", Shape::U32),
        Attr::keep(32, "mtimer_thresh", Shape::U32),
        Attr::keep(33, "sa_dir", Shape::Fixed(1, &Shape::Enum(&[(1, "in"), (2, "out")]))),
        Attr::keep(34, "nat_keepalive_interval", Shape::U32),
        Attr::keep(35, "sa_pcpu", Shape::U32),
        Attr::keep(36, "iptfs_drop_time", Shape::U32),
        Attr::keep(37, "iptfs_reorder_window", Shape::U16),
        Attr::keep(38, "iptfs_dont_frag", Shape::Flag),
        Attr::keep(39, "iptfs_init_delay", Shape::U32),
        Attr::keep(40, "iptfs_max_qsize", Shape::U32),
        Attr::keep(41, "iptfs_pkt_size", Shape::U32),
    ],
    key: &["family", "proto", "dst", "spi", "mark", "src", "reqid", "sa_pcpu"],
    tells: XFRM_MSG_NEWSA,
    make: XFRM_MSG_NEWSA,
    remove: XFRM_MSG_DELSA,
    belongs: is_complete,
    after: &["links"],
    label,
    faults,
    mend,
    strict: true,
    drifts: |section| !section.is_empty(),
    shown_by: "messages by the header, in its plan: this project's machines have no IPsec protocol",
    ..Class::BASE
};

/// Whether a key manager has filled it. What the kernel made to ask for one has no algorithm.
fn is_complete(message: &Message<'_>) -> bool {
    let mut all = message.attributes(HEADER).map_while(Result::ok);
    all.any(|found| found.id == XFRMA_COADDR || ALGORITHMS.iter().any(|(id, _)| *id == found.id))
}

fn label(value: &Value, _names: &Names) -> String {
    let shown = |path: &str| shown(value, path);
    let spi = value.number("spi").unwrap_or_default();
    let mark = value.number("mark.value").map(|mark| format!(" mark {mark:#x}"));
    format!(
        "{} {} to {} spi {spi:#x} {}{}",
        shown("proto"),
        shown("src"),
        shown("dst"),
        shown("mode"),
        mark.unwrap_or_default()
    )
}

/// A kernel that is locked down tells keys as zeroes.
fn faults(value: &Value) -> Vec<Fault> {
    let withheld = |name: &str| matches!(value.field(&format!("{name}.key")), Some(Value::Secret(key)) if key.is_blank());
    let found = ALGORITHMS.iter().find(|(_, name)| withheld(name));
    let why =
        |name: &str| format!("the kernel does not tell the key of its {name} (it is locked down)");
    found.map(|(_, name)| Fault::Object(why(name))).into_iter().collect()
}

/// What was transformed so far and since when, so that its lifetime goes on.
fn mend(value: &Value) -> Vec<Mended> {
    let numbers = ["bytes", "packets", "add_time", "use_time"]
        .map(|name| value.number(&format!("current.{name}")).unwrap_or_default().to_ne_bytes());
    vec![(XFRMA_LTIME_VAL, numbers.concat())]
}
