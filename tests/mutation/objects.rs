//! Objects that are missing or too much, in images.

use std::collections::BTreeMap;

use bytes::Bytes;
use netckpt::image::Snapshot;
use netckpt::plan::{Finding, Kind, Objects, differences};
use netckpt::state::table::{Class, Source};
use netckpt::state::{self, CLASSES, Names, Object};

use crate::{IMAGE, is_by_order};

/// Of a class with more objects only these many are taken away one by one, from all over the section.
const MOST: usize = 40;

/// A section of these objects.
pub fn section<'a>(objects: impl Iterator<Item = &'a Object>) -> Bytes {
    let mut bytes = Vec::new();
    for object in objects {
        bytes.extend_from_slice(&object.bytes);
        if !matches!(object.class.source, Source::Sysctl) {
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
    }
    bytes.into()
}

/// The class's section and those of what its objects refer to.
fn with(class: &Class, section: Bytes) -> Objects {
    let mut names = vec!["links"];
    let mut rest = vec![class.name];
    while let Some(name) = rest.pop() {
        let after = state::class(name).map(|class| class.after).unwrap_or_default();
        rest.extend(after.iter().filter(|name| !names.contains(name)));
        names.extend(after);
    }
    let mut sections: BTreeMap<_, _> = names
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), IMAGE.snapshot.sections.get(name)?.clone())))
        .collect();
    sections.insert(class.name.to_owned(), section);
    Objects::read(&Snapshot { sections }, 0).expect("a snapshot")
}

#[test]
fn each_object_that_is_missing_or_too_much_is_named() {
    let names = Names::of(&IMAGE.snapshot.sections["links"]);
    let mut tried = 0;
    for class in CLASSES.into_iter().filter(|class| !class.source.is_inventory()) {
        let objects = state::objects(class, &IMAGE.snapshot.sections[class.name]).unwrap();
        let full = with(class, section(objects.iter()));
        for place in (0..objects.len()).step_by(objects.len().div_ceil(MOST).max(1)) {
            let (left, label) = (&objects[place], objects[place].label(&names));
            let others = objects.iter().enumerate().filter(|(at, _)| *at != place);
            let less = with(class, section(others.map(|(_, object)| object)));
            let named = |found: &[Finding], kind: &Kind| {
                let is = |one: &Finding| {
                    one.class == class.name
                        && one.kind == *kind
                        && (one.object == label || is_by_order(&objects, left))
                };
                assert!(found.iter().any(is), "{kind:?}: {} {label}: {found:#?}", class.name);
            };
            named(&differences(&less, &full), &Kind::Missing);
            // Of a file that the image does not have nothing is known.
            if !matches!(class.source, Source::Sysctl) && !is_of_nothing(left) {
                named(&differences(&full, &less), &Kind::Extra);
            }
            tried += 1;
        }
    }
    println!("{tried} objects of {} classes", CLASSES.len());
    assert!(tried > 100, "{tried}");
}

/// Without its link nothing can be told of a link but its number.
fn is_of_nothing(object: &Object) -> bool {
    object.class.name == "links"
}
