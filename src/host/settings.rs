//! Files under `/proc/sys/net` of one device, with what they had before.

use std::fs;
use std::io;
use std::path::PathBuf;

/// A file could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("on the node, {step} /proc/sys/net/{name}: {source}")]
pub struct Error {
    step: &'static str,
    name: String,
    source: io::Error,
}

/// The settings with which a device answers ARP for what is routed elsewhere, at once: by default the
/// kernel delays proxied answers by up to 0.8 s (`proxy_delay`), which a pod sees as an outage.
#[must_use]
pub fn proxy_arp(device: &str) -> [(String, &'static str); 2] {
    [
        (format!("ipv4/conf/{device}/proxy_arp"), "1"),
        (format!("ipv4/neigh/{device}/proxy_delay"), "0"),
    ]
}

/// The same for the proxied neighbours of IPv6, each of which needs an entry.
#[must_use]
pub fn proxy_ndp(device: &str) -> [(String, &'static str); 2] {
    [
        (format!("ipv6/conf/{device}/proxy_ndp"), "1"),
        (format!("ipv6/neigh/{device}/proxy_delay"), "0"),
    ]
}

/// What a file of [`proxy_arp`] or [`proxy_ndp`] is to have.
#[must_use]
pub fn wanted(name: &str) -> &'static str {
    if name.ends_with("proxy_delay") { "0" } else { "1" }
}

/// Whether the device takes part in IPv6.
#[must_use]
pub fn has_ipv6(device: &str) -> bool {
    get(&format!("ipv6/conf/{device}/disable_ipv6")).is_ok_and(|value| value == "0")
}

/// The value of a file, without the line's end.
///
/// # Errors
/// [`Error`].
pub fn get(name: &str) -> Result<String, Error> {
    let failed = |source| Error { step: "read", name: name.to_owned(), source };
    let text = fs::read_to_string(path(name)).map_err(failed)?;
    Ok(text.trim_end().to_owned())
}

/// Writes a value.
///
/// # Errors
/// [`Error`].
pub fn set(name: &str, value: &str) -> Result<(), Error> {
    fs::write(path(name), value).map_err(|source| Error {
        step: "write",
        name: name.to_owned(),
        source,
    })
}

fn path(name: &str) -> PathBuf {
    PathBuf::from("/proc/sys/net").join(name)
}
