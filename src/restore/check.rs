//! What of an image may be sent to the kernel.

use bytes::Bytes;

use crate::image::{Image, Snapshot};
use crate::netlink::messages;
use crate::state::table::{Class, Source};
use crate::state::{self, Names, Problem, Verdict, classes};

use super::Error;

/// Problems told of an image in all.
const MOST: usize = 32;

/// The part of an image that is restored.
#[derive(Debug)]
pub struct Allowed {
    pub snapshot: Snapshot,
    /// What of the image is left out, by section.
    pub left: Vec<(String, String)>,
}

/// Checks the whole image by the tables. Objects and sections that this version can't restore make
/// it an error, unless they shall be left out.
pub fn allowed(image: &Image, leave_unknown: bool) -> Result<Allowed, Error> {
    let sections = &image.snapshot.sections;
    let links = sections.get(classes::LINKS.name).filter(|links| !links.is_empty());
    let Some(links) = links else { return Err(Error::NoLinks) };
    let mut sieve = Sieve { leave_unknown, faults: Vec::new(), left: Vec::new() };
    let mut snapshot = Snapshot::default();
    // Links first: what refers to one that is left out can't be there either.
    let kept = sieve.section(classes::LINKS.name, &classes::LINKS, links, &Names::of(links));
    let names = Names::of(&kept);
    snapshot.sections.insert(classes::LINKS.name.to_owned(), kept);
    for (name, section) in sections.iter().filter(|(name, _)| *name != classes::LINKS.name) {
        let outside = name.strip_prefix("host/");
        let Some(class) = state::class(outside.unwrap_or(name)) else {
            sieve.left.push((name.clone(), "a section that this version does not know".to_owned()));
            if !leave_unknown {
                sieve.faults.push(Fault::Section(name.clone()));
            }
            continue;
        };
        // Nothing of it is ever sent or compared; what of it is missed is told.
        if class.source.is_inventory() {
            sieve.listed(name, class, section, &names);
            continue;
        }
        let kept = match outside {
            // Links that those of the host refer to are the host's.
            Some(_) => sieve.section(name, class, section, &Names::of(section)),
            None => sieve.section(name, class, section, &names),
        };
        snapshot.sections.insert(name.clone(), kept);
    }
    sieve.verdict()?;
    super::bounds::check(&snapshot)?;
    Ok(Allowed { snapshot, left: sieve.left })
}

enum Fault {
    Object(String, Problem),
    Section(String),
}

struct Sieve {
    leave_unknown: bool,
    faults: Vec<Fault>,
    left: Vec<(String, String)>,
}

impl Sieve {
    /// The section without what is left out.
    fn section(
        &mut self,
        name: &str,
        class: &'static Class,
        section: &Bytes,
        links: &Names,
    ) -> Bytes {
        let problems = state::check_section(class, section, links);
        if problems.is_empty() {
            return section.clone();
        }
        if let Source::Sysctl = class.source {
            return self.files(name, section, problems);
        }
        let mut kept = Vec::with_capacity(section.len());
        for message in messages(section) {
            let Ok(message) = message else { break };
            if self.message(name, class, message.bytes, links) {
                kept.extend_from_slice(message.bytes);
                kept.resize(crate::netlink::align(kept.len()), 0);
            }
        }
        // Malformed to the end: the messages before it are no excuse.
        let broken = problems.into_iter().filter(|p| p.fault == state::Fault::Malformed);
        self.faults.extend(broken.map(|problem| Fault::Object(name.to_owned(), problem)));
        Bytes::from(kept)
    }

    /// The section of files without what is left out.
    fn files(&mut self, name: &str, section: &Bytes, problems: Vec<Problem>) -> Bytes {
        let mut left = Vec::new();
        for problem in problems {
            if self.leave_unknown && problem.fault.verdict() == Verdict::NotCarried {
                self.leave(name, &problem);
                left.push(problem.path);
            } else {
                self.faults.push(Fault::Object(name.to_owned(), problem));
            }
        }
        let mut kept = Vec::with_capacity(section.len());
        let mut parts = section.split_inclusive(|byte| *byte == 0);
        while let (Some(path), Some(value)) = (parts.next(), parts.next()) {
            let plain = path.strip_suffix(&[0]).unwrap_or(path);
            if !left.iter().any(|left| left.as_bytes() == plain) {
                kept.extend_from_slice(path);
                kept.extend_from_slice(value);
            }
        }
        Bytes::from(kept)
    }

    /// What is only listed and changes the network by not being there (programs of others).
    fn listed(&mut self, name: &str, class: &'static Class, section: &Bytes, links: &Names) {
        let problems = state::check_section(class, section, links).into_iter();
        for problem in problems.filter(|one| one.fault.verdict() == Verdict::NotCarried) {
            if self.leave_unknown {
                self.leave(name, &problem);
            } else {
                self.faults.push(Fault::Object(name.to_owned(), problem));
            }
        }
    }

    /// Whether a message is restored.
    fn message(
        &mut self,
        name: &str,
        class: &'static Class,
        message: &[u8],
        links: &Names,
    ) -> bool {
        let mut all = state::check(class, message, links);
        // What an outer end stands on is the business of its host.
        all.retain(|p| !(name.starts_with("host/") && matches!(p.fault, state::Fault::NoLink(_))));
        let mut kept = true;
        for problem in all {
            let dangling = matches!(problem.fault, state::Fault::NoLink(_));
            match problem.fault.verdict() {
                Verdict::Without => self.leave(name, &problem),
                Verdict::NotCarried if self.leave_unknown => {
                    self.leave(name, &problem);
                    kept = false;
                }
                // Its link was left out.
                Verdict::Hostile if dangling && self.leave_unknown => {
                    self.leave(name, &problem);
                    kept = false;
                }
                _ => self.faults.push(Fault::Object(name.to_owned(), problem)),
            }
        }
        kept
    }

    fn leave(&mut self, name: &str, problem: &Problem) {
        if self.left.len() < MOST {
            self.left.push((name.to_owned(), problem.to_string()));
        }
    }

    fn verdict(&mut self) -> Result<(), Error> {
        let (mut objects, mut sections) = (Vec::new(), Vec::new());
        for fault in std::mem::take(&mut self.faults).into_iter().take(MOST) {
            match fault {
                Fault::Object(section, problem) => objects.push((section, problem)),
                Fault::Section(name) => sections.push(name),
            }
        }
        match (objects.is_empty(), sections.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => Err(Error::Sections(sections)),
            (false, _) => Err(Error::Image(objects)),
        }
    }
}
