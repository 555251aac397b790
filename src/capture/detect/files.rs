//! What procfs tells.

use std::collections::BTreeSet;
use std::io;

use super::Probe;
use crate::state::ReadError;

fn read(path: &str) -> Result<String, ReadError> {
    std::fs::read_to_string(path)
        .map_err(|source| ReadError::File { path: path.to_owned(), source })
}

/// Every line is an object.
pub(super) fn lines(path: &str) -> Result<Vec<String>, ReadError> {
    let lines: BTreeSet<_> = read(path)?.lines().map(str::to_owned).collect();
    Ok(lines.into_iter().collect())
}

/// Every entry of a folder is an object.
pub(super) fn folder(path: &str) -> Result<Vec<String>, ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let names = std::fs::read_dir(path).map_err(failed)?;
    names
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<_>>()
        .map_err(failed)
}

/// Interfaces of a multicast routing daemon (`ip_mr_vif`, `ip6_mr_vif`), after a heading each.
pub(super) fn multicast_routes(_: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    let mut found = Vec::new();
    for path in ["/proc/thread-self/net/ip_mr_vif", "/proc/thread-self/net/ip6_mr_vif"] {
        match read(path) {
            Ok(text) => found.extend(
                text.lines()
                    .skip(1)
                    .filter_map(|line| line.split_whitespace().nth(1))
                    .map(|name| format!("interface {name}")),
            ),
            Err(ReadError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(found)
}

/// Virtual services: the lines with a protocol first, after the headings.
pub(super) fn ipvs(_: &mut Probe<'_>) -> Result<Vec<String>, ReadError> {
    let text = read("/proc/thread-self/net/ip_vs")?;
    let services = text.lines().filter(|line| {
        ["TCP ", "UDP ", "SCTP ", "FWM "].iter().any(|protocol| line.starts_with(protocol))
    });
    Ok(services.map(|line| line.trim().to_owned()).collect())
}
