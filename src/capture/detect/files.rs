//! What procfs tells.

use std::io;

use crate::state::ReadError;

fn read(path: &str) -> Result<String, ReadError> {
    std::fs::read(path)
        .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
        .map_err(|source| ReadError::File { path: path.to_owned(), source })
}

/// Every file of a folder is an object, unless it is empty: what rules fill while packets pass. The
/// file itself comes with the rule.
pub(super) fn filled(path: &str) -> Result<Vec<String>, ReadError> {
    let failed = |source| ReadError::File { path: path.to_owned(), source };
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let lines = read(&path.to_string_lossy())?.lines().count();
        if lines > 0 {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            found.push(format!("{name}: {lines} entries"));
        }
    }
    Ok(found)
}

/// Interfaces of a multicast routing daemon (`ip_mr_vif`, `ip6_mr_vif`), after a heading each. Of the
/// default tables only.
pub(super) fn multicast_interfaces() -> Result<Vec<String>, ReadError> {
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
