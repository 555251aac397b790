//! From an image to a namespace that is as the image says.
//!
//! A restore *converges*: it reads how the namespace is, plans the way from there ([`crate::plan`]),
//! does the steps, and reads again, until nothing differs. So a namespace that is bare and one that
//! CNI has prepared are the same case, a second run does nothing, and a run after a crash ends what
//! the first began. The first reading is also the way back: where the image can't be reached, the
//! namespace is made to converge to that.
//!
//! Nothing is sent before the whole image is checked by the tables, whoever made it.
//!
//! All of this blocks, for milliseconds: on an async runtime call it from a blocking task.

mod apply;
mod bounds;
mod check;
mod converge;
mod error;
mod hands;
mod membership;
mod prepared;
mod report;
mod tun;

pub use apply::Refused;
pub use error::{Error, Undone};
pub use hands::Failure;
pub use prepared::{PrepareError, Prepared};
pub use report::{Report, Timings};

use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::image::{Image, Snapshot, Unsupported};
use crate::netns::Namespace;
use crate::plan::{self, Finding, Objects, Plan};

use converge::Goal;
use hands::Hands;

/// How a restore is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Options {
    /// Only plan: [`Report::plans`] tells what would be done, and nothing is.
    pub dry_run: bool,
    /// An image that lacks what matters, that has objects or sections which this version can't
    /// restore, or what this kernel does not have, is refused; or they are left out (and told in
    /// [`Report::left`] and [`Report::differences`]) and the rest is restored.
    pub on_unsupported: Unsupported,
    /// Outer ends of veth pairs are made on the host only where the image tells them. Else one that
    /// the image does not tell is made with the kernel's defaults: an image that was captured without
    /// its host tells none.
    pub known_ends_only: bool,
    /// The way to the pod is the caller's to make ([`crate::host::Ways`]): routes to it, and addresses of
    /// the node that are not of the link alone, are left to it.
    pub led_by_caller: bool,
}

/// Makes `target` what the image says. Outer ends of veth pairs live in `host`; without it an image
/// that needs one made is refused.
///
/// # Errors
/// [`Error`]. Where anything had been changed, it tells whether the namespace is again as it was.
pub fn restore(
    target: &Namespace,
    host: Option<&Namespace>,
    image: &Image,
    options: &Options,
) -> Result<Report, Error> {
    restore_while(target, host, image, options, &AtomicBool::new(false))
}

/// As [`restore`], until `given_up` is set: nothing further is done then, and what was done is undone.
///
/// # Errors
/// As [`restore`]; [`Error::GivenUp`], in [`Error::Broken`] where something had been changed.
pub fn restore_while(
    target: &Namespace,
    host: Option<&Namespace>,
    image: &Image,
    options: &Options,
    given_up: &AtomicBool,
) -> Result<Report, Error> {
    let start = Instant::now();
    if !options.dry_run {
        options.on_unsupported.judge(&image.manifest.not_carried)?;
    }
    let mut report = target.run(|| {
        let mut hands = Hands::open(host)?;
        // The target is read while the image is checked; nothing is sent before both are done.
        let (checked, first) = std::thread::scope(|scope| {
            let checked = scope.spawn(|| checked(image, host, options));
            let first = converge::first(&mut hands);
            (checked.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)), first)
        });
        let (goal, left, check) = checked?;
        let first = first?;
        let mut report = match options.dry_run {
            true => converge::look(&mut hands, &goal, &first)?,
            false => converge::converge(&mut hands, &goal, first, given_up)?,
        };
        report.left = left;
        report.timings.check = check;
        Ok::<_, Error>(report)
    })??;
    report.timings.total = start.elapsed();
    Ok(report)
}

/// What of an image is left out, by section.
type Left = Vec<(String, String)>;

/// What an image that may be restored asks for, what of it is left out, and how long that took.
fn checked(
    image: &Image,
    host: Option<&Namespace>,
    options: &Options,
) -> Result<(Goal, Left, Duration), Error> {
    let start = Instant::now();
    let lenient = options.on_unsupported == Unsupported::Report;
    let allowed = check::allowed(image, lenient)?;
    let goal = Goal {
        objects: Objects::of_image(&allowed.snapshot, age(image))?
            .of_another_kernel(foreign(image))
            .led_by_others(options.led_by_caller),
        host: host.map(Namespace::as_raw_fd),
        lenient,
        known_ends_only: options.known_ends_only,
    };
    Ok((goal, allowed.left, start.elapsed()))
}

/// Makes `target` what it was before a restore that was good.
///
/// # Errors
/// [`Error`] where it can't be looked at.
pub fn undo(
    target: &Namespace,
    host: Option<&Namespace>,
    report: &Report,
) -> Result<Undone, Error> {
    let Some(before) = &report.before else { return Ok(Undone::Wholly) };
    let descriptor = host.map(Namespace::as_raw_fd);
    target.run(|| converge::back(&mut Hands::open(host)?, before, descriptor))?
}

/// Compares `target` with the image, object by object, and changes nothing.
///
/// # Errors
/// [`Error`] where either can't be read.
pub fn verify(target: &Namespace, image: &Image) -> Result<Vec<Finding>, Error> {
    verify_network(target, None, image)
}

/// As [`verify`], with what hangs on the outer ends of the veth pairs, which live in `host`.
///
/// # Errors
/// As [`verify`].
pub fn verify_network(
    target: &Namespace,
    host: Option<&Namespace>,
    image: &Image,
) -> Result<Vec<Finding>, Error> {
    let allowed = check::allowed(image, true)?;
    let shall = Objects::of_image(&allowed.snapshot, age(image))?.of_another_kernel(foreign(image));
    let is = target.run(|| Hands::open(host)?.look())??;
    Ok(plan::differences(&is, &shall))
}

/// Compares two images, object by object: how `is` differs from `shall`.
///
/// # Errors
/// [`Error`] where either is not what an image may be.
pub fn compare(is: &Image, shall: &Image) -> Result<Vec<Finding>, Error> {
    let read = |image: &Image| -> Result<Objects, Error> {
        Ok(Objects::of_image(&check::allowed(image, true)?.snapshot, 0)?)
    };
    let foreign = is.manifest.kernel != shall.manifest.kernel;
    Ok(plan::differences(&read(is)?, &read(shall)?.of_another_kernel(foreign)))
}

/// Reads a namespace once, and the outer ends of its veth pairs that live in `host`. This is what a
/// restore starts from; it has no evidence of being one instant, as a capture has.
///
/// # Errors
/// [`Error`] where it can't be read.
pub fn read(target: &Namespace, host: Option<&Namespace>) -> Result<Snapshot, Error> {
    target.run(|| Hands::open(host)?.read())?
}

/// The plan of a restore, for a look at it.
///
/// # Errors
/// As [`restore`].
pub fn plan(target: &Namespace, host: Option<&Namespace>, image: &Image) -> Result<Plan, Error> {
    let options = Options { dry_run: true, ..Options::default() };
    Ok(restore(target, host, image, &options)?.plans.pop().unwrap_or_default())
}

/// Whether another kernel told what is in the image.
fn foreign(image: &Image) -> bool {
    let kernel = &image.manifest.kernel;
    !kernel.is_empty() && *kernel != crate::capture::kernel()
}

/// Seconds since the image was captured.
#[must_use]
pub fn age(image: &Image) -> u32 {
    let seconds = Timestamp::now().as_second() - image.manifest.created.as_second();
    u32::try_from(seconds.max(0)).unwrap_or(u32::MAX)
}
