//! Multicast: what was joined by hand and by addresses comes back as `ip maddr` tells it; what sockets
//! joined is listed; multicast routing, which lives in a daemon's socket, is named.

mod netns;
mod returns;

use std::net::{Ipv4Addr, Ipv6Addr, UdpSocket};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use netckpt::netlink::Builder;
use netckpt::state::classes::{MULTICAST_ADDRESSES, MULTICAST_GROUPS};
use netckpt::state::{Names, Verdict, check, objects};
use netns::{Ns, Pair};
use returns::{comes_back, image};

#[test]
fn addresses_joined_by_hand_come_back() {
    let returned = comes_back(
        "maddr",
        "ip maddr add 01:00:5e:01:02:03 dev eth0
         ip maddr add 33:33:00:00:00:99 dev eth0
         # Joined for a group as well: two users.
         ip addr add 239.5.6.7/32 dev eth0 autojoin
         ip maddr add 01:00:5e:05:06:07 dev eth0
         ip addr add ff05::77/128 dev eth0 autojoin nodad
         sysctl -qw net.ipv4.conf.eth0.force_igmp_version=2 net.ipv6.conf.eth0.force_mld_version=1",
        &[
            "sort /proc/net/dev_mcast",
            "ip maddr | sort",
            "ip -o addr show autojoin | sed 's/[0-9]*: *//'",
            "sysctl net.ipv4.conf.eth0.force_igmp_version net.ipv6.conf.eth0.force_mld_version",
        ],
    );
    returned.expect("every kernel has this").notices(&[
        ("ip maddr del 01:00:5e:01:02:03 dev eth0", "01:00:5e:01:02:03 on eth0: missing"),
        ("ip maddr add 01:00:5e:01:02:04 dev eth0", "01:00:5e:01:02:04 on eth0: not in the image"),
    ]);
}

/// Group and name of the link of everything that iproute2 tells of IP groups.
fn told(ns: &Ns) -> Vec<String> {
    let mut link = String::new();
    let mut all = Vec::new();
    for line in ns.sh("ip maddr").lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            [index, name] if index.ends_with(':') => name.clone_into(&mut link),
            ["inet" | "inet6", group, ..] => all.push(format!("{group} on {link}")),
            _ => {}
        }
    }
    all.sort();
    all
}

#[test]
fn groups_that_sockets_joined_are_listed() {
    let pair = Pair::wired("groups");
    pair.pod.settle();
    let sockets = pair.pod.open().run(|| {
        let ipv4 = UdpSocket::bind("0.0.0.0:5000").unwrap();
        let (group, own) = (Ipv4Addr::new(239, 1, 1, 1), Ipv4Addr::new(10, 61, 0, 2));
        ipv4.join_multicast_v4(&group, &own).unwrap();
        let ipv6 = UdpSocket::bind("[::]:5001").unwrap();
        ipv6.join_multicast_v6(&Ipv6Addr::new(0xff05, 0, 0, 0, 0, 0, 0, 0x99), 0).unwrap();
        (ipv4, ipv6)
    });
    let _sockets = sockets.unwrap();
    let image = image(&pair);
    let names = Names::of(&image.snapshot.sections["links"]);
    let section = &image.snapshot.sections["multicast-groups"];
    let found = objects(&MULTICAST_GROUPS, section).unwrap();
    let mut labels: Vec<_> = found.iter().map(|group| group.label(&names)).collect();
    labels.sort();
    assert_eq!(labels, told(&pair.pod));
    assert!(labels.iter().any(|label| label == "239.1.1.1 on eth0"), "{labels:?}");
    assert_eq!(image.manifest.counts["multicast-groups"], labels.len() as u64);
    assert_eq!(image.manifest.counts["multicast-addresses"], 0);
}

/// The same numbers for `MRT_INIT` and `MRT6_INIT`, and for the adding of an interface.
const INIT: i32 = 200;
const ADD: i32 = 202;

#[track_caller]
fn set(socket: &OwnedFd, level: i32, option: i32, value: &[u8]) {
    // SAFETY: pointer and length are those of the value.
    let outcome = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            value.as_ptr().cast(),
            value.len() as libc::socklen_t,
        )
    };
    assert_eq!(outcome, 0, "{option}: {}", std::io::Error::last_os_error());
}

/// A raw socket that routes multicast on one interface.
fn router(ns: &Ns, family: (i32, i32), level: i32, interface: &[u8]) -> OwnedFd {
    let made = ns.open().run(|| {
        // SAFETY: plain system call; the descriptor is owned from here on.
        let socket =
            unsafe { OwnedFd::from_raw_fd(libc::socket(family.0, libc::SOCK_RAW, family.1)) };
        set(&socket, level, INIT, &1_i32.to_ne_bytes());
        set(&socket, level, ADD, interface);
        socket
    });
    made.unwrap()
}

#[test]
fn multicast_routing_is_named() {
    let pair = Pair::wired("mroute");
    let links = pair.pod.json(&["ip", "-j", "link", "show", "eth0"]);
    let index = links[0]["ifindex"].as_u64().unwrap() as u32;
    let named = || -> Vec<String> {
        let lost = image(&pair).manifest.not_carried.into_iter();
        let lost = lost.filter(|lost| lost.class == "multicast-routes" && lost.matters);
        lost.map(|lost| lost.object).collect()
    };
    assert_eq!(named(), Vec::<String>::new());
    // `struct vifctl`: number, flags (by index), threshold, limit, link, remote end.
    let mut interface = [0; 16];
    interface[2..4].copy_from_slice(&[8, 1]);
    interface[8..12].copy_from_slice(&index.to_ne_bytes());
    let ipv4 = (libc::AF_INET, libc::IPPROTO_IGMP);
    let router4 = router(&pair.pod, ipv4, libc::IPPROTO_IP, &interface);
    assert_eq!(named(), ["interface eth0"]);
    drop(router4);
    // `struct mif6ctl`: number, flags, threshold, link, limit.
    let mut interface = [0; 12];
    interface[3] = 1;
    interface[4..6].copy_from_slice(&(index as u16).to_ne_bytes());
    let ipv6 = (libc::AF_INET6, libc::IPPROTO_ICMPV6);
    let _router6 = router(&pair.pod, ipv6, libc::IPPROTO_IPV6, &interface);
    assert_eq!(named(), ["interface eth0"]);
}

/// A table beside the default one, and routes: procfs tells of neither.
#[test]
fn multicast_routing_of_other_tables_is_named() {
    let pair = Pair::wired("mtables");
    let links = pair.pod.json(&["ip", "-j", "link", "show", "eth0"]);
    let index = links[0]["ifindex"].as_u64().unwrap() as u32;
    // `struct vifctl` as above; `struct mfcctl`: source, group, incoming number, thresholds, and more.
    let mut interface = [0; 16];
    interface[2..4].copy_from_slice(&[8, 1]);
    interface[8..12].copy_from_slice(&index.to_ne_bytes());
    let mut route = [0; 60];
    route[..8].copy_from_slice(&[10, 61, 0, 1, 239, 5, 5, 5]);
    const TABLE: i32 = 209;
    const ROUTE: i32 = 204;
    let _router = pair.pod.open().run(|| {
        // SAFETY: plain system call; the descriptor is owned from here on.
        let socket = unsafe {
            OwnedFd::from_raw_fd(libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_IGMP))
        };
        let level = libc::IPPROTO_IP;
        set(&socket, level, TABLE, &300_u32.to_ne_bytes());
        set(&socket, level, INIT, &1_i32.to_ne_bytes());
        set(&socket, level, ADD, &interface);
        set(&socket, level, ROUTE, &route);
        socket
    });
    let lost = image(&pair).manifest.not_carried.into_iter();
    let lost = lost.filter(|lost| lost.class == "multicast-routes" && lost.matters);
    let named: Vec<_> = lost.map(|lost| lost.object).collect();
    assert_eq!(
        named,
        ["interface eth0 (table 300)", "route of 10.61.0.1 to 239.5.5.5 (table 300)"]
    );
}

#[test]
fn rules_of_multicast_routing_come_back() {
    let returned = comes_back(
        "mrules",
        "ip mrule add iif eth0 table 50 prio 9
         ip mrule add fwmark 7/0xf table default prio 9
         ip mrule del pref 32767
         ip -6 mrule add iif eth0 table 51
         ip -6 mrule add prohibit iif lo",
        &["ip mrule", "ip -6 mrule"],
    );
    let Some(returned) = returned else { return };
    returned.notices(&[
        (
            "ip mrule del prio 9 iif eth0 table 50",
            "(ipv4 multicast): from all iif eth0 lookup 50: missing",
        ),
        (
            "ip -6 mrule add iif eth0 table 60",
            "(ipv6 multicast): from all iif eth0 lookup 60: not in the image",
        ),
    ]);
}

#[test]
fn an_address_that_no_request_has_room_for_is_refused() {
    let mut header = [0; 16];
    header[4] = 1;
    for (length, taken) in [(0, false), (6, true), (14, true), (15, false), (32, false)] {
        let mut builder = Builder::new(MULTICAST_ADDRESSES.tells, 0, &header);
        builder.put(1, &vec![1; length]);
        let found = check(&MULTICAST_ADDRESSES, &builder.finish(), &Names::default());
        let refused = found.iter().any(|problem| problem.fault.verdict() == Verdict::NotCarried);
        assert_eq!(refused, !taken, "{length}: {found:?}");
    }
}
