//! Sysctls: only what differs is written, and what the kernel changes along with it.
//!
//! Writing under `conf/all` or `conf/default` reaches other files of the same name: some values of
//! `all` are copied to every device and to `default` (`forwarding`, `disable_ipv6`), and IPv4's
//! `default` to every device that was never told otherwise. A new device starts with `default`.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::Stage;
use super::difference::delta;
use super::draft::{Draft, Sides};
use super::link::Link;
use crate::state::Object;
use crate::state::classes::{LINKS, SYSCTLS};

/// Written when addresses are there: coming up resets the first, and the others act at once (a
/// temporary address is made, an announcement sent).
const LATE: &[&str] = &["mtu", "use_tempaddr", "arp_notify", "ndisc_notify"];
/// Can't be read before it was written once.
const SECRET: &str = "stable_secret";
/// Set over netlink with the link, since writing the file makes addresses.
const BY_LINK: &str = "addr_gen_mode";

/// A path taken apart: `ipv4/conf` · `eth0` · `forwarding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct PerDevice<'a> {
    tree: &'a str,
    device: &'a str,
    name: &'a str,
}

impl<'a> PerDevice<'a> {
    fn of(path: &'a str) -> Option<Self> {
        let (rest, name) = path.rsplit_once('/')?;
        let (tree, device) = rest.rsplit_once('/')?;
        let known = matches!(tree.rsplit_once('/'), Some((_, "conf" | "neigh")));
        known.then_some(Self { tree, device, name })
    }

    fn is_link(&self) -> bool {
        !matches!(self.device, "all" | "default")
    }
}

/// The value of an entry `path NUL value NUL`.
fn value(object: &Object) -> &[u8] {
    object.bytes.split(|byte| *byte == 0).nth(1).unwrap_or_default()
}

/// Whether a file is missing as long as it was never written, and not because this kernel lacks it.
pub fn is_secret(path: &str) -> bool {
    PerDevice::of(path).is_some_and(|per| per.name == SECRET)
}

/// Plans the sysctls.
pub fn plan(sides: &Sides<'_>, draft: &mut Draft) {
    let (from, to) = (sides.from.of(&SYSCTLS), sides.to.of(&SYSCTLS));
    let wanted: HashMap<&str, &[u8]> = to.iter().map(|o| (o.key.as_str(), value(o))).collect();
    let made: BTreeSet<&str> = Link::all(sides.to.of(&LINKS))
        .iter()
        .filter(|link| draft.made.contains(&link.index))
        .map(|link| link.name)
        .collect();
    let is_made = |path: &str| PerDevice::of(path).is_some_and(|per| made.contains(per.device));
    let delta = delta(from, to, |object| !is_made(&object.key));
    let mut writes: BTreeMap<&str, &[u8]> = BTreeMap::new();
    writes.extend(delta.changed.iter().map(|changed| (changed.to.key.as_str(), value(changed.to))));
    let secrets = delta.added.iter().filter(|object| is_secret(&object.key));
    writes.extend(secrets.map(|object| (object.key.as_str(), value(object))));
    let there: HashSet<&str> = from.iter().map(|object| object.key.as_str()).collect();
    let also = reached(&writes);
    writes.extend(wanted.iter().filter(|(path, _)| there.contains(*path) && also(path)));
    writes.extend(
        wanted.iter().filter(|(path, value)| is_made(path) && !inherits(path, value, &wanted)),
    );
    write(&writes, draft);
}

/// What the kernel changes by itself when these are written.
fn reached(writes: &BTreeMap<&str, &[u8]>) -> impl Fn(&str) -> bool + use<> {
    let mut names: BTreeSet<(String, String)> = BTreeSet::new();
    let mut redirects = false;
    for path in writes.keys() {
        if matches!(*path, "ipv4/ip_forward" | "ipv4/conf/all/forwarding") {
            names.insert(("ipv4/conf".to_owned(), "forwarding".to_owned()));
            redirects = true;
        }
        if let Some(per) = PerDevice::of(path).filter(|per| !per.is_link()) {
            names.insert((per.tree.to_owned(), per.name.to_owned()));
        }
    }
    move |path| {
        redirects && path == "ipv4/conf/all/accept_redirects"
            || PerDevice::of(path).is_some_and(|per| {
                per.device != "all" && names.contains(&(per.tree.to_owned(), per.name.to_owned()))
            })
    }
}

/// Whether a new device has this value by itself, from `default` as it shall be.
fn inherits(path: &str, value: &[u8], wanted: &HashMap<&str, &[u8]>) -> bool {
    let Some(per) = PerDevice::of(path) else { return false };
    let default = format!("{}/default/{}", per.tree, per.name);
    per.name != "mtu" && wanted.get(default.as_str()) == Some(&value)
}

fn write(writes: &BTreeMap<&str, &[u8]>, draft: &mut Draft) {
    let mut all: Vec<_> = writes.iter().collect();
    all.sort_by_key(|(path, _)| rank(path));
    for (path, value) in all {
        let per = PerDevice::of(path).filter(PerDevice::is_link);
        let stage = match per {
            None => Stage::Sysctls,
            Some(per) if per.name == BY_LINK => continue,
            Some(per) if LATE.contains(&per.name) => Stage::LateLinks,
            Some(_) => Stage::LinkSysctls,
        };
        draft.write(stage, &SYSCTLS, path, value);
    }
}

/// Forwarding first, since it rewrites others; `all` before `default`.
fn rank(path: &str) -> u8 {
    match PerDevice::of(path) {
        _ if path == "ipv4/ip_forward" => 0,
        Some(per) if per.device == "all" && per.name == "forwarding" => 1,
        Some(per) if per.device == "all" => 2,
        Some(per) if per.device == "default" => 3,
        _ => 4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_come_apart() {
        let per = PerDevice::of("ipv6/conf/eth0.7/accept_ra").unwrap();
        assert_eq!((per.tree, per.device, per.name), ("ipv6/conf", "eth0.7", "accept_ra"));
        assert_eq!(PerDevice::of("ipv4/ip_forward"), None);
        assert_eq!(PerDevice::of("ipv4/route/min_adv_mss"), None);
    }

    #[test]
    fn forwarding_reaches_devices_and_redirects() {
        let writes = BTreeMap::from([("ipv4/ip_forward", &b"1"[..])]);
        let also = reached(&writes);
        assert!(also("ipv4/conf/eth0/forwarding"));
        assert!(also("ipv4/conf/all/accept_redirects"));
        assert!(!also("ipv6/conf/eth0/forwarding"));
        assert!(!also("ipv4/conf/eth0/accept_redirects"));
    }

    #[test]
    fn all_is_written_before_default_and_after_forwarding() {
        let mut paths = [
            "ipv4/tcp_sack",
            "ipv4/conf/default/rp_filter",
            "ipv4/conf/all/accept_redirects",
            "ipv4/ip_forward",
        ];
        paths.sort_by_key(|path| rank(path));
        assert_eq!(paths[0], "ipv4/ip_forward");
        assert_eq!(paths[1], "ipv4/conf/all/accept_redirects");
        assert_eq!(paths[2], "ipv4/conf/default/rp_filter");
    }
}
