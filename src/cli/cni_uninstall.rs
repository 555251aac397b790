//! `netckpt cni-uninstall`: takes the CNI plugin off this node.

use std::path::PathBuf;

use super::Outcome;
use crate::gate::PLUGIN;
use crate::gate::install::{self, Done};

/// Take the CNI plugin off this node: its entries in conflists, and then its file.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Folder of the CNI plugins.
    #[arg(long, default_value = "/opt/cni/bin", value_name = "FOLDER")]
    bin_dir: PathBuf,
    /// Folder of the network configurations.
    #[arg(long, default_value = "/etc/cni/net.d", value_name = "FOLDER")]
    conf_dir: PathBuf,
}

impl Arguments {
    pub fn run(self) -> anyhow::Result<Outcome> {
        let done = install::remove(&self.conf_dir, &self.bin_dir)?;
        let mut changed = false;
        for one in done {
            if let Done::Changed(path) = one {
                println!("{PLUGIN} is gone from {}", path.display());
                changed = true;
            }
        }
        if !changed {
            println!("{PLUGIN} was not installed");
        }
        Ok(Outcome::Good)
    }
}
