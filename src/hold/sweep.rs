//! Which holds there are, and taking away those that hold nothing any more.

use std::path::PathBuf;

use super::note::Written;
use super::{Element, Error, Hold, Kind, Note, kernel, open};
use crate::netlink::{Builder, Protocol, Socket};
use crate::netns::{Id as NetnsId, Namespace};

const RTM_GETLINK: u16 = 18;
/// Bytes of `struct ifinfomsg`.
const IFINFO: usize = 16;

/// A hold that was found by its table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub hold: Hold,
    pub note: Note,
    /// Indexes of the node's links that it was planted on.
    links: Vec<u32>,
    netns: Option<(PathBuf, NetnsId)>,
}

impl Listed {
    /// The pod's namespace, if it still is the one that was held.
    #[must_use]
    pub fn pod(&self) -> Option<Namespace> {
        let (path, id) = self.netns.as_ref()?;
        Namespace::open(path).ok().filter(|found| found.id() == *id)
    }

    /// Whether there still is a link to hold. A table stays when its links go, and newer kernels would
    /// hold the next link of that name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn is_linked(&self, node: &Namespace) -> Result<bool, Error> {
        if self.links.is_empty() {
            // Nothing of it is on the node; without a known namespace nobody can tell.
            return Ok(self.netns.is_none() || self.pod().is_some());
        }
        node.run(|| self.has_link())?
    }

    fn has_link(&self) -> Result<bool, Error> {
        let failed = |source| Error::Netlink { what: "links", source };
        let mut socket = Socket::open(Protocol::Route).map_err(failed)?;
        for index in &self.links {
            let mut header = [0; IFINFO];
            header[4..8].copy_from_slice(&index.to_ne_bytes());
            let body = Builder::new(RTM_GETLINK, 0, &header).finish().split_off(16);
            match socket.get(RTM_GETLINK, &body) {
                Ok(_) => return Ok(true),
                Err(error) if error.errno() == Some(libc::ENODEV) => {}
                Err(source) => return Err(failed(source)),
            }
        }
        Ok(false)
    }
}

/// All holds of which the node has a side.
///
/// # Errors
/// [`Error`].
pub fn all(node: &Namespace) -> Result<Vec<Listed>, Error> {
    let tables = node.run(|| kernel::all(&mut open()?))??;
    let listed = tables.into_iter().filter_map(|(name, userdata)| {
        let (kind, id) = Kind::of_table(&name)?;
        let Written { note, links, netns } = Written::read(&userdata);
        Some(Listed { hold: Hold { id, kind }, note, links, netns })
    });
    Ok(listed.collect())
}

/// The holds of which the pod's namespace has a side.
///
/// # Errors
/// [`Error`].
pub fn in_pod(pod: &Namespace) -> Result<Vec<Hold>, Error> {
    let tables = pod.run(|| kernel::all(&mut open()?))??;
    let kinds = tables.into_iter().filter_map(|(name, _)| Kind::of_table(&name));
    Ok(kinds.map(|(kind, id)| Hold { id, kind }).collect())
}

/// Takes away, of the holds that `wanted` names, the sources' whose time is over, and those whose
/// links on the node are gone. Answers what went.
///
/// # Errors
/// [`Error`]; what comes after the failing one is left.
pub fn sweep(node: &Namespace, wanted: impl Fn(&Listed) -> bool) -> Result<Vec<Listed>, Error> {
    let mut gone = Vec::new();
    for listed in all(node)?.into_iter().filter(wanted) {
        let pod = listed.pod();
        let is_over = match listed.hold.kind {
            Kind::Source => {
                let standing = listed.hold.read(pod.as_ref(), node)?;
                standing.is_none_or(|standing| standing.element == Element::None)
            }
            Kind::Successor => false,
        };
        if is_over || !listed.is_linked(node)? {
            listed.hold.lift(pod.as_ref(), node)?;
            gone.push(listed);
        }
    }
    Ok(gone)
}
