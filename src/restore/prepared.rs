//! A target that was made what an early image says, and waits for the last one.
//!
//! It is stood by as a source is ([`Standing`]): so it is known without a reading from nothing whether
//! it still is what it was when it was verified. Where it is, and the last image says nothing else than
//! the early one, nothing is to be done. Else it is restored as any target, which converges.

use std::collections::BTreeSet;

use crate::capture::{self, Standing};
use crate::host::flows;
use crate::image::{Image, Snapshot};
use crate::netns::Namespace;

use super::{Error, Options, Report, restore};

/// A prepared target. Dropped at any time, it leaves the target as it is.
#[derive(Debug)]
pub struct Prepared {
    target: Namespace,
    host: Option<Namespace>,
    options: Options,
    standing: Standing,
    /// What it was last made.
    made: Snapshot,
}

/// Why a target is not prepared, or does not follow.
#[derive(Debug, thiserror::Error)]
pub enum PrepareError {
    #[error(transparent)]
    Restore(#[from] Error),
    #[error("the prepared namespace cannot be watched: {0}")]
    Watch(#[from] capture::Error),
}

impl Prepared {
    /// Restores an early image, and stands by. Blocks, as [`restore`] does.
    ///
    /// # Errors
    /// [`PrepareError`].
    pub fn new(
        target: &Namespace,
        host: Option<&Namespace>,
        early: &Image,
        options: &Options,
    ) -> Result<Self, PrepareError> {
        let own = |namespace: &Namespace| namespace.try_clone().map_err(Error::from);
        let (target, host) = (own(target)?, host.map(own).transpose()?);
        // Before the restore: what is changed between its verification and here is seen then.
        let (mut standing, _) =
            Standing::open(&target, host.as_ref(), &capture::Options::default())?;
        restore(&target, host.as_ref(), early, options)?;
        standing.update()?;
        let made = early.snapshot.clone();
        Ok(Self { target, host, options: *options, standing, made })
    }

    /// Makes the target what an image says, and verifies it. [`Report::rounds`] is 0 where it was that.
    ///
    /// # Errors
    /// [`PrepareError`], as [`restore`].
    pub fn follow(&mut self, image: &Image) -> Result<Report, PrepareError> {
        let restored = |section: &String| section != flows::SECTION;
        let wanted: BTreeSet<_> =
            capture::changed(&self.made, &image.snapshot)?.into_iter().filter(restored).collect();
        let moved: BTreeSet<_> =
            self.standing.update()?.changed.into_iter().filter(restored).collect();
        tracing::debug!(?wanted, ?moved, "a prepared namespace follows");
        if wanted.is_empty() && moved.is_empty() {
            return Ok(Report::default());
        }
        let report = restore(&self.target, self.host.as_ref(), image, &self.options)?;
        self.standing.update()?;
        self.made = image.snapshot.clone();
        Ok(report)
    }
}
