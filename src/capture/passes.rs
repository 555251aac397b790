//! Reading until nothing changes.
//!
//! The first pass reads every class of whose changes somebody is told. What was told of or interrupted
//! meanwhile is read again, until a pass ends with no event: at that moment every section is what the
//! kernel holds, so all of them are of that one moment. Flows ([`Source::Flows`]) change all the time:
//! to what was read of them is added what was told since, up to just before that moment. What is only
//! listed ([`Source::Inventory`]) is read at the end, once.
//!
//! Classes that no notification covers (sysctls, neighbour tables, small tables) are read before and
//! after that moment: equal, they held at it as well, unless something changed and changed back in
//! between. So the two readings are close together; but for those of sysctls, which are many.

use std::time::{Duration, Instant};

use super::sysctls::{Sysctls, Unreadable};
use super::watch::{Stale, Watch};
use super::{Error, Options};
use crate::image::Evidence;
use crate::netlink::{Protocol, messages};
use crate::state::classes::LINKS;
use crate::state::table::{Class, Source};
use crate::state::{self, Object, ReadError, Reader};

/// Two readings of what no notification covers are repeated, so many times at most, where they took
/// longer than this: what changes and changes back in between is not seen.
const CLOSE: Duration = Duration::from_millis(1);
const TRIES: u32 = 8;

/// Flows that are asked for one by one; where more are known, the kernel's table is walked for them once.
const MOST_ASKED: usize = 1024;

/// Reads one class once.
pub(super) fn once(class: &'static Class, reader: &mut Reader) -> Result<Vec<u8>, ReadError> {
    let mut section = Vec::new();
    match class.source {
        Source::Sysctl => section = super::sysctls::once(reader).map_err(sysctls_unreadable)?,
        Source::Read(read)
        | Source::Watched { read, .. }
        | Source::Flows { read, .. }
        | Source::Inventory(read) => section = read(reader)?,
        Source::Generic { family, dumps, gets } => {
            let failed = |source| ReadError::Netlink { what: class.name, source };
            reader.generic(family, dumps, gets, &mut section).map_err(failed)?;
        }
        Source::Netlink { protocol, dumps, .. } => {
            for dump in dumps {
                match reader.dump(protocol, dump.kind, dump.body, &mut section) {
                    Err(source) if !is_absent(protocol, &source) => {
                        return Err(ReadError::Netlink { what: class.name, source });
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(section)
}

/// What was read of the classes, and how.
#[derive(Debug)]
pub(super) struct Reading {
    /// One section for each class, in their order.
    pub(super) sections: Vec<Vec<u8>>,
    pub(super) unreadable: Vec<Unreadable>,
    pub(super) evidence: Evidence,
}

/// The classes of a namespace, read as of one moment, and kept so. Belongs on a thread inside the
/// namespace.
pub(super) struct Passes {
    classes: &'static [&'static Class],
    patience: Duration,
    /// When the reading under way has begun.
    start: Instant,
    pub(super) watch: Watch,
    pub(super) reader: Reader,
    /// One section for each class, in the order of the classes; but for sysctls.
    sections: Vec<Vec<u8>>,
    evidence: Evidence,
    sysctls: Option<Files>,
    /// What is to be read again.
    stale: Stale,
    /// What was read in the reading under way.
    read: Stale,
    /// Links were read again: there may be files of devices that were not there before.
    links_again: bool,
    /// Anything was read again: what was read of flows is older than that.
    moved: bool,
    /// The kernel's table of flows may be walked, once in a reading.
    may_walk: bool,
}

/// The class of sysctls, by its place.
struct Files {
    place: usize,
    found: Sysctls,
}

impl Passes {
    /// Subscribes. Nothing is read yet.
    pub(super) fn open(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            classes: options.classes,
            patience: options.patience,
            start: Instant::now(),
            watch: Watch::open(options.classes)?,
            reader: Reader::new(),
            sections: options.classes.iter().map(|_| Vec::new()).collect(),
            evidence: Evidence::default(),
            sysctls: None,
            stale: Stale::new(),
            read: Stale::new(),
            links_again: false,
            moved: false,
            may_walk: false,
        })
    }

    /// Reads all classes as of one moment.
    pub(super) fn first(&mut self) -> Result<(), Error> {
        let torn = cfg!(feature = "torn");
        let in_first = |place: &usize| torn || !self.classes[*place].source.is_unannounced();
        self.pass(&(0..self.classes.len()).filter(in_first).collect())?;
        if !torn {
            self.settle()?;
        }
        self.end()
    }

    /// Reads again, as of one moment, what was told of since the last reading, and what changes without
    /// a word.
    pub(super) fn again(&mut self) -> Result<(), Error> {
        self.start = Instant::now();
        self.evidence = Evidence::default();
        self.read.clear();
        self.reader.forget();
        self.watch.told(&mut self.stale)?;
        for place in self.stale.clone() {
            self.count_again(place);
        }
        let drifts = |place: &usize| (self.classes[*place].drifts)(&self.sections[*place]);
        let drifting: Stale = (0..self.classes.len()).filter(drifts).collect();
        let mut places = std::mem::take(&mut self.stale);
        places.extend(drifting);
        places.extend(self.watch.unwatched());
        self.pass(&places)?;
        // Of flows that are older than the subscription nothing was told.
        (self.moved, self.may_walk) = (true, true);
        self.settle()?;
        self.end()
    }

    /// Takes what was told so far, without a wait: what it is of will be read again.
    pub(super) fn heed(&mut self) -> Result<(), Error> {
        self.watch.take(&mut self.stale)?;
        for (place, class) in self.classes.iter().enumerate() {
            if self.watch.has_many(place, self.sections[place].len()) {
                self.watch.merge(place, class, &mut self.sections[place]);
            }
        }
        Ok(())
    }

    /// What was read last of each class.
    pub(super) fn sections(&self) -> impl Iterator<Item = &[u8]> {
        self.sections.iter().enumerate().map(|(place, section)| match &self.sysctls {
            Some(files) if files.place == place => &files.found.bytes[..],
            _ => section,
        })
    }

    /// What was read, where nothing more is to be.
    pub(super) fn into_reading(self) -> Reading {
        let Self { mut sections, evidence, sysctls, .. } = self;
        let mut unreadable = Vec::new();
        if let Some(Files { place, found }) = sysctls {
            sections[place] = found.bytes;
            unreadable = found.unreadable;
        }
        Reading { sections, unreadable, evidence }
    }

    pub(super) fn unreadable(&self) -> &[Unreadable] {
        self.sysctls.as_ref().map_or(&[], |files| &files.found.unreadable)
    }

    pub(super) fn evidence(&self) -> Evidence {
        self.evidence.clone()
    }

    /// Names of the classes that the last reading has left as they were.
    pub(super) fn kept(&self) -> Vec<String> {
        let kept = |(place, _): &(usize, _)| !self.read.contains(place);
        let all = self.classes.iter().enumerate().filter(kept);
        all.map(|(_, class)| class.name.to_owned()).collect()
    }

    fn end(&mut self) -> Result<(), Error> {
        self.merge_flows();
        self.list()?;
        let micros = self.start.elapsed().as_micros();
        self.evidence.micros = u64::try_from(micros).unwrap_or(u64::MAX);
        Ok(())
    }

    fn settle(&mut self) -> Result<(), Error> {
        let mut tries = 0;
        loop {
            while !self.stale.is_empty() {
                self.hurry(&self.stale)?;
                let again = std::mem::take(&mut self.stale);
                self.pass(&again)?;
                for place in again {
                    self.count_again(place);
                }
            }
            if std::mem::take(&mut self.moved) {
                self.flows_again()?;
                self.watch.told(&mut self.stale)?;
                if !self.stale.is_empty() {
                    continue;
                }
            }
            let before = Instant::now();
            let Some(mut changed) = self.read_unannounced_twice()? else { continue };
            if changed.is_empty() && before.elapsed() > CLOSE && tries < TRIES {
                tries += 1;
                continue;
            }
            self.sysctls_again(&mut changed)?;
            for place in &changed {
                self.count_again(*place);
            }
            if changed.is_empty() && self.stale.is_empty() {
                return Ok(());
            }
            self.hurry(&changed)?;
            self.watch.told(&mut self.stale)?;
        }
    }

    /// Ends the capture where patience has run out over these classes.
    fn hurry(&self, over: &Stale) -> Result<(), Error> {
        let waited = self.start.elapsed();
        if waited <= self.patience {
            return Ok(());
        }
        let classes = over.iter().map(|place| self.classes[*place].name).collect();
        Err(Error::KeepsChanging { classes, waited })
    }

    /// Reads these classes, then takes what was told of any class meanwhile.
    fn pass(&mut self, places: &Stale) -> Result<(), Error> {
        self.evidence.passes += 1;
        for place in places {
            self.class(*place)?;
        }
        self.watch.told(&mut self.stale)
    }

    fn class(&mut self, place: usize) -> Result<(), Error> {
        let class = self.classes[place];
        self.read.insert(place);
        match class.source {
            Source::Sysctl => {
                let found = Sysctls::read(&mut self.reader).map_err(sysctls_failed)?;
                self.sysctls = Some(Files { place, found });
            }
            // Read when all else holds.
            Source::Inventory(_) => {}
            Source::Read(_)
            | Source::Watched { .. }
            | Source::Flows { .. }
            | Source::Generic { .. } => {
                self.sections[place] = once(class, &mut self.reader)
                    .map_err(|source| Error::Read { class: class.name, source })?;
            }
            Source::Netlink { protocol, dumps, .. } => {
                let section = &mut self.sections[place];
                section.clear();
                for dump in dumps {
                    match self.reader.dump(protocol, dump.kind, dump.body, section) {
                        Ok(()) => {}
                        Err(error) if is_absent(protocol, &error) => {}
                        Err(source) => {
                            let source = ReadError::Netlink { what: "dump", source };
                            return Err(Error::Read { class: class.name, source });
                        }
                    }
                }
            }
        }
        if self.reader.take_interrupted() {
            self.evidence.interrupted += 1;
            self.stale.insert(place);
        }
        Ok(())
    }

    /// Reads what no notification covers right before and right after a moment at which all else is
    /// known to hold; answers what of it is not the same. `None` where something else was told of, so
    /// that there was no such moment.
    fn read_unannounced_twice(&mut self) -> Result<Option<Stale>, Error> {
        let is_one = |place: &usize| self.classes[*place].source.is_unannounced();
        let places: Vec<usize> = (0..self.classes.len()).filter(is_one).collect();
        for place in &places {
            self.class(*place)?;
        }
        self.watch.told(&mut self.stale)?;
        if !self.stale.is_empty() {
            return Ok(None);
        }
        let mut before = Vec::with_capacity(places.len());
        for place in &places {
            before.push(std::mem::take(&mut self.sections[*place]));
            self.class(*place)?;
        }
        let mut changed = Stale::new();
        for (place, before) in places.into_iter().zip(before) {
            if !is_same(self.classes[place], &before, &self.sections[place])? {
                changed.insert(place);
            }
        }
        Ok(Some(changed))
    }

    /// Reads sysctls again; they are added where they are not as they were.
    fn sysctls_again(&mut self, changed: &mut Stale) -> Result<(), Error> {
        let listed = std::mem::take(&mut self.links_again);
        self.read.extend(self.sysctls.as_ref().map(|files| files.place));
        if let Some(Files { place, found }) = &mut self.sysctls
            && !found.read_again(listed, &mut self.reader).map_err(sysctls_failed)?
        {
            changed.insert(*place);
        }
        Ok(())
    }

    /// Reads the inventories.
    fn list(&mut self) -> Result<(), Error> {
        for place in 0..self.classes.len() {
            let class = self.classes[place];
            if class.source.is_inventory() {
                self.read.insert(place);
                self.sections[place] = once(class, &mut self.reader)
                    .map_err(|source| Error::Read { class: class.name, source })?;
            }
        }
        Ok(())
    }

    /// Takes into each section of flows what was told of it.
    fn merge_flows(&mut self) {
        for (place, class) in self.classes.iter().enumerate() {
            self.watch.merge(place, class, &mut self.sections[place]);
        }
    }

    /// Reads the known flows again, one by one, now that all else holds; all of them where there are
    /// more than is known, or very many.
    fn flows_again(&mut self) -> Result<(), Error> {
        self.merge_flows();
        for place in 0..self.classes.len() {
            let class = self.classes[place];
            let Source::Flows { again, missed, .. } = class.source else { continue };
            let known = messages(&self.sections[place]).count();
            if self.may_walk && (known > MOST_ASKED || missed(known)) {
                self.class(place)?;
            } else if known > 0 {
                self.sections[place] = again(&mut self.reader, &self.sections[place])
                    .map_err(|source| Error::Read { class: class.name, source })?;
            }
        }
        self.may_walk = false;
        Ok(())
    }

    fn count_again(&mut self, place: usize) {
        self.moved = true;
        let name = self.classes[place].name;
        self.links_again |= name == LINKS.name;
        match self.evidence.read_again.get_mut(name) {
            Some(times) => *times += 1,
            None => {
                self.evidence.read_again.insert(name.to_owned(), 1);
            }
        }
    }
}

/// Whether two readings hold the same objects. Bytes may differ by counters and clocks.
fn is_same(class: &'static Class, before: &[u8], after: &[u8]) -> Result<bool, Error> {
    if before == after {
        return Ok(true);
    }
    let objects = |section| {
        state::objects(class, section)
            .map_err(|source| Error::Malformed { class: class.name, source })
    };
    let (before, after) = (objects(before)?, objects(after)?);
    let same =
        |(old, new): (&Object, &Object)| old.key == new.key && state::compare(old, new).is_empty();
    Ok(before.len() == after.len() && before.iter().zip(&after).all(same))
}

/// The kernel is built without this protocol or address family: there is nothing of the class.
pub(super) fn is_absent(protocol: Protocol, error: &crate::netlink::Error) -> bool {
    match error.errno() {
        Some(libc::EOPNOTSUPP | libc::EAFNOSUPPORT | libc::EPROTONOSUPPORT) => true,
        // What nfnetlink answers for a subsystem that is not there.
        Some(libc::EINVAL) => protocol == Protocol::Netfilter,
        _ => false,
    }
}

fn sysctls_unreadable(source: std::io::Error) -> ReadError {
    ReadError::File { path: super::sysctls::ROOT.to_owned(), source }
}

pub(super) fn sysctls_failed(source: std::io::Error) -> Error {
    Error::Read { class: "sysctls", source: sysctls_unreadable(source) }
}
