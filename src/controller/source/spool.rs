//! Images between capture and store, on the node: a restarted agent goes on with the image that was
//! captured, so that no second one is made and no upload is forgotten.
//!
//! One file per checkpoint, named by its UID. It is written whole or not at all, and goes away once
//! the checkpoint's status names the stored image, or with the checkpoint.

use std::collections::HashSet;
use std::io;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;

use crate::image::{Image, Limits, Manifest};

/// The folder.
#[derive(Debug, Clone)]
pub struct Spool(PathBuf);

/// An image as it is in its file.
#[derive(Debug, Clone)]
pub struct Spooled {
    pub bytes: Bytes,
    pub manifest: Manifest,
}

/// The folder could not be written or read.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {source}", path = path.display())]
pub struct SpoolError {
    path: PathBuf,
    source: io::Error,
}

impl Spool {
    /// In the agent's state folder; made when first needed.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self(state_dir.join("captures"))
    }

    fn path(&self, uid: &str) -> PathBuf {
        // A UID is the API server's, and yet no part of a path.
        let name: String = uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        self.0.join(format!("{name}.netckpt"))
    }

    /// Keeps an image.
    ///
    /// # Errors
    /// When the folder can't be written; there is no file then.
    pub async fn keep(&self, uid: &str, bytes: &Bytes) -> Result<(), SpoolError> {
        let path = self.path(uid);
        let beside = path.with_extension("part");
        let failed = |source| SpoolError { path: path.clone(), source };
        tokio::fs::create_dir_all(&self.0).await.map_err(failed)?;
        tokio::fs::write(&beside, bytes).await.map_err(failed)?;
        tokio::fs::rename(&beside, &path).await.map_err(failed)
    }

    /// The image that is kept; `None` where there is none. A damaged one is removed.
    ///
    /// # Errors
    /// When the file can't be read.
    pub async fn kept(&self, uid: &str) -> Result<Option<Spooled>, SpoolError> {
        let path = self.path(uid);
        let bytes = match tokio::fs::read(&path).await {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(SpoolError { path, source }),
        };
        let read = bytes.clone();
        let image = tokio::task::spawn_blocking(move || Image::from_bytes(&read, &Limits::DEFAULT));
        let why = match image.await {
            Ok(Ok(image)) => return Ok(Some(Spooled { bytes, manifest: image.manifest })),
            Ok(Err(error)) => error.to_string(),
            Err(panic) => panic.to_string(),
        };
        tracing::warn!(path = %path.display(), why, "a damaged image is dropped");
        self.drop(uid).await.map(|()| None)
    }

    /// Removes an image; that there is none is no error.
    ///
    /// # Errors
    /// When the file can't be removed.
    pub async fn drop(&self, uid: &str) -> Result<(), SpoolError> {
        let path = self.path(uid);
        match tokio::fs::remove_file(&path).await {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(SpoolError { path, source })
            }
            _ => Ok(()),
        }
    }

    /// Removes what is older than `start` and belongs to none of these checkpoints, and half-written
    /// files: left-overs of an earlier agent.
    ///
    /// # Errors
    /// When the folder can't be read; what could be removed is.
    pub async fn keep_only(
        &self,
        uids: &HashSet<String>,
        start: SystemTime,
    ) -> Result<(), SpoolError> {
        let failed = |source| SpoolError { path: self.0.clone(), source };
        let kept: HashSet<_> = uids.iter().map(|uid| self.path(uid)).collect();
        let mut entries = match tokio::fs::read_dir(&self.0).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failed(error)),
        };
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            let path = entry.path();
            let is_old = match entry.metadata().await.and_then(|metadata| metadata.modified()) {
                Ok(modified) => modified < start,
                // Gone meanwhile.
                Err(_) => false,
            };
            if is_old && !kept.contains(&path) {
                tracing::info!(path = %path.display(), "an image without a checkpoint is dropped");
                if let Err(error) = tokio::fs::remove_file(&path).await {
                    tracing::warn!(path = %path.display(), %error, "it could not be removed");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::{Evidence, Origin, Snapshot};
    use k8s_openapi::jiff::Timestamp;
    use std::time::Duration;

    fn image() -> Bytes {
        let manifest = Manifest {
            created: Timestamp::UNIX_EPOCH,
            producer: "netckpt".into(),
            kernel: "6.18".into(),
            origin: Origin::default(),
            counts: Default::default(),
            not_carried: Vec::new(),
            evidence: Evidence::default(),
            sections: Vec::new(),
        };
        Image { manifest, snapshot: Snapshot::default() }.to_bytes().unwrap()
    }

    #[tokio::test]
    async fn what_is_kept_is_found_again_until_it_is_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        assert!(spool.kept("u1").await.unwrap().is_none());
        let bytes = image();
        spool.keep("u1", &bytes).await.unwrap();
        assert_eq!(spool.kept("u1").await.unwrap().unwrap().bytes, bytes);
        spool.drop("u1").await.unwrap();
        spool.drop("u1").await.unwrap();
        assert!(spool.kept("u1").await.unwrap().is_none());
    }

    #[tokio::test]
    async fn damage_and_left_overs_go() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        spool.keep("u1", &image()).await.unwrap();
        spool.keep("u2", &image()).await.unwrap();
        spool.keep("u3", &image().slice(..20)).await.unwrap();
        tokio::fs::write(folder.path().join("captures/u4.part"), b"half").await.unwrap();
        assert!(spool.kept("u3").await.unwrap().is_none());
        let own = HashSet::from(["u1".to_owned()]);
        spool.keep_only(&own, SystemTime::UNIX_EPOCH).await.unwrap();
        assert!(spool.kept("u2").await.unwrap().is_some(), "what is new is left alone");
        spool.keep_only(&own, SystemTime::now() + Duration::from_secs(1)).await.unwrap();
        assert!(spool.kept("u1").await.unwrap().is_some());
        assert!(spool.kept("u2").await.unwrap().is_none());
        assert_eq!(std::fs::read_dir(folder.path().join("captures")).unwrap().count(), 1);
    }

    #[test]
    fn a_uid_stays_inside_the_folder() {
        let spool = Spool::new(Path::new("/state"));
        assert_eq!(spool.path("../../etc/x"), Path::new("/state/captures/etcx.netckpt"));
    }
}
