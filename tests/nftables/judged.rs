//! What is told apart, what is refused, and what is left as it is.

use std::io::Write;
use std::process::Stdio;
use std::time::{Duration, Instant};

use netckpt::image::Image;
use netckpt::restore::Error;

use super::netns::cases::forged;
use super::netns::{Ns, Pair};
use super::{findings, image_of, make, quiet, restored, told};

const RULES: &str = "table inet t {
    counter n {
    }
    ct helper h { type \"ftp\" protocol tcp
    }
    set s { type ipv4_addr; flags timeout; elements = { 10.0.0.1, 10.0.0.2 timeout 1h }
    }
    chain d {
    }
    chain c { type filter hook input priority 0; policy accept
      ip saddr @s counter packets 5 bytes 500 jump d
      tcp dport 80 accept
    }
}";

fn built() -> (Pair, Image) {
    let source = quiet();
    make(&source.pod, RULES).unwrap();
    let image = image_of(&source);
    (source, image)
}

#[test]
fn whatever_changes_is_named() {
    let (source, image) = built();
    assert!(findings(&source, &image).is_empty());
    for (change, class, words) in [
        ("add rule inet t d drop", "nft-rules", "of inet t d: not in the image"),
        ("insert rule inet t c tcp dport 81 accept", "nft-rules", "of inet t c"),
        ("add chain inet t c { policy drop ; }", "nft-chains", "inet t c: policy is drop"),
        ("delete element inet t s { 10.0.0.2 }", "nft-set-elements", "0a000002: missing"),
        ("add element inet t s { 10.0.0.3 }", "nft-set-elements", "0a000003: not in the image"),
        ("add set inet t more { type mark ; }", "nft-sets", "set inet t more: not in"),
        ("add counter inet t m", "nft-objects", "counter inet t m: not in the image"),
        ("add table ip6 t", "nft-tables", "ip6 t: not in the image"),
        ("add table inet t { flags dormant ; }", "nft-tables", "inet t: flags is dormant"),
        ("delete table inet t", "nft-tables", "inet t: missing"),
    ] {
        make(&source.pod, change).unwrap();
        let found = findings(&source, &image);
        let named = found.iter().any(|line| line.starts_with(class) && line.contains(words));
        assert!(named, "{change}: {found:#?}");
        restored(&source, &image).unwrap_or_else(|error| panic!("{change}: {error}"));
        assert!(findings(&source, &image).is_empty());
    }
}

#[test]
fn counters_that_moved_are_no_difference() {
    let (source, image) = built();
    let target = quiet();
    restored(&target, &image).unwrap();
    target.pod.sh("nft reset rules inet t >/dev/null 2>&1 || nft reset counters; nft add element inet t s { 10.9.9.9 timeout 1s }");
    std::thread::sleep(Duration::from_millis(1_500));
    assert_eq!(findings(&target, &image), [""; 0]);
    assert_eq!(restored(&target, &image).unwrap().steps, 0);
    drop(source);
}

#[test]
fn what_is_in_the_way_is_replaced_at_once() {
    let (source, image) = built();
    let target = Pair::wired("nft-cni");
    make(&target.pod, "table inet t {\nchain other { type filter hook input priority 0; policy drop\n}\n}\ntable ip6 gone {\n}").unwrap();
    // Addresses and routes of CNI give way as well: only this image is meant.
    restored(&target, &image).unwrap();
    assert_eq!(told(&target.pod), told(&source.pod));
    assert_eq!(restored(&target, &image).unwrap().steps, 0);
}

#[test]
fn time_in_transit_counts() {
    let source = quiet();
    make(
        &source.pod,
        "table inet t {\nset s { type mark; flags timeout; elements = { 1 timeout 1h, 2 timeout 90s, 3 }\n}\n}",
    )
    .unwrap();
    let mut image = image_of(&source);
    image.manifest.created -= jiff::SignedDuration::from_secs(100);
    let target = quiet();
    restored(&target, &image).unwrap();
    let listed = target.pod.run(&["nft", "list", "set", "inet", "t", "s"]);
    assert!(listed.contains("expires 58m1") || listed.contains("expires 58m20s"), "{listed}");
    assert!(!listed.contains("0x00000002"), "it ended in transit: {listed}");
    assert!(listed.contains("0x00000003"), "{listed}");
    assert_eq!(findings(&target, &image), [""; 0]);
}

#[test]
fn tables_of_a_process_are_named_and_left() {
    let owned = quiet();
    let mut owner = owned
        .pod
        .command(&["nft", "-i"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = owner.stdin.take().unwrap();
    writeln!(lines, "add table inet own {{ flags owner; }}\nadd chain inet own c").unwrap();
    lines.flush().unwrap();
    let start = Instant::now();
    while !owned.pod.run(&["nft", "list", "ruleset"]).contains("chain c") {
        assert!(start.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(20));
    }
    make(&owned.pod, RULES).unwrap();
    let image = image_of(&owned);
    let named = image.manifest.not_carried.iter().find(|entry| entry.class == "nft-tables");
    let named = named.expect("it is named");
    assert!(named.object == "inet own" && named.matters, "{named:?}");
    let error = restored(&quiet(), &image).unwrap_err().to_string();
    assert!(error.contains("inet own"), "{error}");
    // Where there is one in the target it stays.
    let (_source, plain) = built();
    restored(&owned, &plain).unwrap();
    assert!(owned.pod.run(&["nft", "list", "ruleset"]).contains("table inet own"));
    drop(lines);
    owner.wait().unwrap();
}

#[test]
fn hostile_images_are_refused_before_anything_is_sent() {
    let source = quiet();
    make(&source.pod, RULES).unwrap();
    let xtables = "iptables-nft -A INPUT -p tcp -m length --length 5 -j CT --helper ftp -t raw || \
                   iptables-nft -t raw -A PREROUTING -p tcp -m length --length 5 -j CT --helper ftp";
    source.pod.sh(xtables);
    let image = image_of(&source);
    let target = quiet();
    let before = told(&target.pod);
    for (section, from, to, words) in [
        ("nft-rules", &b"counter\0"[..], &b"foreign\0"[..], "foreign"),
        ("nft-rules", b"lookup\0", b"looker\0", "looker"),
        ("nft-rules", b"length\0", b"nfacct\0", "nfacct"),
        ("nft-rules", b"ftp\0\0", b"xyz\0\0", "xyz"),
        ("nft-rules", b"CT\0\0", b"LE\0\0", "LE"),
        ("nft-objects", b"ftp\0", b"evil", "evil"),
        ("nft-chains", b"filter\0", b"folder\0", "folder"),
        ("nft-tables", &[1, 0, 0], &[9, 0, 0], "family"),
    ] {
        let forged = forged(&image, section, from, to);
        let error = match restored(&target, &forged) {
            Err(error @ Error::Image(_)) => error.to_string(),
            other => panic!("{words}: {other:?}"),
        };
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(told(&target.pod), before);
    }
}

#[test]
fn a_refused_transaction_leaves_what_was_there() {
    let (_source, image) = built();
    let target = quiet();
    make(
        &target.pod,
        "table inet mine {\nchain c { type filter hook input priority 0; counter\n}\n}",
    )
    .unwrap();
    let before = told(&target.pod);
    // A jump to a chain that is not in the image.
    let forged = forged(&image, "nft-rules", b"d\0\0\0", b"e\0\0\0");
    let error = restored(&target, &forged).expect_err("a dangling jump").to_string();
    assert!(error.contains("ENOENT") && error.contains("rule"), "{error}");
    assert!(error.contains("again as it was"), "{error}");
    assert_eq!(told(&target.pod), before);
}

#[test]
fn many_rules_and_elements() {
    let source = quiet();
    let mut lines =
        "table inet t {\nset s { type ipv4_addr; flags interval; elements = { ".to_owned();
    let elements = (0..10_000_u32).map(|n| format!("10.{}.{}.0/25", n >> 8, n & 255));
    lines.push_str(&elements.collect::<Vec<_>>().join(", "));
    lines.push_str(" }\n}\nchain c {\n");
    for n in 0..2_000 {
        lines.push_str(&format!("ip saddr 10.0.0.0/8 tcp dport {n} counter accept\n"));
    }
    lines.push_str("}\n}\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    let nft = |ns: &Ns| ns.run(&["nft", "-f", file.path().to_str().unwrap()]);
    nft(&source.pod);
    let start = Instant::now();
    let image = image_of(&source);
    let captured = start.elapsed();
    let target = quiet();
    let report = restored(&target, &image).unwrap();
    let lists = |ns: &Ns| ns.run(&["nft", "list", "ruleset"]);
    assert!(lists(&target.pod) == lists(&source.pod));
    assert_eq!(findings(&target, &image), [""; 0]);
    println!("captured in {captured:?}, restored in {:?}", report.timings);
    let scripted = quiet();
    let start = Instant::now();
    nft(&scripted.pod);
    println!("nft -f: {:?}", start.elapsed());
}
