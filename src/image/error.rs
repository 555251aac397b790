//! Why bytes are not an image, or a snapshot can't become one.

/// An image could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("not a netckpt image: the file does not start with the format's magic bytes")]
    NotAnImage,
    #[error(
        "image of format version {found}; this program reads version {known}: use the netckpt version that made it, or a newer one"
    )]
    Version { found: u32, known: u32 },
    #[error("image ends early: {has} bytes, at least {needs} needed")]
    Truncated { has: u64, needs: u64 },
    #[error("{what} of {size} bytes is over the limit of {limit}")]
    TooLarge { what: String, size: u64, limit: u64 },
    #[error("{count} sections are over the limit of {limit}")]
    TooMany { count: usize, limit: usize },
    #[error("image is damaged: its SHA-256 does not fit its content")]
    Damaged,
    #[error("manifest of the image: {0}")]
    Manifest(#[from] serde_json::Error),
    #[error(
        "section name {0:?}: names are lower-case letters, digits and `-`, at most once with a prefix and `/`"
    )]
    Name(String),
    #[error("two sections are named {0:?}")]
    Twice(String),
    #[error("the sections take {listed} bytes by the manifest, and {found} in the file")]
    Layout { listed: u64, found: u64 },
    #[error("section {name}: {why}")]
    Section { name: String, why: String },
}

impl Error {
    /// One of a few words, for conditions and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Version { .. } => "ImageVersionUnknown",
            Self::TooLarge { .. } | Self::TooMany { .. } => "ImageTooLarge",
            Self::NotAnImage
            | Self::Truncated { .. }
            | Self::Damaged
            | Self::Manifest(_)
            | Self::Name(_)
            | Self::Twice(_)
            | Self::Layout { .. }
            | Self::Section { .. } => "ImageDamaged",
        }
    }
}
