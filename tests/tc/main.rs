//! Traffic control, case by case: what `tc` made comes back in a bare namespace, and `tc` tells the
//! same of every link, to the letter.
//!
//! A line that this kernel or this `tc` has no means for is named and passed over.

mod cases;
mod hostile;
mod instant;
mod judged;
#[path = "../netns/mod.rs"]
mod netns;

use cases::CASES;
use netckpt::capture::{self, Captured};
use netckpt::image::{Image, Origin};
use netckpt::restore::{self, Options, Report};
use netns::{Ns, Pair};

/// Makes a case; answers the lines that this kernel or its tools have no means for.
pub fn make(ns: &Ns, lines: &str) -> Result<Vec<String>, String> {
    let mut left = Vec::new();
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        match ns.try_run(&["sh", "-euc", line]) {
            Ok(_) => {}
            Err(error) if is_lacking(&error) => left.push(line.to_owned()),
            // What stands on a line that was left out.
            Err(_) if !left.is_empty() => left.push(line.to_owned()),
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

fn is_lacking(error: &str) -> bool {
    let lacking = [
        "kind is unknown",
        "Failed to load TC action module",
        "classifier not found",
        "Unknown qdisc",
    ];
    lacking.iter().any(|words| error.contains(words))
}

/// A pod with links and nothing that the kernel would go on working at.
pub fn quiet() -> Pair {
    let pair = Pair::bare("tc");
    let pod = pair.pod.name();
    pair.node.ip(&format!("link add veth0 type veth peer name eth0 netns {pod}"));
    pair.pod.ip("link add d0 type veth peer name d1
                 link set eth0 addrgenmode none
                 link set d0 addrgenmode none
                 link set d1 addrgenmode none
                 link set eth0 up
                 link set d0 up
                 link set d1 up
                 link set lo up");
    pair
}

pub fn captured(pair: &Pair) -> Captured {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    capture::network(&pod, Some(&node), &capture::Options::default()).unwrap()
}

pub fn image_of(pair: &Pair) -> Image {
    captured(pair).into_image(Origin::default())
}

pub fn restored(target: &Pair, image: &Image) -> Result<Report, restore::Error> {
    let (pod, node) = (target.pod.open(), target.node.open());
    restore::restore(&pod, Some(&node), image, &Options::default())
}

/// What matters of the difference.
pub fn findings(target: &Pair, image: &Image) -> Vec<String> {
    let findings = restore::verify(&target.pod.open(), image).unwrap();
    findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect()
}

/// All that `tc` tells of all links, blocks and actions.
pub fn told(ns: &Ns) -> String {
    ns.sh("
        for dev in $(ls /sys/class/net); do
            echo \"== $dev\"
            tc -d qdisc show dev $dev
            tc -d class show dev $dev
            for at in ingress egress root; do
                echo \"-- $at\"; tc -d filter show dev $dev $at 2>&1 || true
            done
            tc class show dev $dev | while read -r _ _ id _; do
                echo \"-- $id\"; tc -d filter show dev $dev parent $id 2>&1 || true
            done
            tc chain show dev $dev ingress 2>/dev/null || true
            tc chain show dev $dev egress 2>/dev/null || true
        done
        for block in 22 23; do tc -d filter show block $block 2>/dev/null || true; done
        tc chain show block 23 2>/dev/null || true
        tc actions ls action mirred
    ")
}

/// The names of the cases to be run: all, or those of `NETCKPT_CASE`.
fn wanted(name: &str) -> bool {
    std::env::var("NETCKPT_CASE").map_or(true, |part| name.contains(&part))
}

#[test]
fn what_tc_made_comes_back() {
    let mut failed = Vec::new();
    for (name, lines) in CASES.iter().filter(|(name, _)| wanted(name)) {
        match case(name, lines) {
            Ok(left) => {
                left.iter().for_each(|line| println!("{name}: not on this kernel: {line}"));
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n\n"));
}

fn case(name: &str, lines: &str) -> Result<Vec<String>, String> {
    let source = quiet();
    let left = make(&source.pod, lines)?;
    let captured = captured(&source);
    let lost: Vec<_> = captured.not_carried.iter().filter(|lost| lost.matters).collect();
    if !lost.is_empty() {
        return Err(format!("not carried: {lost:?}"));
    }
    let image = captured.into_image(Origin::default());
    // On another node, and on one that has something else in its place.
    for (kind, lines) in [("bare", ""), ("other", OTHER)] {
        let target = if kind == "bare" { Pair::bare("tc-to") } else { quiet() };
        make(&target.pod, lines)?;
        restored(&target, &image).map_err(|error| format!("{kind}: {error}"))?;
        same(&told(&source.pod), &told(&target.pod)).map_err(|e| format!("{kind}: {e}"))?;
        let findings = findings(&target, &image);
        if !findings.is_empty() {
            return Err(format!("{kind}: {}", findings.join("\n")));
        }
        let again = restored(&target, &image).map_err(|error| format!("{kind}, again: {error}"))?;
        if again.steps > 0 {
            return Err(format!("{kind}: a second restore has steps: {:#?}", again.plans));
        }
    }
    // Back, and no change on the way.
    let again = image_of(&source);
    let difference = restore::compare(&again, &image).unwrap();
    let difference: Vec<_> = difference.iter().filter(|found| found.matters()).collect();
    if !difference.is_empty() {
        return Err(format!("{name} changed while it was looked at: {difference:?}"));
    }
    Ok(left)
}

/// What was there before, in the way of everything.
const OTHER: &str = "
    tc qdisc add dev d0 root handle 1: htb default 7
    tc class add dev d0 parent 1: classid 1:1 htb rate 1mbit
    tc qdisc add dev d0 parent 1:1 handle 10: pfifo limit 3
    tc qdisc add dev d1 root handle 1: tbf rate 1mbit burst 10kb latency 50ms
    tc qdisc add dev d0 clsact
    tc actions add action mirred egress mirror dev d1 index 7
    tc filter add dev d0 ingress prio 5 protocol ip u32 match ip dst 10.9.9.9 action mirred egress redirect dev eth0 index 1
    tc filter add dev d0 egress prio 6 protocol ip u32 divisor 4
    tc filter add dev d0 egress prio 6 protocol ip u32 match ip dst 10.9.9.9 action mirred index 7
    tc chain add dev d0 egress chain 12
    tc qdisc add dev eth0 root pfifo limit 9
    tc qdisc add dev eth0 ingress
    tc filter add dev eth0 parent ffff: protocol all prio 1 u32 match u32 0 0 flowid 1:1 action mirred egress redirect dev d1";

/// The first lines that are not the same.
pub fn same(is: &str, shall: &str) -> Result<(), String> {
    if is == shall {
        return Ok(());
    }
    let (one, other) =
        (tempfile::NamedTempFile::new().unwrap(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(one.path(), is).unwrap();
    std::fs::write(other.path(), shall).unwrap();
    let out =
        std::process::Command::new("diff").arg("-u").args([one.path(), other.path()]).output();
    Err(format!("tc tells something else:\n{}", String::from_utf8_lossy(&out.unwrap().stdout)))
}
