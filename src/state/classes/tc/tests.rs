//! The tables of kinds that the kernel of the tests may not have, on messages made by these tables, and
//! what is sent for single ones byte by byte.

use std::collections::BTreeSet;

use super::action_kinds::ACTIONS;
use super::actions::{LIST, TC_ACTIONS};
use super::classifiers::{ACT, CLASSIFIERS};
use super::disciplines::DISCIPLINES;
use super::{QDISCS, ROOT, TC_FILTERS, TCA_ACT_TAB, TCA_KIND, TCA_OPTIONS, TCMSG};
use crate::netlink::{Attribute, Builder, attributes, messages};
use crate::state::table::{Attr, Class, Fate, Shape};
use crate::state::{Fault, Names, Problem, Verdict, check, replay};

/// A payload that fits a shape.
fn sample(shape: &Shape) -> Vec<u8> {
    let ones = |count: usize| vec![1; count];
    match *shape {
        Shape::U8 | Shape::I8 => ones(1),
        Shape::U16 | Shape::I16 | Shape::Be16 => ones(2),
        Shape::U64 | Shape::I64 | Shape::Be64 => ones(8),
        Shape::Mac => ones(6),
        Shape::Flag => Vec::new(),
        Shape::Text => b"x\0".to_vec(),
        Shape::Fixed(size, _) => ones(size),
        Shape::Struct(fields) => ones(crate::state::decode::header_size(fields)),
        Shape::Array(size, _) => ones(size),
        Shape::Headed(size, _, tail) => [ones(size.next_multiple_of(4)), sample(tail)].concat(),
        Shape::Nest(table) | Shape::Repeat(table) => sampled(table),
        Shape::List(item) => Builder::attribute(1, &sample(item)),
        _ => ones(4),
    }
}

/// All attributes of a table that a kernel could tell and that are sent.
fn sent(table: &'static [Attr]) -> impl Iterator<Item = &'static Attr> {
    table.iter().filter(|attr| {
        attr.name != ACT
            && !matches!(attr.fate, Fate::Strip | Fate::Leave | Fate::Refuse | Fate::Made(_))
    })
}

fn sampled(table: &'static [Attr]) -> Vec<u8> {
    sent(table).flat_map(|attr| Builder::attribute(attr.id, &sample(&attr.shape))).collect()
}

fn object(class: &Class, kind: &str, options: &[u8]) -> Vec<u8> {
    let header = [0, 1, 0x1_0000, ROOT, 0x5_0008].map(u32::to_ne_bytes).concat();
    let mut builder = Builder::new(class.tells, 0, &header);
    builder.put_text(TCA_KIND, kind).put(TCA_OPTIONS, options);
    builder.finish()
}

fn action(kind: &str, options: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(TC_ACTIONS.tells, 0, &[0; 4]);
    let tab = builder.begin(TCA_ACT_TAB);
    let one = builder.begin(1);
    builder.put_text(TCA_KIND, kind).put(TCA_OPTIONS, options);
    builder.end(one).end(tab);
    builder.finish()
}

fn find(bytes: &[u8], id: u16) -> &[u8] {
    let mut all = attributes(bytes).map_while(Result::ok);
    all.find(|found| found.id == id).map(|found| found.payload).unwrap_or_default()
}

fn body(message: &[u8], header: usize) -> Vec<u8> {
    messages(message).next().unwrap().unwrap().body[header..].to_vec()
}

fn ids(bytes: &[u8]) -> BTreeSet<u16> {
    attributes(bytes).map(|found: Result<Attribute<'_>, _>| found.unwrap().id).collect()
}

/// What is wrong with a message beyond what is only told.
fn problems(class: &'static Class, message: &[u8]) -> Vec<Problem> {
    let mut found = check(class, message, &Names::default());
    found.retain(|problem| {
        let told = problem.fault.verdict() == Verdict::Without;
        !told && !matches!(problem.fault, Fault::NoLink(_))
    });
    found
}

#[test]
fn every_kind_is_sent_as_it_was_told() {
    /// What can't be carried, whatever it tells.
    const NOT_CARRIED: [&str; 2] = ["gred", "plug"];
    let qdiscs = DISCIPLINES.iter().map(|(kind, shape)| (&QDISCS, *kind, shape));
    let filters = CLASSIFIERS.iter().map(|(kind, shape)| (&TC_FILTERS, *kind, shape));
    for (class, kind, shape) in qdiscs.chain(filters) {
        let message = object(class, kind, &sample(shape));
        let mut found = problems(class, &message);
        // Kinds of matches are checked by themselves.
        found.retain(|problem| !problem.to_string().contains("an extended match"));
        assert_eq!(found.is_empty(), !NOT_CARRIED.contains(&kind), "{kind}: {found:?}");
        let replayed = body(&replay(class, &message, 0), TCMSG);
        same_attributes(kind, shape, find(&replayed, TCA_OPTIONS));
    }
    for (kind, shape) in ACTIONS {
        let message = action(kind, &sample(shape));
        let known = |problem: &Problem| {
            // Names that are checked by themselves.
            problem.to_string().contains("a helper of connection tracking")
        };
        let found = problems(&TC_ACTIONS, &message);
        assert!(found.iter().all(known), "{kind}: {found:?}");
        let replayed = body(&replay(&TC_ACTIONS, &message, 0), 4);
        let one = find(find(&replayed, TCA_ACT_TAB), 1);
        same_attributes(kind, shape, find(one, TCA_OPTIONS));
    }
}

/// What the table means to send is there, and nothing else but what is made for it.
fn same_attributes(kind: &str, shape: &Shape, options: &[u8]) {
    let Shape::Nest(table) = *shape else {
        let size = sample(shape).len();
        assert_eq!(options.len(), size, "{kind}");
        return;
    };
    let made = table.iter().filter(|attr| matches!(attr.fate, Fate::Made(_))).map(|attr| attr.id);
    let made: BTreeSet<u16> = made.collect();
    let shall: BTreeSet<u16> = sent(table).map(|attr| attr.id).collect();
    let is = ids(options);
    assert!(is.is_superset(&shall), "{kind}: {is:?} instead of {shall:?}");
    assert!(is.difference(&shall).all(|id| made.contains(id)), "{kind}: {is:?}");
}

#[test]
fn times_of_codel_do_not_drift() {
    let options = [Builder::attribute(1, &4999_u32.to_ne_bytes()), Builder::attribute(2, &[9; 4])];
    let message = object(&QDISCS, "fq_codel", &options.concat());
    let sent = body(&replay(&QDISCS, &message, 0), TCMSG);
    assert_eq!(find(find(&sent, TCA_OPTIONS), 1), 5000_u32.to_ne_bytes());
    assert_eq!(find(find(&sent, TCA_OPTIONS), 2), [9; 4]);
}

#[test]
fn netem_is_a_struct_and_attributes() {
    let mut options = [5_u32, 1000, 0, 0, 0, 77].map(u32::to_ne_bytes).concat();
    options.extend(Builder::attribute(10, &10_000_000_u64.to_ne_bytes()));
    options.extend(Builder::attribute(2, &[1; 64]));
    let message = object(&QDISCS, "netem", &options);
    let told: Vec<String> =
        check(&QDISCS, &message, &Names::default()).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("a distribution of its delays")), "{told:?}");
    let sent = body(&replay(&QDISCS, &message, 0), TCMSG);
    let sent = find(&sent, TCA_OPTIONS);
    assert_eq!(sent[..24], options[..24]);
    assert_eq!(ids(&sent[24..]), BTreeSet::from([10]));
}

#[test]
fn red_gets_its_table_and_tells_that_it_is_near() {
    let parms = Builder::attribute(1, &[1; 16]);
    let message = object(&QDISCS, "red", &parms);
    let told: Vec<String> =
        check(&QDISCS, &message, &Names::default()).iter().map(ToString::to_string).collect();
    assert!(told.iter().any(|line| line.contains("while idle is not told")), "{told:?}");
    let sent = body(&replay(&QDISCS, &message, 0), TCMSG);
    let table = find(find(&sent, TCA_OPTIONS), 2);
    assert_eq!((table.len(), table[0], table[255]), (256, 0, 31));
    assert!(table.is_sorted());
}

/// A filter with police that was told by a kernel: the counts of users are not sent, the table is.
#[test]
fn police_gets_its_table() {
    let mut parms = vec![0; 56];
    parms[..4].copy_from_slice(&3_u32.to_ne_bytes());
    (parms[21], parms[44], parms[48]) = (1, 1, 1);
    parms[28..32].copy_from_slice(&125_000_u32.to_ne_bytes());
    let mut builder = Builder::new(TC_FILTERS.tells, 0, &[0; TCMSG]);
    builder.put_text(TCA_KIND, "matchall");
    let options = builder.begin(TCA_OPTIONS);
    let list = builder.begin(2);
    let one = builder.begin(1);
    builder.put_text(TCA_KIND, "police");
    let police = builder.begin(TCA_OPTIONS);
    builder.put(1, &parms).end(police).end(one).end(list).end(options);
    let message = builder.finish();
    assert_eq!(problems(&TC_FILTERS, &message), []);
    let sent = body(&replay(&TC_FILTERS, &message, 0), TCMSG);
    let police = find(find(find(find(&sent, TCA_OPTIONS), 2), 1), TCA_OPTIONS);
    assert_eq!(ids(police), BTreeSet::from([1, 2]));
    let (struct_, table) = (find(police, 1), find(police, 2));
    assert_eq!((struct_[20], struct_[21], struct_[44], struct_[48]), (8, 1, 0, 0));
    assert_eq!(struct_[28..32], 125_000_u32.to_ne_bytes());
    // 256 bytes take 2048 us, which are 32000 ticks.
    assert_eq!(table.len(), 1024);
    assert_eq!(table[..4], 32_000_u32.to_ne_bytes());
}

#[test]
fn actions_are_a_list_wherever_they_are() {
    for (kind, shape) in CLASSIFIERS {
        let Shape::Nest(table) = shape else { panic!("{kind}") };
        let list = table.iter().find(|attr| attr.name == ACT).expect("each kind has actions");
        assert!(matches!((list.shape, LIST), (Shape::List(_), Shape::List(_))), "{kind}");
        assert_eq!(super::actions_of(kind), Some(list.id));
    }
}
