//! `netckpt cni-install` and `netckpt cni-uninstall`.

use std::path::PathBuf;

use anyhow::Context;

use super::Outcome;
use crate::api::AGENT_SOCKET;
use crate::controller::uninstall;
use crate::gate::install::{self, Done};

#[derive(Debug, clap::Args)]
pub(super) struct Install {
    #[command(flatten)]
    folders: Folders,
    /// The agent's socket, as the plugin sees it on the node.
    #[arg(long, default_value = AGENT_SOCKET, value_name = "PATH")]
    socket: String,
    /// The plugin's file; by default the one beside this program.
    #[arg(long, value_name = "PATH")]
    plugin: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Uninstall {
    #[command(flatten)]
    folders: Folders,
    /// Only if this DaemonSet is gone or being deleted; where that can't be told, nothing is done.
    #[arg(long, value_name = "NAMESPACE/NAME")]
    if_removed: Option<String>,
}

#[derive(Debug, clap::Args)]
struct Folders {
    /// Folder of the runtime's network configurations.
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "PATH")]
    conf_dir: PathBuf,
    /// Folder of the CNI plugins.
    #[arg(long, default_value = "/opt/cni/bin", value_name = "PATH")]
    bin_dir: PathBuf,
}

impl Install {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let plugin = match self.plugin {
            Some(path) => path,
            None => std::env::current_exe()
                .context("find this program's file")?
                .with_file_name("netckpt-cni"),
        };
        // The binary first: an entry without it would keep every pod from starting.
        let binary = install::binary(&plugin, &self.folders.bin_dir)?;
        eprintln!("{} is in place", binary.display());
        say(&install::entry(&self.folders.conf_dir, &self.socket)?);
        Ok(Outcome::Good)
    }
}

impl Uninstall {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        if let Some(daemonset) = &self.if_removed
            && !is_removed(daemonset)
        {
            return Ok(Outcome::Good);
        }
        for done in install::remove(&self.folders.conf_dir, &self.folders.bin_dir)? {
            say(&done);
        }
        Ok(Outcome::Good)
    }
}

/// An update must not take the plugin away, so that every doubt keeps it.
fn is_removed(daemonset: &str) -> bool {
    let asked = super::runtime().and_then(|runtime| {
        runtime.block_on(async {
            let client = kube::Client::try_default().await?;
            Ok(uninstall::is_removed(client, daemonset).await?)
        })
    });
    match asked {
        Ok(true) => true,
        Ok(false) => {
            eprintln!("DaemonSet {daemonset} stays: the plugin is left in place");
            false
        }
        Err(error) => {
            eprintln!("the plugin is left in place: {error:#}");
            false
        }
    }
}

fn say(done: &Done) {
    match done {
        Done::Changed(path) => eprintln!("{} changed", path.display()),
        Done::AsBefore(path) => eprintln!("{} is as it should be", path.display()),
        Done::Nothing => {}
    }
}
