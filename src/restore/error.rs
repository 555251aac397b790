//! What can go wrong with a restore.

use std::fmt;

use super::apply::Refused;
use super::hands::Failure;
use crate::image::Lost;
use crate::netns;
use crate::plan::{self, Finding};
use crate::state::Problem;

/// Objects named in one message.
const NAMED: usize = 4;

/// A restore or a verification failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Namespace(#[from] netns::Error),
    #[error("the image holds no links: it is not one of a network namespace")]
    NoLinks,
    /// With the section of each.
    #[error("the image can't be restored by this version; nothing was changed: {}", problems(.0))]
    Image(Vec<(String, Problem)>),
    #[error(
        "the image has sections that this version does not know ({}); nothing was changed. \
         A newer version restores them, or they may be left out by choice",
        .0.join(", ")
    )]
    Sections(Vec<String>),
    /// More than a namespace can have need of; see the bounds.
    #[error("the image asks for too much ({what}: {asked}, at most {most}); nothing was changed")]
    TooMuch { what: &'static str, asked: u64, most: u64 },
    #[error("the image lacks what changes how the network behaves; nothing was changed: {0}")]
    NotCarried(#[from] Lost),
    #[error(transparent)]
    Plan(#[from] plan::Error),
    /// Before anything was changed.
    #[error(transparent)]
    Failure(#[from] Failure),
    #[error("nobody waits for it any more")]
    GivenUp,
    /// In the middle.
    #[error("{failure}; {undone}")]
    Broken { failure: Box<Error>, undone: Undone },
    #[error(
        "{} after {rounds} rounds{}; {undone}",
        listed(findings, "still differs", "still differ"),
        refusals(refused)
    )]
    Differs { findings: Vec<Finding>, refused: Vec<Refused>, rounds: u32, undone: Undone },
}

impl Error {
    /// A short constant word for conditions and metrics.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Namespace(_) => "NamespaceUnavailable",
            Self::NoLinks | Self::Image(_) | Self::TooMuch { .. } => "ImageInvalid",
            Self::Sections(_) => "ImageNotSupported",
            Self::NotCarried(_) => "NotCarried",
            Self::Plan(error) => error.reason(),
            Self::Failure(_) => "ReadFailed",
            Self::Broken { .. } | Self::GivenUp => "RestoreFailed",
            Self::Differs { refused, .. } if refused.is_empty() => "VerifyFailed",
            Self::Differs { .. } => "KernelRefused",
        }
    }

    /// Whether [`Unsupported::Report`] would have gone on.
    ///
    /// [`Unsupported::Report`]: crate::image::Unsupported::Report
    #[must_use]
    pub fn is_of_support(&self) -> bool {
        let unsupported = |(_, problem): &(String, Problem)| {
            problem.fault.verdict() == crate::state::Verdict::NotCarried
        };
        match self {
            Self::Sections(_) | Self::NotCarried(_) => true,
            Self::Image(problems) => problems.iter().all(unsupported),
            Self::Differs { refused, .. } => refused.iter().any(Refused::is_lacking),
            _ => false,
        }
    }
}

/// Whether the namespace is as it was before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undone {
    Wholly,
    /// What is not as it was.
    InPart(Vec<String>),
}

impl fmt::Display for Undone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wholly => write!(f, "the namespace is again as it was"),
            Self::InPart(left) => {
                write!(f, "and the namespace could not be made as it was: {}", few(left))
            }
        }
    }
}

fn problems(all: &[(String, Problem)]) -> String {
    few(&all.iter().map(|(section, problem)| format!("{section}: {problem}")).collect::<Vec<_>>())
}

fn refusals(all: &[Refused]) -> String {
    if all.is_empty() {
        return String::new();
    }
    format!(
        ". The kernel refused: {}",
        few(&all.iter().map(ToString::to_string).collect::<Vec<_>>())
    )
}

fn listed(all: &[Finding], one: &str, many: &str) -> String {
    let verb = if all.len() == 1 { one } else { many };
    let all: Vec<_> = all.iter().map(ToString::to_string).collect();
    format!("{} {verb}", few(&all))
}

/// The first of a list, and how many more.
fn few(all: &[String]) -> String {
    let more = all.len().saturating_sub(NAMED);
    let first = all.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    if more == 0 { first } else { format!("{first}; and {more} more") }
}
