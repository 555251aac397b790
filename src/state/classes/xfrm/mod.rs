//! IPsec: policies, states, and what holds where no policy does (`linux/xfrm.h`).
//!
//! **Keys.** The kernel tells the keys of states to whoever may capture, and an image has them: it is
//! as secret as they are. Nothing prints them: not `show`, not `diff`, no log.
//!
//! **Not carried.** What the kernel made to wait for a key manager (larval states) is no state: it is
//! asked for again. Policies of single sockets come back with their programs, if these set them again.

mod defaults;
mod policies;
mod states;

pub use defaults::{XFRM_DEFAULTS, XFRM_THRESHOLDS};
pub use policies::{POLICY_INDEX, POLICY_TYPE, XFRM_POLICIES};
pub use states::XFRM_STATES;

use crate::netlink::Error;
use crate::state::table::{Fate, Field, Shape};

pub(super) const GROUP_EXPIRE: u32 = 2;
pub(super) const GROUP_SA: u32 = 3;
pub(super) const GROUP_POLICY: u32 = 4;
pub(super) const GROUP_AEVENTS: u32 = 5;

pub const XFRMA_SRCADDR: u16 = 13;
pub const XFRMA_MARK: u16 = 21;
pub const XFRMA_IF_ID: u16 = 31;

const DIRECTION: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[(0, "in"), (1, "out"), (2, "fwd"), (3, "socket in"), (4, "socket out")]),
);

const MODE: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "transport"),
        (1, "tunnel"),
        (2, "route-optimization"),
        (3, "in-trigger"),
        (4, "beet"),
        (5, "iptfs"),
    ]),
);

const PROTOCOL: Shape = Shape::Fixed(
    1,
    &Shape::Enum(&[
        (0, "any"),
        (43, "route2"),
        (50, "esp"),
        (51, "ah"),
        (60, "hao"),
        (108, "comp"),
        (255, "any-of-ipsec"),
    ]),
);

const FAMILY: Shape = Shape::Fixed(2, &Shape::Enum(&[(0, "any"), (2, "ipv4"), (10, "ipv6")]));

const MARK: &[Field] = &[
    Field::new("value", 0, Shape::U32, Fate::Keep),
    Field::new("mask", 4, Shape::U32, Fate::Keep),
];

/// `struct xfrm_selector`.
const SELECTOR: &[Field] = &[
    Field::new("dst", 0, Shape::AddressBy("family"), Fate::Keep),
    Field::new("src", 16, Shape::AddressBy("family"), Fate::Keep),
    Field::new("dport", 32, Shape::Be16, Fate::Keep),
    Field::new("dport_mask", 34, Shape::Be16, Fate::Keep),
    Field::new("sport", 36, Shape::Be16, Fate::Keep),
    Field::new("sport_mask", 38, Shape::Be16, Fate::Keep),
    Field::new("family", 40, FAMILY, Fate::Keep),
    Field::new("dst_len", 42, Shape::U8, Fate::Keep),
    Field::new("src_len", 43, Shape::U8, Fate::Keep),
    Field::new("proto", 44, Shape::U8, Fate::Keep),
    Field::new("ifindex", 48, Shape::U32, Fate::Ifindex),
    Field::new("user", 52, Shape::U32, Fate::Keep),
];

/// `struct xfrm_lifetime_cfg`: bytes and packets, all bits set for no limit; seconds, 0 for none.
const LIMITS: &[Field] = &[
    Field::new("soft_bytes", 0, Shape::U64, Fate::Keep),
    Field::new("hard_bytes", 8, Shape::U64, Fate::Keep),
    Field::new("soft_packets", 16, Shape::U64, Fate::Keep),
    Field::new("hard_packets", 24, Shape::U64, Fate::Keep),
    Field::new("soft_add_seconds", 32, Shape::U64, Fate::Keep),
    Field::new("hard_add_seconds", 40, Shape::U64, Fate::Keep),
    Field::new("soft_use_seconds", 48, Shape::U64, Fate::Keep),
    Field::new("hard_use_seconds", 56, Shape::U64, Fate::Keep),
];

/// `struct xfrm_lifetime_cur`; the times are seconds since 1970.
const CURRENT: &[Field] = &[
    Field::new("bytes", 0, Shape::U64, Fate::Strip),
    Field::new("packets", 8, Shape::U64, Fate::Strip),
    Field::new("add_time", 16, Shape::U64, Fate::Strip),
    Field::new("use_time", 24, Shape::U64, Fate::Strip),
];

/// Whether the kernel is built without IPsec.
pub(super) fn is_absent(error: &Error) -> bool {
    let absent = [libc::EPROTONOSUPPORT, libc::EOPNOTSUPP, libc::EINVAL];
    error.errno().is_some_and(|errno| absent.contains(&errno))
}
