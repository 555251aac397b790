//! What holds for packets without a policy, and from which prefix lengths on policies are hashed.

use super::super::families::shown;
use super::{GROUP_POLICY, is_absent};
use crate::netlink::Protocol;
use crate::state::table::{Attr, Class, Fate, Field, Shape, Source};
use crate::state::{ReadError, Reader};

const XFRM_MSG_NEWSPDINFO: u16 = 0x24;
const XFRM_MSG_GETSPDINFO: u16 = 0x25;
const XFRM_MSG_SETDEFAULT: u16 = 0x27;
const XFRM_MSG_GETDEFAULT: u16 = 0x28;

const VERDICT: Shape = Shape::Fixed(1, &Shape::Enum(&[(0, "unspec"), (1, "block"), (2, "accept")]));

/// `struct xfrm_userpolicy_default`.
pub static XFRM_DEFAULTS: Class = Class {
    name: "xfrm-defaults",
    source: Source::Watched {
        read: |reader| ask(reader, XFRM_MSG_GETDEFAULT, &[0; 4]),
        protocol: Protocol::Xfrm,
        groups: &[GROUP_POLICY],
        notices: &[XFRM_MSG_GETDEFAULT],
    },
    header: &[
        Field::new("in", 0, VERDICT, Fate::Keep),
        Field::new("fwd", 1, VERDICT, Fate::Keep),
        Field::new("out", 2, VERDICT, Fate::Keep),
    ],
    tells: XFRM_MSG_GETDEFAULT,
    make: XFRM_MSG_SETDEFAULT,
    label: |value, _| {
        let [input, forward, output] = ["in", "fwd", "out"].map(|name| shown(value, name));
        format!("without a policy: in {input}, fwd {forward}, out {output}")
    },
    strict: true,
    shown_by: "tests/xfrm.rs",
    ..Class::BASE
};

/// `struct xfrmu_spdhthresh`, in bits.
const THRESHOLD: &[Field] = &[
    Field::new("local", 0, Shape::U8, Fate::Keep),
    Field::new("remote", 1, Shape::U8, Fate::Keep),
];

pub static XFRM_THRESHOLDS: Class = Class {
    name: "xfrm-thresholds",
    source: Source::Watched {
        read: |reader| ask(reader, XFRM_MSG_GETSPDINFO, &[0; 4]),
        protocol: Protocol::Xfrm,
        // The kernel tells nobody of changes here.
        groups: &[],
        notices: &[],
    },
    header: &[Field::new("flags", 0, Shape::U32, Fate::Strip)],
    attributes: &[
        Attr::strip(1, "info", Shape::Bytes),
        Attr::strip(2, "hash", Shape::Bytes),
        Attr::keep(3, "ipv4", Shape::Struct(THRESHOLD)),
        Attr::keep(4, "ipv6", Shape::Struct(THRESHOLD)),
    ],
    tells: XFRM_MSG_NEWSPDINFO,
    make: XFRM_MSG_NEWSPDINFO,
    label: |value, _| {
        format!("hashed from: ipv4 {}; ipv6 {}", shown(value, "ipv4"), shown(value, "ipv6"))
    },
    shown_by: "tests/xfrm.rs",
    ..Class::BASE
};

/// One answer; nothing where this kernel has none (before Linux 5.14, of the first).
fn ask(reader: &mut Reader, kind: u16, body: &[u8]) -> Result<Vec<u8>, ReadError> {
    let answer = reader.socket(Protocol::Xfrm).and_then(|socket| socket.get(kind, body));
    match answer {
        Err(error) if is_absent(&error) => Ok(Vec::new()),
        answer => answer.map_err(|source| ReadError::Netlink { what: "IPsec defaults", source }),
    }
}
