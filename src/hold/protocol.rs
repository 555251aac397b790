//! Never both, never neither: how a held pod and its successor take turns. Pure: what an agent sees in,
//! its next step out.
//!
//! ```text
//!   source's kernel   held, ends at H ─────────────► endless              (until the pod is gone)
//!   source's agent    Held ──────────────────────────┬──► SourceFenced ┐
//!                       │ written in the checkpoint   │                 ▼
//!   successor's agent   └──► Claimed ──► … ──► Live ──┘                Done
//!   successor's kernel  silent └──► leave, ends before H ─────────────► free
//! ```
//!
//! - **Claim and release exclude each other.** Both are written to the object on the condition that it
//!   has not changed since it was looked at. A source that tells that it is released does so before it
//!   speaks; a successor that claims does so before it has leave.
//! - **Leave ends before the hold does**, each by its own kernel, so that nobody needs to be alive. The
//!   clocks of two nodes may differ by [`SKEW`]; nothing else is asked of them.
//! - **Endless only against endless.** The source is fenced only if its hold was in force up to then,
//!   and only then is the successor free.
//! - A source whose pod is being deleted is fenced at once: what its processes say while they die must
//!   not leave.
//!
//! What remains: if a successor is live and the API or the source's agent is away for the whole rest of
//! the hold, leave ends, and then the source speaks again, with what its sockets knew. Its peers may be
//! further on by then, and such connections end.

use std::time::Duration;

/// What the clocks of two nodes may differ by, and the time that leave ends before the hold does.
pub const SKEW: Duration = Duration::from_secs(5);

/// What the source's kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceKernel {
    /// Frames pass.
    Open,
    /// Held for a time.
    Timed,
    Endless,
}

/// What the source's agent has told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Told {
    /// The hold is in force, until it ends by itself.
    Held,
    /// It no longer ends by itself.
    Fenced,
    /// The pod is gone, or can't speak any more.
    Gone,
    /// It speaks again: it was released, or its time was over.
    Ended,
}

/// The source's pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Pod {
    Lives,
    /// It is being deleted.
    Leaves,
    Gone,
}

/// How far a successor is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Takeover {
    #[default]
    None,
    /// It may get leave: the source must not speak before its hold ends.
    Claimed,
    /// Its sockets are there.
    Live,
    /// It may speak for good.
    Done,
    /// It is silent, and will be.
    Withdrawn,
}

impl Takeover {
    /// What the takeovers of all successors come to for the source.
    #[must_use]
    pub fn of_all(all: impl IntoIterator<Item = Self>) -> Self {
        let rank = |one: &Self| match one {
            Self::None => 0,
            Self::Withdrawn => 1,
            Self::Claimed => 2,
            Self::Live => 3,
            Self::Done => 4,
        };
        all.into_iter().max_by_key(rank).unwrap_or_default()
    }

    /// Whether no other successor may claim.
    #[must_use]
    pub const fn is_taken(self) -> bool {
        matches!(self, Self::Claimed | Self::Live | Self::Done)
    }
}

/// What the source's agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Source {
    pub kernel: SourceKernel,
    pub told: Told,
    pub pod: Pod,
    /// Whether the hold is asked to be released: `traffic: Running`, the object is being deleted, or the
    /// checkpoint has failed.
    pub release: bool,
    /// Of all successors.
    pub takeover: Takeover,
}

/// What the source's agent does next. What is told is written on the condition that the object is
/// still as it was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SourceStep {
    Nothing,
    /// If it still holds.
    MakeEndless,
    /// Let frames pass.
    Open,
    TellFenced,
    TellGone,
    TellReleased,
    TellTimedOut,
}

impl Source {
    /// The next step.
    #[must_use]
    pub fn step(self) -> SourceStep {
        match self.told {
            Told::Ended if self.kernel != SourceKernel::Open => SourceStep::Open,
            Told::Ended | Told::Gone => SourceStep::Nothing,
            Told::Held | Told::Fenced => self.holding(),
        }
    }

    fn holding(self) -> SourceStep {
        let leaves = self.pod == Pod::Leaves;
        let is_taken_over = matches!(self.takeover, Takeover::Live | Takeover::Done);
        if self.pod == Pod::Gone {
            return SourceStep::TellGone;
        }
        match self.kernel {
            SourceKernel::Open => SourceStep::TellTimedOut,
            SourceKernel::Timed if leaves || is_taken_over => SourceStep::MakeEndless,
            SourceKernel::Timed if self.release && !self.takeover.is_taken() => {
                SourceStep::TellReleased
            }
            SourceKernel::Timed => SourceStep::Nothing,
            SourceKernel::Endless if leaves || is_taken_over => match self.told {
                Told::Held => SourceStep::TellFenced,
                _ => SourceStep::Nothing,
            },
            // Nobody takes over any more, and no time ends it.
            SourceKernel::Endless if !self.takeover.is_taken() => SourceStep::TellReleased,
            SourceKernel::Endless => SourceStep::Nothing,
        }
    }
}

/// What the successor's kernel does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuccessorKernel {
    Silent,
    /// It may speak, until that ends by itself.
    Leave,
    /// It may speak for good.
    Free,
}

/// What a successor's agent sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Successor {
    pub kernel: SuccessorKernel,
    /// Its own, as it is written.
    pub takeover: Takeover,
    /// Whether another successor has claimed.
    pub is_taken: bool,
    pub told: Told,
    /// Whether there is time left until leave must end.
    pub in_time: bool,
    /// Something else holds it (CRIU's lock), or its sockets are there.
    pub is_ready: bool,
    /// Its sockets are there.
    pub is_live: bool,
    /// Its pod is being deleted or has failed.
    pub has_failed: bool,
}

/// What a successor's agent does next; as [`SourceStep`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SuccessorStep {
    Nothing,
    TellClaimed,
    /// Until [`SKEW`] before the hold ends.
    GiveLeave,
    TellLive,
    Free,
    TellDone,
    Silence,
    TellWithdrawn,
}

impl Successor {
    /// The next step.
    #[must_use]
    pub fn step(self) -> SuccessorStep {
        use SuccessorKernel::{Free, Leave, Silent};
        use Takeover::{Claimed, Done, Live, None, Withdrawn};
        let is_over = self.has_failed || self.told == Told::Ended;
        let is_fenced = matches!(self.told, Told::Fenced | Told::Gone);
        match (self.takeover, self.kernel) {
            // Whoever speaks for good goes on until its pod ends, as any pod; or somebody has taken its
            // hold away by hand.
            (_, Free) => SuccessorStep::Nothing,
            // Told first: an agent that comes after finds what is left to do.
            (Done, Silent | Leave) if !self.has_failed => SuccessorStep::Free,
            (Done, Silent | Leave) => SuccessorStep::Nothing,
            (None | Withdrawn | Claimed | Live, Leave) if is_over => SuccessorStep::Silence,
            (Claimed | Live, Silent) if is_over => SuccessorStep::TellWithdrawn,
            (None | Withdrawn, _) => {
                let may = !is_over && !self.is_taken && self.is_ready;
                match may && (is_fenced || self.in_time) {
                    true => SuccessorStep::TellClaimed,
                    false => SuccessorStep::Nothing,
                }
            }
            (Claimed, Silent) if self.in_time && self.is_ready => SuccessorStep::GiveLeave,
            (Claimed, _) if self.is_live => SuccessorStep::TellLive,
            (Live, _) if is_fenced => SuccessorStep::TellDone,
            (Claimed | Live, _) => SuccessorStep::Nothing,
        }
    }
}
