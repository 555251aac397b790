//! What can go wrong between this program and the kernel.

use std::io;

use super::Malformed;
use super::socket::DEADLINE;

/// The kernel said no to a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// Positive errno.
    pub errno: i32,
    /// `NLMSGERR_ATTR_MSG`: the kernel's own words.
    pub message: Option<String>,
    /// `NLMSGERR_ATTR_OFFS`: where in the message the offending attribute starts.
    pub offset: Option<u32>,
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let errno = nix::errno::Errno::from_raw(self.errno);
        write!(f, "{} ({errno:?})", errno.desc())?;
        self.message.as_ref().map_or(Ok(()), |message| write!(f, ": {message}"))
    }
}

impl std::error::Error for Refusal {}

/// What can go wrong between this program and the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("netlink socket ({step}): {source}")]
    System { step: &'static str, source: io::Error },
    #[error("the kernel did not answer a netlink request within {} s", DEADLINE.as_secs())]
    Silent,
    /// Messages were lost because the receive buffer was full (`ENOBUFS`).
    #[error("netlink answers overran the receive buffer")]
    Overrun,
    /// More than an image may hold; see [`Limits`](crate::image::Limits).
    #[error("a netlink answer has more than {limit} bytes, which is more than an image may hold")]
    TooLarge { limit: usize },
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the kernel refused: {0}")]
    Refused(#[from] Refusal),
}

impl Error {
    /// The kernel's errno, where it said one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Refused(refusal) => Some(refusal.errno),
            Self::System { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }
}
