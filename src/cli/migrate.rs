//! `netckpt migrate`: the reference controller.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use futures::FutureExt;
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use super::output::{self, Format};
use crate::api::{DEFAULT_HOLD_TIMEOUT_SECONDS, REGISTRY_PORT};
use crate::migrate::{self, Request};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// The pod.
    #[arg(value_name = "POD")]
    pod: String,
    /// Its namespace.
    #[arg(short, long, default_value = "default")]
    namespace: String,
    /// Node to move it to.
    #[arg(long, value_name = "NODE")]
    to: String,
    /// Name of the pod that goes on; by default the pod's with a few letters more.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// NetCheckpointStorage for what is carried; by default the default one.
    #[arg(long, value_name = "NAME")]
    storage: Option<String>,
    /// Seconds after which the source speaks again, whatever has happened to this command or the agents.
    #[arg(long, value_name = "SECONDS", default_value_t = DEFAULT_HOLD_TIMEOUT_SECONDS,
          value_parser = clap::value_parser!(i32).range(10..=3600))]
    hold_timeout: i32,
    /// Port of the agents' registry (their --registry-port).
    #[arg(long, value_name = "PORT", default_value_t = REGISTRY_PORT)]
    registry_port: u16,
    /// Build the successor's network from an early capture, before the source is held: the pause is
    /// shorter, the move as a whole takes longer.
    #[arg(long)]
    staged: bool,
    /// Only say whether it can be moved, and the steps.
    #[arg(long)]
    dry_run: bool,
    /// Write the times of all steps there, as JSON, for `netckpt timeline`.
    #[arg(long, value_name = "FILE")]
    timeline: Option<PathBuf>,
    /// How the outcome is printed.
    #[arg(short, long, value_enum, default_value_t)]
    output: Format,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let request = Request {
            namespace: self.namespace,
            pod: self.pod,
            to: self.to,
            name: self.name,
            storage: self.storage,
            hold_timeout_seconds: self.hold_timeout,
            registry_port: self.registry_port,
            staged: self.staged,
            dry_run: self.dry_run,
        };
        let moved = super::runtime()?.block_on(async {
            let client = kube::Client::try_default().await.context("no way to the API server")?;
            let (mut terminate, mut interrupt) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let given_up = async move {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
            };
            let moved = migrate::run(client, &request, given_up.boxed().shared(), tell).await?;
            anyhow::Ok(moved)
        })?;
        if let Some(file) = &self.timeline {
            std::fs::write(file, serde_json::to_vec(&moved.timeline)?)
                .with_context(|| format!("write {}", file.display()))?;
        }
        match self.output {
            Format::Tree => output::line(&format!("{}\n", moved.successor)),
            format => output::print(format, &moved.timeline)?,
        }
        Ok(Outcome::Good)
    }
}

/// A line for each step, on standard error: the outcome alone is on standard output.
fn tell(step: &str, detail: &str, took: Duration) {
    eprintln!("{step:<11}{:>9.1} ms  {detail}", took.as_secs_f64() * 1000.0);
}
