//! All interleavings of a source's agent and those of two successors, with crashes, outdated views and
//! time running out at any moment.

use std::collections::{HashSet, VecDeque};

use super::protocol::{
    Pod, Source, SourceKernel, SourceStep, Successor, SuccessorKernel, SuccessorStep, Takeover,
    Told,
};

/// How far time is: leave ends when the second begins, the hold ends when the third does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Time {
    Early,
    LeaveOver,
    HoldOver,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct End {
    kernel: SuccessorKernel,
    written: Takeover,
    is_ready: bool,
    is_live: bool,
    has_failed: bool,
    /// The view that its agent is about to act on, and the object's version then.
    view: Option<(Successor, u8)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct World {
    time: Time,
    /// Changes of the object that matter to somebody who looked before.
    version: u8,
    kernel: SourceKernel,
    told: Told,
    pod: Pod,
    release: bool,
    view: Option<(Source, u8)>,
    ends: [End; 2],
}

impl World {
    fn new() -> Self {
        let end = End {
            kernel: SuccessorKernel::Silent,
            written: Takeover::None,
            is_ready: false,
            is_live: false,
            has_failed: false,
            view: None,
        };
        Self {
            time: Time::Early,
            version: 0,
            kernel: SourceKernel::Timed,
            told: Told::Held,
            pod: Pod::Lives,
            release: false,
            view: None,
            ends: [end; 2],
        }
    }

    fn source_speaks(&self) -> bool {
        self.kernel == SourceKernel::Open && self.pod != Pod::Gone
    }

    fn speakers(&self) -> usize {
        let ends = self.ends.iter().filter(|end| end.kernel != SuccessorKernel::Silent);
        usize::from(self.source_speaks()) + ends.count()
    }

    fn source_view(&self) -> Source {
        Source {
            kernel: self.kernel,
            told: self.told,
            pod: self.pod,
            release: self.release,
            takeover: Takeover::of_all(self.ends.iter().map(|end| end.written)),
        }
    }

    fn successor_view(&self, n: usize) -> Successor {
        let end = self.ends[n];
        Successor {
            kernel: end.kernel,
            takeover: end.written,
            is_taken: self.ends[1 - n].written.is_taken(),
            told: self.told,
            in_time: self.time == Time::Early,
            is_ready: end.is_ready || end.is_live,
            is_live: end.is_live,
            has_failed: end.has_failed,
        }
    }

    fn wrote(&mut self) {
        self.version = self.version.wrapping_add(1);
        // Only whether a view is of this version matters.
        let current = self.version;
        let old = |version: u8| if version == current { version.wrapping_sub(1) } else { version };
        self.view = self.view.map(|(view, version)| (view, old(version)));
    }

    /// The source's agent does what its view led to.
    fn source_acts(&mut self) {
        let Some((view, version)) = self.view.take() else { return };
        let is_current = version == self.version;
        let mut tell = |told| {
            if is_current {
                self.told = told;
                self.wrote();
            }
        };
        match view.step() {
            SourceStep::Nothing => {}
            SourceStep::TellFenced => tell(Told::Fenced),
            SourceStep::TellGone => tell(Told::Gone),
            SourceStep::TellReleased | SourceStep::TellTimedOut => tell(Told::Ended),
            SourceStep::MakeEndless => {
                if self.kernel == SourceKernel::Timed {
                    self.kernel = SourceKernel::Endless;
                }
            }
            SourceStep::Open => self.kernel = SourceKernel::Open,
        }
    }

    fn successor_acts(&mut self, n: usize) {
        let Some((view, version)) = self.ends[n].view.take() else { return };
        let is_current = version == self.version;
        let mut tell = |takeover| {
            if is_current {
                self.ends[n].written = takeover;
                self.wrote();
            }
        };
        match view.step() {
            SuccessorStep::Nothing => {}
            SuccessorStep::TellClaimed => tell(Takeover::Claimed),
            SuccessorStep::TellLive => tell(Takeover::Live),
            SuccessorStep::TellDone => tell(Takeover::Done),
            SuccessorStep::TellWithdrawn => tell(Takeover::Withdrawn),
            // It ends at a moment, so that what comes too late is no leave.
            SuccessorStep::GiveLeave if self.time == Time::Early => {
                self.ends[n].kernel = SuccessorKernel::Leave;
            }
            SuccessorStep::GiveLeave => {}
            SuccessorStep::Free => self.ends[n].kernel = SuccessorKernel::Free,
            SuccessorStep::Silence => self.ends[n].kernel = SuccessorKernel::Silent,
        }
    }

    fn passes(&mut self) {
        match self.time {
            Time::Early => {
                self.time = Time::LeaveOver;
                for end in &mut self.ends {
                    if end.kernel == SuccessorKernel::Leave {
                        end.kernel = SuccessorKernel::Silent;
                    }
                }
            }
            Time::LeaveOver | Time::HoldOver => {
                self.time = Time::HoldOver;
                if self.kernel == SourceKernel::Timed {
                    self.kernel = SourceKernel::Open;
                }
            }
        }
    }

    /// All that may happen next.
    fn next(&self) -> Vec<Self> {
        let mut all = Vec::new();
        let mut add = |change: &dyn Fn(&mut Self)| {
            let mut world = *self;
            change(&mut world);
            // Versions count how old views are, no further.
            if world != *self {
                all.push(world.normal());
            }
        };
        add(&|w| w.passes());
        add(&|w| w.release = true);
        add(&|w| w.pod = if w.pod == Pod::Lives { Pod::Leaves } else { Pod::Gone });
        // Looks, acts, and dies between the two.
        add(&|w| w.view = Some((w.source_view(), w.version)));
        add(&|w| w.source_acts());
        add(&|w| w.view = None);
        for n in 0..2 {
            add(&|w| w.ends[n].is_ready = true);
            add(&|w| w.ends[n].is_live |= w.ends[n].is_ready);
            add(&|w| w.ends[n].has_failed = true);
            add(&|w| w.ends[n].view = Some((w.successor_view(n), w.version)));
            add(&|w| w.successor_acts(n));
            add(&|w| w.ends[n].view = None);
        }
        all
    }

    /// The same world with version 1 for now and 0 for before.
    fn normal(mut self) -> Self {
        let now = self.version;
        let mark = |version: u8| u8::from(version == now);
        self.view = self.view.map(|(view, version)| (view, mark(version)));
        for end in &mut self.ends {
            end.view = end.view.map(|(view, version)| (view, mark(version)));
        }
        self.version = 1;
        self
    }

    /// Everybody looks and acts until nothing changes.
    fn settled(mut self) -> Self {
        for _ in 0..40 {
            let before = self;
            self.view = Some((self.source_view(), self.version));
            self.source_acts();
            for n in 0..2 {
                self.ends[n].view = Some((self.successor_view(n), self.version));
                self.successor_acts(n);
            }
            self = self.normal();
            if self == before {
                return self;
            }
        }
        panic!("the agents never come to rest: {self:?}");
    }
}

/// Every world that can come to be.
fn all_worlds(most_successors: usize) -> HashSet<World> {
    let mut start = World::new();
    start.version = 1;
    if most_successors == 1 {
        start.ends[1].has_failed = true;
    }
    let mut seen = HashSet::from([start]);
    let mut open = VecDeque::from([start]);
    while let Some(world) = open.pop_front() {
        for next in world.next() {
            if most_successors == 1 && next.ends[1] != start.ends[1] {
                continue;
            }
            if seen.insert(next) {
                open.push_back(next);
            }
        }
    }
    seen
}

#[test]
fn never_both_and_never_neither() {
    let worlds = all_worlds(1);
    assert!(worlds.len() > 1_000, "{}", worlds.len());
    let mut ways = HashSet::new();
    for world in &worlds {
        assert!(world.speakers() <= 1, "both speak: {world:?}");
        let mut last = *world;
        last.view = None;
        last.ends.iter_mut().for_each(|end| end.view = None);
        last = last.settled();
        last.passes();
        last.passes();
        last = last.settled();
        // A pod that is deleted is silent, and so is a successor that has failed since it was free.
        let was_taken_over = last.ends.iter().any(|end| end.written == Takeover::Done);
        let nobody_is_left = last.pod != Pod::Lives || was_taken_over;
        let still_waits = last.ends.iter().any(|end| {
            // The source is fenced, and who has taken over is not there yet: it goes on or fails.
            end.written.is_taken() && !end.has_failed
        });
        assert!(
            last.speakers() == 1 || nobody_is_left || still_waits,
            "nobody speaks: {world:?} came to {last:?}"
        );
        ways.insert((last.source_speaks(), last.ends[0].kernel));
    }
    // All outcomes are among them: the source goes on, the successor does.
    assert!(ways.contains(&(true, SuccessorKernel::Silent)), "{ways:?}");
    assert!(ways.contains(&(false, SuccessorKernel::Free)), "{ways:?}");
}

/// Two successors of one source, one of them without its agent's crashes in between.
#[test]
fn two_successors_never_speak_both() {
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..20_000 {
        let mut world = World::new().normal();
        for _ in 0..60 {
            let next = world.next();
            // xorshift: the same walk each time.
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            world = next[(random % next.len() as u64) as usize];
            assert!(world.speakers() <= 1, "both speak: {world:?}");
        }
    }
}
