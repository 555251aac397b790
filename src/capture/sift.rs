//! From what was read to what is kept: what belongs, how many, and what the tables do not know.

use std::collections::BTreeMap;

use bytes::Bytes;
use jiff::Timestamp;

use super::sysctls::Unreadable;
use super::{Captured, Error};
use crate::image::{Evidence, NotCarried, Snapshot};
use crate::netlink::{align, messages};
use crate::state::table::{Class, Source};
use crate::state::{Names, Problem, Verdict, check, classes};

/// Not carried things named for each class: a table of a thousand routes that all have one unknown
/// attribute shall not make a manifest of a thousand lines.
const MOST: usize = 100;

/// What is kept of one section.
#[derive(Debug, Clone)]
pub(super) struct Sifted {
    pub(super) section: Bytes,
    pub(super) count: u64,
    pub(super) not_carried: Vec<NotCarried>,
}

/// Names of the links, from a section of each class as it was read.
pub(super) fn names<'a>(
    all: &[&'static Class],
    mut sections: impl Iterator<Item = &'a [u8]>,
) -> Names {
    let links = all.iter().position(|class| class.name == classes::LINKS.name);
    links.and_then(|at| sections.nth(at)).map(Names::of).unwrap_or_default()
}

/// All sections as a capture.
pub(super) fn together(
    all: &[&'static Class],
    sifted: impl IntoIterator<Item = Sifted>,
    unreadable: &[Unreadable],
    evidence: Evidence,
    taken: Timestamp,
) -> Captured {
    let (mut snapshot, mut counts) = (Snapshot::default(), BTreeMap::new());
    let mut not_carried: Vec<_> = unreadable.iter().map(cannot_be_read).collect();
    for (class, sifted) in all.iter().zip(sifted) {
        counts.insert(class.name.to_owned(), sifted.count);
        snapshot.sections.insert(class.name.to_owned(), sifted.section);
        not_carried.extend(sifted.not_carried);
    }
    Captured { snapshot, counts, evidence, not_carried, taken }
}

fn cannot_be_read(file: &Unreadable) -> NotCarried {
    NotCarried {
        class: classes::SYSCTLS.name.to_owned(),
        object: file.path.clone(),
        why: format!("it cannot be read: {}", file.errno.desc()),
        matters: true,
    }
}

/// Sifts the section of one class.
pub(super) fn sift(
    class: &'static Class,
    mut section: Vec<u8>,
    names: &Names,
) -> Result<Sifted, Error> {
    let mut not_carried = Vec::new();
    let count = if let Source::Sysctl = class.source {
        super::initial::keep_its_own(&mut section)?;
        let count = keep_what_is_carried(&mut section);
        let problems = crate::state::check_section(class, &section, names);
        let unfit = |problem: &Problem| problem.fault.verdict() == Verdict::NotCarried;
        not_carried.extend(problems.into_iter().filter(unfit).map(|one| named(class, one)));
        count
    } else {
        let count = keep_what_belongs(class, &mut section)?;
        not_carried = unknown(class, &section, names);
        if class.source.is_inventory() {
            // Of what is only listed no attribute is missed, but objects may be.
            not_carried.retain(|one| one.matters);
        }
        count
    };
    Ok(Sifted { section: section.into(), count, not_carried })
}

/// Takes out, in place, what is not the class's; answers the number of messages left.
fn keep_what_belongs(class: &Class, section: &mut Vec<u8>) -> Result<u64, Error> {
    let mut count = 0;
    let mut kept = 0;
    let mut at = 0;
    while at < section.len() {
        let message = match messages(&section[at..]).next() {
            Some(Ok(message)) => message,
            Some(Err(source)) => return Err(Error::Malformed { class: class.name, source }),
            None => break,
        };
        let length = align(message.bytes.len()).min(section.len() - at);
        if message.kind == class.tells && (class.belongs)(&message) {
            section.copy_within(at..at + length, kept);
            kept += length;
            count += 1;
        }
        at += length;
    }
    section.truncate(kept);
    Ok(count)
}

/// The same for `path NUL value NUL`.
fn keep_what_is_carried(section: &mut Vec<u8>) -> u64 {
    let mut count = 0;
    let mut kept = Vec::with_capacity(section.len());
    let mut parts = section.split_inclusive(|byte| *byte == 0);
    while let (Some(path), Some(value)) = (parts.next(), parts.next()) {
        let name = path.strip_suffix(&[0]).unwrap_or(path);
        if std::str::from_utf8(name).is_ok_and(classes::sysctls::carried) {
            kept.extend_from_slice(path);
            kept.extend_from_slice(value);
            count += 1;
        }
    }
    *section = kept;
    count
}

/// What the class's table does not know of these messages, or says that it can't be carried.
fn unknown(class: &'static Class, section: &[u8], names: &Names) -> Vec<NotCarried> {
    let problems = messages(section)
        .map_while(Result::ok)
        .flat_map(|message| check(class, message.bytes, names))
        .filter(|problem| problem.fault.verdict() != Verdict::Hostile);
    problems.take(MOST).map(|problem| named(class, problem)).collect()
}

fn named(class: &Class, problem: Problem) -> NotCarried {
    let why = if problem.path.is_empty() {
        problem.fault.to_string()
    } else {
        format!("{}: {}", problem.path, problem.fault)
    };
    NotCarried {
        class: class.name.to_owned(),
        object: problem.object,
        why,
        matters: problem.fault.verdict() == Verdict::NotCarried,
    }
}
