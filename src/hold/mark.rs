//! Marks in a pod's namespace: what was done there, or is asked for, for whoever comes after. They go
//! with the namespace. A mark is an empty table of nftables.

use super::kernel::text;
use super::ruleset::{Batch, Family, SUBSYSTEM, Table};
use super::{Error, open};
use crate::netns::Namespace;

/// What the tables' names begin with.
pub(super) const PREFIX: &str = "netckpt-mark-";
/// A successor's processes are there: whoever restored them says so.
pub const LIVE: &str = "live";
const GET_TABLE: u16 = SUBSYSTEM | 1;

fn name(mark: &str) -> String {
    format!("{PREFIX}{mark}")
}

pub(super) fn add(batch: &mut Batch, mark: &str) {
    batch.replace_table(Table { family: Family::Netdev, name: &name(mark) }, &[]);
}

/// Sets a mark; twice is no error.
///
/// # Errors
/// [`Error`].
pub fn set(pod: &Namespace, mark: &str) -> Result<(), Error> {
    pod.run(|| {
        let mut batch = Batch::new();
        add(&mut batch, mark);
        batch.send(&mut open()?)
    })?
}

/// Whether a mark is set.
///
/// # Errors
/// [`Error`].
pub fn is_set(pod: &Namespace, mark: &str) -> Result<bool, Error> {
    let mut body = vec![Family::Netdev as u8, 0, 0, 0];
    body.extend(text(1, &name(mark)));
    match pod.run(|| open().map(|mut socket| socket.get(GET_TABLE, &body)))?? {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(source) => Err(Error::Netlink { what: "mark", source }),
    }
}

/// Takes a mark away; that there is none is no error.
///
/// # Errors
/// [`Error`].
pub fn clear(pod: &Namespace, mark: &str) -> Result<(), Error> {
    let cleared = pod.run(|| {
        let mut batch = Batch::new();
        batch.delete_table(Table { family: Family::Netdev, name: &name(mark) });
        batch.send(&mut open()?)
    })?;
    match cleared {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}
