//! Extended matches: a tree of conditions of a filter (`TCA_EMATCH_*` of `linux/pkt_cls.h`).

use crate::state::table::{Attr, Fate, Field, Shape};
use crate::state::{Fault, Value};

/// `TCA_BASIC_EMATCHES` and its like.
pub const EMATCHES: Shape = Shape::Nest(&[
    Attr::keep(
        1,
        "hdr",
        Shape::Struct(&[
            Field::new("nmatches", 0, Shape::U16, Fate::Keep),
            Field::new("progid", 2, Shape::U16, Fate::Keep),
        ]),
    ),
    Attr::keep(2, "list", Shape::List(&MATCH)),
]);

/// `struct tcf_ematch_hdr`, then what the kind wants.
const MATCH: Shape = Shape::Headed(
    8,
    &[
        Field::new("matchid", 0, Shape::U16, Fate::Keep),
        Field::new("kind", 2, Shape::Fixed(2, &Shape::Enum(KINDS)), Fate::Keep),
        Field::new("flags", 4, Shape::U16, Fate::Keep),
    ],
    &Shape::Bytes,
);

/// `TCF_EM_*`. For a kind that is not here a kernel would load whatever module bears its number.
const KINDS: &[(u64, &str)] = &[
    (0, "container"),
    (1, "cmp"),
    (2, "nbyte"),
    (3, "u32"),
    (4, "meta"),
    (5, "text"),
    (6, "vlan"),
    (7, "canid"),
    (8, "ipset"),
    (9, "ipt"),
];
/// Ways to search a text; each is a module.
const SEARCHES: [&str; 3] = ["kmp", "bm", "fsm"];
/// Bytes of the name of such a way in `struct tcf_em_text`.
const SEARCH_NAME: usize = 16;

/// What is wrong with the matches at `path`.
pub fn ematch_faults(value: &Value, path: &str) -> Vec<Fault> {
    let Some(Value::List(all)) = value.field(&format!("{path}.list")) else { return Vec::new() };
    all.iter().filter_map(fault).map(Fault::Object).collect()
}

fn fault(found: &Value) -> Option<String> {
    let known = KINDS.iter().find(|(number, _)| Some(*number) == found.number("kind"));
    match known.map(|(_, name)| *name) {
        Some("ipset") => {
            Some("a match of a set by its number, which another kernel does not share".to_owned())
        }
        Some("ipt") => Some("a match of iptables in the kernel's own form".to_owned()),
        Some("text") => {
            let Some(Value::Bytes(data)) = found.field("rest") else { return None };
            let name = data.get(..SEARCH_NAME).unwrap_or_default();
            let name = name.split(|byte| *byte == 0).next().unwrap_or_default();
            let is_known = SEARCHES.iter().any(|search| search.as_bytes() == name);
            (!is_known).then(|| "a search of text that is not known".to_owned())
        }
        Some(_) => None,
        None => Some("an extended match of a kind that is not known".to_owned()),
    }
}
