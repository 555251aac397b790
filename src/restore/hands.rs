//! The way to the kernel of one restore: sockets inside the namespace and on the host, and procfs.
//!
//! It belongs to a thread inside the namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::RawFd;

use bytes::Bytes;

use crate::capture;
use crate::host::bounds::Pod;
use crate::host::{number_of, outer_ends, side};
use crate::image::Snapshot;
use crate::netlink::{self, Builder, Protocol, Socket};
use crate::netns::Namespace;
use crate::plan::{Host, HostEnd, Objects, host_ends};
use crate::state::table::Source;
use crate::state::{self, ReadError, Reader, classes};

use super::Error;

const RTM_GETLINK: u16 = 18;
const IFLA_IFNAME: u16 = 3;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;
/// Times that a class is read again when something changes meanwhile. Nobody else should be at work.
const TRIES: u32 = 8;

/// What stopped the reading or the doing, before the kernel could say yes or no.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    #[error("{what}: {source}")]
    Netlink { what: &'static str, source: netlink::Error },
    #[error(transparent)]
    Read(#[from] ReadError),
    #[error(transparent)]
    Enter(#[from] crate::netns::Error),
    #[error("{class}: it was changed by others {TRIES} times while it was read")]
    Restless { class: &'static str },
}

#[derive(Debug)]
pub struct Hands<'a> {
    pub reader: Reader,
    /// Open between readings.
    files: capture::Files,
    /// A socket of the host's namespace, and the descriptor that names it.
    pub host: Option<(Socket, RawFd)>,
    /// The same namespace, to work in.
    pub beyond: Option<&'a Namespace>,
}

impl<'a> Hands<'a> {
    /// Opens the sockets. The calling thread is inside the namespace, and ends with the work.
    pub fn open(beyond: Option<&'a Namespace>) -> Result<Self, Error> {
        own_descriptors();
        let opened = |source| Failure::Netlink { what: "host namespace", source };
        let host = match beyond {
            Some(host) => {
                let socket = host.run(|| Socket::open(Protocol::Route))?.map_err(opened)?;
                Some((socket, host.as_raw_fd()))
            }
            None => None,
        };
        Ok(Self { reader: Reader::new(), files: capture::Files::default(), host, beyond })
    }

    /// Reads the namespace, and the outer ends of its veth pairs.
    pub fn read(&mut self) -> Result<Snapshot, Error> {
        let mut snapshot = Snapshot::default();
        // Sysctls first: they take longest, and what the kernel does from delayed work after a
        // change is then done when addresses and routes are read.
        let mut order = state::CLASSES;
        order.sort_by_key(|class| !matches!(class.source, Source::Sysctl));
        for class in order.into_iter().filter(|class| !class.source.is_inventory()) {
            let section = self.read_class(class)?;
            snapshot.sections.insert(class.name.to_owned(), Bytes::from(section));
        }
        let outer = self.outer_ends(&snapshot)?;
        if let Some(host) = self.beyond {
            let addresses = snapshot.sections.get(classes::ADDRESSES.name);
            let pod = Pod::new(&outer, addresses.map(|all| &all[..]).unwrap_or_default());
            let sections = host.run(|| side::read(&outer, &pod))?.map_err(Failure::from)?;
            snapshot.sections.extend(
                sections.into_iter().map(|(class, of)| (format!("host/{}", class.name), of.into())),
            );
        }
        snapshot.sections.insert("host/links".to_owned(), Bytes::from(outer));
        Ok(snapshot)
    }

    /// Reads the namespace as objects.
    pub fn look(&mut self) -> Result<Objects, Error> {
        Ok(Objects::read(&self.read()?, 0)?)
    }

    fn read_class(&mut self, class: &'static state::table::Class) -> Result<Vec<u8>, Failure> {
        if let Source::Sysctl = class.source {
            let failed = |source| ReadError::File { path: class.name.to_owned(), source };
            return Ok(self.files.read(&mut self.reader).map_err(failed)?);
        }
        for _ in 0..TRIES {
            let section = capture::read(class, &mut self.reader)?;
            if !self.reader.take_interrupted() {
                return Ok(section);
            }
        }
        Err(Failure::Restless { class: class.name })
    }

    /// The host's links that are the other ends of veths of the namespace.
    fn outer_ends(&mut self, inside: &Snapshot) -> Result<Vec<u8>, Failure> {
        let Some((host, descriptor)) = &mut self.host else { return Ok(Vec::new()) };
        // The kernel numbers the namespace when it first names it in an answer of links.
        let number = number_of(*descriptor).map_err(host_failed)?;
        let links = inside.sections.get(classes::LINKS.name).map(|links| &links[..]);
        outer_ends(host, links.unwrap_or_default(), number).map_err(host_failed)
    }

    /// What a plan must know of the host: the ends that the node's own setup had made, and which of
    /// the captured names and indexes are taken.
    pub fn host_terms(
        &mut self,
        descriptor: RawFd,
        first: &Objects,
        goal: &Objects,
    ) -> Result<Host, Error> {
        let own = host_ends(first);
        let wanted = host_ends(goal);
        let mut terms = Host { descriptor, own, ..Host::default() };
        let Some((host, _)) = &mut self.host else { return Ok(terms) };
        let ends: BTreeMap<&String, &HostEnd> =
            wanted.iter().filter(|(name, _)| !terms.own.contains_key(*name)).collect();
        let (mut names, mut indexes) = (BTreeSet::new(), BTreeSet::new());
        for end in ends.values() {
            let (_, index) = end.identity();
            if index != 0 && is_taken(host, index, "")? {
                indexes.insert(index);
            }
            for name in end.names() {
                if !is_taken(host, 0, &name)? {
                    break;
                }
                names.insert(name);
            }
        }
        (terms.names, terms.indexes) = (names, indexes);
        Ok(terms)
    }
}

/// Gives the thread a copy of the table of descriptors that is its own. Hundreds of files are open for
/// a moment: in a shared table each doubling of its size waits for an RCU grace period, some milliseconds
/// (`expand_fdtable` of `fs/file.c`). What was open stays open, as messages name namespaces by it.
fn own_descriptors() {
    // SAFETY: plain system call. Where it fails the table stays shared, which is right and slower.
    let _ = unsafe { libc::unshare(libc::CLONE_FILES) };
}

/// Whether the host has a link of this index, or where it is 0, of this name.
fn is_taken(host: &mut Socket, index: u32, name: &str) -> Result<bool, Failure> {
    let mut header = [0; IFINFO];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    let mut builder = Builder::new(RTM_GETLINK, 0, &header);
    if index == 0 {
        builder.put_text(IFLA_IFNAME, name);
    }
    match host.get(RTM_GETLINK, &builder.finish().split_off(16)) {
        Ok(_) => Ok(true),
        Err(error) if error.errno() == Some(libc::ENODEV) => Ok(false),
        Err(source) => Err(host_failed(source)),
    }
}

fn host_failed(source: netlink::Error) -> Failure {
    Failure::Netlink { what: "links of the host", source }
}
