//! One hold on both of its sides: planted, read back, changed, lifted.

use std::time::{Duration, Instant};

use super::kernel::{self, Found};
use super::links::Links;
use super::ruleset::Batch;
use super::{Element, Error, Id, Kind, Note, open, unreachable};
use crate::netns::Namespace;

/// Times that a hold is planted while links come and go.
const TRIES: u32 = 3;

/// A hold as it was read back from the kernel, both sides together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The shorter of both sides.
    pub element: Element,
    /// For a successor: leave for IP alone, while ARP is still held.
    pub ip: Element,
    /// Links of the pod and of the node on which it is in force.
    pub pod: Vec<String>,
    pub node: Vec<String>,
}

/// A hold by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    pub id: Id,
    pub kind: Kind,
}

impl Hold {
    fn table(&self) -> String {
        format!("{}{}", self.kind.prefix(), self.id)
    }

    /// Plants it on both sides, in the place of one of that name, and reads it back. `node` is the
    /// namespace that the outer ends of the pod's veth pairs are in. Blocks for about a millisecond.
    ///
    /// # Errors
    /// [`Error`]; what was planted is then taken away again.
    pub fn plant(
        &self,
        pod: &Namespace,
        node: &Namespace,
        element: Element,
        note: &Note,
    ) -> Result<Standing, Error> {
        let planted = self.try_plant(pod, node, element, note);
        if planted.is_err() {
            // The first error is the one to tell.
            let _ = self.lift(Some(pod), node);
        }
        planted
    }

    fn try_plant(
        &self,
        pod: &Namespace,
        node: &Namespace,
        element: Element,
        note: &Note,
    ) -> Result<Standing, Error> {
        let mut links = Links::read(pod, node)?;
        for _ in 0..TRIES {
            let userdata = note.written(&links.node, pod);
            for (namespace, side) in [(pod, &links.pod), (node, &links.node)] {
                let names: Vec<_> = side.iter().map(|(_, name)| name.clone()).collect();
                self.send(namespace, |batch| {
                    kernel::plant(batch, self.kind, &self.table(), &names, element, &userdata);
                })?;
            }
            if self.kind == Kind::Source {
                self.send(node, |batch| {
                    unreachable::plant(batch, &self.table(), &links.reach, element);
                })?;
            }
            let now = Links::read(pod, node)?;
            if now == links {
                let standing = self.read(Some(pod), node)?;
                let absent = || Error::Absent { id: self.id.clone() };
                return self.in_force(&links, standing.ok_or_else(absent)?, element);
            }
            links = now;
        }
        Err(Error::Restless { id: self.id.clone() })
    }

    /// Whether it was planted on all links that there are now.
    ///
    /// # Errors
    /// [`Error`].
    pub fn covers(&self, pod: &Namespace, node: &Namespace) -> Result<bool, Error> {
        let links = Links::read(pod, node)?;
        let Some(standing) = self.read(Some(pod), node)? else { return Ok(false) };
        let element = standing.element;
        Ok(self.in_force(&links, standing, element).is_ok())
    }

    fn in_force(
        &self,
        links: &Links,
        standing: Standing,
        element: Element,
    ) -> Result<Standing, Error> {
        let sides = [
            ("in the pod", &links.pod, &standing.pod),
            ("on the node", &links.node, &standing.node),
        ];
        for (side, wanted, found) in sides {
            let missing = wanted.iter().map(|(_, name)| name).filter(|name| !found.contains(name));
            let missing: Vec<_> = missing.cloned().collect();
            let took = standing.element.is_there() == element.is_there();
            if !missing.is_empty() || !took {
                let links = if took { missing } else { found.clone() };
                return Err(Error::NotTaken { id: self.id.clone(), side, links });
            }
        }
        Ok(standing)
    }

    /// Reads it from the kernel; none when it is not there on either side. Without `pod`, whose
    /// namespace is gone then, the node's side alone tells.
    ///
    /// # Errors
    /// [`Error`].
    pub fn read(
        &self,
        pod: Option<&Namespace>,
        node: &Namespace,
    ) -> Result<Option<Standing>, Error> {
        let look = |namespace: &Namespace| -> Result<Option<Found>, Error> {
            namespace.run(|| kernel::read(&mut open()?, self.kind, &self.table()))?
        };
        let outside = look(node)?;
        let Some(pod) = pod else {
            return Ok(outside.map(|node| Standing {
                element: node.element,
                ip: node.ip,
                pod: Vec::new(),
                node: node.devices,
            }));
        };
        let inside = look(pod)?;
        if inside.is_none() && outside.is_none() {
            return Ok(None);
        }
        let (inside, outside) = (inside.unwrap_or_default(), outside.unwrap_or_default());
        Ok(Some(Standing {
            element: inside.element.min(outside.element),
            ip: inside.ip.min(outside.ip),
            pod: inside.devices,
            node: outside.devices,
        }))
    }

    /// Sets how long the element is there from now on.
    ///
    /// # Errors
    /// [`Error::Refused`] with `ENOENT` when there is no such hold.
    pub fn set(
        &self,
        pod: Option<&Namespace>,
        node: &Namespace,
        element: Element,
    ) -> Result<(), Error> {
        for namespace in pod.into_iter().chain([node]) {
            self.send(namespace, |batch| {
                kernel::change(batch, self.kind, &self.table(), element);
            })?;
        }
        match self.kind {
            // Ends with its own time.
            Kind::Source => Ok(()),
            // It can be found, or never will be.
            Kind::Successor => self.let_forward(node),
        }
    }

    /// Keeps the node from telling clients for that long that nobody is at a silent successor's
    /// addresses: from when it leads there until the successor has leave.
    ///
    /// # Errors
    /// [`Error`].
    pub fn hush(&self, pod: &Namespace, node: &Namespace, time: Duration) -> Result<(), Error> {
        let addresses = Links::read(pod, node)?.reach.addresses;
        self.send(node, |batch| unreachable::hush(batch, &self.table(), &addresses, time))
    }

    /// Makes a source's hold endless, if it is in force and was so without a break; answers whether.
    ///
    /// The kernel would also take an element for one whose time is over. So what was left of it when
    /// it was read must be longer than what this took.
    ///
    /// # Errors
    /// [`Error`].
    pub fn make_endless(&self, pod: Option<&Namespace>, node: &Namespace) -> Result<bool, Error> {
        let start = Instant::now();
        let left = match self.read(pod, node)?.map(|standing| standing.element) {
            None | Some(Element::None) => return Ok(false),
            Some(Element::Endless) => return Ok(true),
            Some(Element::For(left)) => left,
        };
        match self.set(pod, node, Element::Endless) {
            Ok(()) if start.elapsed() < left => {
                // Its address may be another's on this node from now on.
                self.let_forward(node)?;
                Ok(true)
            }
            Ok(()) => {
                // The pod may have spoken in between.
                self.lift(pod, node)?;
                Ok(false)
            }
            Err(error) if error.errno() == Some(libc::ENOENT) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Lets a successor's IP through for that long, while its ARP stays held: for when another lock
    /// holds its IP.
    ///
    /// # Errors
    /// As [`Self::set`].
    pub fn let_ip(&self, pod: &Namespace, node: &Namespace, time: Duration) -> Result<(), Error> {
        for namespace in [pod, node] {
            self.send(namespace, |batch| {
                kernel::let_ip(batch, self.kind, &self.table(), time);
            })?;
        }
        Ok(())
    }

    /// Takes it away: frames pass. That it is not there is no error.
    ///
    /// # Errors
    /// [`Error`]; both sides are tried.
    pub fn lift(&self, pod: Option<&Namespace>, node: &Namespace) -> Result<(), Error> {
        let mut outcome = self.let_forward(node);
        for namespace in pod.into_iter().chain([node]) {
            match self.send(namespace, |batch| kernel::remove(batch, &self.table())) {
                Err(error) if error.errno() != Some(libc::ENOENT) => {
                    outcome = outcome.and(Err(error));
                }
                _ => {}
            }
        }
        outcome
    }

    /// Lets the node forward to the pod's addresses again, and say that nobody is there.
    fn let_forward(&self, node: &Namespace) -> Result<(), Error> {
        match self.send(node, |batch| unreachable::remove(batch, &self.table())) {
            Err(error) if error.errno() != Some(libc::ENOENT) => Err(error),
            _ => Ok(()),
        }
    }

    fn send(
        &self,
        namespace: &Namespace,
        fill: impl FnOnce(&mut Batch) + Send,
    ) -> Result<(), Error> {
        namespace.run(|| {
            let mut batch = Batch::new();
            fill(&mut batch);
            batch.send(&mut open()?)
        })?
    }
}
