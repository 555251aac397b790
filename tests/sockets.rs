//! The inventory of sockets, against what `ss` says of the same namespace; and that it stays one: it
//! is in the image and shown, and a restore neither makes nor misses anything of it.

mod netns;

use std::collections::BTreeSet;
use std::io::Read;
use std::net::{Ipv6Addr, SocketAddrV4, SocketAddrV6, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::Command;
use std::time::Duration;

use netckpt::capture::{self, Options};
use netckpt::image::{Image, Origin};
use netckpt::restore;
use netckpt::state::{Names, Value, class, objects};
use netns::{Ns, Pair};

fn image(pair: &Pair) -> Image {
    let options = Options::default();
    let captured = capture::network(&pair.pod.open(), Some(&pair.node.open()), &options);
    captured.expect("a capture").into_image(Origin::default())
}

fn values(image: &Image, name: &str) -> Vec<Value> {
    let class = class(name).expect("a class");
    let all = objects(class, &image.snapshot.sections[name]).expect("a section");
    all.iter().map(netckpt::state::Object::value).collect()
}

fn labels(image: &Image, name: &str) -> Vec<String> {
    let names = Names::of(&image.snapshot.sections["links"]);
    let all = objects(class(name).unwrap(), &image.snapshot.sections[name]).unwrap();
    all.iter().map(|object| object.label(&names)).collect()
}

/// A socket of the pod that the standard library has no type for.
fn socket(ns: &Ns, family: i32, kind: i32, protocol: i32) -> OwnedFd {
    let made = ns.open().run(|| {
        // SAFETY: plain system call; the descriptor is owned from here on.
        unsafe {
            let socket = libc::socket(family, kind | libc::SOCK_CLOEXEC, protocol);
            assert!(socket >= 0, "{family} {kind} {protocol}: {}", std::io::Error::last_os_error());
            OwnedFd::from_raw_fd(socket)
        }
    });
    made.unwrap()
}

/// State and cookie of each socket that `ss` tells of with this option.
fn told(ns: &Ns, option: &str) -> BTreeSet<(String, u64)> {
    let text = ns.run(&["ss", "-HOane", option]);
    let line = |line: &str| {
        let state = match line.split_whitespace().next()? {
            "ESTAB" => "established",
            "LISTEN" => "listening",
            "UNCONN" => "unconnected",
            "SYN-RECV" => "syn-recv",
            "SYN-SENT" => "syn-sent",
            "TIME-WAIT" => "time-wait",
            "FIN-WAIT-2" => "fin-wait-2",
            "CLOSE-WAIT" => "close-wait",
            other => panic!("{other}"),
        };
        let cookie = line.split_whitespace().find_map(|word| word.strip_prefix("sk:"))?;
        Some((state.to_owned(), u64::from_str_radix(cookie, 16).unwrap()))
    };
    text.lines().filter(|line| !line.trim().is_empty()).filter_map(line).collect()
}

fn found(image: &Image, protocol: &str) -> BTreeSet<(String, u64)> {
    values(image, "sockets")
        .iter()
        .filter(|value| value.text("protocol") == Some(protocol))
        .map(|value| (value.text("state").unwrap().to_owned(), value.number("cookie").unwrap()))
        .collect()
}

#[test]
fn sockets_are_those_of_ss() {
    let pair = Pair::wired("sockets");
    let pod = pair.pod.open();
    let listener = pod.run(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let both = pod.run(|| TcpListener::bind((Ipv6Addr::UNSPECIFIED, 81))).unwrap().unwrap();
    let connect = |to: &'static str| pair.node.open().run(move || TcpStream::connect(to));
    let _client = connect("10.61.0.2:80").unwrap().unwrap();
    let _server = listener.accept().unwrap();
    let _over_ipv6 = connect("[fd61::2]:81").unwrap().unwrap();
    let _server6 = both.accept().unwrap();
    let _mapped = connect("10.61.0.2:81").unwrap().unwrap();
    let _mapped_server = both.accept().unwrap();
    // Whoever closes first waits.
    let closing = connect("10.61.0.2:80").unwrap().unwrap();
    drop(listener.accept().unwrap());
    let mut rest = Vec::new();
    (&closing).read_to_end(&mut rest).unwrap();
    drop(closing);
    // One that the node never answers.
    pair.node.sh("nft add table ip lost
        nft add chain ip lost in '{ type filter hook input priority 0; }'
        nft add rule ip lost in tcp sport 80 tcp flags syn drop");
    let address: SocketAddrV4 = "10.61.0.2:80".parse().unwrap();
    let half = pair
        .node
        .open()
        .run(move || TcpStream::connect_timeout(&address.into(), Duration::from_millis(100)));
    assert!(half.unwrap().is_err(), "its answer is lost");
    let udp = pod.run(|| UdpSocket::bind("10.61.0.2:53")).unwrap().unwrap();
    let bound = SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 54, 0, 0);
    let _udp6 = pod.run(move || UdpSocket::bind(bound)).unwrap().unwrap();
    udp.connect("10.61.0.1:9").unwrap();
    let image = image(&pair);
    let (tcp, ss) = (found(&image, "tcp"), told(&pair.pod, "-t"));
    assert_eq!(tcp, ss);
    for state in ["listening", "established", "syn-recv", "time-wait"] {
        assert!(tcp.iter().any(|(told, _)| told == state), "{state} is not in {tcp:?}");
    }
    assert_eq!(found(&image, "udp"), told(&pair.pod, "-u"));
    let labels = labels(&image, "sockets");
    for wanted in [
        "tcp listening 0.0.0.0:80",
        "tcp listening [::]:81",
        "udp established 10.61.0.2:53 to 10.61.0.1:9",
        "udp unconnected [::]:54",
    ] {
        assert!(labels.iter().any(|label| label == wanted), "{wanted} is not in {labels:#?}");
    }
    let client = |label: &&String| label.starts_with("tcp established 10.61.0.2:80 to 10.61.0.1:");
    assert_eq!(labels.iter().filter(client).count(), 1, "{labels:#?}");
    assert_eq!(image.manifest.counts["sockets"], labels.len() as u64);
}

#[test]
fn sockets_of_other_kinds_are_listed() {
    let pair = Pair::wired("kinds");
    pair.pod.sh("sysctl -qw net.ipv4.ping_group_range='0 0'");
    let _raw = socket(&pair.pod, libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP);
    let _raw6 = socket(&pair.pod, libc::AF_INET6, libc::SOCK_RAW, libc::IPPROTO_ICMPV6);
    let every = i32::from((libc::ETH_P_ALL as u16).to_be());
    let _packet = socket(&pair.pod, libc::AF_PACKET, libc::SOCK_RAW, every);
    let mptcp = socket(&pair.pod, libc::AF_INET, libc::SOCK_STREAM, 262);
    let listening = pair.pod.open().run(|| {
        // SAFETY: plain system call on an open descriptor.
        unsafe { libc::listen(std::os::fd::AsRawFd::as_raw_fd(&mptcp), 5) }
    });
    assert_eq!(listening.unwrap(), 0);
    let image = image(&pair);
    let labels = labels(&image, "sockets");
    for wanted in ["raw unconnected 0.0.0.0:1", "raw unconnected [::]:58"] {
        assert!(labels.iter().any(|label| label == wanted), "{wanted} is not in {labels:#?}");
    }
    let of = |protocol| found(&image, protocol);
    assert_eq!(of("mptcp"), told(&pair.pod, "-M"), "{labels:#?}");
    assert_eq!(of("mptcp").len(), 1);
    let packets = values(&image, "packet-sockets");
    assert_eq!(packets.len(), 1, "{packets:#?}");
    assert_eq!(packets[0].number("protocol"), Some(3));
    assert_eq!(image.manifest.counts["packet-sockets"], 1);
}

/// What `ss` tells of other families, and nothing of what the capture itself has open.
#[test]
fn local_sockets_and_those_of_netlink_are_listed() {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixListener};
    let pair = Pair::wired("locals");
    let own = image(&pair);
    for class in ["unix-sockets", "netlink-sockets", "other-sockets"] {
        assert_eq!(labels(&own, class), Vec::<String>::new());
    }
    let address = SocketAddr::from_abstract_name("a name").unwrap();
    let listener = pair.pod.open().run(move || UnixListener::bind_addr(&address));
    let _listener = listener.unwrap().unwrap();
    let _xdp = socket(&pair.pod, libc::AF_XDP, libc::SOCK_RAW, 0);
    // One that another process has.
    let mut monitor = pair.pod.command(&["ip", "monitor", "link"]);
    let mut monitor = monitor.stdout(std::process::Stdio::null()).spawn().unwrap();
    let port = format!("0:{} ", monitor.id());
    let told = || pair.pod.sh("ss -HAnetlink -a -n").contains(&port);
    while !told() {
        assert!(monitor.try_wait().unwrap().is_none(), "it watches until it is ended");
        std::thread::sleep(Duration::from_millis(10));
    }
    let image = image(&pair);
    monitor.kill().unwrap();
    monitor.wait().unwrap();
    assert_eq!(labels(&image, "unix-sockets"), ["unix stream listening @a name"]);
    assert_eq!(labels(&image, "other-sockets"), ["1 sockets of XDP"]);
    let mut netlink = labels(&image, "netlink-sockets");
    netlink.retain(|label| label.ends_with(", in groups"));
    assert_eq!(netlink, [format!("netlink route port {}, in groups", monitor.id())]);
}

/// Listed, shown, and of no weight for restore, verify and diff.
#[test]
fn an_inventory_is_never_restored_and_never_a_difference() {
    let source = Pair::wired("listed");
    let _listener = source.pod.open().run(|| TcpListener::bind("0.0.0.0:80")).unwrap().unwrap();
    let image = image(&source);
    assert_eq!(image.manifest.counts["sockets"], 1);
    let target = Pair::bare("listed");
    let (pod, node) = (target.pod.open(), target.node.open());
    let report = restore::restore(&pod, Some(&node), &image, &Default::default()).unwrap();
    let steps = report.plans.iter().flat_map(|plan| &plan.steps);
    assert_eq!(steps.filter(|step| step.class.ends_with("sockets")).count(), 0);
    let findings = restore::verify(&pod, &image).unwrap();
    assert!(findings.iter().all(|finding| !finding.class.ends_with("sockets")), "{findings:?}");
    let mut other = image.clone();
    other.snapshot.sections.insert("sockets".to_owned(), Default::default());
    assert_eq!(restore::compare(&image, &other).unwrap(), []);
    // Nor does it stop a restore that it is broken: nothing of it is looked at.
    other.snapshot.sections.insert("sockets".to_owned(), vec![1, 2, 3].into());
    restore::restore(&pod, Some(&node), &other, &Default::default()).unwrap();
}

#[test]
fn show_lists_them() {
    let ns = Ns::new("show");
    ns.ip("link set lo up");
    let _listener = ns.open().run(|| TcpListener::bind("127.0.0.1:80")).unwrap().unwrap();
    let place = format!("netns:{}", ns.path().display());
    let show = Command::new(env!("CARGO_BIN_EXE_netckpt")).args(["show", &place]).output().unwrap();
    let text = String::from_utf8(show.stdout).unwrap();
    assert!(text.contains("sockets (1)"), "{text}");
    assert!(text.contains("tcp listening 127.0.0.1:80"), "{text}");
}

/// Connections come and go all the time: a capture is not kept from its end by them.
#[test]
fn traffic_does_not_hold_up_a_capture() {
    let ns = Ns::new("busy");
    ns.ip("link set lo up");
    let namespace = ns.open();
    let listener = namespace.run(|| TcpListener::bind("127.0.0.1:80")).unwrap().unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            namespace.run(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    drop(TcpStream::connect("127.0.0.1:80"));
                    drop(listener.accept());
                }
            })
        });
        let options = Options { patience: Duration::ZERO, ..Options::default() };
        let captures: Vec<_> = (0..20).map(|_| capture::capture(&namespace, &options)).collect();
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        for captured in captures {
            let evidence = captured.expect("a capture in one pass").evidence;
            assert!(!evidence.read_again.contains_key("sockets"), "{evidence:?}");
        }
    });
}
