//! How two sections of a class differ, object by object.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;

use super::draft::Objects;
use super::known::Known;
use super::links::{PortState, only_port_state, only_while_changing};
use super::xtables;
use super::{Group, Side};
use crate::state::classes::bridges::is_of_device;
use crate::state::classes::{ADDRESSES, XFRM_STATES};
use crate::state::table::{Class, Source};
use crate::state::{self, Difference, Names, Object};

/// The difference of two lists of objects by key. Each part keeps the order of its section.
#[derive(Debug, Default)]
pub struct Delta<'a> {
    pub removed: Vec<&'a Object>,
    pub changed: Vec<Changed<'a>>,
    pub added: Vec<&'a Object>,
}

/// One key, two contents.
#[derive(Debug)]
pub struct Changed<'a> {
    pub from: &'a Object,
    pub to: &'a Object,
    pub differences: Vec<Difference>,
}

/// What of `from` and `to` differs; only what `counts` says yes to is looked at.
pub fn delta<'a>(
    from: &'a [Object],
    to: &'a [Object],
    counts: impl Fn(&Object) -> bool,
) -> Delta<'a> {
    let mut delta = Delta::default();
    let mut old: HashMap<&str, &Object> = HashMap::with_capacity(from.len());
    old.extend(from.iter().filter(|object| counts(object)).map(|o| (o.key.as_str(), o)));
    for to in to.iter().filter(|object| counts(object)) {
        let Some(from) = old.remove(to.key.as_str()) else {
            delta.added.push(to);
            continue;
        };
        let mut differences = state::compare(from, to);
        if differences.is_empty() && to.class.name == XFRM_STATES.name {
            differences.extend(super::xfrm::behind(from, to));
        }
        if !differences.is_empty() {
            delta.changed.push(Changed { from, to, differences });
        }
    }
    let left = |object: &&Object| old.contains_key(object.key.as_str());
    if !old.is_empty() {
        delta.removed.extend(from.iter().filter(left));
    }
    delta
}

/// The objects of one group, as they are and as they shall be, each in the order of its section.
pub type Pair<'a> = (Vec<&'a Object>, Vec<&'a Object>);

/// Sorts objects of two sections into groups; groups come in the order in which `to`, then `from`
/// has them.
pub fn groups<'a>(
    from: impl IntoIterator<Item = &'a Object>,
    to: impl IntoIterator<Item = &'a Object>,
    group: Group,
) -> Vec<Pair<'a>> {
    let mut places: BTreeMap<String, usize> = BTreeMap::new();
    let mut pairs: Vec<Pair<'a>> = Vec::new();
    let mut place = |object: &Object, pairs: &mut Vec<Pair<'a>>| {
        let name = group(object)?;
        let place = *places.entry(name).or_insert(pairs.len());
        if place == pairs.len() {
            pairs.push(Pair::default());
        }
        Some(place)
    };
    for object in to {
        if let Some(place) = place(object, &mut pairs) {
            pairs[place].1.push(object);
        }
    }
    for object in from {
        if let Some(place) = place(object, &mut pairs) {
            pairs[place].0.push(object);
        }
    }
    pairs
}

/// How many objects at the start of two lists are the same in key and contents.
pub fn same_start(old: &[&Object], new: &[&Object]) -> usize {
    let same = |(old, new): &(&&Object, &&Object)| {
        old.key == new.key && state::compare(old, new).is_empty()
    };
    old.iter().zip(new).take_while(same).count()
}

/// An object that is not as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Where the object is.
    pub side: Side,
    /// Name of the class.
    pub class: &'static str,
    /// The object, as people name it.
    pub object: String,
    pub kind: Kind,
    weight: Weight,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Weight {
    Matters,
    /// The kernel makes it by itself, in its own time.
    Settles,
    /// The kernel made it by itself, and it can be taken away again.
    Mends,
    /// It comes and goes without anyone's doing, or this kernel has no such thing.
    Informs,
}

impl Finding {
    /// Whether the network is not the same because of it. Caches and knobs that this kernel does not
    /// have do not matter.
    #[must_use]
    pub fn matters(&self) -> bool {
        matches!(self.weight, Weight::Matters | Weight::Settles)
    }

    /// Whether it does not matter, but a plan has a step for it.
    #[must_use]
    pub fn can_be_mended(&self) -> bool {
        self.weight == Weight::Mends
    }

    /// The same, as something that does not matter.
    pub(super) fn informing(self) -> Self {
        Self { weight: Weight::Informs, ..self }
    }

    /// Whether the kernel may still be about to mend it.
    #[must_use]
    pub fn may_settle(&self) -> bool {
        self.weight == Weight::Settles
    }
}

/// What is wrong with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// Wanted, and not there.
    Missing,
    /// There, and not wanted.
    Extra,
    /// There with other contents. Left is how it is, right how it shall be.
    Differs(Vec<Difference>),
    /// Those objects of a group that are there are not in the order in which the kernel looks at them.
    Order,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let side = match self.side {
            Side::Inside => "",
            Side::Host => "host/",
        };
        write!(f, "{side}{}: {}: ", self.class, self.object)?;
        match &self.kind {
            Kind::Missing => write!(f, "missing"),
            Kind::Extra => write!(f, "not in the image"),
            Kind::Order => write!(f, "not in the order of the image"),
            Kind::Differs(differences) => {
                for (at, difference) in differences.iter().enumerate() {
                    let gap = if at == 0 { "" } else { ", " };
                    let side =
                        |text: &Option<String>| text.clone().unwrap_or_else(|| "absent".to_owned());
                    let (is, shall) = (side(&difference.left), side(&difference.right));
                    write!(f, "{gap}{} is {is} instead of {shall}", difference.path)?;
                }
                Ok(())
            }
        }
    }
}

/// All that differs between how it is and how it shall be.
#[must_use]
pub fn differences(from: &Objects, to: &Objects) -> Vec<Finding> {
    let mut found = Vec::new();
    let known = |class: &&Class| from.knows(class) && to.knows(class);
    for class in state::CLASSES.into_iter().filter(known) {
        of_class(class, from, to, &mut found);
    }
    super::host_side::differences(from, to, &mut found);
    found
}

pub(super) fn of_class(
    class: &'static Class,
    from: &Objects,
    to: &Objects,
    found: &mut Vec<Finding>,
) {
    let delta = delta(from.of(class), to.of(class), |_| true);
    let mut add = |object: &Object, names: &Names, kind, weight| {
        let fleeting = object.is_fleeting();
        let weight = if fleeting && weight != Weight::Mends { Weight::Informs } else { weight };
        let (side, class, object) = (Side::Inside, class.name, object.label(names));
        found.push(Finding { side, class, object, kind, weight });
    };
    let sysctl = matches!(class.source, Source::Sysctl);
    for object in &delta.added {
        let weight = match class.name {
            _ if sysctl && !super::sysctls::is_secret(&object.key) => Weight::Informs,
            "routes" if super::routes::made_by_kernel(object) => Weight::Settles,
            "links" if super::links::is_idle_fallback(object) => Weight::Informs,
            // This kernel has no way to tell or set them, or none for this kind.
            name if name.starts_with("device-") => Weight::Informs,
            _ => Weight::Matters,
        };
        add(object, &to.names, Kind::Missing, weight);
    }
    let known = match delta.changed.is_empty() {
        true => Known::default(),
        false => Known::of(class, from, to),
    };
    for changed in delta.changed {
        let weight = match class.name {
            _ if known.only_unknown(&changed.differences) => Weight::Informs,
            "addresses" if super::addresses::only_history(changed.from, changed.to) => {
                Weight::Informs
            }
            "links" => of_port(&changed, to.of(class)),
            _ => Weight::Matters,
        };
        add(changed.to, &to.names, Kind::Differs(changed.differences), weight);
    }
    let tentative: Vec<_> =
        to.of(&ADDRESSES).iter().filter_map(super::addresses::tentative).collect();
    let idle = xtables::idle(class, from);
    // Of a file that the image does not have nothing is known.
    for object in delta.removed.iter().filter(|_| !sysctl) {
        let early = class.name == "routes" && super::routes::is_of_address(object, &tentative);
        let weight = match class.name {
            _ if early || class.grows => Weight::Informs,
            _ if !idle.is_empty() && idle.contains(&xtables::table(object)) => Weight::Informs,
            _ if super::tc::is_left(object, from) => Weight::Informs,
            "routes" if super::routes::is_undone(object, to, &tentative) => Weight::Mends,
            "links" if super::links::is_idle_fallback(object) => Weight::Informs,
            "bridge-fdb" if is_of_device(&object.value()) => Weight::Mends,
            // Every device has some, and an older image tells of none.
            name if name.starts_with("device-") => Weight::Informs,
            _ => Weight::Matters,
        };
        add(object, &from.names, Kind::Extra, weight);
    }
    for object in out_of_order(class, from.of(class), to.of(class)) {
        add(object, &to.names, Kind::Order, Weight::Matters);
    }
}

/// The weight of a difference of two links.
fn of_port(changed: &Changed<'_>, links: &[Object]) -> Weight {
    match only_port_state(changed.from, changed.to, &changed.differences, links) {
        Some(PortState::Follows) => Weight::Informs,
        Some(PortState::Settles) => Weight::Settles,
        None if only_while_changing(changed.from, changed.to, &changed.differences) => {
            Weight::Informs
        }
        None => Weight::Matters,
    }
}

/// The first object of each group of which the order counts and is not the same. What only one side
/// has is told already, and says nothing of the order of the others.
fn out_of_order<'a>(class: &Class, from: &'a [Object], to: &'a [Object]) -> Vec<&'a Object> {
    let Some(group) = super::order_of(class) else { return Vec::new() };
    let keys = |side: &'a [Object]| -> BTreeSet<&'a str> {
        side.iter().map(|object| object.key.as_str()).collect()
    };
    let (is, shall) = (keys(from), keys(to));
    let both =
        |object: &&Object| is.contains(object.key.as_str()) && shall.contains(object.key.as_str());
    let swapped = |(old, new): Pair<'a>| {
        old.iter().zip(new).find(|(old, new)| old.key != new.key).map(|(_, new)| new)
    };
    let pairs = groups(from.iter().filter(both), to.iter().filter(both), group);
    pairs.into_iter().filter_map(swapped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::classes::RULES;

    /// What is missing or too much hides nothing of the order of the rest.
    #[test]
    fn order_is_of_what_both_sides_have() {
        let rule = |key: &str| {
            let mut bytes = vec![0; 28];
            bytes[..4].copy_from_slice(&28_u32.to_ne_bytes());
            bytes[4..6].copy_from_slice(&RULES.tells.to_ne_bytes());
            Object { class: &RULES, bytes, key: key.to_owned() }
        };
        let found = |is: &[&str], shall: &[&str]| -> Vec<String> {
            let side = |keys: &[&str]| keys.iter().map(|key| rule(key)).collect::<Vec<_>>();
            let (is, shall) = (side(is), side(shall));
            out_of_order(&RULES, &is, &shall).iter().map(|rule| rule.key.clone()).collect()
        };
        assert_eq!(found(&["a", "b"], &["b", "a", "c"]), ["b"]);
        assert_eq!(found(&["x", "a", "b"], &["a", "b"]), Vec::<String>::new());
        assert_eq!(found(&["a", "b"], &["a", "b"]), Vec::<String>::new());
    }
}
