//! One instant: a tree of disciplines that is replaced in numbered versions while captures are made.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netckpt::capture::{Captured, Options, capture};
use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::state::{class, objects};

use super::netns::Ns;

const CAPTURES: u32 = 200;
const BOUND: Duration = Duration::from_secs(30);

const RTM_NEWQDISC: u16 = 36;
const RTM_DELQDISC: u16 = 37;
const RTM_NEWTCLASS: u16 = 40;
const RTM_NEWTFILTER: u16 = 44;
const ROOT: u32 = u32::MAX;

#[test]
fn a_capture_holds_one_version() {
    let ns = Ns::new("tc-versions");
    ns.ip("link add d0 type veth peer name d1\nlink set d0 addrgenmode none\nlink set d0 up");
    let index: u32 = ns.run(&["cat", "/sys/class/net/d0/ifindex"]).trim().parse().unwrap();
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let (captures, read_again) = std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(|| write(index, &stop)));
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
        one_version(&captured);
        captures += 1;
        read_again += u32::from(!captured.evidence.read_again.is_empty());
    }
    (captures, read_again)
}

/// A version is in the number of the discipline, and from it in those of its class and filter. What
/// comes later may be missing.
fn one_version(captured: &Captured) {
    let versions = |name: &str, path: &str| -> Vec<u64> {
        let all = objects(class(name).unwrap(), &captured.snapshot.sections[name]).unwrap();
        all.iter().map(|object| object.value().number(path).unwrap() >> 16).collect()
    };
    let qdiscs = versions("qdiscs", "handle");
    let classes = versions("tc-classes", "handle");
    let filters = versions("tc-filters", "parent");
    assert!(qdiscs.len() <= 1, "{qdiscs:?}");
    for later in classes.iter().chain(&filters) {
        assert_eq!(Some(later), qdiscs.first(), "{qdiscs:?} {classes:?} {filters:?}");
    }
    assert!(filters.len() <= classes.len(), "a filter without the class that came before it");
}

/// Makes versions until told to stop, with pauses in which a capture finds time.
fn write(link: u32, stop: &AtomicBool) {
    let mut socket = Socket::open(Protocol::Route).expect("a socket");
    let mut version = 0_u32;
    while !stop.load(Ordering::Relaxed) {
        version = version % 0x7000 + 1;
        for message in messages(link, version << 16) {
            socket.request(message).expect("a version is made");
        }
        std::thread::sleep(Duration::from_micros(u64::from(version % 7) * 700));
    }
}

fn messages(link: u32, qdisc: u32) -> Vec<Vec<u8>> {
    let message = |kind, handle: u32, parent: u32, info: u32, name: &str| {
        let numbers = [0, link, handle, parent, info].map(u32::to_ne_bytes).concat();
        let create = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
        let flags = if kind == RTM_DELQDISC { 0 } else { create };
        let mut builder = Builder::new(kind, flags, &numbers);
        builder.put_text(1, name);
        builder
    };
    let mut root = message(RTM_NEWQDISC, qdisc, ROOT, 0, "htb");
    let options = root.begin(2);
    root.put(2, &[3_u32, 10, 0, 0, 0].map(u32::to_ne_bytes).concat());
    root.end(options);
    let mut class = message(RTM_NEWTCLASS, qdisc | 1, ROOT, 0, "htb");
    let options = class.begin(2);
    // Two rates of a megabyte a second over Ethernet, then buffers, quantum, level and preference.
    let rate = [0x100, 0, 1_000_000_u32];
    let parms = [rate, rate].concat();
    let parms: Vec<u32> = parms.into_iter().chain([1000, 1000, 3000, 0, 0]).collect();
    class.put(1, &parms.iter().flat_map(|number| number.to_ne_bytes()).collect::<Vec<_>>());
    class.end(options);
    let info = 5 << 16 | u32::from(3_u16.to_be());
    let mut filter = message(RTM_NEWTFILTER, 0, qdisc, info, "bpf");
    let options = filter.begin(2);
    filter.put(4, &1_u16.to_ne_bytes()).put(5, &[6, 0, 0, 0, 1, 0, 0, 0]);
    filter.put_u32(3, qdisc | 1);
    filter.end(options);
    let made = [root, class, filter].map(Builder::finish);
    let gone = message(RTM_DELQDISC, qdisc, ROOT, 0, "htb").finish();
    made.into_iter().chain([gone]).collect()
}
