//! What of an image may be sent to the kernel.

use crate::image::{Image, Snapshot};
use crate::state::{self, Names, Problem, classes};

use super::Error;

/// Problems told of an image in all.
const MOST: usize = 32;

/// The part of the image that is restored. Without `leave_unknown` that is all of it.
pub fn allowed(image: &Image, leave_unknown: bool) -> Result<Snapshot, Error> {
    let mut snapshot = Snapshot::default();
    let mut found: Vec<(String, Problem)> = Vec::new();
    let mut strangers = Vec::new();
    let links = image.snapshot.sections.get(classes::LINKS.name);
    let Some(links) = links.filter(|links| !links.is_empty()) else { return Err(Error::NoLinks) };
    let names = Names::of(links);
    for (name, section) in &image.snapshot.sections {
        let outside = name.strip_prefix("host/");
        let Some(class) = state::class(outside.unwrap_or(name)) else {
            strangers.push(name.clone());
            continue;
        };
        // Links that those of the host refer to are the host's.
        let known = match outside {
            Some(_) => Names::default(),
            None => names.clone(),
        };
        let mut problems = state::check_section(class, section, &known);
        problems.retain(|problem| match problem.fault {
            state::Fault::NoLink(_) => outside.is_none(),
            _ => !(leave_unknown && problem.fault.is_beyond()),
        });
        found.extend(problems.into_iter().map(|problem| (name.clone(), problem)));
        snapshot.sections.insert(name.clone(), section.clone());
    }
    found.truncate(MOST);
    if !found.is_empty() {
        return Err(Error::Image(found));
    }
    if !strangers.is_empty() && !leave_unknown {
        return Err(Error::Sections(strangers));
    }
    Ok(snapshot)
}
