//! Actions that live without a filter, and those that change while filters are made anew.

use std::collections::BTreeMap;

use super::super::difference::delta;
use super::super::draft::{CREATE, PLAIN, REPLACE};
use super::super::raw::{Raw, find, text};
use super::filters::Filters;
use super::{Control, Pen};
use crate::netlink::{Builder, attributes};
use crate::state::classes::tc::actions_of;
use crate::state::classes::tc::{
    TCA_ACT_TAB, TCA_KIND, TCA_OPTIONS, TCMSG, action_index, action_verdict,
};
use crate::state::classes::{TC_ACTIONS, TC_FILTERS};
use crate::state::{Object, replay};

/// Bytes of `struct tcamsg`.
const TCAMSG: usize = 4;
const TCA_ACT_INDEX: u16 = 3;

/// A kind, and the number of an action of it.
pub type ActionName = (String, u32);

pub struct Actions<'a> {
    removed: Vec<&'a Object>,
    changed: Vec<&'a Object>,
    added: Vec<&'a Object>,
}

impl<'a> Actions<'a> {
    pub fn new(from: &Control<'a>, to: &Control<'a>) -> Self {
        let own = |all: &[&Object]| -> Vec<Object> { all.iter().map(|o| (*o).clone()).collect() };
        let (old, new) = (own(&from.actions), own(&to.actions));
        let delta = delta(&old, &new, |_| true);
        let among = |all: &[&'a Object], keys: Vec<&str>| -> Vec<&'a Object> {
            all.iter().filter(|object| keys.contains(&object.key.as_str())).copied().collect()
        };
        Self {
            removed: among(&from.actions, delta.removed.iter().map(|o| o.key.as_str()).collect()),
            changed: among(&to.actions, delta.changed.iter().map(|c| c.to.key.as_str()).collect()),
            added: among(&to.actions, delta.added.iter().map(|o| o.key.as_str()).collect()),
        }
    }

    /// Whether all of them are as they shall be.
    pub fn is_settled(&self) -> bool {
        self.removed.is_empty() && self.changed.is_empty() && self.added.is_empty()
    }

    /// Changes actions of filters that go while filters come that have one of the same number. The
    /// kernel lets go of an action some time after its filter, and a filter that names one that is
    /// still there gets it as it is. Answers those that can't be changed.
    pub fn replace_in_use(&self, filters: &Filters<'_>, pen: &mut Pen<'_>) -> Vec<ActionName> {
        let mut left = Vec::new();
        let (old, new) = (in_filters(filters.going()), in_filters(filters.coming()));
        for (name, action) in new {
            if old.get(&name).is_none_or(|old| *old == action) {
                continue;
            }
            // What leads to a chain is refused outside a filter.
            if leads_to_chain(&name.0, &action) {
                left.push(name);
                continue;
            }
            let label = format!("change action {} {} of filters", name.0, name.1);
            pen.send(&TC_ACTIONS, label, message(TC_ACTIONS.make, REPLACE, &action), &[]);
        }
        left
    }

    /// Removes, changes, makes.
    pub fn plan(&self, pen: &mut Pen<'_>) {
        for object in &self.removed {
            let Some(name) = name(object) else { continue };
            remove(&name, &object.label(pen.from), pen);
        }
        for (objects, word, flags) in
            [(&self.changed, "change", REPLACE), (&self.added, "make", CREATE)]
        {
            for object in objects {
                let label = format!("{word} {}", object.label(pen.to));
                let message = replay(&TC_ACTIONS, &object.bytes, flags);
                pen.send(&TC_ACTIONS, label, message, &[]);
            }
        }
    }
}

/// Removes an action, as soon as no filter has it any more; that it went with its filter is as good.
pub fn remove((kind, index): &ActionName, label: &str, pen: &mut Pen<'_>) {
    let mut action = Builder::attribute(TCA_KIND, format!("{kind}\0").as_bytes());
    action.extend(Builder::attribute(TCA_ACT_INDEX, &index.to_ne_bytes()));
    let message = message(TC_ACTIONS.remove, PLAIN, &action);
    pen.send(&TC_ACTIONS, format!("remove {label}"), message, &[libc::ENOENT]);
}

/// A message about one action, which is told by its attributes.
fn message(kind: u16, flags: u16, action: &[u8]) -> Vec<u8> {
    let mut builder = Builder::new(kind, flags, &[0; TCAMSG]);
    let tab = builder.begin(TCA_ACT_TAB | Builder::NESTED);
    builder.put(1 | Builder::NESTED, action);
    builder.end(tab);
    builder.finish()
}

/// Whether an action goes on in a chain (`TC_ACT_GOTO_CHAIN`).
fn leads_to_chain(kind: &str, action: &[u8]) -> bool {
    const CHAIN: u32 = 2;
    const SHIFT: u32 = 28;
    let options = find(attributes(action), TCA_OPTIONS).unwrap_or_default();
    action_verdict(kind, options).is_some_and(|verdict| verdict >> SHIFT == CHAIN)
}

fn name(object: &Object) -> Option<ActionName> {
    let tab = Raw::new(&object.bytes, TCAMSG).attribute(TCA_ACT_TAB)?;
    named(attributes(tab).next()?.ok()?.payload)
}

fn named(action: &[u8]) -> Option<ActionName> {
    let kind = text(find(attributes(action), TCA_KIND)?)?;
    let options = find(attributes(action), TCA_OPTIONS)?;
    Some((kind.to_owned(), action_index(kind, options)?))
}

/// The actions of filters, as they are sent.
fn in_filters<'a>(filters: impl Iterator<Item = &'a Object>) -> BTreeMap<ActionName, Vec<u8>> {
    let mut found = BTreeMap::new();
    for filter in filters {
        let message = replay(&TC_FILTERS, &filter.bytes, PLAIN);
        let raw = Raw::new(&message, TCMSG);
        let list = raw.text(TCA_KIND).and_then(actions_of);
        let list = list.and_then(|id| raw.within(TCA_OPTIONS, id)).unwrap_or_default();
        for action in attributes(list).map_while(Result::ok) {
            if let Some(name) = named(action.payload) {
                found.insert(name, action.payload.to_vec());
            }
        }
    }
    found
}
