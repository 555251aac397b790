//! `netckpt store`: the embedded S3 endpoint.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::Outcome;
use crate::store::server::{Keys, serve};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Address to listen on.
    #[arg(long, default_value = "127.0.0.1:9311", value_name = "IP:PORT")]
    listen: SocketAddr,
    /// Folder that keeps the objects, a sub-folder for each bucket.
    #[arg(long, value_name = "PATH")]
    folder: PathBuf,
    /// Buckets to make.
    #[arg(long = "bucket", value_name = "NAME", default_value = "netckpt")]
    buckets: Vec<String>,
    /// Access key that requests are signed with.
    #[arg(long, env = "AWS_ACCESS_KEY_ID")]
    access_key: String,
    /// Its secret; better by the variable than by the flag, which others can see.
    #[arg(long, env = "AWS_SECRET_ACCESS_KEY", hide_env_values = true)]
    secret_key: String,
}

impl Arguments {
    pub(super) fn run(self) -> anyhow::Result<Outcome> {
        let keys = Keys { access_key: self.access_key, secret_key: self.secret_key };
        super::runtime()?.block_on(async {
            let listener = tokio::net::TcpListener::bind(self.listen)
                .await
                .with_context(|| format!("listen on {}", self.listen))?;
            let (mut term, mut int) =
                (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
            let ended = async move {
                tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
            };
            eprintln!("S3 endpoint http://{} with {}", self.listen, self.buckets.join(", "));
            serve(listener, self.folder, keys, &self.buckets, ended).await?;
            anyhow::Ok(())
        })?;
        Ok(Outcome::Good)
    }
}
