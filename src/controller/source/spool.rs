//! Images between capture and store, on the node: a restarted agent goes on with the image that was
//! captured, so that no second one is made and no upload is forgotten.
//!
//! One file per checkpoint, named by its UID. It is written whole or not at all, and goes away once
//! the checkpoint's status names the stored image, with a failure, or with the checkpoint. The folder is
//! memory of the node (`/run`): its total is bounded, and nobody but root reads it.

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use tokio::io::AsyncWriteExt;
use tokio::sync::Mutex;

use crate::image::{Image, Limits, Manifest};

/// Most bytes of all images in the folder: two of the largest.
const ROOM: u64 = 2 * Limits::DEFAULT.file;

/// One image is added at a time, so that what there is can be counted.
static ADDING: Mutex<()> = Mutex::const_new(());

/// The folder.
#[derive(Debug, Clone)]
pub struct Spool {
    folder: PathBuf,
    room: u64,
}

/// Where an image was to be stored whose upload was never confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub storage: String,
    pub key: String,
}

/// An image as it is in its file.
#[derive(Debug, Clone)]
pub struct Spooled {
    pub bytes: Bytes,
    pub manifest: Manifest,
}

/// The folder could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    #[error("{path}: {source}", path = path.display())]
    Disk { path: PathBuf, source: io::Error },
    /// It passes: the images of other checkpoints go to their stores.
    #[error(
        "{folder} already has {has} bytes of images that wait for their stores, of {room} at most",
        folder = folder.display()
    )]
    Full { folder: PathBuf, has: u64, room: u64 },
}

impl Spool {
    /// In the agent's state folder; made when first needed.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("captures"), room: ROOM }
    }

    fn path(&self, uid: &str) -> PathBuf {
        // A UID is the API server's, and yet no part of a path.
        let name: String = uid.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
        self.folder.join(format!("{name}.netckpt"))
    }

    /// The small file that stays of an image whose upload has failed.
    fn trace(&self, uid: &str) -> PathBuf {
        self.path(uid).with_extension("key")
    }

    /// Whether an image of that many bytes can be kept, asked before the work of making one.
    ///
    /// # Errors
    /// [`SpoolError::Full`] where not.
    pub async fn has_room(&self, bytes: u64) -> Result<(), SpoolError> {
        let has = self.total().await?;
        if has.saturating_add(bytes) > self.room {
            return Err(SpoolError::Full { folder: self.folder.clone(), has, room: self.room });
        }
        Ok(())
    }

    async fn total(&self) -> Result<u64, SpoolError> {
        let failed = |source| SpoolError::Disk { path: self.folder.clone(), source };
        let mut entries = match tokio::fs::read_dir(&self.folder).await {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(failed(error)),
        };
        let mut total = 0;
        while let Some(entry) = entries.next_entry().await.map_err(failed)? {
            // Gone meanwhile is nothing.
            total += entry.metadata().await.map_or(0, |metadata| metadata.len());
        }
        Ok(total)
    }

    /// Writes a file that only root reads, whole or not at all.
    async fn write(&self, path: &Path, bytes: &[u8]) -> Result<(), SpoolError> {
        let beside = path.with_extension("part");
        let failed = |source| SpoolError::Disk { path: path.to_owned(), source };
        let mut folder = tokio::fs::DirBuilder::new();
        folder.recursive(true).mode(0o700).create(&self.folder).await.map_err(failed)?;
        // One that an earlier version made may be open to others.
        let closed = std::fs::Permissions::from_mode(0o700);
        tokio::fs::set_permissions(&self.folder, closed).await.map_err(failed)?;
        let mut options = tokio::fs::OpenOptions::new();
        let file = options.write(true).create(true).truncate(true).mode(0o600).open(&beside).await;
        let mut file = file.map_err(failed)?;
        let written = async {
            file.write_all(bytes).await?;
            file.flush().await?;
            tokio::fs::rename(&beside, path).await
        };
        let written = written.await;
        if written.is_err() {
            // What there is of it must not take up the room.
            let _ = tokio::fs::remove_file(&beside).await;
        }
        written.map_err(failed)
    }

    /// Keeps an image.
    ///
    /// # Errors
    /// When the folder can't be written or is full; there is no file then.
    pub async fn keep(&self, uid: &str, bytes: &Bytes) -> Result<(), SpoolError> {
        let _one = ADDING.lock().await;
        self.has_room(bytes.len() as u64).await?;
        self.write(&self.path(uid), bytes).await
    }

    /// Gives up the image and keeps where it may have come to: its upload was begun and not confirmed.
    ///
    /// # Errors
    /// When the folder can't be written.
    pub async fn give_up(&self, uid: &str, what: &Unconfirmed) -> Result<(), SpoolError> {
        let path = self.trace(uid);
        let text = serde_json::to_vec(what)
            .map_err(|error| SpoolError::Disk { path: path.clone(), source: error.into() })?;
        self.write(&path, &text).await?;
        remove(&self.path(uid)).await
    }

    /// What [`Self::give_up`] kept.
    ///
    /// # Errors
    /// When the file can't be read.
    pub async fn given_up(&self, uid: &str) -> Result<Option<Unconfirmed>, SpoolError> {
        let path = self.trace(uid);
        match tokio::fs::read(&path).await {
            Ok(text) => Ok(serde_json::from_slice(&text).ok()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(SpoolError::Disk { path, source }),
        }
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
            Err(source) => return Err(SpoolError::Disk { path, source }),
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

    /// Removes all that is kept of a checkpoint; that there is nothing is no error.
    ///
    /// # Errors
    /// When a file can't be removed.
    pub async fn drop(&self, uid: &str) -> Result<(), SpoolError> {
        remove(&self.path(uid)).await?;
        remove(&self.trace(uid)).await
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
        let failed = |source| SpoolError::Disk { path: self.folder.clone(), source };
        let kept: HashSet<_> =
            uids.iter().flat_map(|uid| [self.path(uid), self.trace(uid)]).collect();
        let mut entries = match tokio::fs::read_dir(&self.folder).await {
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

async fn remove(path: &Path) -> Result<(), SpoolError> {
    match tokio::fs::remove_file(path).await {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(SpoolError::Disk { path: path.to_owned(), source })
        }
        _ => Ok(()),
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

    #[tokio::test]
    async fn the_folder_is_bounded_and_closed() {
        let folder = tempfile::tempdir().unwrap();
        let bytes = image();
        let room = bytes.len() as u64 * 2;
        let spool = Spool { room, ..Spool::new(folder.path()) };
        std::fs::create_dir(&spool.folder).unwrap();
        spool.keep("u1", &bytes).await.unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&spool.folder), mode(&spool.path("u1"))), (0o700, 0o600));
        spool.keep("u2", &bytes).await.unwrap();
        let error = spool.keep("u3", &bytes).await.unwrap_err();
        assert!(matches!(error, SpoolError::Full { .. }), "{error}");
        assert!(spool.kept("u3").await.unwrap().is_none());
        spool.has_room(1).await.unwrap_err();
        spool.drop("u1").await.unwrap();
        spool.keep("u3", &bytes).await.unwrap();
    }

    #[tokio::test]
    async fn of_a_failed_upload_its_place_stays() {
        let folder = tempfile::tempdir().unwrap();
        let spool = Spool::new(folder.path());
        let place = Unconfirmed { storage: "main".into(), key: "shop/web/1.netckpt".into() };
        spool.keep("u1", &image()).await.unwrap();
        assert_eq!(spool.given_up("u1").await.unwrap(), None);
        spool.give_up("u1", &place).await.unwrap();
        assert!(spool.kept("u1").await.unwrap().is_none());
        assert_eq!(spool.given_up("u1").await.unwrap(), Some(place));
        let own = HashSet::from(["u1".to_owned()]);
        spool.keep_only(&own, SystemTime::now() + Duration::from_secs(1)).await.unwrap();
        assert!(spool.given_up("u1").await.unwrap().is_some());
        spool.drop("u1").await.unwrap();
        assert_eq!(spool.given_up("u1").await.unwrap(), None);
    }

    #[test]
    fn a_uid_stays_inside_the_folder() {
        let spool = Spool::new(Path::new("/state"));
        assert_eq!(spool.path("../../etc/x"), Path::new("/state/captures/etcx.netckpt"));
    }
}
