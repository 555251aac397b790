//! What is told apart, what gives way, what is refused, and how long many members take.

use std::time::Instant;

use netckpt::image::Image;
use netckpt::restore::Error;

use super::netns::Pair;
use super::netns::cases::forged;
use super::{findings, image_of, restored, told};

const SETS: &str = "ipset create first hash:ip
    ipset create a hash:ip timeout 1000 comment
    ipset add a 10.0.0.1; ipset add a 10.0.0.2 timeout 0 comment two; ipset add a 10.0.0.3 timeout 90
    ipset create p bitmap:port range 1-100; ipset add p 5
    ipset create l list:set; ipset add l a
    ipset destroy first";

fn built() -> (Pair, Image) {
    let source = Pair::bare("ipset");
    source.pod.sh(SETS);
    let image = image_of(&source);
    (source, image)
}

#[test]
fn whatever_changes_is_named_and_mended() {
    let (source, image) = built();
    let before = told(&source.pod);
    for (change, class, words) in [
        ("ipset del a 10.0.0.1", "ipset-members", "a: 10.0.0.1: missing"),
        ("ipset add a 10.9.9.9", "ipset-members", "a: 10.9.9.9: not in the image"),
        (
            "ipset add -exist a 10.0.0.2 timeout 0 comment other",
            "ipset-members",
            "comment is other",
        ),
        (
            "ipset add -exist a 10.0.0.2 timeout 500 comment two",
            "ipset-members",
            "timeout is limited",
        ),
        ("ipset create more hash:ip", "ipsets", "set more: not in the image"),
        ("ipset del l a; ipset flush p", "ipset-members", "p: 5: missing"),
        ("ipset rename p q", "ipsets", "set p: missing"),
        ("ipset destroy l; ipset destroy a; ipset create a hash:ip", "ipsets", "set a: index is 0"),
        (
            "ipset create x hash:ip; ipset add l x; ipset del l a; ipset add l a",
            "ipset-members",
            "l: a: not in the order",
        ),
        (
            "ipset destroy p; ipset create p bitmap:port range 1-101",
            "ipsets",
            "data.port_to is 101",
        ),
    ] {
        source.pod.sh(change);
        let found = findings(&source, &image);
        let named = found.iter().any(|line| line.starts_with(class) && line.contains(words));
        // Only what both sides have has an order.
        assert!(named || words.ends_with("order"), "{change}: {found:#?}");
        restored(&source, &image).unwrap_or_else(|error| panic!("{change}: {error}"));
        assert_eq!(findings(&source, &image), [""; 0], "{change}");
        assert_eq!(told(&source.pod), before, "{change}");
    }
}

#[test]
fn sets_that_rules_look_into_give_way() {
    let (source, image) = built();
    source.pod.sh("iptables-nft -A INPUT -m set --match-set a src -j DROP");
    let with_rule = image_of(&source);
    let target = Pair::bare("ipset");
    target.pod.sh(
        "ipset create other hash:net; ipset create a hash:ip,port; ipset create mine list:set; ipset add mine other
         iptables-nft -A INPUT -m set --match-set a src,dst -j ACCEPT
         iptables-nft -A OUTPUT -m set --match-set mine src -j ACCEPT",
    );
    let first = image_of(&target);
    let before = told(&target.pod);
    restored(&target, &with_rule).unwrap();
    assert_eq!(told(&target.pod), told(&source.pod));
    // There and back again.
    restored(&target, &first).unwrap();
    assert_eq!(told(&target.pod), before);
    restored(&target, &image).unwrap_or_else(|error| panic!("{error}"));
    assert!(!told(&target.pod).iter().any(|line| line.contains("match-set")));
}

#[test]
fn time_in_transit_counts() {
    let (_source, mut image) = built();
    image.manifest.created -= jiff::SignedDuration::from_secs(100);
    let target = Pair::bare("ipset");
    restored(&target, &image).unwrap_or_else(|error| panic!("{error}"));
    let listed = target.pod.run(&["ipset", "save", "a"]);
    let left =
        listed.lines().find_map(|line| line.strip_prefix("add a 10.0.0.1 timeout ")).unwrap();
    assert!((880..=900).contains(&left.trim().parse::<u32>().unwrap()), "{listed}");
    assert!(listed.contains("10.0.0.2 timeout 0") && !listed.contains("10.0.0.3"), "{listed}");
    assert_eq!(findings(&target, &image), [""; 0]);
}

#[test]
fn hostile_images_are_refused_before_anything_is_sent() {
    let (_source, image) = built();
    let target = Pair::bare("ipset");
    for (section, from, to, words) in [
        ("ipsets", &b"hash:ip\0"[..], &b"hash:xx\0"[..], "hash:xx"),
        ("ipsets", &[8, 0, 18, 64, 0, 0], &[8, 0, 18, 64, 255, 0], "buckets"),
        ("ipsets", &[6, 0, 11, 64, 0], &[6, 0, 11, 64, 255], "index"),
        ("ipsets", &[5, 0, 5, 0, 2], &[5, 0, 5, 0, 7], "family"),
        ("ipsets", b"a\0", b"\n\0", "name"),
        // The end of a range of ports.
        ("ipset-members", &[6, 0, 4, 64, 0, 5], &[6, 0, 5, 64, 0, 5], "attribute 5"),
        ("ipset-members", b"a\0", b"\0\0", "without its set"),
    ] {
        let error = match restored(&target, &forged(&image, section, from, to)) {
            Err(error @ Error::Image(_)) => error.to_string(),
            other => panic!("{words}: {other:?}"),
        };
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(target.pod.run(&["ipset", "save"]), "");
    }
}

#[test]
fn what_the_kernel_refuses_leaves_what_was_there() {
    let (_source, image) = built();
    let target = Pair::bare("ipset");
    target.pod.sh("ipset create mine hash:ip; ipset add mine 10.0.0.7");
    let before = told(&target.pod);
    // A member that is outside of the range of its set.
    let forged = forged(&image, "ipset-members", &[6, 0, 4, 64, 0, 5], &[6, 0, 4, 64, 9, 5]);
    let error = restored(&target, &forged).expect_err("a port out of range").to_string();
    assert!(error.contains("p: 2309") && error.contains("again as it was"), "{error}");
    assert_eq!(told(&target.pod), before);
}

#[test]
fn many_members_are_quick() {
    let source = Pair::bare("ipset");
    let mut lines = "create s hash:ip comment timeout 5000\ncreate n hash:net,port\n".to_owned();
    for n in 0..10_000_u32 {
        lines.push_str(&format!("add s 10.0.{}.{} comment c{n}\n", n >> 8, n & 255));
        lines.push_str(&format!("add n 10.{}.{}.0/24,tcp:80\n", n >> 8, n & 255));
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let script = format!("ipset restore < {}", file.path().display());
    source.pod.sh(&script);
    let start = Instant::now();
    let image = image_of(&source);
    let captured = start.elapsed();
    let target = Pair::bare("ipset");
    let report = restored(&target, &image).unwrap_or_else(|error| panic!("{error}"));
    assert!(told(&target.pod) == told(&source.pod));
    assert_eq!(findings(&target, &image), [""; 0]);
    let apply = report.timings.apply;
    println!("20,000 members: captured in {captured:?}, restored in {:?}", report.timings);
    let scripted = Pair::bare("ipset");
    let start = Instant::now();
    scripted.pod.sh(&script);
    let by_tool = start.elapsed();
    println!("ipset restore: {by_tool:?}");
    assert!(apply < by_tool * 2, "the kernel's part took {apply:?}, the tool {by_tool:?}");
}
