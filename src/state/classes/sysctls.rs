//! Sysctls of the namespace.

use crate::state::Fault;
use crate::state::table::{Class, Source};

pub static SYSCTLS: Class = Class {
    name: "sysctls",
    source: Source::Sysctl,
    key: &["path"],
    label: |value, _| value.text("path").unwrap_or_default().to_owned(),
    ..Class::BASE
};

/// Whether a file below `/proc/sys/net` is state that is carried, by its path from there.
#[must_use]
pub fn carried(_path: &str) -> bool {
    true
}

/// What is wrong with a path in an image from outside.
#[must_use]
pub fn problem(path: &str) -> Option<Fault> {
    (!is_plain(path)).then_some(Fault::Malformed)
}

/// Relative, without empty, `.` and `..` parts: it can't lead out of `/proc/sys/net`.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|part| !matches!(part, "" | "." | ".."))
}
