//! Capture: all of a namespace, as of one moment.
//!
//! A thread inside the namespace subscribes to what tells of changes, reads every class raw, and
//! reads again what changed meanwhile. Nothing is decoded until all is read: this is what a pod may
//! be stopped for. Then the sections are sifted, what they hold that no table knows is named, and
//! [`detect`] names what no class covers.
//!
//! What is to be captured later, in a short moment, can be prepared: [`Standing`] reads all now, and
//! then only what changed since.

mod detect;
mod devconf;
mod directory;
mod image;
mod initial;
mod passes;
mod sift;
mod standing;
mod sysctls;
mod watch;

pub(crate) use image::kernel;
pub(crate) use standing::changed;
pub use standing::{Standing, Update};
pub use sysctls::Files;

use std::time::Duration;

use jiff::Timestamp;

use crate::image::{Counts, Evidence, NotCarried, Snapshot};
use bytes::Bytes;

use passes::{Passes, Reading};

use crate::host::bounds::Pod;
use crate::host::{elsewhere, flows, number_of, others, outer_ends, side};
use crate::netlink::{Protocol, Socket, messages};
use crate::netns::{self, Namespace};
use crate::state::table::{Class, Source};
use crate::state::{CLASSES, ReadError, Reader};

/// How to capture.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to read; all that is known by default.
    pub classes: &'static [&'static Class],
    /// How long to read again what keeps changing.
    pub patience: Duration,
    /// Whether to look on the node for what names the pod and is somebody else's: rules, packet filters,
    /// entries of bridges. That takes as long as there are rules.
    pub list_node: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { classes: &CLASSES, patience: Duration::from_secs(5), list_node: true }
    }
}

/// What a capture gives.
#[derive(Debug, Clone)]
pub struct Captured {
    /// A section for every class, empty where there is nothing of it.
    pub snapshot: Snapshot,
    pub counts: Counts,
    pub evidence: Evidence,
    pub not_carried: Vec<NotCarried>,
    /// When the last pass ended.
    pub taken: Timestamp,
}

/// Why there is no capture.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    #[error("changes of {class} cannot be watched: {source}")]
    Subscribe { class: &'static str, source: crate::netlink::Error },
    #[error("the outer ends of veth pairs cannot be read: {source}")]
    Host { source: crate::netlink::Error },
    #[error("what hangs on the outer ends of veth pairs cannot be read: {source}")]
    HostSide { source: ReadError },
    #[error("what the host tracks of the pod's flows cannot be read: {source}")]
    Flows { source: crate::netlink::Error },
    #[error("notifications cannot be read: {0}")]
    Events(crate::netlink::Error),
    #[error("{class} cannot be read: {source}")]
    Read { class: &'static str, source: ReadError },
    #[error(
        "{} kept changing for {} ms, so there was no moment to capture; \
         stop what changes it (or freeze the pod) and try again",
        classes.join(" and "),
        waited.as_millis()
    )]
    KeepsChanging { classes: Vec<&'static str>, waited: Duration },
    #[error("the capture that stood by has ended before it was asked")]
    Ended,
    #[error("the kernel's answer for {class} is not well-formed: {source}")]
    Malformed { class: &'static str, source: crate::netlink::Malformed },
}

impl Error {
    /// One word for conditions and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "NamespaceUnavailable",
            Self::Subscribe { .. } | Self::Events(_) | Self::Ended => "ChangesNotWatched",
            Self::Read { .. }
            | Self::Host { .. }
            | Self::HostSide { .. }
            | Self::Flows { .. }
            | Self::Malformed { .. } => "StateNotRead",
            Self::KeepsChanging { .. } => "StateKeepsChanging",
        }
    }
}

/// Reads one class once, without a look at what changes meanwhile (but see
/// [`Reader::take_interrupted`]). Belongs on a thread inside the namespace.
///
/// # Errors
/// [`ReadError`]. A class that the kernel has no part for is empty.
pub fn read(class: &'static Class, reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    passes::once(class, reader)
}

/// Captures a pod's whole network: the namespace, and the outer ends of its veth pairs, which live in
/// `host` (section `host/links`), with what the host tracks of the pod's flows (`host/conntrack`).
/// The outer ends are read right after the namespace's last pass.
///
/// # Errors
/// As [`capture`].
pub fn network(
    namespace: &Namespace,
    host: Option<&Namespace>,
    options: &Options,
) -> Result<Captured, Error> {
    let mut captured = capture(namespace, options)?;
    let Some(host) = host else { return Ok(captured) };
    let descriptor = host.as_raw_fd();
    let number = namespace.run(|| number_of(descriptor))?;
    let number = number.map_err(|source| Error::Host { source })?;
    beside_host(&mut captured, host, number, options.list_node)?;
    Ok(captured)
}

/// Adds what the host has of a captured pod, by whom it is known as `number`.
fn beside_host(
    captured: &mut Captured,
    host: &Namespace,
    number: Option<i32>,
    list_node: bool,
) -> Result<(), Error> {
    let class = crate::state::classes::LINKS.name;
    let links = captured.snapshot.sections.get(class).cloned().unwrap_or_default();
    captured.not_carried.extend(elsewhere(&links, number).into_iter().map(nested));
    let addresses = captured.snapshot.sections.get(crate::state::classes::ADDRESSES.name);
    let addresses = addresses.map(|section| &section[..]).unwrap_or_default();
    let ends = host.run(|| {
        let mut socket = Socket::open(Protocol::Route).map_err(|source| Error::Host { source })?;
        let ends =
            outer_ends(&mut socket, &links, number).map_err(|source| Error::Host { source })?;
        let pod = Pod::new(&ends, addresses);
        let sections = side::read(&ends, &pod).map_err(|source| Error::HostSide { source })?;
        let others = if list_node { others_of(&ends, &pod) } else { Vec::new() };
        Ok::<_, Error>((ends, pod, sections, others))
    })?;
    let (ends, pod, mut sections, others) = ends?;
    captured.not_carried.extend(others);
    captured.not_carried.extend(side::sift(&mut sections, &ends, &pod));
    for (class, section) in sections {
        let name = format!("host/{}", class.name);
        captured.counts.insert(name.clone(), count(class, &section));
        captured.snapshot.sections.insert(name, Bytes::from(section));
    }
    let flows = host.run(|| flows::capture(&captured.snapshot))?;
    let flows = flows.map_err(|source| Error::Flows { source })?;
    captured.not_carried.extend(flows.stay);
    captured.not_carried.sort();
    for (name, section) in [(flows::SECTION, flows.section), (&format!("host/{class}"), ends)] {
        captured.counts.insert(name.to_owned(), messages(&section).count() as u64);
        captured.snapshot.sections.insert(name.to_owned(), Bytes::from(section));
    }
    Ok(())
}

/// What on the node names the pod and is somebody else's.
fn others_of(ends: &[u8], pod: &Pod) -> Vec<NotCarried> {
    const IFINFO: usize = 16;
    const IFLA_ADDRESS: u16 = 1;
    let links = messages(ends).map_while(Result::ok);
    let own = links.filter_map(|link| {
        let mut all = link.attributes(IFINFO).map_while(Result::ok);
        all.find(|one| one.id == IFLA_ADDRESS).map(|one| one.payload.to_vec())
    });
    let own: Vec<_> = own.collect();
    let addresses = pod.known_by();
    let named = others::Named { ends: pod.ends(), addresses: &addresses, own: &own };
    others::find(&named, passes::once)
}

/// Objects of a section.
fn count(class: &Class, section: &[u8]) -> u64 {
    match class.source {
        Source::Sysctl => section.iter().filter(|byte| **byte == 0).count() as u64 / 2,
        _ => messages(section).count() as u64,
    }
}

/// A veth into a namespace of the pod's own making: on another node its end would become a link of the
/// node, past its bridge and policies.
fn nested(object: String) -> NotCarried {
    NotCarried {
        class: crate::state::classes::LINKS.name.to_owned(),
        object,
        why: "its other end is in a namespace that is neither the pod's nor the node's".to_owned(),
        matters: true,
    }
}

/// Captures a namespace. Blocks for some milliseconds, at most about [`Options::patience`].
///
/// # Errors
/// [`Error`], each naming the class in question. Nothing in the namespace is changed in any case.
pub fn capture(namespace: &Namespace, options: &Options) -> Result<Captured, Error> {
    let (reading, taken, beside) = namespace.run(|| {
        own_descriptors();
        let mut passes = Passes::open(options)?;
        passes.first()?;
        let taken = Timestamp::now();
        let beside = detect::beside(&mut passes.reader, options.classes);
        Ok::<_, Error>((passes.into_reading(), taken, beside))
    })??;
    let Reading { sections, unreadable, evidence } = reading;
    let names = sift::names(options.classes, sections.iter().map(Vec::as_slice));
    let all = options.classes.iter().zip(sections);
    let sifted = all.map(|(class, section)| sift::sift(class, section, &names));
    let sifted = sifted.collect::<Result<Vec<_>, _>>()?;
    let mut captured = sift::together(options.classes, sifted, &unreadable, evidence, taken);
    captured.not_carried.extend(beside);
    captured.not_carried.sort();
    Ok(captured)
}

/// Gives the thread an empty table of descriptors of its own (but for standard input, output and
/// errors). Hundreds of files are open for a moment: in a shared table each doubling of its size
/// waits for an RCU grace period, some milliseconds (`expand_fdtable` of `fs/file.c`), and they
/// would count against what the rest of the program may open.
fn own_descriptors() {
    const FIRST: libc::c_uint = 3;
    // SAFETY: the thread is fresh and owns no descriptor yet; with this flag the descriptors of the
    // other threads stay open. A kernel before 5.9 answers ENOSYS, and the table stays shared.
    let _ = unsafe {
        libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_UNSHARE)
    };
}
