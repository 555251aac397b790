//! nftables, case by case: rules made with `nft` and with the nft forms of `iptables`, `arptables`
//! and `ebtables` come back in a bare namespace, and `nft` tells them the same to the byte.
//!
//! A case that this kernel or this `nft` has no means for is named and passed over.

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
use serde_json::Value;

/// Makes a case; lines of it that this kernel or its tools have no means for are left out and answered.
pub fn make(ns: &Ns, lines: &str) -> Result<Vec<String>, String> {
    if let Some(script) = lines.strip_prefix('!') {
        let mut left = Vec::new();
        for line in script.lines().map(str::trim) {
            match ns.try_run(&["sh", "-euc", line]) {
                Ok(_) => {}
                Err(error) if is_lacking(&error) => left.push(line.to_owned()),
                Err(error) => return Err(error),
            }
        }
        return Ok(left);
    }
    // Blocks end in lines of their own.
    let text = lines.replace("; }", "\n}\n").replace("} }", "}\n}").replace("{ }", "{\n}\n");
    let mut lines: Vec<&str> = text.lines().map(str::trim).collect();
    let mut left = Vec::new();
    loop {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), lines.join("\n")).unwrap();
        let path = file.path().to_str().unwrap();
        let Err(error) = ns.try_run(&["nft", "-f", path]) else { return Ok(left) };
        // `/tmp/x:4:63-64: Error: ...`; a block can't be left out alone.
        let place =
            error.split_once(&format!("{path}:")).and_then(|(_, rest)| rest.split_once(':'));
        let place = place.and_then(|(number, _)| number.parse::<usize>().ok());
        let is_whole = |line: &str| !line.is_empty() && !line.ends_with('{') && line != "}";
        match place.and_then(|place| Some((place, *lines.get(place - 1)?))) {
            Some((place, line)) if is_lacking(&error) && is_whole(line) => {
                left.push(line.to_owned());
                lines[place - 1] = "";
            }
            _ => return Err(error),
        }
    }
}

fn is_lacking(error: &str) -> bool {
    let lacking = [
        "not supported",
        "No such file or directory",
        "syntax error",
        "not found",
        "type information",
    ];
    lacking.iter().any(|words| error.contains(words))
}

/// A pod with a link and nothing that the kernel would go on working at.
pub fn quiet() -> Pair {
    let pair = Pair::bare("nft");
    let pod = pair.pod.name();
    pair.node.ip(&format!("link add veth0 type veth peer name eth0 netns {pod}"));
    pair.pod.ip("link set eth0 addrgenmode none\nlink set eth0 up\nlink set lo up");
    pair
}

fn image_of(pair: &Pair) -> Image {
    let (pod, node) = (pair.pod.open(), pair.node.open());
    let captured = capture::network(&pod, Some(&node), &capture::Options::default()).unwrap();
    captured.into_image(Origin::default())
}

fn restored(target: &Pair, image: &Image) -> Result<Report, restore::Error> {
    let (pod, node) = (target.pod.open(), target.node.open());
    restore::restore(&pod, Some(&node), image, &Options::default())
}

/// What matters of the difference.
fn findings(target: &Pair, image: &Image) -> Vec<String> {
    let findings = restore::verify(&target.pod.open(), image).unwrap();
    findings.iter().filter(|f| f.matters()).map(ToString::to_string).collect()
}

/// What `nft` tells of all that there is, handles by their rank in their table.
fn told(ns: &Ns) -> Vec<String> {
    let Value::Object(mut all) = ns.json(&["nft", "-j", "-a", "list", "ruleset"]) else { panic!() };
    let Some(Value::Array(mut items)) = all.remove("nftables") else { panic!() };
    let mut handles: Vec<(String, u64)> = items.iter().filter_map(handle).collect();
    handles.sort();
    for item in &mut items {
        let rank = handle(item).and_then(|handle| {
            let first = handles.iter().position(|(table, _)| *table == handle.0)?;
            Some(handles.iter().position(|found| *found == handle)? - first)
        });
        let Value::Object(fields) = item else { panic!() };
        for value in fields.values_mut() {
            coarse(value);
            if let Some(Value::Number(handle)) = value.get_mut("handle") {
                *handle = rank.unwrap_or_default().into();
            }
        }
    }
    items.iter().map(ToString::to_string).collect()
}

/// The table and handle of a listed thing; of tables the handle is not theirs alone.
fn handle(item: &Value) -> Option<(String, u64)> {
    let (_, fields) = item.as_object()?.iter().next()?;
    let table = fields.get("table")?.as_str()?;
    Some((format!("{} {table}", fields["family"]), fields.get("handle")?.as_u64()?))
}

/// Times left go on between two looks.
fn coarse(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            if let Some(Value::Number(left)) = fields.get_mut("expires") {
                *left = left.as_u64().unwrap_or_default().div_ceil(60).into();
            }
            fields.values_mut().for_each(coarse);
        }
        Value::Array(items) => items.iter_mut().for_each(coarse),
        _ => {}
    }
}

/// `Ok(false)` where there are no means for the case.
fn case(lines: &str) -> Result<bool, String> {
    let source = quiet();
    match make(&source.pod, lines) {
        Ok(left) => left.iter().for_each(|line| println!("left out of a case: {line}")),
        Err(error) if is_lacking(&error) => {
            println!("{error}");
            return Ok(false);
        }
        Err(error) => return Err(format!("the case itself: {error}")),
    }
    let expected = told(&source.pod);
    let image = image_of(&source);
    let not_carried: Vec<_> =
        image.manifest.not_carried.iter().filter(|n| n.class.starts_with("nft")).collect();
    if !not_carried.is_empty() {
        return Err(format!("not carried: {not_carried:#?}"));
    }
    let target = Pair::bare("nft");
    let report = restored(&target, &image).map_err(|error| format!("restore: {error}"))?;
    let found = told(&target.pod);
    if found != expected {
        let only = |these: &[String], those: &[String], sign| -> Vec<String> {
            these.iter().filter(|l| !those.contains(l)).map(|l| format!("{sign} {l}")).collect()
        };
        let mut lines = only(&expected, &found, "-");
        lines.extend(only(&found, &expected, "+"));
        return Err(format!("listed otherwise:\n{}", lines.join("\n")));
    }
    let differences = findings(&target, &image);
    if !differences.is_empty() {
        return Err(format!("verify: {differences:#?}"));
    }
    if report.steps == 0 {
        return Err("nothing was done".to_owned());
    }
    let again = restored(&target, &image).map_err(|error| format!("again: {error}"))?;
    match again.steps {
        0 => Ok(true),
        steps => Err(format!("{steps} steps the second time: {:?}", again.plans)),
    }
}

#[test]
fn everything_comes_back() {
    netns::cases::all_come_back(CASES, case);
}
