//! One instant: a table that is replaced in numbered versions while captures are made. Each version
//! has its number in the names of a chain, a set, an object and in an element.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netckpt::capture::{Captured, Options, capture};
use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::state::{class, objects};

use super::netns::Ns;

const CAPTURES: u32 = 300;
const BOUND: Duration = Duration::from_secs(30);

#[test]
fn a_capture_holds_one_generation() {
    let ns = Ns::new("generations");
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let (captures, read_again) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(|| write(&stop)));
        let seen = std::panic::catch_unwind(|| look(&namespace));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends").expect("the writer runs inside");
        seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    println!("{captures} captures, {read_again} read again");
    assert!(captures > 10, "{captures} captures in {BOUND:?}");
    assert!(read_again > 0, "the writer never came between: nothing was tried");
}

fn look(namespace: &netckpt::netns::Namespace) -> (u32, u32) {
    let start = Instant::now();
    let (mut captures, mut read_again) = (0, 0);
    while captures < CAPTURES && start.elapsed() < BOUND {
        let captured = capture(namespace, &Options::default()).expect("a capture in time");
        let versions = versions(&captured);
        assert!(versions.len() <= 1, "two versions in one image: {versions:?}");
        captures += 1;
        read_again += u32::from(!captured.evidence.read_again.is_empty());
    }
    (captures, read_again)
}

fn versions(captured: &Captured) -> BTreeSet<String> {
    let names = [
        ("nft-chains", "name"),
        ("nft-sets", "name"),
        ("nft-objects", "name"),
        ("nft-rules", "chain"),
        ("nft-set-elements", "set"),
    ];
    let mut found = BTreeSet::new();
    for (name, path) in names {
        let section = &captured.snapshot.sections[name];
        let all = objects(class(name).unwrap(), section).unwrap();
        // Each version is whole: where there is one there is everything of it.
        found.insert(all.first().map_or_else(String::new, |first| {
            assert_eq!(all.len(), 1, "{name}");
            first.value().text(path).unwrap_or_default().to_owned()
        }));
    }
    found
}

/// Makes versions until told to stop, with pauses in which a capture finds time.
fn write(stop: &AtomicBool) {
    let mut socket = Socket::open(Protocol::Netfilter).expect("a socket");
    let mut version = 0;
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let refused = socket
            .transaction(transaction(version).iter().map(Vec::as_slice))
            .expect("a transaction");
        assert!(refused.is_empty(), "{refused:?}");
        std::thread::sleep(Duration::from_micros(u64::from(version % 7) * 500));
    }
}

fn transaction(version: u32) -> Vec<Vec<u8>> {
    const NFTABLES: u16 = 10 << 8;
    let name = format!("v{version}");
    let message = |kind: u16| {
        let flags = libc::NLM_F_CREATE as u16;
        let mut message = Builder::new(NFTABLES | kind, flags, &[2, 0, 0, 0]);
        message.put_text(1, "t");
        message
    };
    let batch = |kind| Builder::new(kind, 0, &[0, 0, 0, 10]).finish();
    let mut all = vec![batch(0x10), message(0).finish(), message(2).finish(), message(0).finish()];
    let mut chain = message(3);
    chain.put_text(3, &name);
    let mut set = message(9);
    set.put_text(2, &name).put(4, &7_u32.to_be_bytes()).put(5, &4_u32.to_be_bytes());
    set.put(10, &1_u32.to_be_bytes());
    let mut counter = message(18);
    counter.put_text(2, &name).put(3, &1_u32.to_be_bytes()).put(4, &[]);
    let mut element = message(12);
    element.put_text(2, &name);
    let list = element.begin(3 | Builder::NESTED);
    let one = element.begin(1 | Builder::NESTED);
    let key = element.begin(1 | Builder::NESTED);
    element.put(1, &version.to_be_bytes());
    element.end(key).end(one).end(list);
    let mut rule = message(6);
    rule.put_text(2, &name);
    all.extend([chain, set, counter, element, rule].map(Builder::finish));
    all.push(batch(0x11));
    all
}
