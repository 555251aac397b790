//! How large an image may be.

/// Bounds that are checked before anything is allocated by a length that a file names.
///
/// The defaults hold for writing too, so that what this program writes it can also read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of the whole file.
    pub file: u64,
    /// Bytes of the JSON manifest.
    pub manifest: u32,
    /// Number of sections.
    pub sections: usize,
    /// Bytes of one section before compression.
    pub section: u64,
    /// Bytes of all sections before compression.
    pub total: u64,
}

impl Limits {
    /// 256 MiB of file, 1 MiB of manifest, 512 sections, 512 MiB in one of them, 1 GiB in all. A full
    /// connection tracking table of 262,144 entries is the largest section that is expected: about 80 MiB.
    pub const DEFAULT: Self = Self {
        file: 256 << 20,
        manifest: 1 << 20,
        sections: 512,
        section: 512 << 20,
        total: 1 << 30,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}
