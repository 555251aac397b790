//! Whether a message is one that the tables allow: for images that come from anywhere, and for what
//! a capture must name as not carried.

use std::fmt;

use super::decode::{DEPTH, beside, layout, layout_name, nexthops, number, width};
use super::object::sysctls;
use super::table::{Attr, Class, Fate, Field, NEXTHOP, Shape, Source};
use super::{Names, classes};
use crate::netlink::{align, attributes, messages};

/// Problems named per section: a hostile image shall not make endless lists.
const MOST: usize = 64;

/// Something in a message that can't be sent to the kernel as the table stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Label of the object; empty where it has none.
    pub object: String,
    /// Names from the top, joined by `.`; empty for the message itself.
    pub path: String,
    pub fault: Fault,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.object.is_empty() {
            write!(f, "{}: ", self.object)?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        write!(f, "{}", self.fault)
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("not a well-formed message")]
    Malformed,
    #[error("a message of type {0}, which is not of this class")]
    Foreign(u16),
    #[error("an attribute that this version does not know")]
    Unknown,
    #[error("{0} bytes do not fit its type")]
    Length(usize),
    #[error("the layout for {0} is not known to this version")]
    Layout(String),
    #[error("is not carried, the object is carried without it")]
    Left,
    #[error("can't be carried")]
    Refused,
    /// The object can't be carried, for this reason.
    #[error("{0}")]
    Object(String),
    /// The object is carried without something, for this reason.
    #[error("{0}")]
    Part(String),
    #[error("refers to link {0}, which is not in the image")]
    NoLink(u64),
    #[error("is there twice")]
    Twice,
    /// On the node, and not the pod's.
    #[error("is not the pod's alone, and no image may change it")]
    Beyond,
    #[error("nested too deep")]
    Depth,
}

/// What a fault means for the object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// The object is carried without the part that is named.
    Without,
    /// The object can't be carried, others can.
    NotCarried,
    /// No kernel said this: an image with it is refused.
    Hostile,
}

impl Fault {
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Unknown | Self::Left | Self::Part(_) => Verdict::Without,
            Self::Layout(_) | Self::Refused | Self::Object(_) => Verdict::NotCarried,
            Self::Malformed
            | Self::Foreign(_)
            | Self::Length(_)
            | Self::NoLink(_)
            | Self::Twice
            | Self::Beyond
            | Self::Depth => Verdict::Hostile,
        }
    }
}

/// Checks every message of a section from outside. References to links are looked up in `links`.
#[must_use]
pub fn check_section(class: &'static Class, section: &[u8], links: &Names) -> Vec<Problem> {
    let mut found = Vec::new();
    let bare = |fault| Problem { object: String::new(), path: String::new(), fault };
    if let Source::Sysctl = class.source {
        for entry in sysctls(section) {
            match entry {
                Ok((path, bytes)) => {
                    let value = bytes.get(path.len() + 1..).unwrap_or_default();
                    found.extend(classes::sysctls::problem(path, value).map(|fault| Problem {
                        object: String::new(),
                        path: path.to_owned(),
                        fault,
                    }))
                }
                Err(_) => found.push(bare(Fault::Malformed)),
            }
        }
        found.truncate(MOST);
        return found;
    }
    for message in messages(section) {
        let Ok(message) = message else {
            found.push(bare(Fault::Malformed));
            break;
        };
        found.extend(check(class, message.bytes, links));
        if found.len() > MOST {
            break;
        }
    }
    found.truncate(MOST);
    found
}

/// Checks one message (with its `nlmsghdr`): its type, unknown attributes and layouts, lengths,
/// attributes that can't be carried, links that are not in `links`.
#[must_use]
pub fn check(class: &'static Class, message: &[u8], links: &Names) -> Vec<Problem> {
    let mut walk = Walk { links, strict: class.strict, path: Vec::new(), found: Vec::new() };
    let mut object = String::new();
    match messages(message).next() {
        Some(Ok(message)) if message.kind == class.tells => {
            let size = super::decode::header_size(class.header);
            if message.body.len() < size {
                walk.add(Fault::Length(message.body.len()));
            }
            let (header, rest) = message.body.split_at(align(size).min(message.body.len()));
            walk.fields(header, class.header);
            walk.nest(rest, class.attributes, true, 0);
            if class.finds_faults() {
                let faults = (class.faults)(&super::decode(class, message.bytes));
                faults.into_iter().for_each(|fault| walk.add(fault));
            }
            if !walk.found.is_empty() {
                object = (class.label)(&super::decode(class, message.bytes), links);
            }
        }
        Some(Ok(message)) => walk.add(Fault::Foreign(message.kind)),
        _ => walk.add(Fault::Malformed),
    }
    for problem in &mut walk.found {
        problem.object.clone_from(&object);
    }
    walk.found
}

/// What in a captured message this version can't carry: attributes and layouts without a table, and
/// what the tables refuse. References are not looked at.
#[must_use]
pub fn unknown(class: &'static Class, message: &[u8]) -> Vec<Problem> {
    let mut found = check(class, message, &Names::default());
    found.retain(|problem| problem.fault.verdict() != Verdict::Hostile);
    found
}

/// Whether a payload has a length (and for nests, a form) that the shape allows.
pub(super) fn fits(shape: &Shape, payload: &[u8]) -> bool {
    let length = payload.len();
    match *shape {
        Shape::Text | Shape::Word(_) => {
            payload.iter().rev().skip_while(|byte| **byte == 0).all(|byte| *byte != 0)
        }
        Shape::Flag => length == 0,
        Shape::Mac => length <= 32,
        Shape::Ip => matches!(length, 4 | 16),
        Shape::Via => matches!(length, 6 | 18),
        Shape::Bytes | Shape::Secret => true,
        Shape::Enum(_) | Shape::Bits(_) | Shape::BitsOf(..) | Shape::Written(_) => {
            matches!(length, 1 | 2 | 4 | 8)
        }
        Shape::Headed(size, _, tail) => {
            length >= size && fits(tail, &payload[align(size).min(length)..])
        }
        Shape::Nest(_) | Shape::Families(_) | Shape::Repeat(_) | Shape::List(_) => {
            attributes(payload).all(|attribute| attribute.is_ok())
        }
        // Its layout is told by a sibling; the walk looks into it.
        Shape::By(..) => true,
        // The compiler may pad a struct at its end.
        Shape::Struct(fields) => {
            let size = super::decode::header_size(fields);
            (size..=size.next_multiple_of(8)).contains(&length)
        }
        Shape::Trailing(_, last) => {
            payload.get(last.at..).is_some_and(|rest| fits(&last.shape, rest))
        }
        Shape::Array(size, _) => length.is_multiple_of(size.max(1)),
        Shape::Numbers(width) => length.is_multiple_of(usize::from(width.max(1))),
        Shape::Nexthops(_) => {
            let covered: usize =
                nexthops(payload).map(|(h, rest)| align(h.len() + rest.len())).sum();
            align(length) == covered
        }
        Shape::Fixed(size, inner) => length == size && fits(inner, payload),
        Shape::Net(inner) => fits(inner, payload),
        _ => width(shape) == Some(length),
    }
}

/// A step of the way to what is looked at. Written out only where something is wrong there.
#[derive(Debug, Clone, Copy)]
enum Step {
    Name(&'static str),
    /// Of a list.
    Place(usize),
    /// An attribute without a name.
    Unknown(u16),
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Place(place) => write!(f, "{place}"),
            Self::Unknown(id) => write!(f, "#{id}"),
        }
    }
}

struct Walk<'a> {
    links: &'a Names,
    /// See [`Class::strict`].
    strict: bool,
    path: Vec<Step>,
    found: Vec<Problem>,
}

impl Walk<'_> {
    fn add(&mut self, fault: Fault) {
        if self.found.len() < MOST {
            let path = self.path.iter().map(ToString::to_string).collect::<Vec<_>>().join(".");
            self.found.push(Problem { object: String::new(), path, fault });
        }
    }

    fn within(&mut self, step: Step, look: impl FnOnce(&mut Self)) {
        self.path.push(step);
        look(self);
        self.path.pop();
    }

    fn fields(&mut self, bytes: &[u8], fields: &[Field]) {
        for field in fields {
            let end = field.at + width(&field.shape).unwrap_or(0);
            let Some(payload) = bytes.get(field.at..end) else { continue };
            self.within(Step::Name(field.name), |walk| {
                walk.link(field.fate, payload);
                if let Shape::Struct(of) = field.shape {
                    walk.fields(payload, of);
                }
            });
        }
    }

    fn link(&mut self, fate: Fate, payload: &[u8]) {
        let index = number(payload);
        let known = u32::try_from(index).is_ok_and(|index| index == 0 || self.links.has(index));
        let refers = match fate {
            Fate::Ifindex => true,
            Fate::IfindexOr(other) => index != other,
            _ => false,
        };
        if refers && !known {
            self.add(Fault::NoLink(index));
        }
    }

    fn nest(&mut self, bytes: &[u8], table: &'static [Attr], once: bool, depth: usize) {
        if depth >= DEPTH {
            return self.add(Fault::Depth);
        }
        let mut seen = Vec::new();
        for attribute in attributes(bytes) {
            let Ok(attribute) = attribute else { return self.add(Fault::Malformed) };
            let Some(attr) = table.iter().find(|attr| attr.id == attribute.id) else {
                let fault = if self.strict {
                    Fault::Layout(format!("attribute {}", attribute.id))
                } else {
                    Fault::Unknown
                };
                self.within(Step::Unknown(attribute.id), |walk| walk.add(fault));
                continue;
            };
            let twice = once && seen.contains(&attribute.id);
            seen.push(attribute.id);
            self.within(Step::Name(attr.name), |walk| {
                if twice {
                    walk.add(Fault::Twice);
                }
                walk.attribute(attr, attribute.payload, bytes, table, depth);
            });
        }
    }

    fn attribute(
        &mut self,
        attr: &Attr,
        payload: &[u8],
        siblings: &[u8],
        table: &'static [Attr],
        depth: usize,
    ) {
        let fate = beside(attr.fate, siblings);
        match fate {
            // Never looked at again.
            Fate::Strip | Fate::Made(_) => return,
            Fate::Leave => return self.add(Fault::Left),
            Fate::Refuse => return self.add(Fault::Refused),
            _ => {}
        }
        self.link(fate, payload);
        self.shape(&attr.shape, payload, siblings, table, depth);
    }

    fn shape(
        &mut self,
        shape: &Shape,
        payload: &[u8],
        siblings: &[u8],
        table: &'static [Attr],
        depth: usize,
    ) {
        if !fits(shape, payload) {
            return self.add(Fault::Length(payload.len()));
        }
        match *shape {
            Shape::Nest(table) | Shape::Families(table) => {
                self.nest(payload, table, true, depth + 1);
            }
            Shape::Repeat(table) => self.nest(payload, table, false, depth + 1),
            Shape::List(item) if depth < DEPTH => {
                for (at, attribute) in attributes(payload).map_while(Result::ok).enumerate() {
                    self.within(Step::Place(at), |walk| {
                        walk.shape(item, attribute.payload, &[], &[], depth + 1);
                    });
                }
            }
            Shape::By(sibling, layouts) if depth < DEPTH => {
                match layout(sibling, layouts, siblings, table) {
                    Some(layout) => self.shape(layout, payload, &[], &[], depth + 1),
                    None => {
                        let name = layout_name(sibling, siblings, table);
                        self.add(Fault::Layout(name.unwrap_or_else(|| "nothing".to_owned())));
                    }
                }
            }
            Shape::List(_) | Shape::By(..) => self.add(Fault::Depth),
            Shape::Struct(of) | Shape::Trailing(of, _) => self.fields(payload, of),
            Shape::Headed(size, of, tail) if depth < DEPTH => {
                let (head, rest) = payload.split_at(align(size).min(payload.len()));
                self.fields(head, of);
                self.shape(tail, rest, &[], &[], depth + 1);
            }
            Shape::Headed(..) => self.add(Fault::Depth),
            Shape::Array(size, of) => {
                for (at, item) in payload.chunks_exact(size.max(1)).enumerate() {
                    self.within(Step::Place(at), |walk| walk.fields(item, of));
                }
            }
            Shape::Word(known) => {
                let word = super::decode::text(payload);
                if !known.contains(&word.as_str()) {
                    let why =
                        format!("{word:?} is not known, and a kernel would load a module for it");
                    self.add(Fault::Object(why));
                }
            }
            Shape::Nexthops(table) => {
                for (at, (header, rest)) in nexthops(payload).enumerate() {
                    self.within(Step::Place(at), |walk| {
                        walk.fields(header, NEXTHOP);
                        walk.nest(rest, table, true, depth + 1);
                    });
                }
            }
            _ => {}
        }
    }
}
