//! Conditions as values: set one without losing the time of its last transition, find one.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use k8s_openapi::jiff::Timestamp;

/// The conditions of a `NetCheckpoint`. A `NetCheckpointStorage` has only `Ready`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ConditionType {
    /// The summary: the image is stored and can be restored from.
    Ready,
    /// The pod's traffic is held, and was seen held.
    Held,
    /// The pod's network was read in one instant.
    Captured,
    /// The store has confirmed the image.
    Stored,
    /// The store has confirmed the archive of the pod's container.
    Archived,
}

impl ConditionType {
    /// All, in the order of the docs.
    pub const ALL: &'static [Self] =
        &[Self::Ready, Self::Held, Self::Captured, Self::Stored, Self::Archived];

    /// As it stands in `type`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Held => "Held",
            Self::Captured => "Captured",
            Self::Stored => "Stored",
            Self::Archived => "Archived",
        }
    }

    /// What it tells when it is True.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Ready => "The summary: the image is stored and can be restored from.",
            Self::Held => "The pod's traffic is held, and was seen held.",
            Self::Captured => "The pod's network was read in one instant.",
            Self::Stored => "The store has confirmed the image.",
            Self::Archived => {
                "The store has confirmed the archive of the pod's container that the annotation netckpt.io/archive names. Set where that annotation is."
            }
        }
    }
}

impl fmt::Display for ConditionType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Status of a condition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConditionStatus {
    True,
    False,
    Unknown,
}

impl ConditionStatus {
    /// As it stands in `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

impl From<bool> for ConditionStatus {
    fn from(is: bool) -> Self {
        if is { Self::True } else { Self::False }
    }
}

/// Longest message of a condition in characters (the API's own bound is 32768); longer ones are cut.
const MAX_MESSAGE: usize = 4096;

/// Puts a condition into the list, in place of the one of its type.
///
/// `lastTransitionTime` becomes `now` only when the status changes, as the API conventions ask for.
/// Answers whether anything but the time changed, so that a status equal to the last is not written again.
pub fn set(
    conditions: &mut Vec<Condition>,
    condition: ConditionType,
    status: impl Into<ConditionStatus>,
    reason: &str,
    message: &str,
    generation: Option<i64>,
    now: Timestamp,
) -> bool {
    let mut new = Condition {
        type_: condition.as_str().to_owned(),
        status: status.into().as_str().to_owned(),
        reason: reason.to_owned(),
        message: message.chars().take(MAX_MESSAGE).collect(),
        observed_generation: generation,
        last_transition_time: Time(now),
    };
    match conditions.iter_mut().find(|old| old.type_ == new.type_) {
        None => {
            conditions.push(new);
            true
        }
        Some(old) => {
            if old.status == new.status {
                new.last_transition_time = old.last_transition_time.clone();
            }
            let changed = *old != new;
            *old = new;
            changed
        }
    }
}

/// The condition of that type.
#[must_use]
pub fn find(conditions: &[Condition], condition: ConditionType) -> Option<&Condition> {
    conditions.iter().find(|c| c.type_ == condition.as_str())
}

/// Whether the condition is there and True.
#[must_use]
pub fn is_true(conditions: &[Condition], condition: ConditionType) -> bool {
    find(conditions, condition).is_some_and(|c| c.status == ConditionStatus::True.as_str())
}
