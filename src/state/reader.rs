//! What a class is read through: one socket per protocol, opened when first asked for, and procfs.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::sysfs;
use super::table::GENERIC;
use crate::netlink::{Error, Family, Malformed, Protocol, Socket, messages};

/// A class could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{what}: {source}")]
    Netlink { what: &'static str, source: Error },
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
    #[error("{what}: {why}")]
    Unexpected { what: &'static str, why: String },
}

/// The way to the kernel for the reading of classes. It belongs to a thread that is inside the
/// network namespace: sockets are opened there, and `/proc/thread-self/net` and `/proc/sys/net`
/// are that namespace's.
#[derive(Debug, Default)]
pub struct Reader {
    sockets: BTreeMap<Protocol, Socket>,
    /// Families of generic netlink, once they were asked for.
    families: Option<BTreeMap<String, Family>>,
    /// What was read last of classes that others are looked for by.
    kept: BTreeMap<&'static str, Vec<u8>>,
    /// Whether any dump since the last [`Self::take_interrupted`] was marked by the kernel as inconsistent.
    interrupted: bool,
    sysfs: Option<OwnedFd>,
}

impl Reader {
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The socket of a protocol.
    ///
    /// # Errors
    /// As [`Socket::open`].
    pub fn socket(&mut self, protocol: Protocol) -> Result<&mut Socket, Error> {
        use std::collections::btree_map::Entry;
        match self.sockets.entry(protocol) {
            Entry::Occupied(entry) => Ok(entry.into_mut()),
            Entry::Vacant(entry) => Ok(entry.insert(Socket::open(protocol)?)),
        }
    }

    /// A family of generic netlink that the kernel has loaded; none is loaded for this.
    ///
    /// # Errors
    /// As [`Socket::families`].
    pub fn family(&mut self, name: &str) -> Result<Option<&Family>, Error> {
        if self.families.is_none() {
            self.families = Some(self.socket(Protocol::Generic)?.families()?);
        }
        Ok(self.families.as_ref().and_then(|families| families.get(name)))
    }

    /// The root of the namespace's sysfs.
    ///
    /// # Errors
    /// As [`sysfs::open`].
    pub fn sysfs(&mut self) -> io::Result<&OwnedFd> {
        let sysfs = match self.sysfs.take() {
            Some(sysfs) => sysfs,
            None => sysfs::open()?,
        };
        Ok(self.sysfs.insert(sysfs))
    }

    /// Forgets what was found of the kernel itself: it may have loaded families since.
    pub fn forget(&mut self) {
        self.families = None;
    }

    /// A dump appended to `into`; remembers an interruption.
    ///
    /// A machine that has no large pieces of memory free for the moment answers in small ones, which
    /// some objects have no room in (the features of a device): it is asked again.
    ///
    /// # Errors
    /// As [`Socket::dump_into`].
    pub fn dump(
        &mut self,
        protocol: Protocol,
        kind: u16,
        body: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<(), Error> {
        const TRIES: u32 = 20;
        const PAUSE: Duration = Duration::from_millis(5);
        let start = into.len();
        for _ in 1..TRIES {
            match self.socket(protocol)?.dump_into(kind, body, into) {
                Err(error) if error.errno() == Some(libc::EMSGSIZE) => into.truncate(start),
                dumped => {
                    self.interrupted |= dumped?;
                    return Ok(());
                }
            }
            std::thread::sleep(PAUSE);
        }
        self.interrupted |= self.socket(protocol)?.dump_into(kind, body, into)?;
        Ok(())
    }

    /// Keeps what was read of a class, for others that are looked for by it.
    pub fn keep(&mut self, class: &'static str, section: &[u8]) {
        self.kept.insert(class, section.to_vec());
    }

    /// What was kept last.
    #[must_use]
    pub fn kept(&self, class: &str) -> Option<&[u8]> {
        self.kept.get(class).map(Vec::as_slice)
    }

    /// All objects that the commands of a family tell of, appended to `into` as messages of the type
    /// [`GENERIC`]; none where the kernel has no such family.
    ///
    /// # Errors
    /// As [`Socket::dump`].
    pub fn generic(
        &mut self,
        family: &str,
        dumps: &[u8],
        gets: &[u8],
        into: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let Some(family) = self.family(family)?.cloned() else { return Ok(()) };
        let start = into.len();
        for command in dumps {
            self.dump(Protocol::Generic, family.id, &family.header(*command), into)?;
        }
        for command in gets {
            let answer =
                self.socket(Protocol::Generic)?.get(family.id, &family.header(*command))?;
            into.extend_from_slice(&answer);
        }
        for kind in kinds(&into[start..])? {
            into[start + kind..start + kind + 2].copy_from_slice(&GENERIC.to_ne_bytes());
        }
        Ok(())
    }

    /// Whether a dump was interrupted since this was last asked.
    pub fn take_interrupted(&mut self) -> bool {
        std::mem::take(&mut self.interrupted)
    }
}

/// Where the type of each message stands.
fn kinds(all: &[u8]) -> Result<Vec<usize>, Malformed> {
    let place = |bytes: &[u8]| bytes.as_ptr().addr() - all.as_ptr().addr() + 4;
    messages(all).map(|message| message.map(|message| place(message.bytes))).collect()
}
