//! The order of classes.
//!
//! The kernel keeps the classes of a discipline in a hash table and tells them in its order. A new class
//! comes first in its bucket; the table doubles when it is three quarters full, and what stays
//! together is turned round by that (`qdisc_class_hash_grow` of the kernel's packet scheduler). So an
//! order of making can be found from the order of telling: from the last made back to the first.

use std::collections::{BTreeMap, VecDeque};

use super::{handle, parent};
use crate::state::Object;

/// Buckets of a table that is new.
const BUCKETS: usize = 4;

/// Classes of one discipline, sorted from the order in which they are told to one in which they can
/// be made so that they are told the same. `before` are in the table from the start.
pub fn making<'a>(told: &[&'a Object], before: usize) -> Vec<&'a Object> {
    let total = told.len() + before;
    let mask = sizes(total).last().unwrap_or(BUCKETS) - 1;
    let mut buckets: BTreeMap<usize, VecDeque<&'a Object>> = BTreeMap::new();
    let mut below: BTreeMap<u32, usize> = BTreeMap::new();
    for class in told {
        buckets.entry(bucket(handle(class), mask)).or_default().push_back(class);
        *below.entry(parent(class)).or_default() += 1;
    }
    let mut order = Vec::with_capacity(told.len());
    for position in (before + 1..=total).rev() {
        // Of those made by now none is first in a bucket that is turned round an odd number of times.
        let turned = sizes(total).count() - sizes(position - 1).count();
        let from_front = turned.is_multiple_of(2);
        let Some(class) = last_made(&mut buckets, &below, from_front) else { break };
        if let Some(left) = below.get_mut(&parent(class)) {
            *left -= 1;
        }
        order.push(class);
    }
    order.reverse();
    order
}

/// Takes one that can have been made last: nothing that is left stands on it, and it is where the
/// last one is in its bucket. Where there is no such, one on which nothing stands.
fn last_made<'a>(
    buckets: &mut BTreeMap<usize, VecDeque<&'a Object>>,
    below: &BTreeMap<u32, usize>,
    from_front: bool,
) -> Option<&'a Object> {
    let is_free = |class: &Object| below.get(&handle(class)).is_none_or(|left| *left == 0);
    for bucket in buckets.values_mut() {
        let end = if from_front { bucket.front() } else { bucket.back() };
        if end.is_some_and(|class| is_free(class)) {
            return if from_front { bucket.pop_front() } else { bucket.pop_back() };
        }
    }
    for bucket in buckets.values_mut() {
        if let Some(at) = bucket.iter().position(|class| is_free(class)) {
            return bucket.remove(at);
        }
    }
    // Classes that stand on each other in a circle are for the kernel to refuse.
    buckets.values_mut().find_map(VecDeque::pop_front)
}

/// Sizes that a table of so many classes has had, after the first.
fn sizes(classes: usize) -> impl Iterator<Item = usize> {
    let grown = move |size: &usize| classes * 4 > *size * 3;
    std::iter::successors(Some(BUCKETS), |size| Some(size * 2))
        .take_while(move |size| grown(size))
        .map(|size| size * 2)
}

fn bucket(id: u32, mask: usize) -> usize {
    let id = id ^ id >> 8;
    let id = id ^ id >> 4;
    id as usize & mask
}
