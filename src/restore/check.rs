//! What of an image may be sent to the kernel.

use bytes::Bytes;

use crate::host::bounds::{self, Bound, Pod};
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
    let section = |name| sections.get(name).map(|section| &section[..]).unwrap_or_default();
    let (ends, outer) = (section("host/links"), Names::of(section("host/links")));
    let pod = Pod::new(ends, section(classes::ADDRESSES.name));
    for (name, section) in sections.iter().filter(|(name, _)| *name != classes::LINKS.name) {
        let outside = name.strip_prefix("host/");
        let class = match outside {
            Some(class) => on_the_host(class),
            None => state::class(name),
        };
        let Some(class) = class else {
            sieve.leave_section(name, "a section that this version does not know");
            if !leave_unknown {
                sieve.faults.push(Fault::Section(name.clone()));
            }
            continue;
        };
        // Nobody knows which ends these were on.
        if outside.is_some_and(|of| of != classes::CONNTRACK.name)
            && !sections.contains_key("host/links")
        {
            sieve.leave_section(name, "the image does not tell the links that it is of");
            continue;
        }
        // Nothing of it is ever sent or compared; what of it is missed is told.
        if class.source.is_inventory() {
            sieve.listed(name, class, section, &names);
            continue;
        }
        let kept = match outside {
            // Links that those of the host refer to are the host's.
            Some(_) if [classes::LINKS.name, classes::CONNTRACK.name].contains(&class.name) => {
                sieve.section(name, class, section, &Names::of(section))
            }
            Some(_) => {
                sieve.beyond(name, class, section, &pod);
                sieve.section(name, class, section, &outer)
            }
            None => sieve.section(name, class, section, &names),
        };
        snapshot.sections.insert(name.clone(), kept);
    }
    sieve.verdict()?;
    super::bounds::check(&snapshot)?;
    Ok(Allowed { snapshot, left: sieve.left })
}

/// The class of a section of the host's side.
fn on_the_host(class: &str) -> Option<&'static Class> {
    let others = [&classes::LINKS, &classes::CONNTRACK];
    bounds::CLASSES.into_iter().chain(others).find(|one| one.name == class)
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

    /// No capture tells of the node what is not the pod's alone.
    fn beyond(&mut self, name: &str, class: &'static Class, section: &Bytes, pod: &Pod) {
        let mut fault = |object: String| {
            let problem = Problem { object, path: String::new(), fault: state::Fault::Beyond };
            self.faults.push(Fault::Object(name.to_owned(), problem));
        };
        if let Source::Sysctl = class.source {
            let paths = section.split(|byte| *byte == 0).step_by(2).map(String::from_utf8_lossy);
            for path in paths.filter(|path| !path.is_empty() && !pod.has_file(path)) {
                fault(path.into_owned());
            }
            return;
        }
        for message in messages(section).map_while(Result::ok) {
            if message.kind == class.tells && pod.bound(class, &message) != Bound::Own {
                fault((class.label)(&state::decode(class, message.bytes), &Names::default()));
            }
        }
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

    fn leave_section(&mut self, name: &str, why: &str) {
        self.left.push((name.to_owned(), why.to_owned()));
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
