//! `netckpt cni-install`: puts the CNI plugin on this node.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::Outcome;
use crate::gate::install::{self, Done};
use crate::gate::{PLUGIN, SOCKET};

/// Pause between two looks for the cluster's own network configuration.
const PAUSE: Duration = Duration::from_secs(1);

/// Put the CNI plugin on this node: its file, and its entry in last place of the conflist in use.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the CNI plugins.
    #[arg(long, default_value = "/opt/cni/bin", value_name = "FOLDER")]
    bin_dir: PathBuf,
    /// Folder of the network configurations; the first by name is the one in use.
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "FOLDER")]
    conf_dir: PathBuf,
    /// The agent's socket, as the plugin sees it on the node.
    #[arg(long, default_value = SOCKET, value_name = "PATH")]
    socket: String,
    /// The plugin to install; by default the one beside this program.
    #[arg(long, value_name = "FILE")]
    plugin: Option<PathBuf>,
    /// Seconds to wait for the cluster's CNI to put its configuration there.
    #[arg(long, default_value_t = 0, value_name = "SECONDS")]
    wait: u64,
}

impl Arguments {
    pub fn run(self) -> anyhow::Result<Outcome> {
        let plugin = match self.plugin {
            Some(plugin) => plugin,
            None => std::env::current_exe().context("find this program")?.with_file_name(PLUGIN),
        };
        // First the file: an entry without it would keep every pod of the node from starting.
        let to = install::binary(&plugin, &self.bin_dir)?;
        println!("{} is in place", to.display());
        let end = Instant::now() + Duration::from_secs(self.wait.min(3600));
        let mut told = false;
        loop {
            match install::entry(&self.conf_dir, &self.socket) {
                Ok(Done::Changed(path)) => println!("{} ends with {PLUGIN} now", path.display()),
                Ok(_) => println!("the conflist in use ends with {PLUGIN} already"),
                Err(error @ install::Error::NoConfiguration(_)) if Instant::now() < end => {
                    if !told {
                        println!("waiting: {error}");
                        told = true;
                    }
                    std::thread::sleep(PAUSE);
                    continue;
                }
                Err(error) => return Err(error.into()),
            }
            return Ok(Outcome::Good);
        }
    }
}
