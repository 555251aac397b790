//! Where images are kept: an S3 bucket or a folder.
//!
//! An image's key ends in its own digest, so that a key never changes its meaning, uploads may be
//! repeated, and what comes back is checked. Objects are created, never replaced. Every operation
//! ends within [`Patience::total`].

mod error;
mod place;
mod place_io;
mod probe;
pub mod server;
mod settings;

pub use error::Error;
pub use place::{Place, PlaceError};
pub use probe::Probe;
pub use settings::{Credentials, Patience, Settings, endpoint};

use std::fmt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use object_store::aws::{AmazonS3Builder, S3ConditionalPut};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, Certificate, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreExt,
    PutMode, RetryConfig,
};

use crate::image;
use error::Attempt;

/// How often an operation is begun again where the client library does not repeat it by itself.
const ATTEMPTS: usize = 2;
/// What is allocated before the first byte of a download.
const FIRST_CAPACITY: u64 = 1 << 20;
/// Bytes whose digest takes less than handing it to a thread is worth.
const SHORT: usize = 64 << 10;
/// End of every image's key.
const SUFFIX: &str = ".netckpt";
/// End of the key of a container's archive.
const ARCHIVE_SUFFIX: &str = ".tar";

/// A place for many images.
#[derive(Clone)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    root: Path,
    at: String,
    patience: Patience,
}

/// An image that is stored, whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stored {
    /// Below the store's root.
    pub key: String,
    /// `sha256:` and hexadecimal, of the whole file.
    pub digest: String,
    /// Bytes.
    pub size: u64,
}

/// Key of the image with that digest: `PREFIX/DIGEST.netckpt`.
#[must_use]
pub fn key(prefix: &str, digest: &str) -> String {
    format!("{}/{}{SUFFIX}", prefix.trim_matches('/'), digest.trim_start_matches("sha256:"))
}

/// Key of the archive with that digest: `PREFIX/DIGEST.tar`.
#[must_use]
pub fn archive_key(prefix: &str, digest: &str) -> String {
    let digest = digest.trim_start_matches("sha256:");
    format!("{}/{digest}{ARCHIVE_SUFFIX}", prefix.trim_matches('/'))
}

/// Key prefix of the images of one NetCheckpoint: `NAMESPACE/NAME-UID`. A long name is cut: a file's
/// name ends at 255 bytes, and the UID tells objects apart.
#[must_use]
pub fn prefix(namespace: &str, name: &str, uid: &str) -> String {
    let name: String = name.chars().take(128).collect();
    format!("{namespace}/{name}-{uid}")
}

/// The image's digest. A large one takes a thread of its own for as long: up to a second or two.
pub async fn digest(image: &Bytes) -> String {
    if image.len() <= SHORT {
        return image::digest(image);
    }
    let shared = image.clone();
    let digest = tokio::task::spawn_blocking(move || image::digest(&shared)).await;
    // No thread is to be had any more at the agent's very end.
    digest.unwrap_or_else(|_| image::digest(image))
}

impl Store {
    /// Prepares a store; nothing is asked of it yet (see [`Self::probe`]). A folder is made if it is
    /// missing. Blocks for files and certificates: an async caller calls it on a blocking thread.
    ///
    /// # Errors
    /// [`Error::Settings`] and [`Error::Disk`].
    pub fn open(settings: &Settings) -> Result<Self, Error> {
        let patience = settings.patience;
        match &settings.root {
            Place::File(folder) => {
                let at = folder.display().to_string();
                let disk = |why: String| Error::Disk { at: at.clone(), why };
                std::fs::create_dir_all(folder).map_err(|error| disk(error.to_string()))?;
                let files = LocalFileSystem::new_with_prefix(folder)
                    .map_err(|error| disk(error.to_string()))?
                    .with_fsync(true)
                    .with_automatic_cleanup(true);
                Ok(Self { objects: Arc::new(files), root: Path::default(), at, patience })
            }
            Place::S3 { bucket, key } => {
                let at = match &settings.endpoint {
                    Some(url) => format!("s3://{bucket} at {url}"),
                    None => format!("s3://{bucket}"),
                };
                let objects = Arc::new(open_bucket(bucket, settings)?);
                let root = Path::parse(key).map_err(|_| Error::Key(key.clone()))?;
                Ok(Self { objects, root, at, patience })
            }
        }
    }

    /// Stores an image under `PREFIX/DIGEST.netckpt` unless it is there already.
    ///
    /// # Errors
    /// Any; nothing is stored in part, and the call may be repeated.
    pub async fn put(&self, prefix: &str, image: Bytes) -> Result<Stored, Error> {
        self.put_as(key, prefix, image).await
    }

    /// Stores the archive of a container under `PREFIX/DIGEST.tar` unless it is there already.
    ///
    /// # Errors
    /// As [`Self::put`].
    pub async fn put_archive(&self, prefix: &str, archive: Bytes) -> Result<Stored, Error> {
        self.put_as(archive_key, prefix, archive).await
    }

    async fn put_as(
        &self,
        key: fn(&str, &str) -> String,
        prefix: &str,
        content: Bytes,
    ) -> Result<Stored, Error> {
        let digest = digest(&content).await;
        let key = key(prefix, &digest);
        let size = content.len() as u64;
        self.within("upload", self.create(&key, &digest, content)).await?;
        Ok(Stored { key, digest, size })
    }

    /// Fetches an image of at most `limit` bytes and checks its digest.
    ///
    /// # Errors
    /// Any; [`Error::DigestMismatch`] where the content is another.
    pub async fn get(&self, key: &str, digest: &str, limit: u64) -> Result<Bytes, Error> {
        let image = self.within("download", self.fetch(key, limit)).await?;
        let found = self::digest(&image).await;
        if found != digest {
            let (at, key, expected) = (self.at.clone(), key.to_owned(), digest.to_owned());
            return Err(Error::DigestMismatch { at, key, expected, found });
        }
        Ok(image)
    }

    /// Removes an image. That it is not there is no error.
    ///
    /// # Errors
    /// Any but [`Error::NotFound`].
    pub async fn delete(&self, key: &str) -> Result<(), Error> {
        let path = self.path(key)?;
        let delete = async {
            self.objects.delete(&path).await.map_err(|error| self.failed("delete", key, &error))
        };
        match self.within("delete", delete).await {
            Err(Error::NotFound { .. }) => Ok(()),
            outcome => outcome,
        }
    }

    /// Creates an object whose key tells its content. A conditional create is not repeated by the
    /// client library when its answer is lost; here it may be, because of that key.
    async fn create(&self, key: &str, digest: &str, content: Bytes) -> Result<(), Error> {
        let path = self.path(key)?;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let put = self.objects.put_opts(&path, content.clone().into(), PutMode::Create.into());
            let error = match put.await {
                Ok(_) => return Ok(()),
                Err(object_store::Error::AlreadyExists { .. }) => {
                    match self.already_there(key, digest, content.len() as u64).await {
                        Ok(()) => return Ok(()),
                        Err(error) => error,
                    }
                }
                Err(error) => self.failed("upload", key, &error),
            };
            // S3 also answers 409 while another upload of the key is under way: then it is not there yet.
            let again = matches!(
                error,
                Error::Slow { .. } | Error::Unreachable { .. } | Error::NotFound { .. }
            );
            if !again {
                return Err(error);
            }
            last = Some(error);
        }
        Err(last.unwrap_or_else(|| Error::Key(key.to_owned())))
    }

    /// Whether what is there under the key is this content.
    async fn already_there(&self, key: &str, digest: &str, size: u64) -> Result<(), Error> {
        let occupied = || Error::Occupied { at: self.at.clone(), key: key.to_owned() };
        match self.fetch(key, size).await {
            Ok(there) if self::digest(&there).await == digest => Ok(()),
            Ok(_) | Err(Error::TooLarge { .. }) => Err(occupied()),
            Err(error) => Err(error),
        }
    }

    /// Reads an object of at most `limit` bytes, whatever its content.
    async fn fetch(&self, key: &str, limit: u64) -> Result<Bytes, Error> {
        let mut outcome = self.fetch_once(key, limit).await;
        if matches!(outcome, Err(Error::Short { .. })) {
            outcome = self.fetch_once(key, limit).await;
        }
        outcome
    }

    async fn fetch_once(&self, key: &str, limit: u64) -> Result<Bytes, Error> {
        let path = self.path(key)?;
        let answer = self.objects.get(&path).await;
        let answer = answer.map_err(|error| self.failed("download", key, &error))?;
        let size = answer.meta.size;
        let too_large =
            |size| Error::TooLarge { at: self.at.clone(), key: key.to_owned(), size, limit };
        if size > limit {
            return Err(too_large(size));
        }
        let attempt = Attempt { in_body: true, ..self.attempt("download", key) };
        let mut content = BytesMut::with_capacity(size.min(FIRST_CAPACITY) as usize);
        let mut body = answer.into_stream();
        while let Some(part) =
            body.next().await.transpose().map_err(|error| attempt.failed(&error))?
        {
            content.extend_from_slice(&part);
            if content.len() as u64 > limit {
                return Err(too_large(content.len() as u64));
            }
        }
        if content.len() as u64 != size {
            let why = format!("{} of {size} bytes came", content.len());
            return Err(Error::Short { at: self.at.clone(), key: key.to_owned(), why });
        }
        Ok(content.freeze())
    }

    fn path(&self, key: &str) -> Result<Path, Error> {
        let key = key.trim_matches('/');
        let whole = if self.root.as_ref().is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.root)
        };
        match Path::parse(&whole) {
            Ok(path) if !key.is_empty() => Ok(path),
            _ => Err(Error::Key(key.chars().take(200).collect())),
        }
    }

    /// Runs an operation to its end or to the deadline.
    async fn within<T>(
        &self,
        what: &str,
        operation: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        let total = self.patience.total;
        tokio::time::timeout(total, operation).await.unwrap_or_else(|_| {
            let seconds = total.as_secs().max(1);
            Err(Error::Slow { at: self.at.clone(), what: what.to_owned(), seconds })
        })
    }

    fn failed(&self, what: &'static str, key: &str, error: &object_store::Error) -> Error {
        self.attempt(what, key).failed(error)
    }

    fn attempt<'a>(&'a self, what: &'static str, key: &'a str) -> Attempt<'a> {
        let seconds = self.patience.request.as_secs().max(1);
        Attempt { at: &self.at, key, what, seconds, in_body: false }
    }
}

impl fmt::Debug for Store {
    /// Without the client, which holds the credentials.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store")
            .field("at", &self.at)
            .field("root", &self.root)
            .finish_non_exhaustive()
    }
}

fn open_bucket(bucket: &str, settings: &Settings) -> Result<object_store::aws::AmazonS3, Error> {
    let patience = &settings.patience;
    let retry = RetryConfig {
        backoff: BackoffConfig {
            init_backoff: std::time::Duration::from_millis(100).min(patience.pause),
            max_backoff: patience.pause,
            base: 2.0,
        },
        max_retries: patience.retries,
        retry_timeout: patience.total,
    };
    let mut builder = match &settings.credentials {
        Credentials::Surroundings => AmazonS3Builder::from_env(),
        Credentials::Keys { access_key, secret_key, session_token } => {
            let builder = AmazonS3Builder::new()
                .with_access_key_id(access_key)
                .with_secret_access_key(secret_key);
            match session_token {
                Some(token) => builder.with_token(token),
                None => builder,
            }
        }
    };
    if let Some(endpoint) = &settings.endpoint {
        builder = builder.with_endpoint(endpoint.as_str().trim_end_matches('/'));
    }
    builder
        .with_bucket_name(bucket)
        .with_region(settings.region.as_deref().unwrap_or("us-east-1"))
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        // One object at a time is deleted; not every server knows the bulk request.
        .with_disable_bulk_delete(true)
        .with_retry(retry)
        .with_client_options(client_options(settings)?)
        .build()
        .map_err(|error| Error::Settings(error.to_string()))
}

fn client_options(settings: &Settings) -> Result<ClientOptions, Error> {
    let is_plain = settings.endpoint.as_ref().is_some_and(|url| url.scheme() == "http");
    let mut options = ClientOptions::new()
        .with_connect_timeout(settings.patience.connect)
        .with_timeout(settings.patience.request)
        .with_allow_http(is_plain)
        // Without TLS no certificates are needed, and in an image FROM scratch there are none.
        .with_no_system_certificates(is_plain)
        // The library's own resolver asks glibc, which a static binary does not have in full.
        .with_config(ClientConfigKey::RandomizeAddresses, "false");
    if let Some(pem) = &settings.ca {
        let certificates = Certificate::from_pem_bundle(pem)
            .map_err(|error| Error::Settings(format!("certificates: {error}")))?;
        if certificates.is_empty() {
            return Err(Error::Settings("certificates: there is none in the PEM".to_owned()));
        }
        for certificate in certificates {
            options = options.with_root_certificate(certificate);
        }
    }
    Ok(options)
}
