//! Legacy tables, case by case: made with `iptables-legacy` and its like, captured, made again in a
//! bare namespace, and told the same by `iptables-legacy-save -c`, counters and all.
//!
//! What this kernel or its tools have no means for is named and passed over.

mod cases;
mod instant;
mod judged;
#[path = "../netns/mod.rs"]
mod netns;

use cases::CASES;
use netckpt::capture;
use netckpt::image::{Image, Origin};
use netckpt::restore::{self, Options, Report};
use netns::{Ns, Pair};

/// Makes a case line by line; lines that there are no means for are left out and answered.
pub fn make(ns: &Ns, lines: &str) -> Result<Vec<String>, String> {
    let mut left = Vec::new();
    for line in lines.lines().map(str::trim) {
        match ns.try_run(&["sh", "-euc", line]) {
            Ok(_) => {}
            Err(error) if is_lacking(&error) => left.push(format!("{line}: {error}")),
            Err(error) => return Err(error),
        }
    }
    Ok(left)
}

fn is_lacking(error: &str) -> bool {
    let lacking = [
        "missing kernel module",
        "No chain/target/match by that name",
        "Couldn't load match",
        "Couldn't load target",
        "Table does not exist",
        "not supported",
        "not found",
    ];
    lacking.iter().any(|words| error.contains(words))
}

/// What the tools tell of all that there is. They make the tables that they ask for, so that only those
/// that are there are asked for.
pub fn told(ns: &Ns) -> Vec<String> {
    let mut told = Vec::new();
    let names = |file: &str| {
        let names = ns.run(&["cat", &format!("/proc/net/{file}")]);
        let mut names: Vec<_> = names.lines().map(str::to_owned).collect();
        names.sort();
        names.dedup();
        names
    };
    for (tool, file) in
        [("iptables-legacy-save", "ip_tables_names"), ("ip6tables-legacy-save", "ip6_tables_names")]
    {
        for name in names(file) {
            told.push(format!("{tool} {name}"));
            told.extend(plain(&ns.run(&[tool, "-c", "-t", &name])));
        }
    }
    if !names("arp_tables_names").is_empty() {
        told.extend(plain(&ns.run(&["arptables-legacy", "-nvL"])));
    }
    told.extend(plain(&ns.run(&["ipset", "save"])));
    let named = "nfct list timeout 2>/dev/null; nfacct list 2>/dev/null; true";
    told.extend(plain(&ns.run(&["sh", "-c", named])));
    told.extend(plain(&ns.run(&["sh", "-c", "iptables-nft-save -c 2>/dev/null"])));
    told
}

fn plain(text: &str) -> Vec<String> {
    text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

pub fn image_of(pair: &Pair) -> Image {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    let captured = capture::network(&pod, Some(&node), &capture::Options::default()).unwrap();
    captured.into_image(Origin::default())
}

pub fn restored(target: &Pair, image: &Image) -> Result<Report, restore::Error> {
    let (pod, node) = (target.pod.open(), target.node.open());
    restore::restore(&pod, Some(&node), image, &Options::default())
}

pub fn findings(target: &Pair, image: &Image) -> Vec<String> {
    let findings = restore::verify(&target.pod.open(), image).unwrap();
    findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect()
}

/// `Ok(false)` where there are no means for any of it.
fn case(lines: &str) -> Result<bool, String> {
    let source = Pair::bare("xt");
    for left in make(&source.pod, lines)? {
        println!("left out of a case: {left}");
    }
    let expected = told(&source.pod);
    if expected.is_empty() {
        return Ok(false);
    }
    let image = image_of(&source);
    let mut not_carried = image.manifest.not_carried.clone();
    not_carried.retain(|entry| entry.matters);
    if !not_carried.is_empty() {
        return Err(format!("not carried: {not_carried:#?}"));
    }
    let target = Pair::bare("xt");
    let report = restored(&target, &image).map_err(|error| format!("restore: {error}"))?;
    let found = told(&target.pod);
    if found != expected {
        let only = |these: &[String], those: &[String], sign| -> Vec<String> {
            these.iter().filter(|l| !those.contains(l)).map(|l| format!("{sign} {l}")).collect()
        };
        let lines = [only(&expected, &found, "-"), only(&found, &expected, "+")].concat();
        return Err(format!("told otherwise:\n{}", lines.join("\n")));
    }
    let differences = findings(&target, &image);
    if !differences.is_empty() || report.steps == 0 {
        return Err(format!("{} steps, verify: {differences:#?}", report.steps));
    }
    let again = restored(&target, &image).map_err(|error| format!("again: {error}"))?;
    if again.steps != 0 {
        return Err(format!("{} steps the second time: {:?}", again.steps, again.plans));
    }
    // The second capture is the first.
    let second = image_of(&target);
    for class in ["iptables", "ip6tables", "arptables"] {
        if second.snapshot.sections[class] != image.snapshot.sections[class] {
            return Err(format!("{class} was captured otherwise the second time"));
        }
    }
    Ok(true)
}

#[test]
fn everything_comes_back() {
    netns::cases::all_come_back(CASES, case);
}
