//! One instant: a set and a rule that go from version to version while captures are made. First the set
//! takes the new version on, then it loses the old one, then the rule follows: an image in which the rule
//! is ahead, or more than one behind, is of two moments.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use netckpt::capture::{Captured, Options, capture};
use netckpt::state::{class, objects};

use super::netns::Ns;

const CAPTURES: u32 = 60;
const BOUND: Duration = Duration::from_secs(30);

const WRITER: &str = "n=1
    while :; do
        ipset add v $((n + 1)); ipset del v $n; n=$((n + 1))
        iptables-legacy -R INPUT 1 -m mark --mark $n -j DROP
        sleep 0.0$((n % 4))
    done";

#[test]
fn a_capture_holds_one_version() {
    let ns = Ns::new("xt-instant");
    ns.sh("ipset create v bitmap:port range 0-65535; ipset add v 1
           iptables-legacy -A INPUT -m mark --mark 1 -j DROP");
    let namespace = ns.open();
    let mut writer = ns.command(&["sh", "-euc", WRITER]).spawn().unwrap();
    let start = Instant::now();
    let mut seen = BTreeSet::new();
    let (mut captures, mut read_again) = (0, 0);
    let mut torn = None;
    while captures < CAPTURES && start.elapsed() < BOUND && torn.is_none() {
        let captured = capture(&namespace, &Options::default()).expect("a capture in time");
        let (members, rule) = versions(&captured);
        let newest = *members.last().expect("a set that is never empty");
        let whole = members.len() == 1 && (newest == rule || newest == rule + 1)
            || members == [rule, rule + 1];
        torn = (!whole).then(|| format!("members {members:?} beside rule {rule}"));
        seen.insert(rule);
        captures += 1;
        read_again += u32::from(!captured.evidence.read_again.is_empty());
    }
    writer.kill().unwrap();
    writer.wait().unwrap();
    println!("{captures} captures of {} versions, {read_again} read again", seen.len());
    assert_eq!(torn, None);
    assert!(seen.len() > 5 && read_again > 0, "the writer never came between: nothing was tried");
}

fn versions(captured: &Captured) -> (Vec<u64>, u64) {
    let of = |name: &str| objects(class(name).unwrap(), &captured.snapshot.sections[name]).unwrap();
    let members = of("ipset-members");
    let mut members: Vec<_> =
        members.iter().filter_map(|member| member.value().number("data.port")).collect();
    members.sort_unstable();
    let rules = of("iptables");
    let mut marks = rules.iter().filter_map(|rule| {
        let value = rule.value();
        let data = value.field("matches.0.data")?.to_string();
        // `struct xt_mark_mtinfo1` begins with the mark.
        let mark: [u8; 4] = hex::decode(data).ok()?.first_chunk().copied()?;
        Some(u64::from(u32::from_ne_bytes(mark)))
    });
    (members, marks.next_back().expect("a rule"))
}
