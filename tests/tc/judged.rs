//! Verify names what was changed behind its back; a capture names what it can't carry.

use super::netns::Pair;
use super::{captured, findings, image_of, make, quiet, restored, told};

const STATE: &str = "
    tc qdisc add dev d0 root handle 1: htb default 30
    tc class add dev d0 parent 1: classid 1:1 htb rate 10mbit
    tc qdisc add dev d0 parent 1:1 handle 10: pfifo limit 5
    tc qdisc add dev d0 clsact
    tc chain add dev d0 egress chain 9
    tc actions add action mirred egress redirect dev d1 index 7
    tc filter add dev d0 ingress prio 5 protocol ip u32 match ip dst 10.0.0.5 action mirred index 7
    tc filter add dev d0 ingress prio 6 protocol ip bpf bytecode '1,6 0 0 1' flowid 1:1
    tc filter add dev d0 ingress prio 6 protocol ip bpf bytecode '1,6 0 0 2' flowid 1:2
    tc qdisc add dev d1 root handle 1: tbf rate 1mbit burst 10kb latency 50ms";

/// A change, and a word of what verify must say of it.
const CHANGES: &[(&str, &str)] = &[
    ("tc qdisc change dev d0 parent 1:1 handle 10: pfifo limit 6", "limit is 6 instead of 5"),
    ("tc qdisc del dev d0 parent 1:1", "qdisc pfifo 10: at 1:1 of d0: missing"),
    ("tc qdisc del dev d0 root", "qdisc htb 1: at root of d0: missing"),
    ("tc qdisc add dev eth0 root pfifo", "qdiscs: qdisc pfifo"),
    ("tc class change dev d0 parent 1: classid 1:1 htb rate 11mbit", "rate is 1375000"),
    ("tc class add dev d0 parent 1: classid 1:2 htb rate 1mbit", "class htb 1:2 of d0: not in"),
    ("tc chain del dev d0 egress chain 9", "chain 9 at egress of d0: missing"),
    ("tc chain add dev d0 ingress chain 8", "chain 8 at ingress of d0: not in"),
    ("tc actions change action mirred egress redirect dev eth0 index 7", "parms.ifindex is"),
    ("tc actions add action mirred egress redirect dev eth0 index 9", "action mirred 9: not in"),
    ("tc filter del dev d0 ingress prio 5", "filter u32 pref 5 handle 0x80000800"),
    ("tc filter del dev d0 ingress prio 6 handle 1 bpf", "filter bpf pref 6 handle 0x1"),
    (
        "tc filter del dev d0 ingress prio 6 handle 1 bpf
         tc filter add dev d0 ingress prio 6 handle 1 protocol ip bpf bytecode '1,6 0 0 1' flowid 1:1",
        "not in the order of the image",
    ),
    ("tc qdisc change dev d1 root handle 1: tbf rate 2mbit burst 10kb latency 50ms", "parms.rate"),
];

#[test]
fn each_change_is_named_and_mended() {
    let source = quiet();
    assert_eq!(make(&source.pod, STATE), Ok(Vec::new()));
    let image = image_of(&source);
    let shall = told(&source.pod);
    let target = Pair::bare("tc-judged");
    restored(&target, &image).unwrap();
    for (change, words) in CHANGES {
        assert_eq!(make(&target.pod, change), Ok(Vec::new()), "{change}");
        let found = findings(&target, &image);
        assert!(found.iter().any(|line| line.contains(words)), "{change}: {found:#?}");
        restored(&target, &image).unwrap_or_else(|error| panic!("{change}: {error}"));
        assert_eq!(told(&target.pod), shall, "{change}");
    }
}

/// Options are changed in place: what hangs on it stays, with its counters.
#[test]
fn what_can_be_changed_is_not_made_anew() {
    let source = quiet();
    assert_eq!(make(&source.pod, STATE), Ok(Vec::new()));
    let image = image_of(&source);
    let target = Pair::bare("tc-place");
    restored(&target, &image).unwrap();
    let change = "tc class change dev d0 parent 1: classid 1:1 htb rate 11mbit
                  tc qdisc change dev d1 root handle 1: tbf rate 2mbit burst 10kb latency 50ms";
    assert_eq!(make(&target.pod, change), Ok(Vec::new()));
    let report = restored(&target, &image).unwrap();
    let mut steps: Vec<_> =
        report.plans.iter().flat_map(|plan| &plan.steps).map(|step| step.label.clone()).collect();
    steps.sort();
    assert_eq!(steps, ["change class htb 1:1 of d0", "change qdisc tbf 1: at root of d1"]);
}

/// A default is left to the kernel, and what somebody put in its place goes.
#[test]
fn defaults_are_the_kernels() {
    let source = quiet();
    let image = image_of(&source);
    assert!(image.snapshot.sections["qdiscs"].is_empty());
    let target = quiet();
    assert_eq!(make(&target.pod, STATE), Ok(Vec::new()));
    restored(&target, &image).unwrap();
    assert_eq!(told(&target.pod), told(&source.pod));
    assert!(findings(&target, &image).is_empty());
}

#[test]
fn what_is_not_told_is_named() {
    let source = quiet();
    let left =
        make(&source.pod, "tc qdisc add dev d0 root handle 1: estimator 1sec 8sec pfifo limit 5");
    assert_eq!(left, Ok(Vec::new()));
    let captured = captured(&source);
    let named = captured.not_carried.iter().any(|lost| {
        lost.class == "qdiscs" && lost.object.contains("pfifo 1:") && lost.why.contains("rate_est")
    });
    assert!(named, "{:?}", captured.not_carried);
}

/// What was made of a restore that failed is taken back.
#[test]
fn a_failure_leaves_what_was() {
    let source = quiet();
    // The image asks for a link that is not there to be sent to.
    assert_eq!(make(&source.pod, STATE), Ok(Vec::new()));
    let mut image = image_of(&source);
    let section = image.snapshot.sections["tc-classes"].to_vec();
    // A rate of nothing, which the kernel refuses: the first number after the ratespec's head.
    let parms = section.windows(4).position(|four| four == 1_250_000_u32.to_ne_bytes()).unwrap();
    let mut broken = section;
    broken[parms..parms + 4].fill(0);
    image.snapshot.sections.insert("tc-classes".to_owned(), broken.into());
    let target = quiet();
    let other = "tc qdisc add dev d0 root handle 7: htb
                 tc class add dev d0 parent 7: classid 7:1 htb rate 1mbit
                 tc filter add dev d0 parent 7: protocol ip u32 match ip dst 10.0.0.1 flowid 7:1";
    assert_eq!(make(&target.pod, other), Ok(Vec::new()));
    let before = told(&target.pod);
    assert!(restored(&target, &image).is_err());
    assert_eq!(told(&target.pod), before);
}

/// The outer end of a pod's link, as the bandwidth plugin shapes it, is read by itself.
#[test]
fn one_link_of_the_host_is_read() {
    use netckpt::state::classes::tc::of_link;
    use netckpt::state::{Reader, objects};

    let pair = quiet();
    pair.node.ip("link add other type veth peer name another\nlink set other up");
    let left = make(
        &pair.node,
        "tc qdisc add dev veth0 root handle 1: tbf rate 10mbit burst 256kb latency 25ms
         tc qdisc add dev veth0 ingress
         tc filter add dev veth0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev other
         tc qdisc add dev other root handle 1: tbf rate 20mbit burst 256kb latency 25ms
         tc qdisc add dev another clsact",
    );
    assert_eq!(left, Ok(Vec::new()));
    let link = pair.node.run(&["cat", "/sys/class/net/veth0/ifindex"]).trim().parse().unwrap();
    let read = pair.node.open().run(move || of_link(&mut Reader::new(), link)).unwrap().unwrap();
    let counts: Vec<_> = read
        .iter()
        .map(|(class, section)| (class.name, objects(class, section).unwrap().len()))
        .collect();
    let shall = [("tc-classes", 0), ("tc-chains", 0), ("tc-filters", 2), ("qdiscs", 2)];
    assert_eq!(counts, shall);
}
