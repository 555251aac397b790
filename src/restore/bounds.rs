//! How much an image may ask for. The container's limits bound its bytes; but a message of a hundred
//! bytes may ask a kernel for gigabytes, and a few million small objects for hours.

use super::Error;
use crate::image::Snapshot;
use crate::netlink::messages;
use crate::state::{self, classes};

/// Links; a node's largest pods have some hundreds.
const MOST_LINKS: u64 = 8192;
/// Messages of all sections: a full table of connections (262,144) and as much again.
const MOST_OBJECTS: u64 = 1 << 20;
/// Bytes that a kernel takes at once because a number says so.
const MOST_BYTES: u64 = 1 << 30;

/// Numbers by which a kernel takes memory before anything is in it: class, path, and bytes for each.
const AMOUNTS: &[(&str, &str, u64)] = &[
    ("links", "num_tx_queues", 1024),
    ("links", "num_rx_queues", 1024),
    ("ipsets", "data.hashsize", 16),
    ("nft-sets", "desc.size", 16),
];

/// # Errors
/// [`Error::TooMuch`], by the first bound that is passed.
pub fn check(snapshot: &Snapshot) -> Result<(), Error> {
    let mut objects = 0;
    let mut bytes = 0_u64;
    for (name, section) in &snapshot.sections {
        let Some(class) = state::class(name.strip_prefix("host/").unwrap_or(name)) else {
            continue;
        };
        if class.name == classes::SYSCTLS.name {
            continue;
        }
        let count = messages(section).map_while(Result::ok).count() as u64;
        if class.name == classes::LINKS.name {
            at_most("links", count, MOST_LINKS)?;
        }
        objects += count;
        let paths = || AMOUNTS.iter().filter(|(of, ..)| *of == class.name);
        if paths().next().is_none() {
            continue;
        }
        for message in messages(section).map_while(Result::ok) {
            let value = state::decode(class, message.bytes);
            for (_, path, each) in paths() {
                let number = value.number(path).unwrap_or_default();
                bytes = bytes.saturating_add(number.saturating_mul(*each));
            }
        }
    }
    at_most("objects", objects, MOST_OBJECTS)?;
    at_most("bytes of tables that a kernel makes in advance", bytes, MOST_BYTES)
}

fn at_most(what: &'static str, asked: u64, most: u64) -> Result<(), Error> {
    if asked > most { Err(Error::TooMuch { what, asked, most }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;

    use super::*;
    use crate::netlink::Builder;

    fn told(section: &str, bytes: Vec<u8>) -> Result<(), Error> {
        check(&Snapshot { sections: BTreeMap::from([(section.to_owned(), Bytes::from(bytes))]) })
    }

    fn link(index: u32, queues: u32) -> Vec<u8> {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&index.to_ne_bytes());
        let mut builder = Builder::new(classes::LINKS.tells, 0, &header);
        builder.put_u32(31, queues);
        builder.finish()
    }

    #[test]
    fn small_images_that_ask_for_much_are_refused() {
        let refused = |outcome: Result<(), Error>| match outcome {
            Err(Error::TooMuch { what, .. }) => what,
            other => panic!("{other:?}"),
        };
        told("links", link(2, 64)).unwrap();
        assert!(refused(told("links", link(2, u32::MAX))).starts_with("bytes"));
        let many = (0..=8192).flat_map(|index| link(index, 1)).collect();
        assert_eq!(refused(told("links", many)), "links");
        // Outer ends as well.
        assert!(refused(told("host/links", link(2, u32::MAX))).starts_with("bytes"));
        let mut set = Builder::new(classes::NFT_SETS.tells, 0, &[1, 0, 0, 0]);
        let description = set.begin(9);
        set.put(1, &u32::MAX.to_be_bytes()).end(description);
        assert!(refused(told("nft-sets", set.finish())).starts_with("bytes"));
        let rules = Builder::new(classes::RULES.tells, 0, &[0; 12]).finish();
        assert_eq!(refused(told("rules", rules.repeat((1 << 20) + 1))), "objects");
    }
}
