//! What another kernel may not know: attributes come with kernel versions.
//!
//! An image says which kernel told it. Where that is not the running one, an attribute that one of both
//! tells of no object of a class is one that it does not know: that it is missing there says nothing of
//! the object.

use std::collections::{BTreeMap, BTreeSet};

use super::draft::Objects;
use crate::state::table::Class;
use crate::state::{self, Difference, Object, Value};

/// The paths of all fields that either side tells of a class; nothing where both are of one kernel.
#[derive(Debug, Default)]
pub struct Known(Option<[BTreeSet<String>; 2]>);

impl Known {
    pub fn of(class: &'static Class, from: &Objects, to: &Objects) -> Self {
        let differ = from.foreign != to.foreign;
        Self(differ.then(|| [paths(from.of(class)), paths(to.of(class))]))
    }

    /// Whether all that differs is what one of the sides does not know.
    pub fn only_unknown(&self, differences: &[Difference]) -> bool {
        let Some([from, to]) = &self.0 else { return false };
        differences.iter().all(|difference| {
            let path = general(&difference.path);
            match (&difference.left, &difference.right) {
                // What is told in neither is made of other fields, which both know.
                (None, Some(_)) => !from.contains(&path) && to.contains(&path),
                (Some(_), None) => !to.contains(&path) && from.contains(&path),
                _ => false,
            }
        })
    }
}

/// How it is, where objects that differ only by what one of the kernels does not know are told as the
/// goal has them: nothing is to be done about them. `None` where both are of one kernel.
pub fn as_told(from: &Objects, to: &Objects) -> Option<Objects> {
    if from.foreign == to.foreign {
        return None;
    }
    let mut told = from.clone();
    for class in state::CLASSES {
        let known = Known::of(class, from, to);
        let wanted: BTreeMap<&str, &Object> =
            to.of(class).iter().map(|object| (object.key.as_str(), object)).collect();
        for object in told.of_mut(class) {
            let Some(shall) = wanted.get(object.key.as_str()) else { continue };
            let differences = state::compare(object, shall);
            if !differences.is_empty() && known.only_unknown(&differences) {
                object.bytes.clone_from(&shall.bytes);
            }
        }
    }
    Some(told)
}

/// Without places in lists.
fn general(path: &str) -> String {
    let steps = path.split('.');
    let step =
        |step: &str| if step.parse::<u32>().is_ok() { "*".to_owned() } else { step.to_owned() };
    steps.map(step).collect::<Vec<_>>().join(".")
}

fn paths(objects: &[Object]) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for object in objects {
        add("", &object.value(), &mut found);
    }
    found
}

fn add(path: &str, value: &Value, found: &mut BTreeSet<String>) {
    let below =
        |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match value {
        Value::Map(entries) => {
            for (name, value) in entries {
                add(&below(name), value, found);
            }
        }
        Value::List(items) => items.iter().for_each(|item| add(&below("*"), item, found)),
        _ => {}
    }
    found.insert(path.to_owned());
}

#[cfg(test)]
mod tests {
    use super::super::differences;
    use super::*;
    use crate::image::Snapshot;
    use crate::netlink::Builder;

    const GSO_MAX_SIZE: u16 = 41;
    const GROUP: u16 = 27;

    /// Two links; the attributes are of the second, one of them of the first as well.
    fn links(attributes: &[(u16, u32)], first: &[(u16, u32)]) -> Objects {
        let link = |index: u32, attributes: &[(u16, u32)]| {
            let mut header = [0; 16];
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            let mut link = Builder::new(16, 0, &header);
            link.put_text(3, &format!("l{index}"));
            for (id, value) in attributes {
                link.put_u32(*id, *value);
            }
            link.finish()
        };
        let section = [link(1, first), link(2, attributes)].concat();
        let sections = [("links".to_owned(), section.into())];
        Objects::read(&Snapshot { sections: sections.into() }, 0).unwrap()
    }

    fn matter(is: &Objects, shall: &Objects) -> usize {
        differences(is, shall).iter().filter(|finding| finding.matters()).count()
    }

    #[test]
    fn what_one_kernel_does_not_know_is_told_and_does_not_matter() {
        let (old, new) = (links(&[], &[]), links(&[(GSO_MAX_SIZE, 7)], &[(GSO_MAX_SIZE, 7)]));
        assert_eq!(matter(&new, &old), 2, "of one kernel");
        let foreign = old.clone().of_another_kernel(true);
        assert_eq!(matter(&new, &foreign), 0);
        assert_eq!(differences(&new, &foreign).len(), 2, "told");
        let foreign = new.of_another_kernel(true);
        assert_eq!(matter(&old, &foreign), 0);
    }

    #[test]
    fn what_it_knows_matters_still() {
        let is = links(&[(GROUP, 7)], &[(GROUP, 7)]);
        let shall = links(&[], &[(GROUP, 7)]).of_another_kernel(true);
        assert_eq!(matter(&is, &shall), 1, "it tells it of another link");
        let shall = links(&[(GROUP, 8)], &[(GROUP, 7)]).of_another_kernel(true);
        assert_eq!(matter(&is, &shall), 1, "another value");
    }
}
