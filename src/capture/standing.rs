//! A capture that stands by: made while the pod runs, kept current by what the kernel tells, and ended
//! at the moment that counts with little left to read.
//!
//! A thread inside the namespace makes a first capture and stays subscribed. While nothing happens it
//! sleeps; what it is told of is marked. [`Standing::update`] reads again only what was marked, what
//! changes without a word, and (for they are not walked) each known flow by its tuple. It ends as every
//! capture does, with a moment at which all held, so that its result is what a capture from nothing at
//! that moment gives. Where the kernel could not tell all (`ENOBUFS`), that is read again as a whole.
//!
//! The namespace lives as long as this. Dropped at any time, it leaves nothing.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::passes::Passes;
use super::sift::{self, Sifted};
use super::{Captured, Error, Options, beside_host, detect};
use crate::host::number_of;
use crate::image::{Snapshot, Stood};
use crate::netns::{self, Namespace};
use crate::state::table::Class;
use crate::state::{self, CLASSES, Names, Object};

/// How long what is told is left to gather: a namespace that changes all the time shall not keep a
/// processor busy. A question is answered at once nevertheless.
const GATHER: u16 = 20;

/// A capture that stands by. Its calls block for milliseconds, as [`super::capture`] does: on an async
/// runtime make them from a blocking task.
#[derive(Debug)]
pub struct Standing {
    /// One byte is one question; its end is the thread's.
    questions: Option<UnixStream>,
    answers: Receiver<Result<Update, Error>>,
    thread: Option<JoinHandle<Result<(), netns::Error>>>,
}

/// What a capture that stands by gives when it is asked.
#[derive(Debug, Clone)]
pub struct Update {
    /// What a capture from nothing would give.
    pub captured: Captured,
    /// Names of the sections that hold something else than at the last question (or, at the first, in
    /// the first capture). Counters and times left are no difference, nor what is only listed.
    pub changed: BTreeSet<String>,
}

/// The thread's own.
struct Inside {
    options: Options,
    passes: Passes,
    host: Option<(Namespace, Option<i32>)>,
    /// Of each class what was read last, and what was made of it.
    sifted: Vec<(Vec<u8>, Sifted)>,
    names: Names,
    /// What was given last.
    last: Snapshot,
    since: Timestamp,
}

impl Standing {
    /// Makes the first capture, as [`super::network`] does, and stands by.
    ///
    /// # Errors
    /// As [`super::network`].
    pub fn open(
        namespace: &Namespace,
        host: Option<&Namespace>,
        options: &Options,
    ) -> Result<(Self, Captured), Error> {
        let (questions, asked) = UnixStream::pair()
            .map_err(|source| netns::Error::Thread { name: namespace.name().to_owned(), source })?;
        let host = host.map(Namespace::try_clone).transpose()?;
        // Closed here, once the thread has a table of descriptors with copies of its own.
        let given = Arc::new((asked, host));
        let (answer, answers) = sync_channel(1);
        let (inside, options) = (Arc::clone(&given), options.clone());
        let thread = namespace.start(move || serve(inside, options, &answer))?;
        let mut standing = Self { questions: Some(questions), answers, thread: Some(thread) };
        let first = standing.answer()?.captured;
        Ok((standing, first))
    }

    /// What the network is now.
    ///
    /// # Errors
    /// As [`super::network`]. What is told goes on to be heard: it can be asked again.
    pub fn update(&mut self) -> Result<Update, Error> {
        if let Some(mut questions) = self.questions.as_ref() {
            // Where the thread has ended its answer says why.
            let _ = questions.write_all(&[0]);
        }
        self.answer()
    }

    /// What the network is now; stands by no longer.
    ///
    /// # Errors
    /// As [`super::network`].
    pub fn finish(mut self) -> Result<Update, Error> {
        self.update()
    }

    fn answer(&mut self) -> Result<Update, Error> {
        match self.answers.recv() {
            Ok(answer) => answer,
            Err(_) => Err(self.end().err().map_or(Error::Ended, Error::Namespace)),
        }
    }

    /// Waits until the thread has gone; a panic of its goes on here.
    fn end(&mut self) -> Result<(), netns::Error> {
        if let Some(questions) = self.questions.take() {
            // Others may have a copy of the descriptor: a program that is about to be started.
            let _ = questions.shutdown(std::net::Shutdown::Both);
        }
        let Some(thread) = self.thread.take() else { return Ok(()) };
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if let Some(questions) = self.questions.take() {
            let _ = questions.shutdown(std::net::Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            // It has told why, to whoever asked.
            let _ = thread.join();
        }
    }
}

/// What the caller has given.
type Given = Arc<(UnixStream, Option<Namespace>)>;

/// The thread: the first capture, then one for each question.
fn serve(given: Given, options: Options, answer: &SyncSender<Result<Update, Error>>) {
    let (mut inside, mut asked) = match begin(given, options) {
        Ok((inside, asked)) => (inside, asked),
        Err(error) => return drop(answer.send(Err(error))),
    };
    let first = inside.passes.first().and_then(|()| inside.captured());
    loop_until_gone(&mut inside, &mut asked, answer, first);
}

fn loop_until_gone(
    inside: &mut Inside,
    asked: &mut UnixStream,
    answer: &SyncSender<Result<Update, Error>>,
    first: Result<Update, Error>,
) {
    let failed = first.is_err();
    if answer.send(first).is_err() || failed {
        return;
    }
    loop {
        match inside.wait(asked) {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => return drop(answer.send(Err(error))),
        }
        let update = inside.passes.again().and_then(|()| inside.captured());
        if answer.send(update).is_err() {
            return;
        }
    }
}

/// Makes the thread's table of descriptors one that has only what it needs.
fn begin(given: Given, options: Options) -> Result<(Inside, UnixStream), Error> {
    let failed = |source| netns::Error::Thread { name: "standing capture".to_owned(), source };
    // Its own: hundreds of files stay open, which would count against what the program may open, and
    // nobody else's connection shall live as long as this thread.
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).map_err(|e| failed(e.into()))?;
    let asked = given.0.try_clone().map_err(failed)?;
    let host = given.1.as_ref().map(Namespace::try_clone).transpose()?;
    drop(given);
    let kept = [Some(asked.as_raw_fd()), host.as_ref().map(Namespace::as_raw_fd)];
    close_all_but(&kept.into_iter().flatten().collect());
    let number = |host: Namespace| {
        let number = number_of(host.as_raw_fd()).map_err(|source| Error::Host { source })?;
        Ok::<_, Error>((host, number))
    };
    let inside = Inside {
        passes: Passes::open(&options)?,
        host: host.map(number).transpose()?,
        options,
        sifted: Vec::new(),
        names: Names::default(),
        last: Snapshot::default(),
        since: Timestamp::now(),
    };
    Ok((inside, asked))
}

/// Closes what the thread has from the rest of the program, in its own table.
fn close_all_but(kept: &BTreeSet<RawFd>) {
    const FIRST: RawFd = 3;
    let ends = kept.iter().map(|fd| fd - 1).chain([RawFd::MAX]);
    let starts = [FIRST].into_iter().chain(kept.iter().map(|fd| fd + 1));
    for (start, end) in starts.zip(ends).filter(|(start, end)| start <= end) {
        // SAFETY: nothing in this thread owns one of these: they are copies of the program's, which stay
        // open there. A kernel before 5.9 answers ENOSYS, and they stay until the thread ends.
        let _ = unsafe { libc::syscall(libc::SYS_close_range, start, end, 0) };
    }
}

impl Inside {
    /// Sleeps, and marks what it is told of, until there is a question (true) or nobody to ask (false).
    fn wait(&mut self, asked: &mut UnixStream) -> Result<bool, Error> {
        loop {
            let told: Vec<RawFd> = self.passes.watch.descriptors().collect();
            if is_ready(asked, &told, PollTimeout::NONE)? || is_ready(asked, &[], GATHER.into())? {
                let mut one = [0];
                return Ok(matches!(asked.read(&mut one), Ok(1)));
            }
            self.passes.heed()?;
        }
    }

    /// What was read last, as a capture.
    fn captured(&mut self) -> Result<Update, Error> {
        let taken = Timestamp::now();
        let classes = self.options.classes;
        let mut beside = detect::beside(&mut self.passes.reader, classes);
        self.sift()?;
        let mut evidence = self.passes.evidence();
        if !self.last.sections.is_empty() {
            evidence.standing = Some(Stood { since: self.since, kept: self.passes.kept() });
        }
        let sifted = self.sifted.iter().map(|(_, sifted)| sifted.clone());
        let unreadable = self.passes.unreadable();
        let mut captured = sift::together(classes, sifted, unreadable, evidence, taken);
        captured.not_carried.append(&mut beside);
        captured.not_carried.sort();
        if let Some((host, number)) = &self.host {
            beside_host(&mut captured, host, *number, self.options.list_node)?;
        }
        let changed = changed(&self.last, &captured.snapshot)?;
        self.last = captured.snapshot.clone();
        Ok(Update { captured, changed })
    }

    /// Makes anew what is to be kept of sections that are not as they were.
    fn sift(&mut self) -> Result<(), Error> {
        let classes = self.options.classes;
        let links = |sections: &mut dyn Iterator<Item = &[u8]>| {
            let at = classes.iter().position(|class| class.name == "links");
            at.and_then(|at| sections.nth(at).map(<[u8]>::to_vec))
        };
        let now = links(&mut self.passes.sections());
        let then = links(&mut self.sifted.iter().map(|(raw, _)| raw.as_slice()));
        // They are what others are named by.
        if now != then {
            self.names = now.as_deref().map(Names::of).unwrap_or_default();
            self.sifted.clear();
        }
        for (place, (class, raw)) in classes.iter().zip(self.passes.sections()).enumerate() {
            if self.sifted.get(place).is_some_and(|(known, _)| known == raw) {
                continue;
            }
            let sifted = (raw.to_vec(), sift::sift(class, raw.to_vec(), &self.names)?);
            match self.sifted.get_mut(place) {
                Some(known) => *known = sifted,
                None => self.sifted.push(sifted),
            }
        }
        Ok(())
    }
}

/// Whether there is a question, or nobody to ask, by the time that anything is told.
fn is_ready(asked: &UnixStream, told: &[RawFd], timeout: PollTimeout) -> Result<bool, Error> {
    // SAFETY: they are of sockets that live longer than this.
    let told = told.iter().map(|fd| unsafe { BorrowedFd::borrow_raw(*fd) });
    // SAFETY: as above.
    let first = unsafe { BorrowedFd::borrow_raw(asked.as_raw_fd()) };
    let mut all: Vec<_> =
        [first].into_iter().chain(told).map(|fd| PollFd::new(fd, PollFlags::POLLIN)).collect();
    loop {
        match poll(&mut all, timeout) {
            Ok(_) => return Ok(all[0].any().unwrap_or(true)),
            Err(Errno::EINTR) => {}
            Err(errno) => {
                let source = std::io::Error::from(errno);
                return Err(Error::Events(crate::netlink::Error::System { step: "wait", source }));
            }
        }
    }
}

/// Names of the sections of which something is not as it was. What is only listed is left out, and so is
/// what the kernel makes and forgets by itself: no restore depends on it.
pub(crate) fn changed(last: &Snapshot, now: &Snapshot) -> Result<BTreeSet<String>, Error> {
    let mut changed = BTreeSet::new();
    for (name, section) in &now.sections {
        let before = last.sections.get(name).map(|bytes| &bytes[..]).unwrap_or_default();
        let class = name.strip_prefix("host/").unwrap_or(name);
        let class = CLASSES.iter().find(|known| known.name == class);
        let same = match class {
            Some(class) => class.source.is_inventory() || is_alike(class, before, section)?,
            None => before == section,
        };
        if !same {
            changed.insert(name.clone());
        }
    }
    Ok(changed)
}

fn is_alike(class: &'static Class, before: &[u8], after: &[u8]) -> Result<bool, Error> {
    if before == after {
        return Ok(true);
    }
    let lasting = |section| {
        let all = state::objects(class, section)
            .map_err(|source| Error::Malformed { class: class.name, source })?;
        let lasts = |one: &Object| !(class.fleeting)(&one.value());
        Ok::<Vec<Object>, Error>(all.into_iter().filter(lasts).collect())
    };
    let (before, after) = (lasting(before)?, lasting(after)?);
    let same =
        |(old, new): (&Object, &Object)| old.key == new.key && state::compare(old, new).is_empty();
    Ok(before.len() == after.len() && before.iter().zip(&after).all(same))
}
