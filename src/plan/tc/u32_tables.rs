//! The hash tables of u32, with the numbers that they had.
//!
//! The kernel numbers the table that each filter begins with, and others that nobody gave a number,
//! one after another, never the same twice while any filter of the scope is there: 0x800, 0x801, and so
//! on. Keys and links name tables by these numbers. So they are made in the order of their numbers, and
//! where one is missing, a filter that takes it is made for a moment.

use std::collections::{BTreeMap, BTreeSet};

use super::super::draft::{CREATE, PLAIN};
use super::filters::add;
use super::{Pen, handle, place, raw};
use crate::netlink::Builder;
use crate::state::classes::TC_FILTERS;
use crate::state::classes::tc::{Place, TCA_CHAIN, TCA_KIND, U32_KEY};
use crate::state::{Object, replay_where, set_field};

/// The bit that the kernel's own numbers have, and where the number below it is.
const NUMBERED: u32 = 0x8000_0000;
const SHIFT: u32 = 20;
const NUMBER: u32 = 0x7ff;
/// `ETH_P_ALL`, in network byte order in the lower half of `tcm_info`.
const ALL: u16 = 3;

/// What of u32 is still to be made in a scope.
pub struct Tables<'a> {
    /// Tables that the kernel numbers, by number: is it what a filter begins with?
    numbered: BTreeMap<u32, (&'a Object, bool)>,
    /// The number that the kernel gives next.
    next: u32,
    /// Preferences that nobody uses, for filters that are there for a moment.
    spare: [u32; 2],
    /// A filter that holds number 0, which is not to stay.
    holder: Option<Place>,
    keys: Vec<&'a Object>,
}

impl<'a> Tables<'a> {
    pub fn new(filters: &[&'a Object]) -> Self {
        let mut numbered = BTreeMap::new();
        let mut begun = BTreeSet::new();
        for filter in filters.iter().filter(|filter| is_table(filter)) {
            let raw = raw(filter);
            let of = (place(filter), raw.number(TCA_CHAIN), raw.header_u32(16));
            let is_first = begun.insert(of);
            if handle(filter) & NUMBERED != 0 {
                numbered.insert(handle(filter) >> SHIFT & NUMBER, (*filter, is_first));
            }
        }
        let used: BTreeSet<u32> = filters.iter().map(|o| raw(o).header_u32(16) >> 16).collect();
        let mut spare =
            (1..=u32::from(u16::MAX)).rev().filter(|preference| !used.contains(preference));
        let mut spare = || spare.next().unwrap_or(1);
        Self { numbered, next: 0, spare: [spare(), spare()], holder: None, keys: Vec::new() }
    }

    /// Makes the tables of one filter, and all that have lower numbers.
    pub fn begin(&mut self, filter: &[&'a Object], pen: &mut Pen<'_>) {
        let first = filter.iter().find(|object| is_table(object));
        if let Some(first) = first.filter(|first| handle(first) & NUMBERED != 0) {
            self.up_to(handle(first) >> SHIFT & NUMBER, pen);
        }
        // The youngest is told first.
        let named = filter.iter().rev().filter(|o| is_table(o) && handle(o) & NUMBERED == 0);
        named.for_each(|table| add(table, pen));
        self.keys.extend(filter.iter().filter(|object| !is_table(object)));
    }

    /// Makes the tables that are left, and all keys.
    pub fn end(mut self, pen: &mut Pen<'_>) {
        if let Some((last, _)) = self.numbered.last_key_value() {
            self.up_to(*last, pen);
        }
        self.keys.iter().for_each(|key| add(key, pen));
        if let Some(place) = self.holder {
            forget(place, self.spare[0], pen);
        }
    }

    fn up_to(&mut self, number: u32, pen: &mut Pen<'_>) {
        while self.next <= number {
            match self.numbered.get(&self.next) {
                Some((table, is_first)) => make(table, *is_first, pen),
                None => self.skip(number, pen),
            }
            self.next += 1;
        }
    }

    /// Takes a number away. The first stays taken until others are there: without any filter the
    /// counting begins anew.
    fn skip(&mut self, before: u32, pen: &mut Pen<'_>) {
        let Some((table, _)) = self.numbered.get(&before) else { return };
        let place = place(table);
        let preference = self.spare[usize::from(self.next != 0)];
        let header = place.header(0, info(preference));
        let mut builder = Builder::new(TC_FILTERS.make, CREATE, &header);
        builder.put_text(TCA_KIND, "u32");
        let label = format!("use up number {:#x} of u32", NUMBERED >> SHIFT | self.next);
        pen.send(&TC_FILTERS, label, builder.finish(), &[]);
        if self.next == 0 {
            self.holder = Some(place);
        } else {
            forget(place, preference, pen);
        }
    }
}

/// The number that the kernel gave a table.
pub fn number(object: &Object) -> Option<u32> {
    let numbered = raw(object).text(TCA_KIND) == Some("u32")
        && is_table(object)
        && handle(object) & NUMBERED != 0;
    numbered.then(|| handle(object) >> SHIFT & NUMBER)
}

fn is_table(object: &Object) -> bool {
    handle(object) != 0 && handle(object) & U32_KEY == 0
}

/// `tcm_info`: preference, and all protocols.
fn info(preference: u32) -> u32 {
    preference << 16 | u32::from(ALL.to_be())
}

fn forget(place: Place, preference: u32, pen: &mut Pen<'_>) {
    let mut builder = Builder::new(TC_FILTERS.remove, PLAIN, &place.header(0, info(preference)));
    builder.put_text(TCA_KIND, "u32");
    let label = "remove what used up a number of u32".to_owned();
    pen.send(&TC_FILTERS, label, builder.finish(), &[libc::ENOENT]);
}

/// Makes a table that the kernel gives its next number. What a filter begins with comes with a
/// filter that has nothing but its kind.
fn make(table: &Object, is_first: bool, pen: &mut Pen<'_>) {
    let wanted = |id: u16| !is_first || [TCA_KIND, TCA_CHAIN].contains(&id);
    let mut message =
        replay_where(&TC_FILTERS, &table.bytes, TC_FILTERS.make, CREATE, |attr| wanted(attr.id));
    let has_room = set_field(&TC_FILTERS, &mut message, "handle", 0);
    debug_assert!(has_room, "a header has its handle");
    pen.send(&TC_FILTERS, format!("make {}", table.label(pen.to)), message, &[]);
}
