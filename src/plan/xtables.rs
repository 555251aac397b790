//! Legacy tables: each is replaced as a whole, which the kernel takes or leaves.
//!
//! A table that was used once stays for as long as its namespace. So one that the image has not, and that
//! lets everything pass, is no difference ([`idle`]), and one that does not is emptied.

use std::collections::{BTreeMap, BTreeSet};

use super::difference::delta;
use super::draft::{Draft, Objects, Sides};
use super::{Action, Error, Stage};
use crate::state::Object;
use crate::state::classes::xtables::{
    ARP, Block, Family, IPV4, IPV6, Unfit, empty, is_empty, looks_into_sets, table_of, together,
};
use crate::state::table::Class;

const FAMILIES: [&Family; 3] = [&IPV4, &IPV6, &ARP];

type Tables<'a> = BTreeMap<String, Vec<&'a Object>>;

fn tables<'a>(family: &Family, side: &'a Objects) -> Tables<'a> {
    let mut tables = Tables::new();
    for object in side.of(family.class()) {
        tables.entry(table_of(object)).or_default().push(object);
    }
    tables
}

/// Plans the tables of all families.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) -> Result<(), Error> {
    for family in FAMILIES {
        // Mostly there are none.
        if sides.from.of(family.class()).is_empty() && sides.to.of(family.class()).is_empty() {
            continue;
        }
        let (from, to) = (tables(family, sides.from), tables(family, sides.to));
        let names: BTreeSet<&String> = from.keys().chain(to.keys()).collect();
        for name in names {
            let table = Table {
                family,
                name,
                from: from.get(name).map(Vec::as_slice),
                to: to.get(name).map(Vec::as_slice),
            };
            table.plan(draft)?;
        }
    }
    Ok(())
}

struct Table<'a> {
    family: &'static Family,
    name: &'a str,
    from: Option<&'a [&'a Object]>,
    to: Option<&'a [&'a Object]>,
}

impl Table<'_> {
    fn plan(&self, draft: &mut Draft) -> Result<(), Error> {
        let old = self.from.filter(|from| !is_empty(from));
        let cleared = draft.sets_again
            && old.is_some_and(|old| old.iter().any(|rule| looks_into_sets(&rule.value())));
        if let Some(old) = old.filter(|_| cleared) {
            self.replace(Stage::ClearRules, "clear", &self.fit(empty(self.family, old))?, draft);
        }
        match (old, self.to) {
            (Some(old), None) if !cleared => {
                let block = self.fit(empty(self.family, old))?;
                self.replace(Stage::Xtables, "empty", &block, draft);
            }
            (_, Some(to)) if cleared || !self.is_same(to) => {
                let block = self.fit(together(self.family, to))?;
                self.replace(Stage::Xtables, "replace", &block, draft);
            }
            _ => {}
        }
        Ok(())
    }

    fn is_same(&self, to: &[&Object]) -> bool {
        let owned = |side: &[&Object]| -> Vec<Object> { side.iter().copied().cloned().collect() };
        let Some(from) = self.from else { return false };
        let keys = |side: &[&Object]| side.iter().map(|o| o.key.clone()).collect::<Vec<_>>();
        // The order of chains is the order of keys.
        keys(from) == keys(to) && delta(&owned(from), &owned(to), |_| true).changed.is_empty()
    }

    fn fit(&self, block: Result<Block, Unfit>) -> Result<Block, Error> {
        let (class, table) = (self.family.class, self.name.to_owned());
        block.map_err(|why| Error::Table { class, table, why })
    }

    fn replace(&self, stage: Stage, verb: &str, block: &Block, draft: &mut Draft) {
        let action = Action::Table {
            family: self.family,
            name: self.name.to_owned(),
            replace: block.replace(self.family, self.name),
            counters: block.counters.clone(),
        };
        draft.act(stage, self.family.class(), format!("{verb} table {}", self.name), action);
    }
}

/// Names of the tables of a class that let everything pass, which the namespace can't be rid of.
pub fn idle(class: &Class, side: &Objects) -> BTreeSet<String> {
    let family = FAMILIES.into_iter().find(|family| family.class == class.name);
    let all = family.map(|family| tables(family, side)).unwrap_or_default();
    all.into_iter().filter(|(_, table)| is_empty(table)).map(|(name, _)| name).collect()
}

/// The table that an object of such a class is of.
pub fn table(object: &Object) -> String {
    table_of(object)
}
