//! Tables taken apart and put together, on recorded sections and on whatever comes.

use proptest::prelude::*;

use super::apart::apart;
use super::family::{ARP, Family, IPV4, IPV6};
use super::kernel::Table;
use super::together::{Block, Unfit, empty, is_empty, together};
use crate::netlink::messages;
use crate::state::{Object, objects};

const RECORDED: &[(&Family, &[u8])] = &[
    (&IPV4, include_bytes!("../../../../tests/recorded/iptables.bin")),
    (&IPV6, include_bytes!("../../../../tests/recorded/ip6tables.bin")),
    (&ARP, include_bytes!("../../../../tests/recorded/arptables.bin")),
];

/// The objects of each table of a section.
fn tables(family: &Family, section: &[u8]) -> Vec<Vec<Object>> {
    let all = objects(family.class(), section).unwrap_or_default();
    let mut tables: Vec<Vec<Object>> = Vec::new();
    for object in all {
        let name = super::table_of(&object);
        match tables.last_mut().filter(|table| super::table_of(&table[0]) == name) {
            Some(table) => table.push(object),
            None => tables.push(vec![object]),
        }
    }
    tables
}

fn block(family: &'static Family, table: &[Object]) -> Result<Block, Unfit> {
    together(family, &table.iter().collect::<Vec<_>>())
}

fn as_told(block: &Block) -> Table {
    let Block { hooks, first, policy, count, entries, .. } = block.clone();
    Table { hooks, first, policy, count, entries }
}

#[test]
fn what_is_put_together_comes_apart_the_same() {
    for (family, section) in RECORDED {
        for table in tables(family, section) {
            let made = block(family, &table).unwrap();
            assert_eq!(made.counters.len(), made.count as usize * 16);
            let mut told = Vec::new();
            let name = super::table_of(&table[0]);
            apart(family, &name, &as_told(&made), &mut told);
            // Counters are told to the kernel beside the block.
            let again = &tables(family, &told)[0];
            assert_eq!(block(family, again).unwrap().entries, made.entries);
            assert_eq!(again.len(), table.len());
            assert!(!is_empty(&table.iter().collect::<Vec<_>>()));
            let none = empty(family, &table.iter().collect::<Vec<_>>()).unwrap();
            assert_eq!(none.count, 1 + none.hooks.count_ones());
        }
    }
}

/// Offsets in a block lead to entries of it.
fn is_sound(family: &Family, block: &Block) -> bool {
    let mut starts = Vec::new();
    let mut at = 0;
    let number = |at: usize| {
        let bytes = block.entries.get(at..at + 2).and_then(|two| two.first_chunk());
        bytes.map_or(0, |two| usize::from(u16::from_ne_bytes(*two)))
    };
    while at < block.entries.len() {
        starts.push(at as u32);
        let (target, next) =
            (number(at + family.target_offset), number(at + family.target_offset + 2));
        if target < family.entry || next <= target || at + next > block.entries.len() {
            return false;
        }
        at += next;
    }
    let of_hooks = block.first.iter().chain(&block.policy);
    at == block.entries.len()
        && starts.len() == block.count as usize
        && of_hooks.clone().all(|offset| starts.contains(offset))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_message_makes_an_entry_that_reaches_out(
        which in 0..RECORDED.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        gone in any::<prop::sample::Index>(),
        drop in any::<bool>(),
    ) {
        let (family, section) = RECORDED[which];
        let mut bytes = section.to_vec();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        for mut table in tables(family, &bytes) {
            if drop {
                table.remove(gone.index(table.len()));
            }
            let all: Vec<_> = table.iter().collect();
            if let Ok(block) = together(family, &all) {
                prop_assert!(is_sound(family, &block));
                prop_assert!(block.replace(family, "filter").len() >= family.replace());
            }
            let _ = (empty(family, &all), is_empty(&all));
        }
    }

    #[test]
    fn no_block_is_read_past_its_end(
        which in 0..RECORDED.len(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let (family, section) = RECORDED[which];
        for table in tables(family, section) {
            let mut block = block(family, &table).unwrap();
            for (at, byte) in &changes {
                let at = at.index(block.entries.len());
                block.entries[at] = *byte;
            }
            let whole = as_told(&block);
            block.entries.truncate(cut.index(block.entries.len()));
            for table in [whole, as_told(&block)] {
                let mut told = Vec::new();
                apart(family, "filter", &table, &mut told);
                prop_assert!(messages(&told).all(|message| message.is_ok()));
                prop_assert!(!told.is_empty());
            }
        }
    }
}
