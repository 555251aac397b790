//! How a namespace is named on the command line, and what it looks like as an image.

use std::path::PathBuf;

use super::progress::Progress;
use crate::capture;
use crate::image::{Image, Origin};
use crate::netns::Namespace;

/// A namespace by path or process.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct Target {
    /// Path of the network namespace, for example /run/netns/blue.
    #[arg(long, value_name = "PATH")]
    netns: Option<PathBuf>,
    /// A process that lives in it.
    #[arg(long)]
    pid: Option<u32>,
}

impl Target {
    pub(super) fn open(&self) -> anyhow::Result<Namespace> {
        Ok(match (&self.netns, self.pid) {
            (Some(path), _) => Namespace::open(path)?,
            (None, Some(pid)) => Namespace::of_process(pid)?,
            (None, None) => anyhow::bail!("name a namespace with --netns PATH or --pid N"),
        })
    }
}

/// The host side of a command: the namespace that it runs in, unless it is not wanted.
#[derive(Debug, clap::Args)]
pub(super) struct HostSide {
    /// Leave the host side (outer ends of veth pairs) alone.
    #[arg(long)]
    no_host: bool,
}

impl HostSide {
    pub(super) fn open(&self) -> anyhow::Result<Option<Namespace>> {
        Ok(if self.no_host { None } else { Some(Namespace::current()?) })
    }
}

/// Captures a namespace as an image, with the host side seen from `host`.
pub(super) fn image(namespace: &Namespace, host: Option<&Namespace>) -> anyhow::Result<Image> {
    let _progress = Progress::start("capturing");
    let captured = capture::network(namespace, host, &capture::Options::default())?;
    Ok(captured.into_image(Origin::default()))
}
