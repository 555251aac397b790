//! One instant: a capture never shows together what was never there together.
//!
//! A writer changes addresses, routes and rules of IPv4 and IPv6 in numbered steps, as fast as the
//! kernel takes them, while a thousand captures are made. A step is eight messages, each of which
//! the kernel applies as a whole, so the namespace goes through a known sequence of states; every
//! image must be one of them, wherever in a step it falls. An older address beside a newer route is
//! two versions in one image. Every second capture is one that stood by while the writer wrote.
//!
//! With the feature `torn` captures read everything once only, and the same test has to find torn
//! images: `cargo test --features torn --test instant`.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use netckpt::capture::{Captured, Options, Standing, capture};
use netckpt::netlink::{Builder, Protocol, Socket, attributes, messages};

mod netns;

const CAPTURES: u32 = 1_000;
/// Torn images after which it is known that the test can find some.
const ENOUGH: usize = 10;
/// The test takes no longer, whatever the machine does beside it. Alone on two processors it takes
/// less than twenty seconds.
const BOUND: Duration = Duration::from_secs(180);

const RTM_NEWADDR: u16 = 20;
const RTM_NEWROUTE: u16 = 24;
const RTM_NEWRULE: u16 = 32;
const RTM_DELRULE: u16 = 33;
const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;

/// Attributes that carry the version. `IFA_RT_PRIORITY`; `RTA_METRICS` with `RTAX_WINDOW`; `FRA_FWMARK`.
const IFA_RT_PRIORITY: u16 = 9;
const RTA_METRICS: u16 = 8;
const RTAX_WINDOW: u16 = 3;
const FRA_FWMARK: u16 = 10;

const ADDRESS: [&[u8]; 2] = [&Ipv4Addr::new(10, 9, 9, 9).octets(), &V6.octets()];
const ROUTE: [&[u8]; 2] = [&Ipv4Addr::new(10, 1, 1, 1).octets(), &V6_ROUTE.octets()];
const V6: Ipv6Addr = Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, 9);
const V6_ROUTE: Ipv6Addr = Ipv6Addr::new(0xfd01, 0, 0, 0, 0, 0, 0, 1);
const FAMILY: [u8; 2] = [libc::AF_INET as u8, libc::AF_INET6 as u8];
/// lo.
const LINK: u32 = 1;

#[test]
fn a_thousand_captures_under_a_writer_are_each_of_one_instant() {
    let ns = netns::Ns::new("instant");
    ns.ip("link set lo up");
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let steps = AtomicU32::new(0);
    let seen = std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(|| write(&stop, &steps)));
        while steps.load(Ordering::Relaxed) == 0 && !writer.is_finished() {
            std::thread::yield_now();
        }
        let seen = std::panic::catch_unwind(|| look(&namespace));
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends").expect("the writer runs inside");
        seen.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    println!(
        "{} captures in {:.1} s while {} steps were made: {} torn, {} read again ({} times the most), \
         {} dumps interrupted",
        seen.captures,
        seen.time.as_secs_f64(),
        steps.load(Ordering::Relaxed),
        seen.torn.len(),
        seen.read_again,
        seen.passes.saturating_sub(1),
        seen.interrupted,
    );
    if cfg!(feature = "torn") {
        assert!(!seen.torn.is_empty(), "captures without a second look were never torn");
    } else {
        assert_eq!(seen.captures, CAPTURES, "in {BOUND:?}");
        assert!(seen.read_again > 0, "the writer never came between: nothing was tried");
        assert!(seen.torn.is_empty(), "two versions in one image: {:#?}", seen.torn);
    }
}

#[derive(Default)]
struct Seen {
    captures: u32,
    torn: Vec<Versions>,
    read_again: u32,
    passes: u32,
    interrupted: u32,
    time: Duration,
}

fn look(namespace: &netckpt::netns::Namespace) -> Seen {
    let start = Instant::now();
    let mut seen = Seen::default();
    // The writer never rests. How long one capture may wait for a calm moment on a machine that has
    // other things to do is not what is looked at here.
    let options = Options { patience: BOUND, ..Options::default() };
    let (mut standing, _) =
        Standing::open(namespace, None, &options).expect("it stands by in time");
    while seen.captures < CAPTURES && seen.torn.len() < ENOUGH && start.elapsed() < BOUND {
        let captured = match seen.captures % 2 {
            0 => capture(namespace, &options).expect("a capture in time"),
            _ => standing.update().expect("an update in time").captured,
        };
        let versions = Versions::of(&captured);
        if !versions.were_together() {
            seen.torn.push(versions);
        }
        seen.captures += 1;
        seen.read_again += u32::from(!captured.evidence.read_again.is_empty());
        seen.passes = seen.passes.max(captured.evidence.passes);
        seen.interrupted += captured.evidence.interrupted;
    }
    seen.time = start.elapsed();
    seen
}

/// Makes steps until told to stop.
fn write(stop: &AtomicBool, steps: &AtomicU32) {
    let mut socket = Socket::open(Protocol::Route).expect("a socket");
    let mut version = 1;
    for message in (0..2).flat_map(|f| [address(f, version), route(f, version), rule(f, version)]) {
        socket.request(message).expect("the first step");
    }
    while !stop.load(Ordering::Relaxed) {
        version += 1;
        let step: Vec<_> = (0..2).flat_map(|family| step(family, version)).collect();
        let refused = socket.batch(step.iter().map(Vec::as_slice)).expect("a step");
        assert_eq!(refused, [], "step {version}");
        steps.fetch_add(1, Ordering::Relaxed);
    }
}

/// The order of these is what [`Versions::were_together`] knows.
fn step(family: usize, version: u32) -> [Vec<u8>; 4] {
    let old = {
        let mut message = rule(family, version - 1);
        message[4..6].copy_from_slice(&RTM_DELRULE.to_ne_bytes());
        message[6..8].fill(0);
        message
    };
    [address(family, version), route(family, version), rule(family, version), old]
}

fn address(family: usize, version: u32) -> Vec<u8> {
    // IFA_F_NODAD and IFA_F_PERMANENT; IFA_F_NOPREFIXROUTE needs the long form below.
    let bits = ADDRESS[family].len() as u8 * 8;
    let mut message = Builder::new(RTM_NEWADDR, REPLACE, &[FAMILY[family], bits, 0, 0, 1, 0, 0, 0]);
    message.put(1, ADDRESS[family]).put(2, ADDRESS[family]);
    message.put_u32(8, 0x282).put_u32(IFA_RT_PRIORITY, version);
    message.finish()
}

fn route(family: usize, version: u32) -> Vec<u8> {
    // Table main, protocol static, scope link (IPv6 has none), unicast.
    let (bits, scope) = (ROUTE[family].len() as u8 * 8, [253, 0][family]);
    let header = [FAMILY[family], bits, 0, 0, 254, 4, scope, 1, 0, 0, 0, 0];
    let mut message = Builder::new(RTM_NEWROUTE, REPLACE, &header);
    message.put(1, ROUTE[family]).put_u32(4, LINK).put_u32(6, 77);
    let metrics = message.begin(RTA_METRICS | Builder::NESTED);
    message.put_u32(RTAX_WINDOW, version);
    message.end(metrics);
    message.finish()
}

fn rule(family: usize, version: u32) -> Vec<u8> {
    // Table 100, to look up; priority 1000.
    let header = [FAMILY[family], 0, 0, 0, 100, 0, 0, 1, 0, 0, 0, 0];
    let mut message = Builder::new(RTM_NEWRULE, CREATE, &header);
    message.put_u32(6, 1_000).put_u32(FRA_FWMARK, version);
    message.finish()
}

/// The versions in an image, for IPv4 and IPv6.
#[derive(Debug, Default, PartialEq, Eq)]
struct Versions {
    address: [u32; 2],
    route: [u32; 2],
    rules: [Vec<u32>; 2],
}

impl Versions {
    fn of(captured: &Captured) -> Self {
        let mut found = Self::default();
        for (family, body) in bodies(captured, "addresses") {
            if value(&body[8..], 1) == Some(ADDRESS[family]) {
                found.address[family] = number(value(&body[8..], IFA_RT_PRIORITY));
            }
        }
        for (family, body) in bodies(captured, "routes") {
            // The address has a route of its own in table local; ours is in main.
            if value(&body[12..], 1) == Some(ROUTE[family]) && body[4] == 254 {
                let metrics = value(&body[12..], RTA_METRICS).unwrap_or_default();
                found.route[family] = number(value(metrics, RTAX_WINDOW));
            }
        }
        for (family, body) in bodies(captured, "rules") {
            found.rules[family].extend(value(&body[12..], FRA_FWMARK).map(|v| number(Some(v))));
        }
        for rules in &mut found.rules {
            rules.sort_unstable();
        }
        found
    }

    /// Whether the writer went through this state: the one after each number of messages of a step.
    fn were_together(&self) -> bool {
        let version = self.address[0];
        let state = |done: usize| {
            let at = |message: usize| if done > message { version } else { version - 1 };
            let rules = |made: usize, removed: usize| {
                let old = (done <= removed).then_some(version - 1);
                old.into_iter().chain((done > made).then_some(version)).collect()
            };
            Self {
                address: [at(0), at(4)],
                route: [at(1), at(5)],
                rules: [rules(2, 3), rules(6, 7)],
            }
        };
        version > 1 && (1..=8).any(|done| state(done) == *self) || version == 1
    }
}

#[test]
fn the_check_knows_what_was_together() {
    let versions = |address, route, rules: [&[u32]; 2]| Versions {
        address,
        route,
        rules: rules.map(<[u32]>::to_vec),
    };
    assert!(versions([7, 7], [7, 7], [&[7], &[7]]).were_together());
    assert!(versions([8, 7], [8, 7], [&[7, 8], &[7]]).were_together());
    assert!(!versions([7, 7], [8, 7], [&[7], &[7]]).were_together(), "the address comes first");
    assert!(!versions([8, 7], [7, 8], [&[7], &[7]]).were_together());
    assert!(!versions([8, 8], [8, 8], [&[8], &[]]).were_together(), "one rule is always there");
    assert!(!versions([9, 7], [9, 7], [&[9], &[7]]).were_together());
}

/// Changes that the kernel tells no one of: proxied neighbours, parameters of neighbour tables, and
/// IPv4 routes that go with their nexthop. What changes and changes back between two readings is not
/// seen: the writer takes longer for that than the readings are apart.
#[test]
fn what_is_never_told_is_of_the_same_instant() {
    let ns = netns::Ns::new("untold");
    ns.ip("link set lo up");
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    let torn: Vec<[bool; 4]> = std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(|| write_untold(&stop)));
        let look = || (0..300).map(|_| capture(&namespace, &Options::default()).expect("in time"));
        let torn = std::panic::catch_unwind(|| {
            look().map(|captured| untold(&captured)).filter(|seen| !UNTOLD.contains(seen)).collect()
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().expect("the writer ends").expect("the writer runs inside");
        torn.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    });
    if !cfg!(feature = "torn") {
        assert!(torn.is_empty(), "never there together: {torn:?}");
    }
}

/// What there is after each message of [`write_untold`]: proxy, parameter, nexthop, its route.
const UNTOLD: [[bool; 4]; 6] = [
    [false, false, false, false],
    [true, false, false, false],
    [true, true, false, false],
    [true, true, true, false],
    [true, true, true, true],
    [false, true, false, false],
];

fn write_untold(stop: &AtomicBool) {
    const MADE: u16 = CREATE;
    let proxy = |kind, flags| {
        let mut message = Builder::new(kind, flags, &[2, 0, 0, 0, 1, 0, 0, 0, 0, 0, 8, 0]);
        message.put(1, ADDRESS[0]);
        message.finish()
    };
    let parameter = |retrans: u64| {
        let mut message = Builder::new(67, 0, &[2, 0, 0, 0]);
        message.put_text(1, "arp_cache");
        let parameters = message.begin(6 | Builder::NESTED);
        message.put_u32(1, LINK).put(5, &retrans.to_ne_bytes());
        message.end(parameters);
        message.finish()
    };
    let mut nexthop = Builder::new(104, MADE, &[2, 0, 0, 0, 0, 0, 0, 0]);
    nexthop.put_u32(1, 5).put_u32(5, LINK);
    let mut no_nexthop = Builder::new(105, 0, &[0; 8]);
    no_nexthop.put_u32(1, 5);
    let mut route = Builder::new(RTM_NEWROUTE, MADE, &[2, 32, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
    route.put(1, ROUTE[0]).put_u32(30, 5);
    let steps = [
        proxy(28, MADE),
        parameter(RETRANS),
        nexthop.finish(),
        route.finish(),
        no_nexthop.finish(),
        proxy(29, 0),
        parameter(1_000),
    ];
    let mut socket = Socket::open(Protocol::Route).expect("a socket");
    while !stop.load(Ordering::Relaxed) {
        for step in &steps {
            socket.request(step.clone()).expect("a step");
            std::thread::sleep(Duration::from_micros(700));
        }
    }
}

/// Milliseconds, other than the kernel's own.
const RETRANS: u64 = 1_500;

fn untold(captured: &Captured) -> [bool; 4] {
    let has = |class, header: usize, id, what: &[u8]| {
        bodies(captured, class).any(|(_, body)| value(&body[header..], id) == Some(what))
    };
    let parameter = bodies(captured, "neighbour-tables").any(|(_, body)| {
        let parameters = value(&body[4..], 6).unwrap_or_default();
        value(parameters, 5) == Some(&RETRANS.to_ne_bytes())
    });
    let nexthop = messages(&captured.snapshot.sections["nexthops"]).count() > 0;
    [
        has("proxy-neighbours", 12, 1, ADDRESS[0]),
        parameter,
        nexthop,
        has("routes", 12, 30, &5_u32.to_ne_bytes()),
    ]
}

/// Family (0 for IPv4, 1 for IPv6) and body of each message of a section.
fn bodies<'a>(
    captured: &'a Captured,
    class: &str,
) -> impl Iterator<Item = (usize, &'a [u8])> + use<'a> {
    messages(&captured.snapshot.sections[class]).filter_map(|message| {
        let body = message.expect("a well-formed section").body;
        Some((FAMILY.iter().position(|family| *family == body[0])?, body))
    })
}

fn value(bytes: &[u8], id: u16) -> Option<&[u8]> {
    attributes(bytes).map_while(Result::ok).find(|found| found.id == id).map(|found| found.payload)
}

fn number(payload: Option<&[u8]>) -> u32 {
    payload.and_then(|payload| payload.first_chunk()).map_or(0, |four| u32::from_ne_bytes(*four))
}
