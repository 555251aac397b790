//! The declarative tables: how a class of kernel objects is read, laid out and restored.

use super::{Fault, Names, Value};
use crate::netlink::{Message, Protocol};

/// An attribute to be sent: its number and its payload.
pub type Mended = (u16, Vec<u8>);

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
    /// Type of the messages that the dumps give (mostly that of [`Self::make`]).
    pub tells: u16,
    /// Message that makes an object, and message that removes it (for example `RTM_NEWROUTE`, `RTM_DELROUTE`).
    /// 0 where the kernel has none: the objects come and go with others.
    pub make: u16,
    pub remove: u16,
    /// Whether a dumped message is state of the namespace. Caches and what the dump tells beside
    /// the class are not.
    pub belongs: fn(&Message<'_>) -> bool,
    /// Names of the classes whose objects this one refers to; they are made before and removed after.
    pub after: &'static [&'static str],
    /// A short name for people.
    pub label: fn(&Value, &Names) -> String,
    /// What the attributes one by one don't say: that the object can't be carried (a link of a kind
    /// without a table), or a part of it that the kernel takes and forgets.
    pub faults: fn(&Value) -> Vec<Fault>,
    /// What is compared beside the attributes, made from the whole value.
    pub also: fn(&Value) -> Vec<(&'static str, Value)>,
    /// Attributes to be sent beside the replayed ones, made from the whole value: the number and the
    /// payload. For what is dumped in one form and set in another.
    pub mend: fn(&Value) -> Vec<Mended>,
    /// Whether the object is one that the kernel makes, changes and forgets by itself (a resolved
    /// neighbour). A restore makes those that are missing, but never changes or removes one, and
    /// nothing about them is a difference.
    pub fleeting: fn(&Value) -> bool,
    /// Whether an object with anything that its table does not know can't be carried: without it, it
    /// would mean something else (a rule that matches more).
    pub strict: bool,
    /// Whether traffic adds objects at any time, so that one more than the image has is told, but is no
    /// difference that matters.
    pub grows: bool,
    /// Whether something in a section of the class (the bytes) changes without a notice that the class's
    /// source has: counters, times left, or what the kernel forgets to tell. What stands by reads it
    /// again ([`crate::capture::Standing`]).
    pub drifts: fn(&[u8]) -> bool,
    /// The test that shows that the class comes back, for the generated table in the docs.
    pub shown_by: &'static str,
}

impl Class {
    /// What a class is when its table says nothing else.
    pub const BASE: Self = Self {
        name: "",
        source: Source::Sysctl,
        header: &[],
        attributes: &[],
        key: &[],
        tells: 0,
        make: 0,
        remove: 0,
        belongs: |_| true,
        after: &[],
        label: |value, _| value.to_string(),
        faults: |_| Vec::new(),
        also: |_| Vec::new(),
        mend: |_| Vec::new(),
        fleeting: |_| false,
        strict: false,
        grows: false,
        drifts: |_| false,
        shown_by: "",
    };
}

/// How a class is read.
#[derive(Debug, Clone, Copy)]
pub enum Source {
    /// Dumps over netlink; one object per message.
    Netlink {
        protocol: Protocol,
        dumps: &'static [Dump],
        /// Multicast groups (numbers, as for `NETLINK_ADD_MEMBERSHIP`) that tell of changes. Without
        /// any a capture reads the class twice and compares.
        groups: &'static [u32],
        /// Message types in those groups that mean that this class changed.
        notices: &'static [u16],
    },
    /// Files under `/proc/sys/net`. The section is a list of `path NUL value NUL`.
    Sysctl,
    /// Read by a function of the class's file. The section holds messages as [`Source::Netlink`]'s do.
    Read(fn(&mut crate::state::Reader) -> Result<Vec<u8>, crate::state::ReadError>),
    /// As [`Source::Read`], with notices of changes as [`Source::Netlink`] has them.
    Watched {
        read: fn(&mut crate::state::Reader) -> Result<Vec<u8>, crate::state::ReadError>,
        protocol: Protocol,
        groups: &'static [u32],
        notices: &'static [u16],
    },
    /// Objects that traffic makes, changes and ends all the time, so that a second reading would never
    /// give what the first gave. They are read once; `merge` takes into that section (the first) what
    /// was told in the groups since before the reading began (the second).
    Flows {
        read: fn(&mut crate::state::Reader) -> Result<Vec<u8>, crate::state::ReadError>,
        protocol: Protocol,
        groups: &'static [u32],
        merge: fn(&[u8], &[u8]) -> Vec<u8>,
        /// Whether there are more than so many, which were read or told of.
        missed: fn(usize) -> bool,
        /// Reads the objects of a section again, one by one.
        again: fn(&mut crate::state::Reader, &[u8]) -> Result<Vec<u8>, crate::state::ReadError>,
    },
    /// Objects of a family of generic netlink. Families are numbered by the running kernel: in a section
    /// their messages have the type [`GENERIC`], and get the family's number when they are sent. Of
    /// changes nobody is told, so a capture reads the class twice and compares.
    Generic {
        family: &'static str,
        /// Commands (`genlmsghdr.cmd`) that are asked as dumps, and those that are asked as they are.
        dumps: &'static [u8],
        gets: &'static [u8],
    },
    /// What a namespace holds that belongs to programs and not to it. It is read once, when all else
    /// holds; kept and shown; and never sent or compared. The section holds messages.
    Inventory(fn(&mut crate::state::Reader) -> Result<Vec<u8>, crate::state::ReadError>),
}

impl Source {
    /// Whether the objects are only listed.
    #[must_use]
    pub const fn is_inventory(&self) -> bool {
        matches!(self, Self::Inventory(_))
    }

    /// Whether nobody is told of changes, so that only a second reading shows them.
    #[must_use]
    pub const fn is_unannounced(&self) -> bool {
        matches!(
            self,
            Self::Read(_)
                | Self::Generic { .. }
                | Self::Netlink { groups: [], .. }
                | Self::Watched { groups: [], .. }
        )
    }
}

/// Type of the messages of generic netlink in a section (`NLMSG_MIN_TYPE` of `linux/netlink.h`).
pub const GENERIC: u16 = 0x10;

/// `struct genlmsghdr` (`linux/genetlink.h`) of a message that makes an object by `command`.
#[must_use]
pub const fn generic_header(command: u8) -> [Field; 2] {
    [
        Field::new("command", 0, Shape::U8, Fate::Fill(command as u64)),
        Field::new("version", 1, Shape::U8, Fate::Send),
    ]
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

impl Field {
    #[must_use]
    pub const fn new(name: &'static str, at: usize, shape: Shape, fate: Fate) -> Self {
        Self { name, at, shape, fate }
    }
}

impl Attr {
    #[must_use]
    pub const fn new(id: u16, name: &'static str, shape: Shape, fate: Fate) -> Self {
        Self { id, name, shape, fate }
    }

    #[must_use]
    pub const fn keep(id: u16, name: &'static str, shape: Shape) -> Self {
        Self::new(id, name, shape, Fate::Keep)
    }

    #[must_use]
    pub const fn derived(id: u16, name: &'static str, shape: Shape) -> Self {
        Self::new(id, name, shape, Fate::Derived)
    }

    #[must_use]
    pub const fn strip(id: u16, name: &'static str, shape: Shape) -> Self {
        Self::new(id, name, shape, Fate::Strip)
    }

    /// A link's index inside the namespace.
    #[must_use]
    pub const fn link(id: u16, name: &'static str) -> Self {
        Self::new(id, name, Shape::U32, Fate::Ifindex)
    }

    #[must_use]
    pub const fn leave(id: u16, name: &'static str, shape: Shape) -> Self {
        Self::new(id, name, shape, Fate::Leave)
    }

    #[must_use]
    pub const fn list(id: u16, name: &'static str, shape: Shape) -> Self {
        Self::new(id, name, shape, Fate::List)
    }

    #[must_use]
    pub const fn refuse(id: u16, name: &'static str) -> Self {
        Self::new(id, name, Shape::Bytes, Fate::Refuse)
    }
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
    /// A shape of the host's byte order, here in network byte order.
    Net(&'static Shape),
    /// NUL-terminated text.
    Text,
    /// Text that is one of these: for any other the kernel would load a module of that name.
    Word(&'static [&'static str]),
    /// An attribute without a payload: it is there or not.
    Flag,
    /// A hardware address, printed `aa:bb:…`; of any length.
    Mac,
    /// An IPv4 or IPv6 address by its length (4 or 16).
    Ip,
    /// 16 bytes that hold an IPv4 or IPv6 address, as the family in the sibling field of this name
    /// says. In structs and headers.
    AddressBy(&'static str),
    /// `struct rtvia`: a family and an address of it.
    Via,
    /// Printed as hexadecimal.
    Bytes,
    /// A key: compared, and never printed.
    Secret,
    /// A shape of variable size at a fixed size in bytes: for enumerations, bits, addresses and bytes in structs.
    Fixed(usize, &'static Shape),
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
    /// `NFTA_EXPR_DATA` by `name`): name of that sibling, then the layouts by its printed form.
    /// Without a layout the object is reported as not carried.
    By(&'static str, &'static [(&'static str, Shape)]),
    /// A nest with one entry per address family, keyed by the number (`IFLA_AF_SPEC`).
    Families(&'static [Attr]),
    /// A fixed struct.
    Struct(&'static [Field]),
    /// A fixed struct, and after it bytes of any length that are one more field; the place of that one
    /// is the struct's size.
    Trailing(&'static [Field], &'static Field),
    /// A list of fixed structs, one after another without attribute headers, each of this many bytes.
    Array(usize, &'static [Field]),
    /// `rtnexthop` entries, each with attributes of its own (`RTA_MULTIPATH`).
    Nexthops(&'static [Attr]),
    /// A list of `u32` (or, by width in bytes, other numbers) without attribute headers: device configuration arrays.
    Numbers(u8),
    /// A number that people write in another form (a handle of traffic control, `1:10`), and the
    /// function that does. The width is the payload's.
    Written(fn(u64) -> String),
    /// A fixed struct of this many bytes, and after it, aligned, what is left in this shape
    /// (`TCA_OPTIONS` of netem: a struct, then attributes).
    Headed(usize, &'static [Field], &'static Shape),
}

/// What becomes of a field or attribute.
#[derive(Debug, Clone, Copy)]
pub enum Fate {
    /// Sent as captured; compared.
    Keep,
    /// Compared, not sent: the kernel derives it from the rest (`IFLA_OPERSTATE`).
    Derived,
    /// Neither sent nor compared: statistics, ages, what only a dump tells.
    Strip,
    /// Sent as zero; not compared.
    Zero,
    /// Sent and compared unless all its bytes are zero: the kernel tells the unset form, and refuses to be told it.
    Set,
    /// As [`Self::Set`], for a number other than 0.
    SetBut(u64),
    /// Told as a number, sent as an attribute without a payload where it is not 0
    /// (`IFLA_VXLAN_TTL_INHERIT`); compared as told.
    AsFlag,
    /// Sent with this number in place of the captured one; not compared.
    Fill(u64),
    /// Sent as captured, not compared.
    Send,
    /// A number of which one form is sent and another compared.
    Map(Map),
    /// Time left. Sent as [`super::age`] leaves it; of it only is compared whether it ends at all.
    Lifetime(Lifetime),
    /// A link's index inside the namespace: sent and compared; the check sees that it is 0 or a link of the image.
    Ifindex,
    /// As [`Self::Ifindex`], but this number stands for something that is no link.
    IfindexOr(u64),
    /// Not told, or not to be trusted when told: made from the attributes beside it for the message
    /// that is sent. `None` where the message goes without. Not compared.
    Made(fn(&[u8]) -> Option<Vec<u8>>),
    /// The first of the two; but the second where the attribute of this number is beside it
    /// (`IFLA_LINK` is of another namespace beside `IFLA_LINK_NETNSID`). Not in structs.
    Unless(u16, &'static (Fate, Fate)),
    /// A link's index or a namespace id outside the namespace: never sent; compared is only that there is one.
    Outside,
    /// Sent in a form that the class's own steps make; compared.
    Synthesise,
    /// Not sent, not compared; named at capture: the object is carried without it (a BPF program on a link).
    Leave,
    /// Where it is present the object can't be carried: named at capture, refused in an image.
    Refuse,
    /// Shown, neither sent nor compared: the class is an inventory.
    List,
}

/// How a time left is counted: 32 bits of the host's byte order, or 64 of the network's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lifetime {
    /// Units in a second.
    pub per_second: u32,
    /// What stands for no end.
    pub forever: u32,
    /// The least that ageing leaves: 1 where 0 has a meaning of its own.
    pub least: u32,
}

/// `struct rtnexthop` after which the attributes of one path of a multipath route follow
/// (`linux/rtnetlink.h`). Of the flags only `RTNH_F_ONLINK` is set by others than the kernel.
pub const NEXTHOP: &[Field] = &[
    Field {
        name: "flags",
        at: 2,
        shape: Shape::Fixed(
            1,
            &Shape::BitsOf(
                &[
                    (1, "dead"),
                    (2, "pervasive"),
                    (4, "onlink"),
                    (8, "offload"),
                    (16, "linkdown"),
                    (32, "unresolved"),
                    (64, "trap"),
                ],
                4,
            ),
        ),
        fate: Fate::Keep,
    },
    Field { name: "hops", at: 3, shape: Shape::U8, fate: Fate::Keep },
    Field { name: "ifindex", at: 4, shape: Shape::U32, fate: Fate::Ifindex },
];

/// The two forms of a number that is not sent and compared as captured.
#[derive(Debug, Clone, Copy)]
pub struct Map {
    pub sent: fn(u64) -> u64,
    pub compared: fn(u64) -> u64,
}
