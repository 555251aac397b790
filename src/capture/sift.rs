//! From what was read to what is kept: what belongs, how many, and what the tables do not know.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::passes::Reading;
use super::{Captured, Error};
use crate::image::{NotCarried, Snapshot};
use crate::netlink::{align, messages};
use crate::state::table::{Class, Source};
use crate::state::{Names, Problem, Verdict, check, classes};

/// Not carried things named for each class: a table of a thousand routes that all have one unknown
/// attribute shall not make a manifest of a thousand lines.
const MOST: usize = 100;

pub(super) fn sift(
    all: &[&'static Class],
    reading: Reading,
    taken: Timestamp,
) -> Result<Captured, Error> {
    let links = all.iter().position(|class| class.name == classes::LINKS.name);
    let names = links.map(|at| Names::of(&reading.sections[at])).unwrap_or_default();
    let mut snapshot = Snapshot::default();
    let mut counts = BTreeMap::new();
    let mut not_carried = Vec::new();
    for unreadable in reading.unreadable {
        not_carried.push(NotCarried {
            class: classes::SYSCTLS.name.to_owned(),
            object: unreadable.path,
            why: format!("it cannot be read: {}", unreadable.errno.desc()),
            matters: true,
        });
    }
    for (class, mut section) in all.iter().zip(reading.sections) {
        let count = match class.source {
            Source::Sysctl => {
                super::initial::keep_its_own(&mut section)?;
                let count = keep_what_is_carried(&mut section);
                let problems = crate::state::check_section(class, &section, &names);
                let unfit = |problem: &Problem| problem.fault.verdict() == Verdict::NotCarried;
                not_carried.extend(problems.into_iter().filter(unfit).map(|one| named(class, one)));
                count
            }
            Source::Netlink { .. }
            | Source::Read(_)
            | Source::Watched { .. }
            | Source::Generic { .. }
            | Source::Flows { .. } => {
                let count = keep_what_belongs(class, &mut section)?;
                not_carried.extend(unknown(class, &section, &names));
                count
            }
            Source::Inventory(_) => {
                let count = keep_what_belongs(class, &mut section)?;
                // Of what is only listed no attribute is missed, but objects may be.
                not_carried
                    .extend(unknown(class, &section, &names).into_iter().filter(|one| one.matters));
                count
            }
        };
        counts.insert(class.name.to_owned(), count);
        snapshot.sections.insert(class.name.to_owned(), section.into());
    }
    Ok(Captured { snapshot, counts, evidence: reading.evidence, not_carried, taken })
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
