//! Reading and writing a single place, for the command line.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use bytes::Bytes;

use super::{Error, Place, Settings, Store, Stored};
use crate::image;

impl Place {
    /// Reads the image at this place, at most `limit` bytes. A bucket is found by the variables of
    /// [`Settings::from_env`].
    ///
    /// # Errors
    /// Any of a store's.
    pub async fn read(&self, limit: u64) -> Result<Bytes, Error> {
        match self {
            Self::File(path) => {
                let path = path.clone();
                let (at, key) = (path.display().to_string(), path.display().to_string());
                let read = move || read_file(&path, limit);
                match on_disk(&at, read).await? {
                    content if content.len() as u64 <= limit => Ok(content.into()),
                    content => Err(Error::TooLarge { at, key, size: content.len() as u64, limit }),
                }
            }
            Self::S3 { bucket, key } => {
                let store = bucket_of(bucket).await?;
                store.within("download", store.fetch(key, limit)).await
            }
        }
    }

    /// Writes an image to this place. A file is replaced, and never seen in part; an object in a
    /// bucket is created, and one that is there with another content is left alone.
    ///
    /// # Errors
    /// Any of a store's.
    pub async fn write(&self, content: Bytes) -> Result<Stored, Error> {
        let digest = image::digest(&content);
        let size = content.len() as u64;
        let key = match self {
            Self::File(path) => {
                let to = path.clone();
                on_disk(&path.display().to_string(), move || write_file(&to, &content)).await?;
                path.display().to_string()
            }
            Self::S3 { bucket, key } => {
                let store = bucket_of(bucket).await?;
                store.within("upload", store.create(key, &digest, content)).await?;
                key.clone()
            }
        };
        Ok(Stored { key, digest, size })
    }
}

async fn bucket_of(bucket: &str) -> Result<Store, Error> {
    let root = Place::S3 { bucket: bucket.to_owned(), key: String::new() };
    let open = move || Settings::from_env(root).and_then(|settings| Store::open(&settings));
    let opened = tokio::task::spawn_blocking(open).await;
    opened.unwrap_or_else(|panic| Err(Error::Settings(panic.to_string())))
}

/// Runs a file operation off the async threads.
async fn on_disk<T: Send + 'static>(
    at: &str,
    operation: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, Error> {
    let outcome = tokio::task::spawn_blocking(operation).await;
    outcome
        .map_err(io::Error::other)
        .flatten()
        .map_err(|error| Error::Disk { at: at.to_owned(), why: error.to_string() })
}

/// One byte more than the limit tells that there is more.
fn read_file(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(limit.saturating_add(1)).read_to_end(&mut content)?;
    Ok(content)
}

fn write_file(path: &Path, content: &[u8]) -> io::Result<()> {
    // A pipe or a terminal can't be replaced.
    if path.metadata().is_ok_and(|there| !there.is_file()) {
        return File::options().write(true).open(path)?.write_all(content);
    }
    let name = path.file_name().ok_or(io::ErrorKind::IsADirectory)?;
    let mut temporary = name.to_owned();
    temporary.push(format!(".{}.part", std::process::id()));
    let temporary = path.with_file_name(temporary);
    let written = File::create(&temporary)
        .and_then(|mut file| file.write_all(content).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&temporary, path));
    if written.is_err() {
        // The error that is told is the one that came first.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_written_whole_and_read_within_limits() {
        let folder = tempfile::tempdir().unwrap();
        let place = Place::File(folder.path().join("a#1 b.netckpt"));
        for content in ["first", "", "second"] {
            let content = Bytes::from_static(content.as_bytes());
            let stored = place.write(content.clone()).await.unwrap();
            assert_eq!(
                (stored.digest, stored.size),
                (image::digest(&content), content.len() as u64)
            );
            assert_eq!(place.read(content.len() as u64).await.unwrap(), content);
        }
        let error = place.read(5).await.unwrap_err();
        assert!(matches!(error, Error::TooLarge { limit: 5, .. }), "{error}");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "no part is left");
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_replaced() {
        let null = Place::File("/dev/null".into());
        null.write(Bytes::from_static(b"x")).await.unwrap();
        assert!(!Path::new("/dev/null").is_file(), "it is still the device");
    }

    #[tokio::test]
    async fn errors_name_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("not/there");
        let place = Place::File(missing.clone());
        for error in [
            place.read(10).await.map(drop).unwrap_err(),
            place.write(Bytes::new()).await.map(drop).unwrap_err(),
        ] {
            let told = error.to_string();
            assert!(told.starts_with(missing.to_str().unwrap()), "{told}");
            assert!(told.contains("No such file"), "{told}");
        }
        let error = Place::File(folder.path().into()).write(Bytes::new()).await.unwrap_err();
        assert!(matches!(error, Error::Disk { .. }), "{error}");
    }
}
