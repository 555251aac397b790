//! Sets: their types and how they were made.

use super::{ADDRESS, CADT_FLAGS, HEADER, IPSET_CMD_CREATE, IPSET_CMD_DESTROY, SPOKEN, read_sets};
use crate::state::classes::families::is_name;
use crate::state::table::{Attr, Class, Fate, Shape, Source};
use crate::state::{Fault, Value};

/// Types that the kernel has. It would load a module for any other name.
const TYPES: &[&str] = &[
    "bitmap:ip",
    "bitmap:ip,mac",
    "bitmap:port",
    "hash:ip",
    "hash:ip,mac",
    "hash:ip,mark",
    "hash:ip,port",
    "hash:ip,port,ip",
    "hash:ip,port,net",
    "hash:mac",
    "hash:net",
    "hash:net,iface",
    "hash:net,net",
    "hash:net,port",
    "hash:net,port,net",
    "list:set",
];

/// Sets that are members of others must be made first.
pub const LIST: &str = "list:set";

/// The highest index that a set may have: a set is made at its index by filling those below it.
pub const MOST_INDEX: u64 = 4095;
/// Buckets of a hash that an image may ask for; the kernel takes memory for them at once.
const MOST_BUCKETS: u64 = 1 << 22;

/// `IPSET_ATTR_*` of a set as it was made.
const CREATED: &[Attr] = &[
    Attr::keep(1, "ip", ADDRESS),
    Attr::keep(2, "ip_to", ADDRESS),
    Attr::keep(3, "cidr", Shape::U8),
    Attr::keep(4, "port", Shape::Be16),
    Attr::keep(5, "port_to", Shape::Be16),
    // Seconds; what a member gets that is told none.
    Attr::keep(6, "timeout", Shape::Be32),
    Attr::keep(8, "cadt_flags", CADT_FLAGS),
    Attr::keep(11, "markmask", Shape::Be32),
    Attr::keep(12, "bitmask", ADDRESS),
    Attr::keep(17, "initval", Shape::Be32),
    // It grows with the members, and never shrinks.
    Attr::new(18, "hashsize", Shape::Be32, Fate::Send),
    Attr::keep(19, "maxelem", Shape::Be32),
    Attr::keep(20, "netmask", Shape::U8),
    Attr::keep(21, "bucketsize", Shape::U8),
    Attr::strip(22, "resize", Shape::U8),
    Attr::keep(23, "size", Shape::Be32),
    Attr::strip(24, "elements", Shape::Be32),
    Attr::strip(25, "references", Shape::Be32),
    Attr::strip(26, "memsize", Shape::Be32),
];

pub static IPSETS: Class = Class {
    name: "ipsets",
    source: Source::Read(read_sets),
    header: HEADER,
    attributes: &[
        Attr::new(1, "protocol", Shape::U8, Fate::Fill(SPOKEN as u64)),
        Attr::keep(2, "setname", Shape::Text),
        Attr::keep(3, "typename", Shape::Text),
        Attr::keep(4, "revision", Shape::U8),
        Attr::keep(
            5,
            "family",
            Shape::Fixed(1, &Shape::Enum(&[(0, "any"), (2, "inet"), (10, "inet6")])),
        ),
        Attr::keep(7, "data", Shape::Nest(CREATED)),
        // By which rules name the set; a plan makes each set at its own.
        Attr::derived(11, "index", Shape::Be16),
    ],
    key: &["setname"],
    tells: IPSET_CMD_CREATE,
    make: IPSET_CMD_CREATE,
    remove: IPSET_CMD_DESTROY,
    strict: true,
    label: |value, _| format!("set {}", value.text("setname").unwrap_or_default()),
    faults,
    shown_by: "tests/ipset.rs",
    ..Class::BASE
};

fn faults(value: &Value) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut add = |why: String| faults.push(Fault::Object(why));
    if !value.text("setname").is_some_and(is_name) {
        add("its name is none that a set can have".to_owned());
    }
    let kind = value.text("typename").unwrap_or_default();
    if !TYPES.contains(&kind) {
        add(format!("a set of a type that is not known ({kind})"));
    }
    if !matches!(value.field("family"), Some(Value::Named(..))) {
        add("a family that this version does not know".to_owned());
    }
    if value.number("index").is_some_and(|index| index > MOST_INDEX) {
        add(format!("an index above {MOST_INDEX}, at which no set is made"));
    }
    if value.number("data.hashsize").is_some_and(|size| size > MOST_BUCKETS) {
        add(format!("more than {MOST_BUCKETS} buckets"));
    }
    faults
}
