//! What is told apart, what gives way, what is refused, and what is left alone.

use std::time::Instant;

use bytes::Bytes;
use netckpt::image::{Image, Unsupported};
use netckpt::restore::{self, Error, Options};

use super::netns::Pair;
use super::netns::cases::forged;
use super::{findings, image_of, make, restored, told};

const RULES: &str = "iptables-legacy -N mine
    iptables-legacy -A INPUT -p tcp --dport 22 -c 5 500 -j mine
    iptables-legacy -A INPUT -m limit --limit 5/s -j ACCEPT
    iptables-legacy -A mine -s 10.0.0.1 -j DROP
    iptables-legacy -t raw -A PREROUTING -p tcp -j CT --helper ftp
    ip6tables-legacy -A FORWARD -j REJECT";

fn built() -> (Pair, Image) {
    let source = Pair::bare("xt");
    make(&source.pod, RULES).unwrap();
    let image = image_of(&source);
    (source, image)
}

#[test]
fn what_nobody_used_stays_unused() {
    let pair = Pair::bare("xt");
    let image = image_of(&pair);
    for file in ["ip_tables_names", "ip6_tables_names", "arp_tables_names"] {
        assert_eq!(pair.pod.run(&["cat", &format!("/proc/net/{file}")]), "", "{file}");
    }
    for class in ["iptables", "ip6tables", "arptables"] {
        assert!(image.snapshot.sections[class].is_empty());
    }
    assert!(!image.manifest.not_carried.iter().any(|entry| entry.class.contains("tables")));
}

#[test]
fn whatever_changes_is_named_and_mended() {
    let (source, image) = built();
    let before = told(&source.pod);
    for (change, class, words) in [
        (
            "iptables-legacy -A mine -j ACCEPT",
            "iptables",
            "filter mine 2: accept: not in the image",
        ),
        ("iptables-legacy -P OUTPUT DROP", "iptables", "filter OUTPUT: policy is drop"),
        ("iptables-legacy -D INPUT 1", "iptables", "filter INPUT 2: accept: missing"),
        ("iptables-legacy -N more", "iptables", "filter more: not in the image"),
        ("iptables-legacy -R mine 1 -s 10.0.0.2 -j DROP", "iptables", "header.source is 10.0.0.2"),
        ("iptables-legacy -t raw -F", "iptables", "raw PREROUTING 1: CT: missing"),
        (
            "iptables-legacy -t nat -A OUTPUT -p tcp -j REDIRECT",
            "iptables",
            "nat OUTPUT 1: REDIRECT",
        ),
        ("iptables-legacy -R INPUT 2 -m limit --limit 6/s -j ACCEPT", "iptables", "matches.0.data"),
        ("ip6tables-legacy -F", "ip6tables", "filter FORWARD 1: REJECT: missing"),
        ("arptables-legacy -P INPUT DROP", "arptables", "filter INPUT: not in the image"),
    ] {
        make(&source.pod, change).unwrap();
        let found = findings(&source, &image);
        let named = found.iter().any(|line| line.starts_with(class) && line.contains(words));
        assert!(named, "{change}: {found:#?}");
        restored(&source, &image).unwrap_or_else(|error| panic!("{change}: {error}"));
        assert_eq!(findings(&source, &image), [""; 0], "{change}");
        // Tables that were used meanwhile stay, and let everything pass.
        let now = told(&source.pod);
        let lost: Vec<_> = before.iter().filter(|line| !now.contains(line)).collect();
        assert!(lost.is_empty(), "{change}: {lost:#?}");
    }
}

#[test]
fn counters_that_moved_are_no_difference() {
    let (source, image) = built();
    source
        .pod
        .sh("iptables-legacy -Z; iptables-legacy -A OUTPUT -j ACCEPT; iptables-legacy -D OUTPUT 1");
    assert_eq!(findings(&source, &image), [""; 0]);
    assert_eq!(restored(&source, &image).unwrap().steps, 0);
}

#[test]
fn a_restore_can_be_taken_back() {
    let (_source, image) = built();
    let target = Pair::bare("xt");
    target.pod.sh("iptables-legacy -A INPUT -s 10.9.9.9 -c 3 33 -j DROP");
    let before = told(&target.pod);
    let (pod, node) = (target.pod.open(), target.node.open());
    let report = restored(&target, &image).unwrap();
    assert_ne!(told(&target.pod), before);
    let undone = restore::undo(&pod, Some(&node), &report).unwrap();
    assert_eq!(undone, restore::Undone::Wholly);
    let now = told(&target.pod);
    assert!(before.iter().all(|line| now.contains(line)), "{before:#?} {now:#?}");
    assert!(!now.iter().any(|line| line.contains("mine") || line.contains("REJECT")), "{now:#?}");
}

#[test]
fn sets_that_rules_look_into_give_way() {
    let source = Pair::bare("xt");
    source.pod.sh("ipset create b hash:ip; ipset create a hash:net
         iptables-legacy -A INPUT -m set --match-set a src -j DROP
         iptables-nft -A INPUT -m set --match-set b src -j DROP");
    let image = image_of(&source);
    let target = Pair::bare("xt");
    target.pod.sh("ipset create a hash:ip,port; ipset create b hash:net
         iptables-legacy -A INPUT -m set --match-set a src,dst -j ACCEPT
         ip6tables-legacy -A INPUT -m limit -j ACCEPT
         iptables-legacy -t mangle -A OUTPUT -j SET --add-set b src
         iptables-nft -A OUTPUT -m set --match-set b src -j ACCEPT");
    let (first, before) = (image_of(&target), told(&target.pod));
    restored(&target, &image).unwrap();
    let (is, shall) = (told(&target.pod), told(&source.pod));
    assert!(shall.iter().all(|line| is.contains(line)), "{shall:#?} {is:#?}");
    restored(&target, &first).unwrap();
    assert_eq!(told(&target.pod), before);
}

#[test]
fn what_is_not_carried_is_named_and_refused() {
    let source = Pair::bare("xt");
    let left = make(
        &source.pod,
        "iptables-legacy -A INPUT -j IDLETIMER --timeout 5 --label netckpt-test
         iptables-legacy -A INPUT -j RATEEST --rateest-name e --rateest-interval 250ms --rateest-ewmalog 500ms
         iptables-legacy -A INPUT -m rateest --rateest e --rateest-lt --rateest-bps 5000 -j ACCEPT
         iptables-legacy -A INPUT -m quota --quota 5000 -j ACCEPT",
    );
    left.unwrap().iter().for_each(|line| println!("skipped: {line}"));
    let image = image_of(&source);
    let named: Vec<String> = image
        .manifest
        .not_carried
        .iter()
        .filter(|entry| entry.class == "iptables")
        .map(|entry| format!("{} {}: {}", entry.matters, entry.object, entry.why))
        .collect();
    println!("{named:#?}");
    assert!(named.iter().any(|line| line.starts_with("false") && line.contains("quota")));
    let listed = source.pod.run(&["iptables-legacy", "-S", "INPUT"]);
    for name in ["IDLETIMER", "RATEEST", "rateest"] {
        let there = listed.contains(name);
        assert_eq!(there, named.iter().any(|line| line.starts_with("true") && line.contains(name)));
        if there {
            let target = Pair::bare("xt");
            let error = restored(&target, &image).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
            assert_eq!(target.pod.run(&["cat", "/proc/net/ip_tables_names"]), "");
        }
    }
}

#[test]
fn by_choice_the_rest_is_restored() {
    let source = Pair::bare("xt");
    source.pod.sh(
        "iptables-legacy -A INPUT -s 10.0.0.1 -j DROP
         iptables-legacy -A INPUT -j RATEEST --rateest-name e --rateest-interval 250ms --rateest-ewmalog 500ms
         iptables-legacy -A INPUT -s 10.0.0.2 -j DROP",
    );
    let image = image_of(&source);
    let target = Pair::bare("xt");
    let (pod, node) = (target.pod.open(), target.node.open());
    let options = Options { on_unsupported: Unsupported::Report, ..Options::default() };
    let report = restore::restore(&pod, Some(&node), &image, &options)
        .unwrap_or_else(|error| panic!("{error}"));
    assert!(report.left.iter().any(|(_, what)| what.contains("RATEEST")), "{:?}", report.left);
    let listed = target.pod.run(&["iptables-legacy", "-S", "INPUT"]);
    let wanted =
        "-P INPUT ACCEPT\n-A INPUT -s 10.0.0.1/32 -j DROP\n-A INPUT -s 10.0.0.2/32 -j DROP\n";
    assert_eq!(listed, wanted);
    assert_eq!(findings(&target, &image), [""; 0]);
}

#[test]
fn hostile_images_are_refused_before_anything_is_sent() {
    let (_source, image) = built();
    let target = Pair::bare("xt");
    for (from, to, words) in [
        (&b"filter\0"[..], &b"folder\0"[..], "folder"),
        (b"limit\0", b"frozen", "frozen"),
        (b"limit\0\0\0\x05\0\x02\0\0", b"limit\0\0\0\x05\0\x02\0\x07", "revision 7"),
        (b"ftp\0", b"evil", "evil"),
        (b"CT\0", b"LED", "LED"),
        (b"mine\0", b"mi\ne\0", "a name that a chain can have"),
    ] {
        let error = match restored(&target, &forged(&image, "iptables", from, to)) {
            Err(error @ Error::Image(_)) => error.to_string(),
            other => panic!("{words}: {other:?}"),
        };
        assert!(error.contains(words), "{words}: {error}");
        assert_eq!(target.pod.run(&["cat", "/proc/net/ip_tables_names"]), "", "{words}");
    }
}

#[test]
fn jumps_that_lead_nowhere_or_in_a_circle_are_refused() {
    let (_source, image) = built();
    let target = Pair::bare("xt");
    // The rule's jump is the last time that the name is told.
    let mut bytes = image.snapshot.sections["iptables"].to_vec();
    let jump = [&[9, 0, 12, 0][..], b"mine\0"].concat();
    let at = bytes.windows(jump.len()).position(|window| window == jump).unwrap();
    bytes[at + 4] = b'x';
    let mut dangling = image.clone();
    dangling.snapshot.sections.insert("iptables".to_owned(), Bytes::from(bytes.clone()));
    let error = restored(&target, &dangling).unwrap_err();
    assert!(matches!(error, Error::Plan(_)) && error.to_string().contains("xine"), "{error}");
    assert_eq!(target.pod.run(&["cat", "/proc/net/ip_tables_names"]), "");

    let source = Pair::bare("xt");
    source.pod.sh("iptables-legacy -N one; iptables-legacy -N two; iptables-legacy -A INPUT -j one
         iptables-legacy -A one -j two; iptables-legacy -A two -j two2 || true");
    let image = image_of(&source);
    // `two` for `one` in the rule that leads on from `one`.
    let jump = [&[8, 0, 12, 0][..], b"two\0"].concat();
    let circle = forged(&image, "iptables", &jump, &[&[8, 0, 12, 0][..], b"one\0"].concat());
    let error = restored(&target, &circle).unwrap_err().to_string();
    assert!(error.contains("ELOOP") && error.contains("again as it was"), "{error}");
}

#[test]
fn many_rules() {
    let source = Pair::bare("xt");
    let mut lines = "*filter\n:INPUT ACCEPT [0:0]\n".to_owned();
    (0..50).for_each(|n| lines.push_str(&format!(":c{n} - [0:0]\n")));
    for n in 0..2_000 {
        lines.push_str(&format!(
            "[{n}:5] -A c{} -s 10.0.0.0/8 -p tcp --dport {n} -j ACCEPT\n",
            n % 50
        ));
    }
    lines.push_str("COMMIT\n");
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines).unwrap();
    source.pod.sh(&format!("iptables-legacy-restore -c < {}", file.path().display()));
    let start = Instant::now();
    let image = image_of(&source);
    println!("2,000 rules: captured in {:?}", start.elapsed());
    let target = Pair::bare("xt");
    let report = restored(&target, &image).unwrap_or_else(|error| panic!("{error}"));
    println!("restored in {:?}", report.timings);
    assert!(told(&target.pod) == told(&source.pod));
    assert_eq!(findings(&target, &image), [""; 0]);
}
