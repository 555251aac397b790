//! The plan: between any two snapshots that are well-formed it is made without a panic, twice the same,
//! and between a snapshot that passes the check and itself it has no step.
//!
//! An input is two snapshots, one after another. A snapshot is a list of sections and ends with a zero
//! byte; a section is the class's name, a zero byte, its length in two bytes, and its bytes.

use bytes::Bytes;
use netckpt::image::{Image, Limits, Snapshot};
use netckpt::plan::{Host, Objects, Terms, differences, plan};
use netckpt::state::{CLASSES, Names, check_section};

pub fn run(data: &[u8]) {
    let mut rest = data;
    let (from, to) = (snapshot(&mut rest), snapshot(&mut rest));
    let checked = is_checked(&from);
    let (Ok(from), Ok(to)) = (Objects::read(&from, 0), Objects::read(&to, 60)) else { return };
    let terms = || Terms { host: Some(Host::default()), ..Terms::default() };
    let first = plan(&from, &to, &terms()).map(|plan| format!("{plan:?}"));
    let again = plan(&from, &to, &terms()).map(|plan| format!("{plan:?}"));
    assert_eq!(first.map_err(|error| error.to_string()), again.map_err(|error| error.to_string()));
    let _ = differences(&from, &to);
    if checked && let Ok(plan) = plan(&from, &from, &Terms::default()) {
        assert!(plan.steps.is_empty(), "steps from a snapshot to itself: {plan:?}");
    }
}

/// Whether the tables allow all of it. No kernel tells of a link on a link that is not there.
fn is_checked(snapshot: &Snapshot) -> bool {
    let section = |name| snapshot.sections.get(name).map(Bytes::as_ref).unwrap_or_default();
    let links = Names::of(section("links"));
    CLASSES.iter().all(|class| check_section(class, section(class.name), &links).is_empty())
}

fn snapshot(rest: &mut &[u8]) -> Snapshot {
    let mut snapshot = Snapshot::default();
    while let Some((name, section, after)) = section(rest) {
        *rest = after;
        if name.is_empty() {
            break;
        }
        snapshot.sections.insert(name.to_owned(), Bytes::copy_from_slice(section));
    }
    snapshot
}

fn section(data: &[u8]) -> Option<(&str, &[u8], &[u8])> {
    let end = data.iter().take(64).position(|byte| *byte == 0)?;
    let name = std::str::from_utf8(&data[..end]).ok()?;
    let rest = &data[end + 1..];
    if name.is_empty() {
        return Some((name, &[], rest));
    }
    let (length, rest) = rest.split_first_chunk::<2>()?;
    let (section, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    Some((name, section, rest))
}

fn written(snapshot: &Snapshot, into: &mut Vec<u8>) {
    for (name, section) in &snapshot.sections {
        // The sysctls of a namespace are many; the first of them are enough.
        let end = section.len().min(u16::MAX.into());
        into.extend_from_slice(name.as_bytes());
        into.push(0);
        into.extend_from_slice(&(end as u16).to_le_bytes());
        into.extend_from_slice(&section[..end]);
    }
    into.push(0);
}

/// From nothing to a section alone.
pub fn section_seed(class: &str, section: &[u8]) -> Option<Vec<u8>> {
    let mut snapshot = Snapshot::default();
    snapshot.sections.insert(class.to_owned(), Bytes::copy_from_slice(section));
    let mut seed = Vec::new();
    written(&Snapshot::default(), &mut seed);
    written(&snapshot, &mut seed);
    Some(seed)
}

pub fn seeds(image: &[u8]) -> Vec<Vec<u8>> {
    let image = Image::from_bytes(image, &Limits::DEFAULT).expect("an image");
    let (full, empty) = (image.snapshot, Snapshot::default());
    [(&full, &full), (&empty, &full), (&full, &empty)]
        .iter()
        .map(|(from, to)| {
            let mut seed = Vec::new();
            written(from, &mut seed);
            written(to, &mut seed);
            seed
        })
        .collect()
}
