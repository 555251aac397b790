//! The declarative tables: how a class of kernel objects is read, laid out and restored.

use crate::netlink::{Message, Protocol};

/// A class of kernel objects that share one message layout, for example links or routes.
#[derive(Debug)]
pub struct Class {
    /// Name in the image, in counts, in output and in the docs: plural, lower case, `-` between words.
    pub name: &'static str,
    /// How the class is read.
    pub source: Source,
    /// The struct after `nlmsghdr` (for example `ifinfomsg`), field by field.
    pub header: &'static [Field],
    /// The attributes after the header.
    pub attributes: &'static [Attr],
    /// Paths of the fields that tell one object of the class from another, in the order of printing.
    /// A part that an object lacks counts as absent, not as an error.
    pub key: &'static [&'static str],
    /// Message that makes an object, and message that removes it (for example `RTM_NEWROUTE`, `RTM_DELROUTE`).
    pub make: u16,
    pub remove: u16,
    /// Whether a dumped message is state of the namespace. Caches and what the dump tells beside
    /// the class are not.
    pub belongs: fn(&Message<'_>) -> bool,
    /// Names of the classes whose objects this one refers to; they are made before and removed after.
    pub after: &'static [&'static str],
    /// The test that shows that the class comes back, for the generated table in the docs.
    pub shown_by: &'static str,
}

/// How a class is read.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Dumps over netlink; one object per message.
    Netlink {
        protocol: Protocol,
        dumps: &'static [Dump],
        /// Multicast groups (numbers, as for `NETLINK_ADD_MEMBERSHIP`) that tell of changes.
        groups: &'static [u32],
        /// Message types in those groups that mean that this class changed.
        notices: &'static [u16],
    },
    /// Files under `/proc/sys/net`. The section is a list of `path NUL value NUL`.
    Sysctl,
    /// Read by a function of the class's file. The section holds messages as [`Source::Netlink`]'s do.
    Read(fn(&mut crate::state::Reader) -> Result<Vec<u8>, crate::state::ReadError>),
}

/// One dump request.
#[derive(Debug, Clone, Copy)]
pub struct Dump {
    /// Message type, for example `RTM_GETLINK`.
    pub kind: u16,
    /// The whole body after `nlmsghdr`: the family header and any attributes, as the strict check wants it.
    pub body: &'static [u8],
}

/// A field of the fixed header.
#[derive(Debug, Clone, Copy)]
pub struct Field {
    pub name: &'static str,
    /// Offset in bytes from the header's start.
    pub at: usize,
    /// One of the shapes of fixed size.
    pub shape: Shape,
    pub fate: Fate,
}

/// An attribute.
#[derive(Debug, Clone, Copy)]
pub struct Attr {
    /// Number in its nest, without `NLA_F_NESTED` and `NLA_F_NET_BYTEORDER`.
    pub id: u16,
    /// Name in output: the uAPI name without its prefix, lower case, `_` as there.
    pub name: &'static str,
    pub shape: Shape,
    pub fate: Fate,
}

/// How the bytes of a field or attribute are to be read.
#[derive(Debug, Clone, Copy)]
pub enum Shape {
    U8,
    U16,
    U32,
    U64,
    I8,
    I16,
    I32,
    I64,
    /// Network byte order.
    Be16,
    Be32,
    Be64,
    /// NUL-terminated text.
    Text,
    /// An attribute without a payload: it is there or not.
    Flag,
    /// A hardware address, printed `aa:bb:…`; of any length.
    Mac,
    /// An IPv4 or IPv6 address by its length (4 or 16).
    Ip,
    /// Printed as hexadecimal.
    Bytes,
    /// A number with names: `(value, name)`. The width is the payload's (1, 2, 4 or 8).
    Enum(&'static [(u64, &'static str)]),
    /// A bit set with names: `(mask, name)`. Bits without a name are printed as a number.
    Bits(&'static [(u64, &'static str)]),
    /// A bit set of which only `kept` bits are state; the rest is not sent and not compared.
    BitsOf(&'static [(u64, &'static str)], u64),
    /// Attributes, each at most once.
    Nest(&'static [Attr]),
    /// Attributes that may be repeated; each occurrence is one item, printed with its name, in order.
    Repeat(&'static [Attr]),
    /// A list: every attribute in it, whatever its number, is one item of this shape.
    List(&'static Shape),
    /// A nest whose layout a text or number beside it names (`IFLA_INFO_DATA` by `kind`,
    /// `NFTA_EXPR_DATA` by `name`): path of that sibling, then the layouts. Without a layout the
    /// object is reported as not carried.
    By(&'static str, &'static [(&'static str, Shape)]),
    /// A nest with one entry per address family, keyed by the number (`IFLA_AF_SPEC`).
    Families(&'static [Attr]),
    /// A fixed struct.
    Struct(&'static [Field]),
    /// A list of fixed structs, one after another without attribute headers, each of this many bytes.
    Array(usize, &'static [Field]),
    /// `rtnexthop` entries, each with attributes of its own (`RTA_MULTIPATH`).
    Nexthops(&'static [Attr]),
    /// A list of `u32` (or, by width in bytes, other numbers) without attribute headers: device configuration arrays.
    Numbers(u8),
}

/// What becomes of a field or attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Sent as captured; compared.
    Keep,
    /// Compared, not sent: the kernel derives it from the rest (`IFLA_OPERSTATE`).
    Derived,
    /// Neither sent nor compared: statistics, ages, what only a dump tells.
    Strip,
    /// Sent as zero; not compared.
    Zero,
    /// A link's index inside the namespace: sent and compared; the check sees that it is a link of the image.
    Ifindex,
    /// A link's index or a namespace id outside the namespace: never sent as captured, never compared as a number.
    Outside,
    /// Sent in a form that the class's own steps make; compared.
    Synthesise,
    /// Where it is present the object can't be carried: named at capture, refused in an image.
    Refuse,
}
