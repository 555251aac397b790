//! The command line, one verb per file.
//!
//! Exit codes: `diff` and `verify` answer 0 when equal, 1 when different, 2 on an error, as diff(1)
//! does; every other verb 0 or 2.

mod agent;
mod capture;
mod cni;
mod crds;
mod diff;
mod hold;
mod migrate;
mod namespace;
mod output;
mod place;
mod progress;
mod release;
mod restore;
mod show;
mod store;
mod timeline;
mod tree;
mod verify;

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

const AFTER: &str = "\
Exit codes: 0 done, or equal; 1 `diff` and `verify` found a difference; 2 it could not be done.

  netckpt capture --netns /run/netns/blue -o blue.netckpt
  netckpt show blue.netckpt
  netckpt restore blue.netckpt --netns /run/netns/green --dry-run
  netckpt restore blue.netckpt --netns /run/netns/green
  netckpt verify blue.netckpt --netns /run/netns/green";

/// Checkpoint and restore a pod's network.
///
/// A PLACE is a file, file://PATH or s3://BUCKET/KEY (with the usual AWS_* variables). The host side
/// of a capture or restore is the network namespace that the command runs in.
#[derive(Debug, Parser)]
#[command(name = "netckpt", version, propagate_version = true, after_help = AFTER)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Log filter, for example `info` or `netckpt=debug`.
    #[arg(long, global = true, env = "NETCKPT_LOG", default_value = "warn", hide_env = true)]
    log: String,
    /// How log lines look.
    #[arg(long, global = true, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Read a namespace's network into an image.
    Capture(capture::Arguments),
    /// Rebuild an image's network in a namespace, verify it, and roll back on failure.
    Restore(restore::Arguments),
    /// Show what an image or a namespace holds.
    Show(show::Arguments),
    /// Compare two images or namespaces; exits 1 where they differ.
    Diff(diff::Arguments),
    /// Compare a namespace with an image; exits 1 where they differ.
    Verify(verify::Arguments),
    /// Keep a namespace silent: nothing enters or leaves it until its time is over or it is released.
    Hold(hold::Arguments),
    /// End a hold.
    Release(release::Arguments),
    /// Run a node's agent.
    Agent(agent::Arguments),
    /// Run the embedded S3 endpoint.
    Store(store::Arguments),
    /// Move a pod to another node with its open connections: the reference controller.
    Migrate(migrate::Arguments),
    /// Draw the steps of moves, and what a client saw of them.
    Timeline(timeline::Arguments),
    /// Print the custom resource definitions.
    Crds(crds::Arguments),
    /// Put the CNI plugin on this node and into its conflist, after what makes the pod's interface.
    CniInstall(cni::Install),
    /// Take the CNI plugin out again.
    CniUninstall(cni::Uninstall),
}

/// What to do where something can't be carried, for the end of a message.
const GO_ON: &str = "--on-unsupported=report goes on without";

/// What a verb found: the exit code 0 or 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// Done, or equal.
    Good,
    /// Different.
    Different,
}

/// Runs the verb that the arguments name.
#[must_use]
pub fn run() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    start_log(&arguments);
    let outcome = match arguments.verb {
        Verb::Capture(verb) => verb.run(),
        Verb::Restore(verb) => verb.run(),
        Verb::Show(verb) => verb.run(),
        Verb::Diff(verb) => verb.run(),
        Verb::Verify(verb) => verb.run(),
        Verb::Hold(verb) => verb.run(),
        Verb::Release(verb) => verb.run(),
        Verb::Agent(verb) => verb.run(),
        Verb::Store(verb) => verb.run(),
        Verb::Migrate(verb) => verb.run(),
        Verb::Timeline(verb) => verb.run(),
        Verb::Crds(verb) => verb.run(),
        Verb::CniInstall(verb) => verb.run(),
        Verb::CniUninstall(verb) => verb.run(),
    };
    match outcome {
        Ok(Outcome::Good) => ExitCode::SUCCESS,
        Ok(Outcome::Different) => ExitCode::from(1),
        Err(error) => {
            eprintln!("netckpt: {}", told(&error));
            ExitCode::from(2)
        }
    }
}

/// An error with its causes, each once: many tell theirs in their own words.
fn told(error: &anyhow::Error) -> String {
    let mut text = String::new();
    for cause in error.chain().map(ToString::to_string) {
        if !text.contains(&cause) {
            text.push_str(if text.is_empty() { "" } else { ": " });
            text.push_str(&cause);
        }
    }
    let denied = |cause: &(dyn std::error::Error + 'static)| {
        let io = cause.downcast_ref::<std::io::Error>();
        io.is_some_and(|io| io.kind() == std::io::ErrorKind::PermissionDenied)
    };
    if !nix::unistd::geteuid().is_root() && error.chain().any(denied) {
        text.push_str(" (the networks of others are root's)");
    }
    text
}

fn start_log(arguments: &Arguments) {
    let filter = EnvFilter::try_new(&arguments.log).unwrap_or_else(|_| EnvFilter::new("warn"));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match arguments.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
}

/// A runtime for the verbs that wait on a network.
fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    use anyhow::Context;
    tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")
}

#[cfg(test)]
mod tests {
    #[test]
    fn causes_are_told_once() {
        let inner = std::io::Error::other("no such thing");
        let error = anyhow::Error::new(inner).context("a file: no such thing").context("reading");
        assert_eq!(super::told(&error), "reading: a file: no such thing");
    }
}
