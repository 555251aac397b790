//! Traffic control: trees of disciplines and classes on each link, and what filters hang on them.
//!
//! A tree in which only options differ is changed in place; one that is of another shape is removed
//! and made anew, since most of what hangs in it has no other way. Filters below one discipline (or of
//! one shared block) may refer to each other and are taken as a whole, too. What the kernel gives a
//! link by itself is in no section, and comes back by itself when what stands in its place goes.

mod actions;
mod filters;
mod hashed;
mod trees;
mod u32_tables;

use std::collections::BTreeSet;

use super::draft::{Draft, Sides};
use super::raw::Raw;
use super::{Objects, Side, Stage};
use crate::state::classes::tc::{INGRESS, Place, TCA_KIND, TCA_OPTIONS, TCMSG};
use crate::state::classes::{QDISCS, TC_ACTIONS, TC_CHAINS, TC_CLASSES, TC_FILTERS};
use crate::state::table::Class;
use crate::state::{Names, Object};

pub use filters::group;

/// All of traffic control on one side, or as much of it as there is on some links.
#[derive(Debug, Clone)]
pub struct Control<'a> {
    pub qdiscs: Vec<&'a Object>,
    pub classes: Vec<&'a Object>,
    pub chains: Vec<&'a Object>,
    pub actions: Vec<&'a Object>,
    pub filters: Vec<&'a Object>,
    /// Filters by eBPF, which are their owners' to attach and to take away.
    pub owned: Vec<&'a Object>,
    pub names: &'a Names,
}

impl<'a> Control<'a> {
    /// All that is on one side of a plan, without what is on the links of `absent`.
    fn of(side: &'a Objects, absent: &BTreeSet<u32>) -> Self {
        let there = |class: &Class| -> Vec<&'a Object> {
            side.of(class).iter().filter(|object| !absent.contains(&link(object))).collect()
        };
        let (owned, filters) = there(&TC_FILTERS).into_iter().partition(|filter| is_owned(filter));
        Self {
            qdiscs: there(&QDISCS),
            classes: there(&TC_CLASSES),
            chains: there(&TC_CHAINS),
            actions: side.of(&TC_ACTIONS).iter().collect(),
            filters,
            owned,
            names: &side.names,
        }
    }

    fn is_empty(&self) -> bool {
        self.qdiscs.is_empty() && self.actions.is_empty() && self.filters.is_empty()
    }
}

/// Whether a filter is an eBPF program, which no image holds.
fn is_owned(filter: &Object) -> bool {
    const TCA_BPF_ID: u16 = 11;
    raw(filter).text(TCA_KIND) == Some("bpf")
        && raw(filter).within(TCA_OPTIONS, TCA_BPF_ID).is_some()
}

/// Whether something that is in a namespace and not in its image stays: what an owner of eBPF
/// programs attached, and what it attached them to.
pub fn is_left(object: &Object, there: &Objects) -> bool {
    let mut owned = there.of(&TC_FILTERS).iter().filter(|filter| is_owned(filter));
    match object.class.name {
        "tc-filters" => is_owned(object),
        "qdiscs" => owned.any(|filter| filters::tree_of(filter) == tree_of(object)),
        _ => false,
    }
}

/// Plans traffic control inside. Disciplines of links that the plan removes or makes went with them.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let absent = &draft.gone | &draft.made;
    let from = Control::of(sides.from, &absent);
    let to = Control::of(sides.to, &BTreeSet::new());
    between(&from, &to, Side::Inside, draft);
}

/// Plans the way from one state of traffic control to another, in the namespace of this side.
pub fn between(from: &Control<'_>, to: &Control<'_>, side: Side, draft: &mut Draft) {
    if from.is_empty() && to.is_empty() {
        return;
    }
    let mut pen = Pen { draft, side, from: from.names, to: to.names };
    let trees = trees::Trees::new(from, to);
    let actions = actions::Actions::new(from, to);
    let filters = filters::Filters::new(from, to, &trees, !actions.is_settled());
    let left = actions.replace_in_use(&filters, &mut pen);
    filters.clear(&mut pen);
    trees.remove(&mut pen);
    left.iter().for_each(|name| {
        actions::remove(name, &format!("action {} {} of removed filters", name.0, name.1), &mut pen)
    });
    actions.plan(&mut pen);
    trees.make(&mut pen);
    filters.make(&mut pen);
}

/// Writes steps.
struct Pen<'a> {
    draft: &'a mut Draft,
    side: Side,
    /// Names of links as they are and as they shall be.
    from: &'a Names,
    to: &'a Names,
}

impl Pen<'_> {
    fn send(
        &mut self,
        class: &'static Class,
        label: String,
        message: Vec<u8>,
        tolerated: &'static [i32],
    ) {
        self.draft.send_on(self.side, Stage::TrafficControl, class, label, message, tolerated);
    }
}

fn raw(object: &Object) -> Raw<'_> {
    Raw::new(&object.bytes, TCMSG)
}

fn link(object: &Object) -> u32 {
    raw(object).header_u32(4)
}

fn handle(object: &Object) -> u32 {
    raw(object).header_u32(8)
}

fn parent(object: &Object) -> u32 {
    raw(object).header_u32(12)
}

fn place(object: &Object) -> Place {
    Place { link: link(object), parent: parent(object) }
}

/// One of the two trees of a link: of what leaves it, or of what comes in.
type TreeName = (u32, bool);

/// The tree that a discipline is in.
fn tree_of(qdisc: &Object) -> TreeName {
    (link(qdisc), parent(qdisc) == INGRESS)
}
