//! Each class, case by case: state made with iproute2 in a pod comes back in a bare namespace, reads
//! back equal with iproute2, and equal by our own comparison.
//!
//! A case that this kernel has no means for is named and passed over; all others must come back.

mod addresses;
mod bridges;
mod devices;
mod links;
mod neighbours;
#[path = "../netns/mod.rs"]
mod netns;
mod nexthops;
mod routes;
mod rules;

use std::thread;
use std::time::Duration;

use netckpt::capture;
use netckpt::image::{Image, Origin};
use netckpt::restore::{self, Options};
use netns::Pair;
use serde_json::Value;

/// A name, and lines for `ip -batch` in the pod (a line that starts with `!` is for the shell).
type Case<'a> = (&'static str, &'a str);

/// Every way of asking iproute2 that a case may change the answer of.
const QUESTIONS: &[&[&str]] = &[
    &["ip", "-j", "-d", "link"],
    &["ip", "-j", "-d", "addr"],
    &["ip", "-j", "-d", "-N", "-4", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-6", "route", "show", "table", "all"],
    &["ip", "-j", "-d", "-N", "-4", "rule"],
    &["ip", "-j", "-d", "-N", "-6", "rule"],
    &["ip", "-j", "-d", "nexthop"],
    &["ip", "-j", "token"],
];

fn image_of(pair: &Pair) -> Image {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    let captured = capture::network(&pod, Some(&node), &capture::Options::default()).unwrap();
    captured.into_image(Origin::default())
}

/// What the tools say, one line for each thing.
fn told(pair: &Pair, questions: &[&[&str]]) -> Vec<String> {
    let mut lines = Vec::new();
    for question in questions {
        let Value::Array(mut items) = pair.pod.json(question) else { panic!("{question:?}") };
        // Hashed by chance.
        if matches!(question[2], "neigh" | "ntable") {
            items.sort_by_key(ToString::to_string);
        }
        for mut item in items {
            strip(&mut item);
            lines.push(format!("{}: {item}", question.join(" ")));
        }
    }
    lines
}

/// Leaves out what is of the moment or of the other end.
fn strip(item: &mut Value) {
    const OF_THE_MOMENT: &[&str] = &[
        "link_index",
        "link_netnsid",
        "used",
        "probes",
        "updated",
        "confirmed",
        "refcnt",
        "reachable_time",
        "reachable",
        "carrier_changes",
        "qdisc",
        "operstate",
        "unbalanced_time",
        // Spanning tree's names, which a bridge without any port has none of, and its clocks.
        "bridge_id",
        "root_id",
        "hello_timer",
        "tcn_timer",
        "topology_change_timer",
        "gc_timer",
        "hold_timer",
        "message_age_timer",
        "forward_delay_timer",
    ];
    match item {
        Value::Object(fields) => {
            for name in OF_THE_MOMENT {
                fields.remove(*name);
            }
            // Time goes on between the two looks; that it does end stays.
            for name in ["valid_life_time", "preferred_life_time", "expires"] {
                if let Some(Value::Number(left)) = fields.get_mut(name) {
                    let left = left.as_u64().unwrap_or_default();
                    let coarse =
                        if left > u64::from(u32::MAX - 1) { left } else { left.div_ceil(30) };
                    fields.insert(name.to_owned(), Value::from(coarse));
                }
            }
            fields.values_mut().for_each(strip);
        }
        Value::Array(items) => items.iter_mut().for_each(strip),
        _ => {}
    }
}

/// A pod as CNI leaves it, without the wait for duplicate addresses.
fn wired(label: &str) -> Pair {
    let pair = Pair::bare(label);
    pair.pod.sh("sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0");
    pair.wire();
    pair
}

/// What the tools say once the kernel has done what it does from delayed work: of a carrier it tells
/// within a second.
fn settled(pair: &Pair, questions: &[&[&str]]) -> Vec<String> {
    let mut last = told(pair, questions);
    let links = pair.pod.run(&["ip", "-d", "link"]);
    let plain = ["bridge", "macvlan", "macvtap", "vxlan"].iter().all(|kind| !links.contains(kind));
    for _ in 0..if plain { 0 } else { 5 } {
        thread::sleep(Duration::from_millis(1200));
        let now = told(pair, questions);
        if now == last {
            break;
        }
        last = now;
    }
    last
}

/// `Ok(false)` where the kernel has no means for the case.
fn case(class: &str, lines: &str, questions: &[&[&str]]) -> Result<bool, String> {
    let source = wired(class);
    for line in lines.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let command = match line.strip_prefix('!') {
            Some(shell) => shell.to_owned(),
            None => format!("ip {line}"),
        };
        if let Err(error) = source.pod.try_run(&["sh", "-euc", &command]) {
            let lacking = [
                "not supported",
                "Unknown device type",
                "not permitted",
                "stat ",
                "is a garbage",
                "is duplicate",
            ];
            if lacking.iter().any(|words| error.contains(words)) {
                return Ok(false);
            }
            return Err(format!("the case itself: {error}"));
        }
    }
    let expected = settled(&source, questions);
    let image = image_of(&source);
    let target = Pair::bare(class);
    let report = restore::restore(
        &target.pod.open(),
        Some(&target.node.open()),
        &image,
        &Options::default(),
    )
    .map_err(|error| format!("restore: {error}"))?;
    let findings = restore::verify(&target.pod.open(), &image).map_err(|e| e.to_string())?;
    let findings: Vec<_> =
        findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect();
    if !findings.is_empty() {
        return Err(format!("verify: {findings:#?}"));
    }
    // Duplicate address detection and carrier settle within a second or two.
    let mut found = told(&target, questions);
    for _ in 0..30 {
        if found == expected {
            return Ok(true);
        }
        thread::sleep(Duration::from_millis(100));
        found = told(&target, questions);
    }
    let only = |these: &[String], those: &[String], sign| -> Vec<String> {
        these.iter().filter(|l| !those.contains(l)).map(|l| format!("{sign} {l}")).collect()
    };
    let mut lines = only(&expected, &found, "-");
    lines.extend(only(&found, &expected, "+"));
    if lines.is_empty() {
        lines.push(format!("the order differs:\n{expected:#?}\n{found:#?}"));
    }
    let steps = report.plans.iter().flat_map(|plan| &plan.steps).map(|step| step.to_string());
    lines.extend(steps.map(|step| format!("  step: {step}")));
    Err(lines.join("\n"))
}

#[track_caller]
fn all(class: &str, cases: &[Case<'_>], questions: &[&[&str]]) {
    let mut failures = Vec::new();
    let (mut passed, mut lacking) = (0, Vec::new());
    for (name, lines) in cases {
        match case(class, lines, questions) {
            Ok(true) => passed += 1,
            Ok(false) => lacking.push(*name),
            Err(error) => failures.push(format!("== {class}: {name}\n{error}")),
        }
    }
    println!("{class}: {passed} of {} cases came back", cases.len());
    if !lacking.is_empty() {
        println!("{class}: not in this kernel or its tools: {}", lacking.join(", "));
    }
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
}
