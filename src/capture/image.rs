//! From a capture to an image.

use super::Captured;
use crate::image::{Image, Manifest, Origin};

impl Captured {
    /// The image of what was captured, whose network it is told by `origin`.
    #[must_use]
    pub fn into_image(self, origin: Origin) -> Image {
        let manifest = Manifest {
            created: self.taken,
            producer: concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
            kernel: kernel(),
            origin,
            counts: self.counts,
            not_carried: self.not_carried,
            evidence: self.evidence,
            // Filled when the image is written.
            sections: Vec::new(),
        };
        Image { manifest, snapshot: self.snapshot }
    }
}

/// Release of the running kernel, as `uname -r` has it; for people, so that not to know it is no error.
pub(crate) fn kernel() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease")
        .map_or_else(|_| "unknown".to_owned(), |text| text.trim().to_owned())
}
