//! Disciplines and their classes.

use std::collections::{BTreeMap, BTreeSet};

use super::super::difference::delta;
use super::super::draft::{CREATE, PLAIN};
use super::{Control, Pen, TreeName, filters, handle, link, parent, place, raw, tree_of};
use crate::netlink::Builder;
use crate::state::classes::tc::{INGRESS, MAJOR, ROOT, TCA_KIND};
use crate::state::classes::{QDISCS, TC_CLASSES};
use crate::state::{Difference, Object, replay};

/// Kinds that take new options while they are in use, all of those that they tell.
const CHANGEABLE: [&str; 4] = ["bfifo", "pfifo", "pfifo_head_drop", "tbf"];
/// Passes over what is left to be made, each of which makes what stands on what was made before it.
/// No kernel has trees so deep.
const DEPTH: usize = 64;

/// The trees of all links.
pub struct Trees<'a> {
    trees: BTreeMap<TreeName, Tree<'a>>,
}

#[derive(Default)]
struct Tree<'a> {
    from: Parts<'a>,
    to: Parts<'a>,
    way: Way<'a>,
}

#[derive(Default)]
struct Parts<'a> {
    qdiscs: Vec<&'a Object>,
    classes: Vec<&'a Object>,
}

/// How a tree becomes what it shall be.
#[derive(Default)]
enum Way<'a> {
    #[default]
    Same,
    /// These get other options.
    Change(Vec<&'a Object>),
    /// It goes, where there is one, and comes, where there shall be one.
    Anew,
}

impl<'a> Trees<'a> {
    pub fn new(from: &Control<'a>, to: &Control<'a>) -> Self {
        let mut trees: BTreeMap<TreeName, Tree<'a>> = BTreeMap::new();
        for qdisc in &from.qdiscs {
            trees.entry(tree_of(qdisc)).or_default().from.qdiscs.push(qdisc);
        }
        for qdisc in &to.qdiscs {
            trees.entry(tree_of(qdisc)).or_default().to.qdiscs.push(qdisc);
        }
        for class in &from.classes {
            trees.entry((link(class), false)).or_default().from.classes.push(class);
        }
        for class in &to.classes {
            trees.entry((link(class), false)).or_default().to.classes.push(class);
        }
        let owned: BTreeSet<TreeName> = from.owned.iter().map(|o| filters::tree_of(o)).collect();
        for (name, tree) in &mut trees {
            // What somebody's programs hang on stays where the image has nothing in its place.
            let stays = owned.contains(name) && tree.to.qdiscs.is_empty();
            tree.way = if stays { Way::Same } else { way(&tree.from, &tree.to) };
        }
        Self { trees }
    }

    /// Whether nothing of what was in the tree is left when it is what it shall be.
    pub fn is_made_anew(&self, tree: TreeName) -> bool {
        self.trees.get(&tree).is_some_and(|tree| matches!(tree.way, Way::Anew))
    }

    /// Removes the trees that go; with its root goes all that is in one.
    pub fn remove(&self, pen: &mut Pen<'_>) {
        for tree in self.trees.values().filter(|tree| matches!(tree.way, Way::Anew)) {
            let is_root = |qdisc: &&&Object| [ROOT, INGRESS].contains(&parent(qdisc));
            let Some(root) = tree.from.qdiscs.iter().find(is_root) else { continue };
            let label = format!("remove {}", root.label(pen.from));
            let header = place(root).header(handle(root), 0);
            let message = Builder::new(QDISCS.remove, PLAIN, &header).finish();
            pen.send(&QDISCS, label, message, &[libc::ENOENT]);
        }
    }

    /// Changes and makes.
    pub fn make(&self, pen: &mut Pen<'_>) {
        for tree in self.trees.values() {
            match &tree.way {
                Way::Same => {}
                Way::Change(changed) => {
                    for object in changed {
                        let label = format!("change {}", object.label(pen.to));
                        let message = replay(object.class, &object.bytes, PLAIN);
                        pen.send(object.class, label, message, &[]);
                    }
                }
                Way::Anew => grow(&tree.to, pen),
            }
        }
    }
}

fn way<'a>(from: &Parts<'a>, to: &Parts<'a>) -> Way<'a> {
    let mut changed = Vec::new();
    for (old, new) in [(&from.qdiscs, &to.qdiscs), (&from.classes, &to.classes)] {
        let (old, new): (Vec<Object>, Vec<Object>) = (cloned(old), cloned(new));
        let delta = delta(&old, &new, |_| true);
        if !delta.removed.is_empty() || !delta.added.is_empty() {
            return Way::Anew;
        }
        for one in &delta.changed {
            if !is_changeable(one.to) || !one.differences.iter().all(is_option) {
                return Way::Anew;
            }
            let found = to.qdiscs.iter().chain(&to.classes);
            changed.extend(found.filter(|object| object.bytes == one.to.bytes));
        }
    }
    if changed.is_empty() { Way::Same } else { Way::Change(changed) }
}

fn cloned(objects: &[&Object]) -> Vec<Object> {
    objects.iter().map(|object| (*object).clone()).collect()
}

fn is_changeable(object: &Object) -> bool {
    let kind = raw(object).text(TCA_KIND).unwrap_or_default();
    object.class.name == TC_CLASSES.name || CHANGEABLE.contains(&kind)
}

/// Whether it is a difference that the message for a change takes away: what is not in the message
/// stays as it is, except for the upper half of a rate.
fn is_option(difference: &Difference) -> bool {
    let is_told = difference.right.is_some() || difference.path.ends_with("64");
    difference.path.starts_with("options") && is_told
}

/// Makes a tree: what stands on something after it; classes first, since one that has classes below
/// it can't have a discipline. Of what is equally possible the last told is the first made: the
/// kernel tells the youngest first.
fn grow(tree: &Parts<'_>, pen: &mut Pen<'_>) {
    let mut qdiscs: Vec<&Object> = tree.qdiscs.iter().rev().copied().collect();
    let mut classes: Vec<&Object> =
        tree.qdiscs.iter().flat_map(|on| classes_of(on, tree)).collect();
    let all: BTreeSet<u32> = classes.iter().map(|class| handle(class)).collect();
    let (mut disciplines, mut made) = (BTreeSet::new(), BTreeSet::new());
    for _ in 0..DEPTH {
        if qdiscs.is_empty() && classes.is_empty() {
            return;
        }
        qdiscs.retain(|qdisc| {
            let on = parent(qdisc);
            let is_root = [ROOT, INGRESS].contains(&on);
            let stands =
                disciplines.contains(&(on & MAJOR)) && (!all.contains(&on) || made.contains(&on));
            if is_root || stands {
                disciplines.insert(handle(qdisc));
                add(qdisc, pen);
            }
            !is_root && !stands
        });
        for _ in 0..DEPTH {
            let before = classes.len();
            classes.retain(|class| {
                let (number, on) = (handle(class), parent(class));
                let below = on == ROOT || on & !MAJOR == 0 || made.contains(&on);
                let ready = disciplines.contains(&(number & MAJOR)) && below;
                if ready {
                    made.insert(number);
                    add(class, pen);
                }
                !ready
            });
            if classes.len() == before {
                break;
            }
        }
    }
    // What stands on nothing is for the kernel to refuse.
    for object in qdiscs.into_iter().chain(classes) {
        add(object, pen);
    }
}

/// The classes of a discipline, in an order of making.
fn classes_of<'a>(qdisc: &Object, tree: &Parts<'a>) -> Vec<&'a Object> {
    let own = |class: &&&Object| handle(class) & MAJOR == handle(qdisc);
    let told: Vec<&Object> = tree.classes.iter().filter(own).copied().collect();
    // Hfsc begins with a class of its own.
    let before = usize::from(raw(qdisc).text(TCA_KIND) == Some("hfsc"));
    super::hashed::making(&told, before)
}

fn add(object: &Object, pen: &mut Pen<'_>) {
    let label = format!("make {}", object.label(pen.to));
    let message = replay(object.class, &object.bytes, CREATE);
    pen.send(object.class, label, message, &[]);
}
