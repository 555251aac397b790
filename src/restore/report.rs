//! What a restore did.

use std::time::Duration;

use crate::plan::{Finding, Objects, Plan};

/// What a restore did, or for a dry run would do.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// Rounds of planning and doing that it took; 0 where nothing was to be done.
    pub rounds: u32,
    /// Steps in all rounds.
    pub steps: usize,
    /// Each round's plan; of a dry run the one that would be done first.
    pub plans: Vec<Plan>,
    /// What still differs: what does not matter ([`Finding::matters`]), and sysctls that this kernel
    /// refuses where those may stay as they are. Of a dry run all that differs now.
    pub differences: Vec<Finding>,
    /// What of the image was left out: its section, and what it is.
    pub left: Vec<(String, String)>,
    pub timings: Timings,
    /// How the namespace was, for the way back ([`super::undo`]); none of a dry run.
    pub before: Option<Objects>,
}

/// How long it took, by part. What is missing to the total is thread and socket set-up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Checking the image by the tables.
    pub check: Duration,
    /// Reading the namespace before anything was done.
    pub read: Duration,
    /// Planning, in all rounds.
    pub plan: Duration,
    /// The kernel's time for the steps, in all rounds.
    pub apply: Duration,
    /// Reading the namespace again and comparing, in all rounds.
    pub verify: Duration,
    pub total: Duration,
}
