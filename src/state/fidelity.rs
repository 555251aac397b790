//! `docs/fidelity.md`, from the tables: what becomes of each attribute of each class.

use std::fmt::Write;

use super::classes::xtables::extensions;
use super::classes::{ARPTABLES, CLASSES, IP6TABLES, IPTABLES, LINKS, links, sysctls, tc};
use super::decode::DEPTH;
use super::table::{Attr, Class, Fate, Field, NEXTHOP, Shape, Source};

const HEAD: &str = "\
<!-- Generated from the tables in src/state/classes. To renew: NETCKPT_UPDATE=1 cargo test --test generated -->

# What comes back

For each class of objects, what becomes of everything that the kernel tells of it. What no table
names is never sent to a kernel; a capture that meets it lists it by name under `notCarried`.

| word | meaning |
|---|---|
| kept | sent as captured, and compared |
| mended | sent in a form that has been made right for the place and time, and compared as told |
| derived | not sent: the kernel makes it from the rest; compared all the same |
| link | the index of a link of the image: sent and compared; an image that names a link it does not have is refused |
| outside | names something in another namespace: never sent; compared is only that it is there |
| left out | statistics, ages, and what only a dump tells: neither sent nor compared |
| named | not carried, and told by name; the object comes back without it |
| refused | an object that has it is not carried, and told by name |
| listed | in the image, and shown: it belongs to programs, so that it is neither sent nor compared |

";

/// Classes of tables whose rules have matches and targets.
const LEGACY: [&str; 3] = [IPTABLES.name, IP6TABLES.name, ARPTABLES.name];

/// The whole page, in Markdown.
#[must_use]
pub fn page() -> String {
    let mut out = HEAD.to_owned();
    out.push_str("| class | shown by |\n|---|---|\n");
    for class in CLASSES {
        let shown = class.shown_by;
        out.push_str(&format!("| [{0}](#{0}) | {shown} |\n", class.name));
    }
    for class in CLASSES {
        section(class, &mut out);
    }
    out
}

fn section(class: &Class, out: &mut String) {
    out.push_str(&format!("\n## {}\n\n", class.name));
    if !class.key.is_empty() {
        out.push_str(&format!(
            "One object is told from another by `{}`.\n\n",
            class.key.join("`, `")
        ));
    }
    if let Source::Sysctl = class.source {
        out.push_str(
            "Every file below `/proc/sys/net` that can be written in the namespace is kept, except:\n\n\
             | file | carried |\n|---|---|\n",
        );
        for (pattern, why) in sysctls::LEFT_OUT {
            out.push_str(&format!("| `{pattern}` | {why} |\n"));
        }
        return;
    }
    if class.name == LINKS.name {
        kinds(out);
    }
    if let Some((_, note)) = NOTES.iter().find(|(name, _)| *name == class.name) {
        out.push_str(note);
    }
    if LEGACY.contains(&class.name) {
        out.push_str(&format!(
            "Matches that are carried, with their revisions: {}.\n\nTargets: {}.\n\n",
            extensions::listed(&extensions::MATCHES),
            extensions::listed(&extensions::TARGETS)
        ));
    }
    out.push_str("| field or attribute | what becomes of it |\n|---|---|\n");
    let mut page = Page {
        out,
        depth: 0,
        of_links: class.name == LINKS.name,
        of_actions: class.name == tc::TC_ACTIONS.name,
    };
    page.fields("", class.header);
    page.attributes("", class.attributes);
}

/// What of a class no table says.
const NOTES: &[(&str, &str)] = &[
    (
        "bridge-fdb",
        "What a bridge has learned from traffic is no state: it learns it again. The address of a bridge \
         is set, as if someone had chosen it, also where it was that of its lowest port: it then stays \
         when ports come and go; and one that never had a port is then without a carrier. Ports \
         join in the order of their numbers, and are numbered without gaps.\n\n",
    ),
    (
        "bridge-mdb",
        "Groups that were learned from reports are no state. A bridge tells of groups only while it \
         looks into multicast (`mcast_snooping`).\n\n",
    ),
    (
        "device-features",
        "Set in a link that is there, and only what differs, by name. What a program has told a tun that \
         it holds open (`TUNSETOFFLOAD`, the size of its headers) goes with the program. Not looked at \
         is what only sysfs tells (`/sys/class/net/*/queues`: steering of packets to processors), which \
         names the machine's processors, nor are settings of hardware (rings, pauses, wake-up).\n\n",
    ),
    (
        "wireguard-devices",
        "Handshakes are made anew. An image with such a link holds its private key.\n\n",
    ),
];

/// Kinds of links: those that come back, and those that do not.
fn kinds(out: &mut String) {
    let these = |live: bool| -> String {
        let kinds = links::CARRIED.iter().filter(|(_, tested)| *tested == live);
        kinds.map(|(kind, _)| *kind).collect::<Vec<_>>().join(", ")
    };
    out.push_str(&format!(
        "Links of these kinds come back: lo, {}. From the headers, not tested live: {}. A capture names \
         those of other kinds, and all those that stand on a link or on sockets of another namespace (but \
         for veth): a macvlan on a link of the node has to be made by whoever made it.\n\n\
         | kind | why it is not carried |\n|---|---|\n",
        these(true),
        these(false),
    ));
    for (kind, why) in links::LEFT {
        out.push_str(&format!("| `{kind}` | {why} |\n"));
    }
    out.push('\n');
}

struct Page<'a> {
    out: &'a mut String,
    depth: usize,
    /// Of links only some kinds are carried.
    of_links: bool,
    of_actions: bool,
}

impl Page<'_> {
    fn row(&mut self, path: &str, fate: &str) {
        // Writing to a string does not fail.
        let _ = writeln!(self.out, "| `{path}` | {fate} |");
    }

    fn fields(&mut self, within: &str, fields: &[Field]) {
        for field in fields {
            if let (Fate::Keep, Shape::Struct(of)) = (field.fate, field.shape) {
                self.fields(&join(within, field.name), of);
                continue;
            }
            self.row(&join(within, field.name), &words(field.fate, &field.shape));
        }
    }

    fn attributes(&mut self, within: &str, table: &[Attr]) {
        for attr in table {
            let path = join(within, attr.name);
            let fate = words(attr.fate, &attr.shape);
            let inner = matches!(attr.fate, Fate::Keep | Fate::Synthesise | Fate::Unless(..));
            if inner && is_compound(&attr.shape) {
                if !matches!(attr.fate, Fate::Keep) {
                    self.row(&path, &fate);
                }
                self.inner(&path, &attr.shape);
            } else {
                self.row(&path, &fate);
            }
        }
    }

    fn inner(&mut self, path: &str, shape: &Shape) {
        if self.depth > DEPTH {
            return;
        }
        self.depth += 1;
        match *shape {
            Shape::Nest(table) | Shape::Families(table) => self.attributes(path, table),
            Shape::Repeat(table) => self.attributes(&format!("{path}[]"), table),
            // Filters have the actions that the class of actions has.
            Shape::By(_, layouts) if !self.of_actions && std::ptr::eq(layouts, tc::ACTIONS) => {
                self.row(path, &format!("as in [{0}](#{0})", tc::TC_ACTIONS.name));
            }
            Shape::By(sibling, layouts) => {
                let of_links = self.of_links && matches!(sibling, "kind" | "slave_kind");
                let told = |name: &&str| !of_links || links::is_carried(name);
                let mut before = "";
                for (name, layout) in layouts.iter().filter(|(name, _)| told(name)) {
                    // Revisions of one name have one layout.
                    if std::mem::replace(&mut before, name) == *name {
                        continue;
                    }
                    self.inner(&format!("{path}({name})"), layout);
                }
            }
            Shape::List(item) if is_compound(item) => self.inner(&format!("{path}[]"), item),
            Shape::Struct(fields) => self.fields(path, fields),
            Shape::Headed(_, fields, tail) => {
                self.fields(path, fields);
                if is_compound(tail) {
                    self.inner(path, tail);
                }
            }
            Shape::Trailing(fields, last) => {
                self.fields(path, fields);
                self.row(&join(path, last.name), &words(last.fate, &last.shape));
            }
            Shape::Array(_, fields) => self.fields(&format!("{path}[]"), fields),
            Shape::Nexthops(table) => {
                let path = format!("{path}[]");
                self.fields(&path, NEXTHOP);
                self.attributes(&path, table);
            }
            _ => self.row(path, "kept"),
        }
        self.depth -= 1;
    }
}

fn join(within: &str, name: &str) -> String {
    if within.is_empty() { name.to_owned() } else { format!("{within}.{name}") }
}

fn is_compound(shape: &Shape) -> bool {
    if let Shape::List(item) = shape {
        return is_compound(item);
    }
    matches!(
        shape,
        Shape::Nest(_)
            | Shape::Families(_)
            | Shape::Repeat(_)
            | Shape::By(..)
            | Shape::Struct(_)
            | Shape::Headed(..)
            | Shape::Trailing(..)
            | Shape::Array(..)
            | Shape::Nexthops(_)
    )
}

fn words(fate: Fate, shape: &Shape) -> String {
    match fate {
        Fate::Keep if is_secret(shape) => "kept, and never printed".to_owned(),
        Fate::Keep => match kept_bits(shape) {
            Some(bits) => format!("kept: {bits}"),
            None => "kept".to_owned(),
        },
        Fate::Derived => "derived".to_owned(),
        Fate::Strip => "left out".to_owned(),
        Fate::Zero => "mended: sent as 0".to_owned(),
        Fate::Set => "kept, unless it is 0".to_owned(),
        Fate::SetBut(unset) => format!("kept, unless it is {unset}"),
        Fate::AsFlag => "kept, sent as a flag".to_owned(),
        Fate::Fill(value) => format!("mended: sent as {value:#x}"),
        Fate::Send => "sent, not compared".to_owned(),
        Fate::Map(_) => "mended: sent and compared without what ages".to_owned(),
        Fate::Lifetime(_) => "mended: less the time in transit".to_owned(),
        Fate::Ifindex | Fate::IfindexOr(_) => "link".to_owned(),
        Fate::Made(_) => "mended: made anew from the rest".to_owned(),
        Fate::Unless(_, (alone, together)) => {
            format!("{}, or by what is beside it {}", words(*alone, shape), words(*together, shape))
        }
        Fate::Outside => "outside".to_owned(),
        Fate::Synthesise => "mended: set by a step of its own".to_owned(),
        Fate::Leave => "named".to_owned(),
        Fate::Refuse => "refused".to_owned(),
        Fate::List => "listed".to_owned(),
    }
}

fn is_secret(shape: &Shape) -> bool {
    matches!(shape, Shape::Secret | Shape::Fixed(_, Shape::Secret))
}

/// Names of the bits that are kept, where not all are.
fn kept_bits(shape: &Shape) -> Option<String> {
    match *shape {
        Shape::Fixed(_, inner) | Shape::Net(inner) => kept_bits(inner),
        Shape::BitsOf(names, kept) => {
            let kept = names.iter().filter(|(mask, _)| mask & kept != 0).map(|(_, name)| *name);
            Some(kept.collect::<Vec<_>>().join(", "))
        }
        _ => None,
    }
}
