//! The look at a store before it is relied on.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use bytes::Bytes;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::{Error, Store};

/// What a store was seen to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probe {
    /// Whether it refuses to create an object that exists (`If-None-Match: *`). Where it does not,
    /// an image is written again in place of the same image; nothing else differs.
    pub conditional: bool,
    /// Time of one small upload.
    pub upload: Duration,
}

impl Store {
    /// Sees that the store is reached, that the credentials may write, read and delete, and whether
    /// a create is conditional. Leaves nothing behind.
    ///
    /// # Errors
    /// Any: the store can't be used.
    pub async fn probe(&self) -> Result<Probe, Error> {
        // From the system's random numbers: several agents may probe one store at once.
        let key = format!("netckpt-probe-{:016x}", RandomState::new().build_hasher().finish());
        let outcome = self.within("probe", self.probe_with(&key)).await;
        // Also after a failure half-way; the first error tells more than this one's.
        let cleaned = self.delete(&key).await;
        outcome.and_then(|probe| cleaned.map(|()| probe))
    }

    async fn probe_with(&self, key: &str) -> Result<Probe, Error> {
        let path = self.path(key)?;
        let content = Bytes::from_static(b"netckpt looks whether this store can be used\n");
        let create =
            || self.objects.put_opts(&path, content.clone().into(), PutMode::Create.into());
        let start = Instant::now();
        create().await.map_err(|error| self.failed("upload", key, &error))?;
        let upload = start.elapsed();
        let conditional = match create().await {
            Ok(_) => false,
            Err(object_store::Error::AlreadyExists { .. }) => true,
            Err(error) => return Err(self.failed("upload", key, &error)),
        };
        let back = self.fetch(key, content.len() as u64).await?;
        if back != content {
            return Err(Error::DigestMismatch {
                at: self.at.clone(),
                key: key.to_owned(),
                expected: crate::image::digest(&content),
                found: crate::image::digest(&back),
            });
        }
        self.objects.delete(&path).await.map_err(|error| self.failed("delete", key, &error))?;
        Ok(Probe { conditional, upload })
    }
}
