//! Small tables against iproute2: address labels, Multipath TCP, segment routing, measurement. Kinds
//! that this project's machines lack (foo over UDP, MPLS routing) are tested as messages.

mod netns;
mod returns;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use netckpt::image::Snapshot;
use netckpt::netlink::{Builder, messages};
use netckpt::plan::{Action, Objects, Stage, plan};
use netckpt::restore;
use netckpt::state::classes::{
    FOU, IPVS_DAEMONS, IPVS_DESTINATIONS, IPVS_SERVICES, IPVS_TIMEOUTS, LINKS, MPLS_ROUTES,
    MPTCP_ENDPOINTS,
};
use netckpt::state::table::Class;
use netckpt::state::{Names, Verdict, check, decode};
use netns::Pair;
use returns::{comes_back, image};

#[test]
fn address_labels_come_back_and_removed_ones_stay_away() {
    let returned = comes_back(
        "labels",
        "ip addrlabel add prefix 2001:db8::/32 dev eth0 label 99
         ip addrlabel add prefix 2001:db8:1::/32 label 100
         ip addrlabel add prefix fd77::/32 label 101
         ip addrlabel del prefix 2002::/16 label 2
         ip addrlabel del prefix fc00::/7 label 5
         ip addrlabel add prefix fc00::/7 label 77
         # The kernel looks for an equal one only up to where it puts the new one.
         ip addrlabel add prefix 3ffe::/16 label 55 || true",
        &["ip addrlabel"],
    );
    returned.expect("every kernel has this").notices(&[
        ("ip addrlabel del prefix fd77::/32 label 101", "fd77::/32 label 101: missing"),
        ("ip addrlabel add prefix 2002::/16 label 2", "not in the image"),
        (
            "ip addrlabel del prefix fc00::/7 label 77; ip addrlabel add prefix fc00::/7 label 78",
            "label is 78 instead of 77",
        ),
    ]);
}

#[test]
fn all_labels_may_be_gone() {
    let gone = comes_back("no-labels", "ip addrlabel flush", &["ip addrlabel"]);
    gone.expect("every kernel has this");
}

#[test]
fn endpoints_and_limits_of_multipath_tcp_come_back() {
    let Some(returned) = comes_back(
        "mptcp",
        "ip mptcp limits set subflows 5 add_addr_accepted 3
         ip mptcp endpoint add 10.61.0.2 id 9 dev eth0 subflow backup
         ip mptcp endpoint add fd61::2 id 3 subflow fullmesh
         ip mptcp endpoint add 10.61.0.2 id 7 port 4000 signal
         ip mptcp endpoint add 192.0.2.9 id 1 signal",
        &["ip mptcp limits", "ip mptcp endpoint", "ss -HltnM | tr -s ' '"],
    ) else {
        return;
    };
    returned.notices(&[
        ("ip mptcp endpoint delete id 3", "fd61::2 id 3 subflow,fullmesh: missing"),
        ("ip mptcp endpoint add 192.0.2.10 id 200 signal", "not in the image"),
        (
            "ip mptcp endpoint change id 1 nobackup; ip mptcp limits set subflows 1",
            "subflows is 1 instead of 5",
        ),
    ]);
}

/// `ip` asks for the secret at the terminal, if there is one.
const KEY: &str = "setsid -w ip sr hmac set";

#[test]
fn keys_and_source_of_segment_routing_come_back() {
    let script = format!(
        "printf 'secret12\\nsecret12\\n' | {KEY} 17 sha256 >/dev/null
         printf 'other\\nother\\n' | {KEY} 18 sha1 >/dev/null
         ip sr tunsrc set fd61::77"
    );
    let questions = ["ip sr hmac show | sort", "ip sr tunsrc show"];
    let Some(returned) = comes_back("segments", &script, &questions) else { return };
    let changed = format!("printf 'secret13\\nsecret13\\n' | {KEY} 17 sha256 >/dev/null");
    let removed = format!("printf '\\n\\n' | {KEY} 18 sha1 >/dev/null");
    returned.notices(&[
        (&changed, "key 17 (sha256): secret is (secret) instead of (secret)"),
        (&removed, "key 18 (sha1): missing"),
        ("ip sr tunsrc set fd61::78", "source is fd61::78 instead of fd61::77"),
    ]);
}

#[test]
fn namespaces_and_schemas_of_measurement_come_back() {
    let Some(returned) = comes_back(
        "measurement",
        "ip ioam namespace add 5 data 0x10 wide 0x20
         ip ioam namespace add 6
         ip ioam schema add 7 hello
         ip ioam schema add 8 'a longer one'
         ip ioam namespace set 5 schema 7",
        &["ip ioam namespace show | sort", "ip ioam schema show | sort"],
    ) else {
        return;
    };
    returned.notices(&[
        ("ip ioam namespace del 6", "namespace 6: missing"),
        ("ip ioam namespace set 5 schema none", "schema is absent instead of 7"),
        ("ip ioam namespace set 6 schema 8", "schema is 8 instead of absent"),
        ("ip ioam schema del 7", "schema 7: missing"),
        ("ip ioam namespace add 9", "not in the image"),
    ]);
}

#[test]
fn ids_of_third_namespaces_are_named() {
    let pair = Pair::wired("ids");
    pair.pod.sh(&format!("ip netns set {} 77", pair.pod.name()));
    let lost = image(&pair).manifest.not_carried;
    let named =
        |id: u32| lost.iter().any(|lost| lost.object == format!("id {id} of another namespace"));
    assert!(named(77), "{lost:#?}");
    assert!(lost.iter().all(|lost| !lost.matters), "{lost:#?}");
    // That of the node's end of eth0 is the link's.
    assert!(!named(0), "{lost:#?}");
}

/// What TCP has learned of others can't be told to a kernel: it learns it again.
#[test]
fn metrics_of_tcp_inform_only() {
    let pair = Pair::wired("metrics");
    let listener = pair.node.open().run(|| TcpListener::bind("10.61.0.1:80")).unwrap().unwrap();
    let client = pair.pod.open().run(|| TcpStream::connect("10.61.0.1:80")).unwrap().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    for _ in 0..5 {
        (&client).write_all(b"question").unwrap();
        server.read_exact(&mut [0; 8]).unwrap();
        server.write_all(b"answer").unwrap();
        (&client).read_exact(&mut [0; 6]).unwrap();
    }
    drop(client);
    drop(server);
    let known = pair
        .pod
        .sh("for i in $(seq 50); do ip tcp_metrics show | grep . && exit 0; sleep 0.1; done");
    assert!(known.contains("10.61.0.1"), "{known}");
    let lost = image(&pair).manifest.not_carried;
    let metrics: Vec<_> = lost.iter().filter(|lost| lost.class == "tcp-metrics").collect();
    assert!(metrics.len() == 1 && !metrics[0].matters, "{lost:#?}");
}

/// An image of a version that knew less says nothing of what it did not know: the labels that the kernel
/// gives every namespace stay, and so does what is there besides.
#[test]
fn classes_that_an_image_does_not_have_are_left_alone() {
    let source = Pair::wired("older");
    let mut image = image(&source);
    for name in ["address-labels", "mptcp-limits", "xfrm-defaults", "xfrm-policies", "seg6-source"]
    {
        assert!(image.snapshot.sections.remove(name).is_some(), "{name}");
    }
    let target = Pair::bare("older");
    target.pod.sh("ip addrlabel add prefix fd77::/64 label 100
        ip xfrm policy add src 10.0.0.0/8 dst 10.1.0.0/16 dir out");
    let asked = "ip addrlabel; ip xfrm policy; ip mptcp limits; ip xfrm policy getdefault";
    let before = target.pod.sh(asked);
    returns::restored(&target, &image);
    assert_eq!(target.pod.sh(asked), before);
    let same = netckpt::restore::compare(&image, &returns::image(&target)).unwrap();
    let same: Vec<_> = same.iter().filter(|finding| finding.matters()).collect();
    assert!(same.is_empty(), "{same:?}");
}

fn section(class: &Class, section: Vec<u8>) -> Objects {
    let sections = [(class.name.to_owned(), section.into())];
    Objects::read(&Snapshot { sections: sections.into() }, 0).unwrap()
}

/// What is done for one class on the way from one section to another, in order.
fn done(class: &Class, from: Vec<u8>, to: Vec<u8>) -> Vec<(Stage, Vec<u8>)> {
    let (from, to) = (section(class, from), section(class, to));
    let plan = plan(&from, &to, &Default::default()).unwrap();
    let message = |action: Action| match action {
        Action::Send { message, .. } | Action::Command { message, .. } => message,
        other => panic!("{other:?}"),
    };
    plan.steps.into_iter().map(|step| (step.stage, message(step.action))).collect()
}

#[test]
fn ports_of_foo_over_udp_by_their_header() {
    let port = |port: u16, kind: u8| {
        let mut builder = Builder::new(FOU.tells, 0, &[1, 1, 0, 0]);
        builder.put(1, &port.to_be_bytes()).put(2, &[2]).put(3, &[47]).put(4, &[kind]);
        builder.put(6, &[10, 61, 0, 2]).put(10, &[0, 0]).put_u32(11, 0);
        builder.finish()
    };
    assert_eq!(check(&FOU, &port(5555, 1), &Names::default()), []);
    let steps = done(&FOU, [port(5555, 1), port(6666, 1)].concat(), port(5555, 2));
    let told: Vec<_> = steps
        .iter()
        .map(|(stage, message)| {
            assert_eq!(*stage, Stage::Tables);
            let value = decode(&FOU, message);
            (value.number("command").unwrap(), value.number("port").unwrap(), value.number("type"))
        })
        .collect();
    // `FOU_CMD_DEL` is 2, `FOU_CMD_ADD` 1.
    assert_eq!(told, [(2, 6666, None), (2, 5555, None), (1, 5555, Some(2))]);
    let mut elsewhere = Builder::new(FOU.tells, 0, &[1, 1, 0, 0]);
    elsewhere.put_u32(11, 99);
    assert_eq!(
        check(&FOU, &elsewhere.finish(), &Names::default())[0].fault.verdict(),
        Verdict::Hostile
    );
}

/// Label 100 through 10.61.0.1, to be swapped for 200 and 201: `struct rtmsg` of `AF_MPLS`.
fn label(label: u32, flags: u32) -> Vec<u8> {
    let mut header = [28, 20, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0];
    header[8..12].copy_from_slice(&flags.to_ne_bytes());
    let mut builder = Builder::new(MPLS_ROUTES.tells, 0, &header);
    // RFC 3032: 20 bits of label, 3 of class, the bottom of the stack, 8 of time to live.
    let entry = |label: u32, bottom: u32| (label << 12 | bottom << 8).to_be_bytes();
    builder.put(1, &entry(label, 1)).put_u32(4, 1);
    builder.put(18, &[2, 0, 10, 61, 0, 1]).put(19, &[entry(200, 0), entry(201, 1)].concat());
    builder.put(26, &[1]);
    builder.finish()
}

#[test]
fn routes_of_mpls_labels_by_their_header() {
    let told = label(100, 0x10);
    let steps = done(&MPLS_ROUTES, label(7, 0), told.clone());
    assert_eq!(steps.len(), 2);
    assert_eq!(steps[0].0, Stage::RemoveRoutes);
    let (stage, sent) = &steps[1];
    assert_eq!(*stage, Stage::FarRoutes, "after the links, and long after the number of labels");
    assert!(Stage::Sysctls < Stage::FarRoutes);
    // As told, but for the flag of a link that is down.
    let plain = label(100, 0);
    let bodies = [sent, &plain].map(|bytes| messages(bytes).next().unwrap().unwrap().body);
    assert_eq!(bodies[0], bodies[1]);
    let found = check(&MPLS_ROUTES, &told, &Names::default());
    assert_eq!(found[0].to_string(), "label 100: oif: refers to link 1, which is not in the image");
}

/// References to links that the image does not have, and commands that are none of the table's.
#[test]
fn what_no_kernel_said_is_refused() {
    let endpoint = |id: u8, index: u32| {
        let mut builder = Builder::new(MPTCP_ENDPOINTS.tells, 0, &[8, 1, 0, 0]);
        let nest = builder.begin(1 | Builder::NESTED);
        builder.put(1, &[2, 0]).put(2, &[id]).put(3, &[10, 0, 0, 1]);
        builder.put_u32(6, 1).put_u32(7, index).end(nest);
        builder.finish()
    };
    let found = check(&MPTCP_ENDPOINTS, &endpoint(1, 5), &Names::default());
    assert_eq!(found[0].fault.verdict(), Verdict::Hostile, "{found:?}");
    // Whatever command an image names, the one that adds is sent.
    let steps = done(&MPTCP_ENDPOINTS, Vec::new(), endpoint(1, 0));
    assert_eq!(decode(&MPTCP_ENDPOINTS, &steps[0].1).number("command"), Some(1));
    assert_eq!(
        check(&LINKS, &endpoint(1, 0), &Names::default())[0].fault.verdict(),
        Verdict::Hostile
    );
}

/// `ipvsadm -A -t 10.61.0.9:80 -s SCHEDULER`, as a kernel tells it.
fn service(scheduler: &str, timeout: u32) -> Vec<u8> {
    let mut builder = Builder::new(IPVS_SERVICES.tells, 0, &[1, 1, 0, 0]);
    let nest = builder.begin(1 | Builder::NESTED);
    put_service(&mut builder);
    // Flags (persistent, and the kernel's own mark), mask; netmask; statistics.
    builder.put_text(6, scheduler).put(7, &[3, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
    builder.put_u32(8, timeout).put(9, &[0xff; 4]).put(10, &[]);
    builder.end(nest);
    builder.finish()
}

/// Family, protocol, address and port.
fn put_service(builder: &mut Builder) {
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[10, 61, 0, 9]);
    builder.put(1, &[2, 0]).put(2, &[6, 0]).put(3, &address).put(4, &80_u16.to_be_bytes());
}

fn destination(last: u8, weight: u32) -> Vec<u8> {
    let mut builder = Builder::new(IPVS_DESTINATIONS.tells, 0, &[5, 1, 0, 0]);
    let nest = builder.begin(1 | Builder::NESTED);
    put_service(&mut builder);
    builder.end(nest);
    let nest = builder.begin(2 | Builder::NESTED);
    let mut address = [0; 16];
    address[..4].copy_from_slice(&[10, 61, 0, last]);
    builder.put(1, &address).put(2, &8080_u16.to_be_bytes()).put_u32(3, 0).put_u32(4, weight);
    builder.put_u32(5, 0).put_u32(6, 0).put_u32(7, 9).put(11, &[2, 0]);
    builder.end(nest);
    builder.finish()
}

/// What is sent for a class, as command and the value.
fn sent(class: &'static Class, from: Vec<u8>, to: Vec<u8>) -> Vec<(u64, netckpt::state::Value)> {
    let steps = done(class, from, to);
    let told = steps.iter().map(|(_, message)| decode(class, message));
    told.map(|value| (value.number("command").unwrap(), value)).collect()
}

#[test]
fn virtual_servers_by_their_header() {
    let names = Names::default();
    assert_eq!(check(&IPVS_SERVICES, &service("wrr", 300), &names), []);
    assert_eq!(check(&IPVS_DESTINATIONS, &destination(7, 3), &names), []);
    let made = sent(&IPVS_SERVICES, Vec::new(), service("wrr", 300));
    let (command, value) = &made[0];
    assert_eq!((*command, value.text("service.sched_name")), (1, Some("wrr")));
    assert_eq!(value.text("service.flags.flags"), Some("persistent"), "not that it is hashed");
    assert_eq!(value.field("service.stats"), None);
    // A change keeps the connections; what is gone is removed.
    assert_eq!(sent(&IPVS_SERVICES, service("rr", 300), service("wrr", 300))[0].0, 2);
    assert_eq!(sent(&IPVS_SERVICES, service("rr", 300), Vec::new())[0].0, 3);
    let both = [destination(7, 3), destination(8, 1)].concat();
    let made = sent(&IPVS_DESTINATIONS, Vec::new(), both.clone());
    let weights = made.iter().map(|(command, value)| (*command, value.number("dest.weight")));
    assert_eq!(weights.collect::<Vec<_>>(), [(5, Some(3)), (5, Some(1))]);
    assert_eq!(made[0].1.field("dest.active_conns"), None);
    let changed = sent(&IPVS_DESTINATIONS, both, destination(7, 9));
    assert_eq!(changed.iter().map(|(command, _)| *command).collect::<Vec<_>>(), [7, 6]);
    let label = netckpt::state::objects(&IPVS_DESTINATIONS, &destination(7, 3)).unwrap();
    assert_eq!(label[0].label(&names), "10.61.0.7:8080 of tcp 10.61.0.9:80");
    // A name that would load a module.
    let found = check(&IPVS_SERVICES, &service("evil", 300), &names);
    assert_eq!(found[0].fault.verdict(), Verdict::NotCarried, "{found:?}");
}

#[test]
fn daemons_and_timeouts_of_virtual_servers_by_their_header() {
    let daemon = |link: &str| {
        let mut builder = Builder::new(IPVS_DAEMONS.tells, 0, &[9, 1, 0, 0]);
        let nest = builder.begin(3 | Builder::NESTED);
        builder.put_u32(1, 1).put_text(2, link).put_u32(3, 7).end(nest);
        builder.finish()
    };
    let commands: Vec<_> = sent(&IPVS_DAEMONS, daemon("eth0"), daemon("eth1"))
        .into_iter()
        .map(|(command, value)| (command, value.text("daemon.mcast_ifn").map(str::to_owned)))
        .collect();
    assert_eq!(commands, [(10, Some("eth0".to_owned())), (9, Some("eth1".to_owned()))]);
    let timeouts = |tcp: u32| {
        let mut builder = Builder::new(IPVS_TIMEOUTS.tells, 0, &[12, 1, 0, 0]);
        builder.put_u32(4, tcp).put_u32(5, 120).put_u32(6, 300);
        builder.finish()
    };
    let set = sent(&IPVS_TIMEOUTS, timeouts(900), timeouts(800));
    assert_eq!((set[0].0, set[0].1.number("tcp")), (12, Some(800)));
}

/// Whoever owns the store may write any image: what reaches out of the namespace, loads modules or asks
/// for more than a pod can need is refused before anything is sent.
#[test]
fn images_of_an_enemy_are_refused() {
    let source = Pair::wired("enemy");
    let good = image(&source);
    let link = |change: &dyn Fn(&mut Builder)| {
        let mut header = [0; 16];
        header[4..8].copy_from_slice(&77_u32.to_ne_bytes());
        let mut builder = Builder::new(LINKS.tells, 0, &header);
        change(&mut builder);
        let info = builder.begin(18);
        builder.put_text(1, "ifb").end(info);
        builder.finish()
    };
    let named = |name: &'static str| {
        link(&move |b| {
            b.put_text(3, name);
        })
    };
    let with_number = |id: u16| {
        link(&move |b| {
            b.put_text(3, "x0").put_u32(id, 4711);
        })
    };
    let mut congestion = Builder::new(24, 0, &[2, 24, 0, 0, 254, 4, 0, 1, 0, 0, 0, 0]);
    congestion.put(1, &[10, 9, 0, 0]).put_u32(4, 1);
    let metrics = congestion.begin(8);
    congestion.put_text(16, "evil").end(metrics);
    let file = |path: &str, value: &str| format!("{path}\0{value}\0").into_bytes();
    let cases = [
        ("links", named("../../x")),
        ("links", named("..")),
        ("links", named("a/b")),
        ("links", named("eth%d")),
        ("links", named("a name")),
        ("links", named("sixteen-letters-")),
        ("links", named("")),
        // IFLA_NET_NS_PID, IFLA_NET_NS_FD, IFLA_NEW_NETNSID, IFLA_TARGET_NETNSID; a host's link.
        ("links", with_number(19)),
        ("links", with_number(28)),
        ("links", with_number(45)),
        ("links", with_number(46)),
        ("links", with_number(10)),
        ("links", with_number(5)),
        // Queues without number.
        (
            "links",
            link(&|b| {
                b.put_text(3, "x0").put_u32(31, u32::MAX);
            }),
        ),
        ("routes", congestion.finish()),
        ("sysctls", file("ipv4/tcp_congestion_control", "evil")),
        ("sysctls", file("../kernel/core_pattern", "|/bin/sh")),
        ("sysctls", file("/proc/sys/kernel/core_pattern", "|/bin/sh")),
        ("ipvs-services", service("evil", 1)),
    ];
    let target = Pair::bare("enemy");
    let (pod, node) = (target.pod.open(), target.node.open());
    let asked = "ip link; ip route; sysctl net.ipv4.tcp_congestion_control";
    let before = target.pod.sh(asked);
    for (at, (name, message)) in cases.iter().enumerate() {
        let mut bad = good.clone();
        let old = bad.snapshot.sections.get(*name).cloned().unwrap_or_default();
        bad.snapshot.sections.insert((*name).to_owned(), [&old[..], message].concat().into());
        match restore::restore(&pod, Some(&node), &bad, &Default::default()) {
            Err(restore::Error::Image(_) | restore::Error::TooMuch { .. }) => {}
            other => panic!("{at}, in {name}: {other:?}"),
        }
        assert_eq!(target.pod.sh(asked), before, "{at}, in {name}");
    }
    restore::restore(&pod, Some(&node), &good, &Default::default()).unwrap();
}
