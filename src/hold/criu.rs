//! CRIU's own lock: the table `inet CRIU-<id>` that it makes in a pod's namespace before it dumps open
//! TCP connections, and takes away just before restored ones leave repair mode.
//!
//! Where the namespace is not CRIU's own (`--external net[…]`), it makes no lock at a restore, and yet
//! takes one of that name away. So the lock is planted here, by the name that the dump used, and CRIU
//! lifts it itself at the right moment. What is marked is CRIU's own (`SO_MARK` 0xc114 on its probes).

use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::kernel::{find, text};
use super::ruleset::{ACCEPT, Batch, Chain, DROP, Expression, Family, SUBSYSTEM, Table};
use super::{Error, mark, open};
use crate::netlink::{Socket, messages};
use crate::netns::Namespace;

/// What the names of CRIU's tables begin with.
pub const PREFIX: &str = "CRIU-";
/// The mark of what CRIU sends itself.
const MARK: u32 = 0xc114;
/// `NFT_META_MARK`.
const META_MARK: u32 = 3;
/// Chain and hook (`NF_INET_LOCAL_IN`, `NF_INET_LOCAL_OUT`).
const HOOKS: [(&str, u32); 2] = [("input", 1), ("output", 3)];
/// `NFNLGRP_NFTABLES`.
const GROUP: u32 = 7;
const GET_TABLE: u16 = SUBSYSTEM | 1;
/// Bytes of `struct nfgenmsg`.
const GENMSG: usize = 4;
/// Longest name: what CRIU takes of its run id is 21 characters, and may become more.
const LONGEST: usize = 64;

/// The name of a lock, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lock(String);

impl Lock {
    /// As it stands in the ruleset.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Lock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for Lock {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let id = name.strip_prefix(PREFIX).filter(|id| !id.is_empty() && name.len() <= LONGEST);
        let fits = |c: char| c.is_ascii_alphanumeric() || c == '-';
        match id {
            Some(id) if id.chars().all(fits) => Ok(Self(name.to_owned())),
            _ => Err(Error::Lock(name.chars().take(80).collect())),
        }
    }
}

/// Whether a table of the family inet is one of CRIU's: it is no part of a pod's state.
#[must_use]
pub fn is_lock(table: &str) -> bool {
    table.parse::<Lock>().is_ok()
}

/// Plants the lock: no IP enters or leaves the namespace but what CRIU marks.
///
/// # Errors
/// [`Error`].
pub fn plant(pod: &Namespace, lock: &Lock) -> Result<(), Error> {
    pod.run(|| {
        let mut batch = Batch::new();
        fill(&mut batch, lock);
        batch.send(&mut open()?)
    })?
}

fn fill(batch: &mut Batch, lock: &Lock) {
    let table = Table { family: Family::Inet, name: &lock.0 };
    batch.replace_table(table, &[]);
    for (name, hook) in HOOKS {
        let chain = Chain { name, hook, priority: 0, devices: &[], policy: DROP };
        batch.chain(table, &chain);
        let mark = MARK.to_ne_bytes();
        let rule =
            [Expression::Meta(META_MARK), Expression::Equals(&mark), Expression::Verdict(ACCEPT)];
        batch.rule(table, name, &rule);
    }
}

/// As [`plant`], unless it was done before: a lock that CRIU has lifted meanwhile must not come back.
/// What was done is marked in the namespace, in the same transaction, until [`forget`].
///
/// # Errors
/// [`Error`].
pub fn plant_once(pod: &Namespace, lock: &Lock) -> Result<(), Error> {
    if mark::is_set(pod, &lock.0)? {
        return Ok(());
    }
    pod.run(|| {
        let mut batch = Batch::new();
        mark::add(&mut batch, &lock.0);
        fill(&mut batch, lock);
        batch.send(&mut open()?)
    })?
}

/// Takes the mark of [`plant_once`] away.
///
/// # Errors
/// [`Error`]; that there is none is none.
pub fn forget(pod: &Namespace, lock: &Lock) -> Result<(), Error> {
    mark::clear(pod, &lock.0)
}

/// Takes the lock away: after a restore that failed, or one that was not CRIU's.
///
/// # Errors
/// [`Error`]; that it is not there is none.
pub fn lift(pod: &Namespace, lock: &Lock) -> Result<(), Error> {
    let table = Table { family: Family::Inet, name: &lock.0 };
    let lifted = pod.run(|| {
        let mut batch = Batch::new();
        batch.delete_table(table);
        batch.send(&mut open()?)
    })?;
    match lifted {
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(()),
        outcome => outcome,
    }
}

/// Whether the lock is there.
///
/// # Errors
/// [`Error`].
pub fn is_there(pod: &Namespace, lock: &Lock) -> Result<bool, Error> {
    pod.run(|| there(&mut open()?, lock))?
}

fn there(socket: &mut Socket, lock: &Lock) -> Result<bool, Error> {
    let mut body = vec![Family::Inet as u8, 0, 0, 0];
    body.extend(text(1, &lock.0));
    match socket.get(GET_TABLE, &body) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
        Err(source) => Err(Error::Netlink { what: "lock", source }),
    }
}

/// Watches a namespace for CRIU's locks. The kernel tells of a change before it acknowledges it.
#[derive(Debug)]
pub struct Watch {
    events: Socket,
    asking: Socket,
}

impl Watch {
    /// Begins to watch. Sockets stay in the namespace whatever thread uses them.
    ///
    /// # Errors
    /// [`Error`].
    pub fn open(pod: &Namespace) -> Result<Self, Error> {
        pod.run(|| {
            let watch = Self { events: open()?, asking: open()? };
            let subscribed = watch.events.subscribe(&[GROUP]);
            subscribed.map_err(|source| Error::Netlink { what: "notifications", source })?;
            Ok(watch)
        })?
    }

    /// The lock that is there now.
    ///
    /// # Errors
    /// [`Error`].
    pub fn lock(&mut self) -> Result<Option<Lock>, Error> {
        let body = [Family::Inet as u8, 0, 0, 0];
        let tables = self.asking.dump(GET_TABLE, &body);
        let tables = tables.map_err(|source| Error::Netlink { what: "locks", source })?;
        let mut names = messages(&tables.bytes)
            .map_while(Result::ok)
            .filter_map(|table| Some(find(table.attributes(GENMSG), 1)?.text()));
        Ok(names.find_map(|name| name.parse().ok()))
    }

    /// Waits until something in the namespace's ruleset has changed, at most that long.
    ///
    /// # Errors
    /// [`Error`].
    pub fn changed(&mut self, patience: Duration) -> Result<bool, Error> {
        let failed = |source| Error::Netlink { what: "notifications", source };
        let end = Instant::now() + patience;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let millis = PollTimeout::try_from(left.as_millis().max(1)).unwrap_or(PollTimeout::MAX);
            // SAFETY: the descriptor is the socket's, which outlives the call.
            let fd = unsafe { BorrowedFd::borrow_raw(self.events.as_raw_fd()) };
            let ready = match poll(&mut [PollFd::new(fd, PollFlags::POLLIN)], millis) {
                Ok(count) => count > 0,
                Err(nix::errno::Errno::EINTR) => false,
                Err(errno) => {
                    let source = errno.into();
                    return Err(failed(crate::netlink::Error::System { step: "wait", source }));
                }
            };
            if ready {
                self.events.events().map_err(failed)?;
                return Ok(true);
            }
            if Instant::now() >= end {
                return Ok(false);
            }
        }
    }

    /// Waits until the lock is gone, at most that long; answers whether it is.
    ///
    /// # Errors
    /// [`Error`].
    pub fn gone(&mut self, lock: &Lock, patience: Duration) -> Result<bool, Error> {
        let end = Instant::now() + patience;
        while there(&mut self.asking, lock)? {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            self.changed(left)?;
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_locks() {
        let lock: Lock = "CRIU-0c7a3f2e-1b2c-4d5e-8".parse().unwrap();
        assert_eq!(lock.as_str(), "CRIU-0c7a3f2e-1b2c-4d5e-8");
        for bad in
            ["CRIU-", "CRIU", "filter", "CRIU-a b", "CRIU-\"", &format!("CRIU-{}", "a".repeat(99))]
        {
            assert!(bad.parse::<Lock>().is_err(), "{bad}");
        }
    }
}
