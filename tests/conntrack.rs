//! Connection tracking: entries made by real flows and by `conntrack -I` come back in another
//! namespace as `conntrack -L` tells them, and what is translated goes on being translated.

mod netns;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use netckpt::capture::{self, Captured, Options, capture};
use netckpt::image::{Image, Origin, Unsupported};
use netckpt::netlink::{Builder, Protocol, Socket};
use netckpt::restore::{self, Report};
use netckpt::state::classes::{ADDRESSES, CONNTRACK, CONNTRACK_EXPECTATIONS};
use netckpt::state::table::Class;
use netckpt::state::{Object, Reader, objects};
use netns::{Ns, Pair};

/// Hooks without rules: what is translated is so because its entry says it.
const HOOKS: &str = "nft add table inet hooks
    nft add chain inet hooks pre '{ type nat hook prerouting priority dstnat; }'
    nft add chain inet hooks label '{ type filter hook output priority 0; }'
    nft add rule inet hooks label ct label 7 counter";

fn captured(ns: &Ns) -> Captured {
    capture(&ns.open(), &Options::default()).expect("a capture")
}

fn image(pair: &Pair) -> Image {
    let options = Options::default();
    let captured = capture::network(&pair.pod.open(), Some(&pair.node.open()), &options);
    captured.expect("a capture").into_image(Origin::default())
}

/// Restores, and verifies by our own comparison.
#[track_caller]
fn restored(target: &Pair, image: &Image) -> Report {
    let options =
        restore::Options { on_unsupported: Unsupported::Report, ..restore::Options::default() };
    let report = restore::restore(&target.pod.open(), Some(&target.node.open()), image, &options)
        .unwrap_or_else(|error| panic!("{error}"));
    let of_flows: Vec<_> = report
        .differences
        .iter()
        .filter(|finding| finding.class.starts_with("conntrack"))
        .map(ToString::to_string)
        .collect();
    assert!(of_flows.is_empty(), "{of_flows:#?}");
    report
}

/// What `conntrack` tells of a table, without what is of the moment.
fn told(ns: &Ns, table: &str) -> Vec<String> {
    let text = ns.run(&["conntrack", "-L", table, "-o", "extended,labels"]);
    let mut lines: Vec<_> = text
        .lines()
        .map(|line| {
            let words = line.split_whitespace().enumerate().filter(|(at, word)| {
                let of_the_moment = ["use=", "id=", "packets=", "bytes=", "secctx="];
                let timeout = word.bytes().all(|byte| byte.is_ascii_digit())
                    && *at == if table == "expect" { 0 } else { 4 };
                !timeout && !of_the_moment.iter().any(|start| word.starts_with(start))
            });
            words.map(|(_, word)| word).collect::<Vec<_>>().join(" ")
        })
        .collect();
    lines.sort();
    lines
}

fn entries(captured: &Captured, class: &'static Class) -> Vec<Object> {
    objects(class, &captured.snapshot.sections[class.name]).expect("a section")
}

/// A TCP connection from the node to the pod, and the listener's end.
fn connection(pair: &Pair, asked: &str, listens: &str) -> (TcpListener, TcpStream, TcpStream) {
    let listener = pair.pod.open().run(|| TcpListener::bind(listens)).unwrap().unwrap();
    let client = pair.node.open().run(|| TcpStream::connect(asked)).unwrap().unwrap();
    let (server, _) = listener.accept().unwrap();
    (listener, client, server)
}

fn exchange(mut from: &TcpStream, mut to: &TcpStream, what: &[u8]) {
    from.write_all(what).unwrap();
    let mut got = vec![0; what.len()];
    to.read_exact(&mut got).unwrap();
    assert_eq!(got, what);
}

#[test]
fn entries_of_every_kind_come_back() {
    let source = Pair::wired("kinds");
    source.pod.sh(HOOKS);
    const TCP: &str = "conntrack -I -p tcp --state ESTABLISHED -u ASSURED,SEEN_REPLY -t 3000";
    source.pod.sh(&format!(
        "{TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1001 --dport 80
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1002 --dport 80 -m 77
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1003 --dport 80 -w 5
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1003 --dport 80 -w 6 -m 6
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1004 --dport 80 --orig-zone 7
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1005 --dport 80 --src-nat 198.51.100.1:2005
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1006 --dport 80 --src-nat 198.51.100.1
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1007 --dport 80 --dst-nat 127.0.0.1:15001
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1008 --dport 80 --dst-nat 198.51.100.2 --src-nat 198.51.100.3:99
         {TCP} -s fd61::2 -d 2001:db8::1 --sport 1009 --dport 80
         {TCP} -s fd61::2 -d 2001:db8::1 --sport 1010 --dport 80 --dst-nat [2001:db8::9]:81
         conntrack -I -p tcp --state TIME_WAIT -u SEEN_REPLY -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1011 --dport 80
         conntrack -I -p udp -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1012 --dport 53
         conntrack -I -p udp -u ASSURED,SEEN_REPLY -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1013 --dport 53 --src-nat 198.51.100.1:53
         conntrack -I -p sctp --state ESTABLISHED --orig-vtag 5 --reply-vtag 6 -u ASSURED,SEEN_REPLY -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1014 --dport 80
         conntrack -I -p gre --srckey 0x11 --dstkey 0x22 -t 100 -s 10.61.0.2 -d 192.0.2.1
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1016 --dport 80 --reply-zone 8
         {TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1017 --dport 80 -w 9 --src-nat 198.51.100.1:2017
         conntrack -I -p sctp --state SHUTDOWN_SENT --orig-vtag 7 --reply-vtag 8 -t 100 -s fd61::2 -d 2001:db8::1 --sport 1018 --dport 80
         conntrack -I -p tcp --state SYN_SENT -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1019 --dport 80
         conntrack -I -p tcp --state CLOSE_WAIT -u SEEN_REPLY -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1020 --dport 80
         conntrack -I -p tcp --state ESTABLISHED -u SEEN_REPLY,ASSURED,FIXED_TIMEOUT -t 9999 -s 10.61.0.2 -d 192.0.2.1 --sport 1021 --dport 80
         conntrack -I -p udplite -t 100 -s 10.61.0.2 -d 192.0.2.1 --sport 1015 --dport 80
         conntrack -I -p 99 -t 100 -s 10.61.0.2 -d 192.0.2.1"
    ));
    let expected = told(&source.pod, "conntrack");
    assert!(expected.len() >= 24, "{expected:#?}");
    let image = image(&source);
    let target = Pair::bare("kinds");
    target.pod.sh(HOOKS);
    // Of an earlier stay: the same flow with other ports, and one that has the ports of another.
    target.pod.sh(&format!(
        "{TCP} -s 10.61.0.2 -d 192.0.2.1 --sport 1005 --dport 80 --src-nat 198.51.100.1:4444
         {TCP} -s 10.61.0.9 -d 192.0.2.1 --sport 3000 --dport 80 --src-nat 198.51.100.1:2005"
    ));
    restored(&target, &image);
    assert_eq!(told(&target.pod, "conntrack"), expected);
    // Again, there is nothing to do.
    let twice = restored(&target, &image);
    let steps = twice.plans.iter().flat_map(|plan| &plan.steps);
    let steps: Vec<_> = steps.filter(|step| step.class.starts_with("conntrack")).collect();
    assert!(steps.is_empty(), "{steps:#?}");
}

/// A tuple of UDP: the last bytes of both addresses, and the ports.
fn tuple(addresses: [u8; 2], ports: [u16; 2]) -> Vec<u8> {
    let [from, to] = addresses.map(|last| [10, 0, 0, last]);
    let ip = [Builder::attribute(1, &from), Builder::attribute(2, &to)].concat();
    let protocol = [
        Builder::attribute(1, &[17]),
        Builder::attribute(2, &ports[0].to_be_bytes()),
        Builder::attribute(3, &ports[1].to_be_bytes()),
    ];
    [Builder::attribute(0x8001, &ip), Builder::attribute(0x8002, &protocol.concat())].concat()
}

/// Sequence adjustments, what a SYN proxy remembers, and all bits of labels: `conntrack` prints little
/// of these, so they are read from the kernel's own messages.
#[test]
fn what_conntrack_does_not_print_comes_back() {
    let source = Pair::wired("unprinted");
    source.pod.sh(HOOKS);
    let numbers = |numbers: [u32; 3]| -> Vec<u8> {
        let attribute =
            |(at, number): (usize, u32)| Builder::attribute(at as u16 + 1, &number.to_be_bytes());
        numbers.into_iter().enumerate().flat_map(attribute).collect()
    };
    let mut entry = Builder::new(CONNTRACK.make, 0x600, &[2, 0, 0, 0]);
    entry.put(0x8001, &tuple([1, 2], [1000, 80])).put(0x8002, &tuple([2, 1], [80, 1000]));
    // Seen a reply, assured, confirmed.
    entry.put(3, &0xe_u32.to_be_bytes()).put(7, &600_u32.to_be_bytes());
    entry.put(0x800f, &numbers([1_000, 5, 9])).put(0x8010, &numbers([2_000, 0, 7]));
    entry.put(22, &[0x81; 16]).put(0x8018, &numbers([77, 88, 99]));
    let sent = source
        .pod
        .open()
        .run(|| Socket::open(Protocol::Netfilter).unwrap().request(entry.finish()));
    sent.unwrap().expect("an entry");
    let image = image(&source);
    let target = Pair::bare("unprinted");
    target.pod.sh(HOOKS);
    restored(&target, &image);
    let section = &image.snapshot.sections[CONNTRACK.name];
    let told = |all: Vec<Object>| -> Vec<String> {
        const PATHS: [&str; 6] =
            ["status", "seq_adj_orig", "seq_adj_reply", "labels", "synproxy", "tuple_orig"];
        let value = all[0].value();
        PATHS
            .iter()
            .map(|path| format!("{path}: {:?}", value.field(path).map(ToString::to_string)))
            .collect()
    };
    let expected = told(objects(&CONNTRACK, section).unwrap());
    assert_eq!(told(entries(&captured(&target.pod), &CONNTRACK)), expected);
    for wanted in [
        "seq_adj_orig: Some(\"correction_pos 1000 offset_before 5 offset_after 9\")",
        "seq_adj_reply: Some(\"correction_pos 2000 offset_before 0 offset_after 7\")",
        "synproxy: Some(\"isn 77 its 88 tsoff 99\")",
    ] {
        assert!(expected.iter().any(|line| line == wanted), "{wanted} is not in {expected:#?}");
    }
    assert!(expected[0].contains("seq-adjust"), "{expected:#?}");
    assert!(expected[3].contains(&"81".repeat(16)), "{expected:#?}");
}

#[test]
fn real_flows_through_translation_come_back() {
    let source = Pair::wired("flows");
    source.pod.sh(HOOKS);
    source.pod.sh("nft add rule inet hooks pre tcp dport 80 redirect to :15001
         nft add rule inet hooks pre udp dport 53 redirect to :5353
         nft add rule inet hooks label udp sport 5353 ct label set 7
         nft add rule inet hooks label udp sport 5353 ct mark set 0x1234
         nft add chain inet hooks post '{ type nat hook postrouting priority srcnat; }'
         ip addr add 10.61.0.77/32 dev eth0
         nft add rule inet hooks post ip protocol icmp snat to 10.61.0.77
         nft add rule inet hooks post tcp dport 9000 masquerade to :20000-20100");
    let (_listener, client, server) = connection(&source, "10.61.0.2:80", "0.0.0.0:15001");
    exchange(&client, &server, b"question");
    exchange(&server, &client, b"answer");
    let other = source.node.open().run(|| TcpListener::bind("10.61.0.1:9000")).unwrap().unwrap();
    let out = source.pod.open().run(|| TcpStream::connect("10.61.0.1:9000")).unwrap().unwrap();
    let (masqueraded, peer) = other.accept().unwrap();
    assert!((20_000..=20_100).contains(&peer.port()), "{peer}");
    exchange(&out, &masqueraded, b"out");
    let dns = Dns::between(&source);
    dns.asks();
    source.pod.sh("ping -c 1 -W 5 10.61.0.1; ping -c 1 -W 5 fd61::1");
    let image = image(&source);
    let expected = told(&source.pod, "conntrack");
    assert_eq!(
        expected.iter().filter(|line| line.contains("[ASSURED]")).count(),
        2,
        "{expected:#?}"
    );
    assert!(expected.iter().any(|line| line.contains("mark=4660")), "{expected:#?}");
    let target = Pair::bare("flows");
    target.pod.sh(HOOKS);
    restored(&target, &image);
    assert_eq!(told(&target.pod, "conntrack"), expected);
    let ends = |ns: &Ns, way: &str| ns.run(&["conntrack", "-L", way]).lines().count();
    assert_eq!(ends(&target.pod, "--src-nat"), ends(&source.pod, "--src-nat"));
    assert_eq!(ends(&target.pod, "--dst-nat"), ends(&source.pod, "--dst-nat"));
    // There is a rule for it only where nftables are carried; else the entry alone leads to the port.
    target.node.sh("ip link set lo up; ip link set veth0 up
        ip addr replace 10.61.0.1/24 dev veth0");
    Dns::between(&target).asks();
}

/// A client on the node and a server in the pod that listens elsewhere than is asked.
struct Dns {
    client: UdpSocket,
    server: UdpSocket,
}

impl Dns {
    fn between(pair: &Pair) -> Self {
        let bind = |ns: &Ns, address: &'static str| {
            let socket = ns.open().run(move || UdpSocket::bind(address)).unwrap().unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            socket
        };
        let client = bind(&pair.node, "10.61.0.1:40000");
        client.connect("10.61.0.2:53").unwrap();
        Self { client, server: bind(&pair.pod, "0.0.0.0:5353") }
    }

    #[track_caller]
    fn asks(&self) {
        let mut bytes = [0; 16];
        self.client.send(b"question").unwrap();
        let (length, from) = self.server.recv_from(&mut bytes).expect("the question comes");
        assert_eq!(&bytes[..length], b"question");
        self.server.send_to(b"answer", from).unwrap();
        // Connected: what does not come from the port that was asked is not received.
        let length = self.client.recv(&mut bytes).expect("the answer comes");
        assert_eq!(&bytes[..length], b"answer");
    }
}

#[test]
fn what_a_helper_expects_and_what_came_of_it_comes_back() {
    let source = Pair::wired("ftp");
    source.pod.sh(HOOKS);
    source.pod.sh("nft 'add ct helper inet hooks files { type \"ftp\" protocol tcp; }'
         nft add chain inet hooks in '{ type filter hook input priority 0; }'
         nft add rule inet hooks in tcp dport 21 ct helper set files");
    let (_listener, client, server) = connection(&source, "10.61.0.2:21", "0.0.0.0:21");
    exchange(&server, &client, b"220 files\r\n");
    // RFC 959: ports 40001 and 40002 of the client.
    let data = source.node.open().run(|| TcpListener::bind("10.61.0.1:40001")).unwrap().unwrap();
    // A command is looked into when the one before it was seen to end.
    exchange(&client, &server, b"USER me\r\n");
    exchange(&client, &server, b"PORT 10,61,0,1,156,65\r\n");
    let related = source.pod.open().run(|| TcpStream::connect("10.61.0.1:40001")).unwrap().unwrap();
    let (received, _) = data.accept().unwrap();
    exchange(&related, &received, b"a file");
    exchange(&client, &server, b"PORT 10,61,0,1,156,66\r\n");
    let image = image(&source);
    let flows = told(&source.pod, "conntrack");
    let expected = told(&source.pod, "expect");
    assert_eq!((flows.len(), expected.len()), (2, 1), "{flows:#?} {expected:#?}");
    assert!(flows.iter().any(|line| line.contains("helper=ftp")), "{flows:#?}");
    let target = Pair::bare("ftp");
    target.pod.sh(HOOKS);
    restored(&target, &image);
    assert_eq!(told(&target.pod, "conntrack"), flows);
    assert_eq!(told(&target.pod, "expect"), expected);
    let is_of_a_master = |object: &Object| object.value().field("tuple_master").is_some();
    let found = entries(&captured(&target.pod), &CONNTRACK);
    assert_eq!(found.iter().filter(|object| is_of_a_master(object)).count(), 1);
}

#[test]
fn time_in_transit_is_time_gone() {
    let source = Pair::wired("aged");
    source.pod.sh("sysctl -qw net.netfilter.nf_conntrack_acct=1");
    source.pod.sh("conntrack -I -p udp -t 600 -s 10.61.0.2 -d 192.0.2.1 --sport 1 --dport 53
         conntrack -I -p udp -t 60 -s 10.61.0.2 -d 192.0.2.1 --sport 2 --dport 53");
    let mut image = image(&source);
    // What a kernel can't be told is said.
    let named = &image.manifest.not_carried;
    let of_counters = |entry: &&netckpt::image::NotCarried| entry.why.contains("counters_orig");
    assert_eq!(named.iter().filter(of_counters).count(), 2, "{named:#?}");
    image.manifest.created -= jiff::SignedDuration::from_secs(100);
    let target = Pair::bare("aged");
    restored(&target, &image);
    let found = entries(&captured(&target.pod), &CONNTRACK);
    assert_eq!(found.len(), 1, "the other one has ended");
    let left = found[0].value().number("timeout").unwrap();
    assert!((450..=500).contains(&left), "{left}");
}

#[test]
fn a_helper_that_is_none_of_the_kernel_is_never_asked_for() {
    let tuple = |ports: [u16; 2]| {
        let addresses =
            [Builder::attribute(1, &[10, 0, 0, 1]), Builder::attribute(2, &[10, 0, 0, 2])];
        let protocol = [
            Builder::attribute(1, &[6]),
            Builder::attribute(2, &ports[0].to_be_bytes()),
            Builder::attribute(3, &ports[1].to_be_bytes()),
        ];
        [Builder::attribute(1, &addresses.concat()), Builder::attribute(2, &protocol.concat())]
            .concat()
    };
    let mut builder = Builder::new(CONNTRACK.tells, 0, &[2, 0, 0, 0]);
    builder.put(1, &tuple([1, 2])).put(2, &tuple([2, 1]));
    builder.put(5, &Builder::attribute(1, b"my-own-module\0"));
    let found = netckpt::state::check(&CONNTRACK, &builder.finish(), &Default::default());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].to_string().contains("none of the kernel's own"), "{found:?}");
}

#[test]
fn the_table_is_not_walked_for_a_namespace_without_entries() {
    let ns = Ns::new("none");
    let mut walks = Vec::new();
    ns.open()
        .run(|| {
            let mut reader = Reader::new();
            for class in [&CONNTRACK, &CONNTRACK_EXPECTATIONS] {
                for _ in 0..5 {
                    let start = Instant::now();
                    assert!(capture::read(class, &mut reader).unwrap().is_empty());
                    walks.push(start.elapsed());
                }
            }
        })
        .unwrap();
    // The reading of one small file; a walk takes some milliseconds.
    let least = walks.iter().min().unwrap();
    assert!(*least < Duration::from_millis(1), "{least:?}");
}

/// While an address counts steps, and each step makes an entry of its number and then ends the one
/// before, no image may hold other entries than those of its address's step.
#[test]
fn flows_are_of_the_instant_of_all_else() {
    let ns = Ns::new("instant");
    ns.ip("link set lo up");
    let namespace = ns.open();
    let stop = AtomicBool::new(false);
    static CLASSES: [&Class; 2] = [&ADDRESSES, &CONNTRACK];
    let options = Options { classes: &CLASSES, ..Options::default() };
    let (mut told_again, mut captures) = (0, 0);
    let start = Instant::now();
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| namespace.run(|| write(&stop)));
        let looked = std::panic::catch_unwind(|| {
            let mut seen = Vec::new();
            while seen.len() < 100 && start.elapsed() < Duration::from_secs(20) {
                let captured = capture(&namespace, &options).expect("a capture");
                let address = entries(&captured, &ADDRESSES)
                    .into_iter()
                    .find_map(|address| address.value().number("rt_priority"));
                let mut marks: Vec<_> = entries(&captured, &CONNTRACK)
                    .iter()
                    .map(|entry| entry.value().number("mark").unwrap())
                    .collect();
                marks.sort_unstable();
                seen.push((address, marks, captured.evidence.passes));
            }
            seen
        });
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap().unwrap();
        let seen = looked.unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        captures = seen.len();
        for (address, marks, passes) in seen {
            // The first step has not both yet.
            let Some(step) = address.filter(|step| *step > 1) else { continue };
            told_again += u32::from(passes > 1);
            let together = [vec![step - 1], vec![step - 1, step], vec![step]];
            assert!(together.contains(&marks), "step {step} with entries {marks:?}");
        }
    });
    assert!(told_again > 0, "nothing changed in {captures} captures");
    println!("{captures} captures, {told_again} of them while steps were made");
}

fn write(stop: &AtomicBool) {
    const CREATE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_EXCL) as u16;
    const REPLACE: u16 = (libc::NLM_F_CREATE | libc::NLM_F_REPLACE) as u16;
    let mut route = Socket::open(Protocol::Route).unwrap();
    let mut netfilter = Socket::open(Protocol::Netfilter).unwrap();
    let entry = |step: u32, kind: u16, flags: u16| {
        let ports = [(step % 50_000 + 1_000) as u16, 80];
        let mut builder = Builder::new(kind, flags, &[2, 0, 0, 0]);
        builder.put(0x8001, &tuple([1, 2], ports));
        builder.put(0x8002, &tuple([2, 1], [ports[1], ports[0]]));
        builder.put(7, &600_u32.to_be_bytes()).put(8, &step.to_be_bytes());
        builder.finish()
    };
    let address = |step: u32| {
        let mut builder = Builder::new(20, REPLACE, &[2, 32, 0, 0, 1, 0, 0, 0]);
        builder.put(2, &[10, 9, 9, 9]).put_u32(9, step);
        builder.finish()
    };
    for step in 1.. {
        route.request(address(step)).expect("an address");
        netfilter.request(entry(step, CONNTRACK.make, CREATE)).expect("an entry");
        if step > 1 {
            netfilter.request(entry(step - 1, CONNTRACK.remove, 0)).expect("its end");
        }
        if stop.load(Ordering::Relaxed) {
            return;
        }
        // Some captures shall find no change between.
        std::thread::sleep(Duration::from_micros(u64::from(step % 7) * 300));
    }
}
