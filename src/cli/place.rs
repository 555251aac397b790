//! Where images come from and go to, and what can be compared: images and live namespaces.

use std::str::FromStr;

use anyhow::Context;

use super::namespace;
use super::progress::Progress;
use crate::image::{Image, Limits};
use crate::netns::Namespace;
use crate::store::Place;

/// Prefix of an operand that is a live namespace.
const NETNS: &str = "netns:";

/// An operand of `show` and `diff`: an image or a live namespace.
#[derive(Debug, Clone)]
pub(super) enum Operand {
    Image(Place),
    Live(String),
}

impl FromStr for Operand {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.strip_prefix(NETNS) {
            Some(path) => Ok(Self::Live(path.to_owned())),
            None => Ok(Self::Image(text.parse()?)),
        }
    }
}

impl Operand {
    /// Reads the image, or captures the namespace (without its host side).
    pub(super) fn read(&self) -> anyhow::Result<Image> {
        match self {
            Self::Image(place) => read(place),
            Self::Live(path) => namespace::image(&Namespace::open(path)?, None),
        }
    }
}

/// Fetches and decodes an image.
pub(super) fn read(place: &Place) -> anyhow::Result<Image> {
    let limits = Limits::default();
    let _progress = Progress::start("reading the image");
    let bytes = super::runtime()?.block_on(place.read(limits.file))?;
    Image::from_bytes(&bytes, &limits).with_context(|| format!("{place} is not a usable image"))
}
