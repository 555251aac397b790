//! The machine's first network namespace, where what all namespaces share can be written, too.

use std::collections::BTreeSet;

use super::passes::sysctls_failed;
use super::{Error, sysctls};
use crate::netns::Namespace;
use crate::state::Reader;

/// A file that only the first namespace has (`net_core_table` of `net/core/sysctl_net_core.c`).
const ONLY_THERE: &[u8] = b"core/dev_weight";
/// Folders with one folder for each link.
const OF_LINKS: [&[u8]; 3] = [b"ipv4/conf/", b"ipv6/conf/", b"mpls/conf/"];

/// Of the sysctls read in the first namespace, keeps those that every namespace has for itself: what
/// a new one can write. Those of any other namespace stay as they are.
pub(super) fn keep_its_own(section: &mut Vec<u8>) -> Result<(), Error> {
    if !entries(section).any(|(path, _)| path == ONLY_THERE) {
        return Ok(());
    }
    let fresh = Namespace::create()?.run(|| sysctls::once(&mut Reader::new()))?;
    let fresh = fresh.map_err(sysctls_failed)?;
    let own: BTreeSet<_> = entries(&fresh).map(|(path, _)| path).collect();
    let is_own = |path: &[u8]| own.contains(path) || OF_LINKS.iter().any(|of| path.starts_with(of));
    let kept = entries(section).filter(|(path, _)| is_own(path));
    *section = kept.flat_map(|(path, value)| [path, value]).fold(Vec::new(), |mut all, part| {
        all.extend_from_slice(part);
        all.push(0);
        all
    });
    Ok(())
}

/// Path and value of each entry.
fn entries(section: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let mut parts = section.split(|byte| *byte == 0);
    std::iter::from_fn(move || Some((parts.next()?, parts.next()?)))
}
