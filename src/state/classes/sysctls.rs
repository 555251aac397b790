//! Files below `/proc/sys/net` that belong to the namespace.
//!
//! The section is a list of `path NUL value NUL`, the path relative to `/proc/sys/net`, the value
//! without the line feed at its end.

use super::families::CONGESTION_CONTROLS;
use crate::state::Fault;
use crate::state::table::{Class, Source};

pub static SYSCTLS: Class = Class {
    name: "sysctls",
    source: Source::Sysctl,
    key: &["path"],
    after: &["links"],
    label: |value, _| value.text("path").unwrap_or_default().to_owned(),
    shown_by: "tests/restore.rs",
    ..Class::BASE
};

/// Files that are no state of the namespace, or are carried otherwise, and why.
pub const LEFT_OUT: &[(&str, &str)] = &[
    ("ipv4/neigh/*/*", "by neighbour-tables, which are exact"),
    ("ipv6/neigh/*/*", "by neighbour-tables, which are exact"),
    ("ipv4/route/flush", "a trigger"),
    ("ipv6/route/flush", "a trigger"),
    ("netfilter/nf_conntrack_count", "a counter"),
    ("netfilter/nf_conntrack_buckets", "of the machine"),
    (
        "netfilter/nf_hooks_lwtunnel",
        "of the machine: once on, it is on for all until it starts anew",
    ),
];

/// Whether a file is state that is carried, by its path below `/proc/sys/net`. (A reader takes only
/// those that can be written, too: in a namespace the rest is the machine's.)
#[must_use]
pub fn carried(path: &str) -> bool {
    is_plain(path) && LEFT_OUT.iter().all(|(pattern, _)| !matches(pattern, path))
}

/// The file whose value names a module.
const CONGESTION_CONTROL: &str = "ipv4/tcp_congestion_control";

/// What is wrong with a path, or with the value there (and the zero byte after it), in an image from
/// outside.
#[must_use]
pub fn problem(path: &str, value: &[u8]) -> Option<Fault> {
    if !is_plain(path) {
        return Some(Fault::Malformed);
    }
    let value = String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value));
    let is_known = path != CONGESTION_CONTROL || CONGESTION_CONTROLS.contains(&value.trim());
    let why = || format!("{value:?} is not known, and a kernel would load a module for it");
    (!is_known).then(|| Fault::Object(why()))
}

/// Relative, without empty, `.` and `..` parts: it can't lead out of `/proc/sys/net`.
fn is_plain(path: &str) -> bool {
    let part = |part: &[u8]| !matches!(part, b"" | b"." | b"..");
    path.as_bytes().split(|byte| *byte == b'/').all(part) && !path.contains(char::is_control)
}

/// Part by part; `*` is any one part.
fn matches(pattern: &str, path: &str) -> bool {
    let Some((start, _)) = pattern.split_once('*') else { return pattern == path };
    if !path.starts_with(start) {
        return false;
    }
    let mut parts = path.split('/');
    let all =
        pattern.split('/').all(|wanted| parts.next().is_some_and(|p| wanted == "*" || wanted == p));
    all && parts.next().is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_out_are_hostile() {
        for path in ["../kernel/core_pattern", "ipv4/../../kernel/x", "/etc/passwd", "ipv4//x", ""]
        {
            assert!(problem(path, b"1").is_some(), "{path}");
            assert!(!carried(path), "{path}");
        }
        assert!(problem("ipv4/conf/eth0.5/rp_filter", b"1").is_none());
        assert!(problem(CONGESTION_CONTROL, b"cubic\0").is_none());
        assert!(problem(CONGESTION_CONTROL, b"evil\0").is_some());
    }

    /// One that is on can't be turned off, so that an image would be refused where it is.
    #[test]
    fn what_is_of_the_machine_is_not_carried() {
        assert!(!carried("netfilter/nf_hooks_lwtunnel"));
    }

    #[test]
    fn neighbour_files_are_carried_by_their_tables() {
        assert!(!carried("ipv4/neigh/eth0/retrans_time_ms"));
        assert!(carried("ipv4/conf/all/rp_filter"));
        assert!(carried("ipv4/tcp_keepalive_time"));
    }
}
