//! S3 operations on a folder: a sub-folder is a bucket, a file is an object.
//!
//! An upload goes to a file under `.uploads` first and becomes the object at once, by a hard link
//! where it must not exist yet: of two creates of one key exactly one succeeds, and a body that is
//! cut off is never seen. Everything is on the disk before it is acknowledged.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use bytes::{Bytes, BytesMut};
use futures::{Stream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, GetOptions, GetRange, GetResultPayload, MultipartUpload, ObjectMeta,
    ObjectStore, ObjectStoreExt, PutPayload, RenameOptions,
};
use s3s::dto::{
    Bucket, CreateBucketInput, CreateBucketOutput, DeleteObjectInput, DeleteObjectOutput, ETag,
    GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput,
    HeadObjectOutput, ListBucketsInput, ListBucketsOutput, ListObjectsV2Input, ListObjectsV2Output,
    Object, PutObjectInput, PutObjectOutput, Range, StreamingBlob, Timestamp,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result, s3_error};

use tokio::io::{AsyncReadExt, AsyncSeekExt};

use super::ServeError;
use super::list::page;

/// Folder of uploads under way, in each bucket; its objects are not S3's.
const UPLOADS: &str = ".uploads";
/// Longest pause between two parts of an upload's body.
const IDLE: Duration = Duration::from_secs(30);
/// Largest object: more than the largest image.
const LARGEST: u64 = 1 << 30;
/// Objects in one page of a list, as S3 has it.
pub(super) const PAGE: usize = 1000;
/// Bytes read at once of an object that is sent.
const PIECE: usize = 256 << 10;

/// The folder that is served.
#[derive(Debug)]
pub(super) struct Folder {
    root: PathBuf,
    /// Names uploads under way, so that two of one key do not meet.
    uploads: AtomicU64,
}

impl Folder {
    /// Opens the folder and makes it and the buckets where they are missing. What an earlier run left
    /// of uploads is removed.
    pub async fn open(root: PathBuf, buckets: &[String]) -> Result<Self, ServeError> {
        let fail = |source| ServeError::Folder { folder: root.clone(), source };
        for bucket in buckets {
            if !s3s::path::check_bucket_name(bucket) {
                return Err(ServeError::Bucket(bucket.clone()));
            }
            tokio::fs::create_dir_all(root.join(bucket)).await.map_err(fail)?;
        }
        tokio::fs::create_dir_all(&root).await.map_err(fail)?;
        let mut entries = tokio::fs::read_dir(&root).await.map_err(fail)?;
        while let Some(entry) = entries.next_entry().await.map_err(fail)? {
            match tokio::fs::remove_dir_all(entry.path().join(UPLOADS)).await {
                Err(error)
                    if !matches!(
                        error.kind(),
                        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                    ) =>
                {
                    return Err(fail(error));
                }
                _ => {}
            }
        }
        Ok(Self { root, uploads: AtomicU64::new(0) })
    }

    /// The objects of a bucket; the protocol library has checked that its name is one.
    async fn bucket(&self, name: &str) -> S3Result<LocalFileSystem> {
        let path = self.root.join(name);
        let open = move || match path.is_dir() {
            true => LocalFileSystem::new_with_prefix(path).map(Some),
            false => Ok(None),
        };
        let opened = tokio::task::spawn_blocking(open).await.map_err(S3Error::internal_error)?;
        match opened.map_err(|error| failed(&error))? {
            Some(files) => Ok(files.with_fsync(true).with_automatic_cleanup(true)),
            None => Err(s3_error!(NoSuchBucket, "The bucket does not exist")),
        }
    }

    /// Writes a body to a file of its own under [`UPLOADS`].
    async fn receive(&self, files: &LocalFileSystem, body: StreamingBlob) -> S3Result<Path> {
        let number = self.uploads.fetch_add(1, Ordering::Relaxed);
        let path = Path::from(UPLOADS).join(number.to_string());
        // Dropped without having been completed it removes its file.
        let mut upload = files.put_multipart(&path).await.map_err(|error| failed(&error))?;
        let mut body = body;
        let mut size = 0;
        loop {
            let next = tokio::time::timeout(IDLE, body.next());
            let next =
                next.await.map_err(|_| s3_error!(RequestTimeout, "The body paused too long"))?;
            let Some(part) = next.transpose().map_err(|error| body_error(error.as_ref()))? else {
                break;
            };
            size += part.len() as u64;
            if size > LARGEST {
                return Err(s3_error!(EntityTooLarge));
            }
            upload.put_part(part.into()).await.map_err(|error| failed(&error))?;
        }
        if size == 0 {
            upload.put_part(PutPayload::new()).await.map_err(|error| failed(&error))?;
        }
        upload.complete().await.map_err(|error| failed(&error))?;
        Ok(path)
    }
}

#[async_trait::async_trait]
impl S3 for Folder {
    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        let input = request.input;
        let files = self.bucket(&input.bucket).await?;
        let path = object_path(&input.key)?;
        let create = match &input.if_none_match {
            None => false,
            Some(condition) if condition.is_any() => true,
            Some(_) => return Err(s3_error!(NotImplemented, "If-None-Match takes only `*` here")),
        };
        if input.if_match.is_some() {
            return Err(s3_error!(NotImplemented, "If-Match is not known here"));
        }
        // A hint that spares the transfer; what decides is the link below.
        if create && files.head(&path).await.is_ok() {
            return Err(exists());
        }
        let body = input.body.ok_or_else(|| s3_error!(IncompleteBody))?;
        let upload = self.receive(&files, body).await?;
        let outcome = if create {
            let linked = files
                .copy_opts(&upload, &path, CopyOptions::new().with_mode(CopyMode::Create))
                .await;
            // The file has its name; what is left of the upload must not be seen to fail it.
            let removed = files.delete(&upload).await;
            linked.inspect(|()| {
                if let Err(error) = &removed {
                    tracing::warn!(%error, "upload file left behind");
                }
            })
        } else {
            files.rename_opts(&upload, &path, RenameOptions::default()).await
        };
        match outcome {
            Err(object_store::Error::AlreadyExists { .. }) => return Err(exists()),
            outcome => outcome.map_err(|error| failed(&error))?,
        }
        let meta = files.head(&path).await.map_err(|error| failed(&error))?;
        Ok(S3Response::new(PutObjectOutput { e_tag: e_tag(&meta), ..Default::default() }))
    }

    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let files = self.bucket(&input.bucket).await?;
        let range = input.range.map(|range| match range {
            Range::Int { first, last: Some(last) } => {
                GetRange::Bounded(first..last.saturating_add(1))
            }
            Range::Int { first, last: None } => GetRange::Offset(first),
            Range::Suffix { length } => GetRange::Suffix(length),
        });
        let path = object_path(&input.key)?;
        // The disk's own error for this has no name, only a text.
        if let Some(range) = &range {
            let size = files.head(&path).await.map_err(|error| failed(&error))?.size;
            if !begins_in(range, size) {
                return Err(S3Error::new(S3ErrorCode::InvalidRange));
            }
        }
        let is_part = range.is_some();
        let options = GetOptions { range, ..GetOptions::default() };
        let found = files.get_opts(&path, options).await;
        let found = found.map_err(|error| failed(&error))?;
        let (meta, range) = (found.meta, found.range);
        let content_range = is_part.then(|| {
            format!("bytes {}-{}/{}", range.start, range.end.saturating_sub(1), meta.size)
        });
        let GetResultPayload::File(file, _) = found.payload else {
            return Err(s3_error!(InternalError, "The object is not a file"));
        };
        Ok(S3Response::new(GetObjectOutput {
            body: Some(StreamingBlob::wrap(part_of(file, range.clone()))),
            content_length: Some(i64::try_from(range.end - range.start).unwrap_or(i64::MAX)),
            content_range,
            e_tag: e_tag(&meta),
            last_modified: Some(modified(&meta)),
            ..Default::default()
        }))
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let files = self.bucket(&request.input.bucket).await?;
        let meta = files.head(&object_path(&request.input.key)?).await;
        let meta = meta.map_err(|error| failed(&error))?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(length(&meta)),
            e_tag: e_tag(&meta),
            last_modified: Some(modified(&meta)),
            ..Default::default()
        }))
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let files = self.bucket(&request.input.bucket).await?;
        match files.delete(&object_path(&request.input.key)?).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(failed(&error)),
        }
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let files = self.bucket(&input.bucket).await?;
        let prefix = input.prefix.clone().unwrap_or_default();
        // The last of the page before is the token of the next.
        let after = input.continuation_token.clone().or_else(|| input.start_after.clone());
        let wanted = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(0).min(PAGE);
        let mut page = page(&files, &prefix, input.delimiter.as_deref(), after.as_deref()).await?;
        let is_truncated = page.len() > wanted;
        let last = page.keys().nth(wanted.saturating_sub(1)).cloned().filter(|_| is_truncated);
        if let Some(first_left) = page.keys().nth(wanted).cloned() {
            page.split_off(&first_left);
        }
        let (mut contents, mut prefixes) = (Vec::new(), Vec::new());
        let count = page.len();
        for (key, meta) in page {
            match meta {
                Some(meta) => contents.push(Object {
                    key: Some(key),
                    size: Some(length(&meta)),
                    e_tag: e_tag(&meta),
                    last_modified: Some(modified(&meta)),
                    ..Default::default()
                }),
                None => prefixes.push(s3s::dto::CommonPrefix { prefix: Some(key) }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            delimiter: input.delimiter,
            max_keys: Some(i32::try_from(wanted).unwrap_or(i32::MAX)),
            key_count: Some(i32::try_from(count).unwrap_or(i32::MAX)),
            is_truncated: Some(is_truncated),
            next_continuation_token: last,
            continuation_token: input.continuation_token,
            contents: Some(contents),
            common_prefixes: Some(prefixes),
            ..Default::default()
        }))
    }

    async fn head_bucket(
        &self,
        request: S3Request<HeadBucketInput>,
    ) -> S3Result<S3Response<HeadBucketOutput>> {
        self.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn create_bucket(
        &self,
        request: S3Request<CreateBucketInput>,
    ) -> S3Result<S3Response<CreateBucketOutput>> {
        match tokio::fs::create_dir(self.root.join(&request.input.bucket)).await {
            Ok(()) => Ok(S3Response::new(CreateBucketOutput::default())),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou, "The bucket exists already"))
            }
            Err(error) => Err(S3Error::internal_error(error)),
        }
    }

    async fn list_buckets(
        &self,
        _: S3Request<ListBucketsInput>,
    ) -> S3Result<S3Response<ListBucketsOutput>> {
        let mut names = Vec::new();
        let mut entries = tokio::fs::read_dir(&self.root).await.map_err(S3Error::internal_error)?;
        while let Some(entry) = entries.next_entry().await.map_err(S3Error::internal_error)? {
            let is_folder = entry.file_type().await.is_ok_and(|kind| kind.is_dir());
            match entry.file_name().into_string() {
                Ok(name) if is_folder && s3s::path::check_bucket_name(&name) => names.push(name),
                _ => {}
            }
        }
        names.sort();
        let buckets = names
            .into_iter()
            .map(|name| Bucket { name: Some(name), ..Default::default() })
            .collect();
        Ok(S3Response::new(ListBucketsOutput { buckets: Some(buckets), ..Default::default() }))
    }
}

/// The bytes of a part of a file, in pieces.
fn part_of(
    file: std::fs::File,
    range: std::ops::Range<u64>,
) -> impl Stream<Item = io::Result<Bytes>> {
    let start = (tokio::fs::File::from_std(file), range.start, range.end);
    futures::stream::try_unfold(start, |(mut file, at, end)| async move {
        if at >= end {
            return Ok(None);
        }
        // Each piece finds its place by itself: the first must, and the others cost nothing.
        file.seek(io::SeekFrom::Start(at)).await?;
        let mut piece = BytesMut::with_capacity(PIECE.min((end - at) as usize));
        let read = (&mut file).take(end - at).read_buf(&mut piece).await? as u64;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(Some((piece.freeze(), (file, at + read, end))))
    })
}

pub(super) fn object_path(key: &str) -> S3Result<Path> {
    match Path::parse(key) {
        Ok(path) if path.as_ref() == key && !key.is_empty() && !is_upload(&path) => Ok(path),
        _ => Err(s3_error!(InvalidArgument, "Keys are paths without empty parts, `.` and `..`")),
    }
}

/// Whether an object of that size has the range's first byte.
fn begins_in(range: &GetRange, size: u64) -> bool {
    match range {
        GetRange::Bounded(range) => range.start < size && range.start < range.end,
        GetRange::Offset(first) => *first < size,
        GetRange::Suffix(length) => *length > 0,
    }
}

pub(super) fn is_upload(path: &Path) -> bool {
    path.parts().next().is_some_and(|part| part.as_ref() == UPLOADS)
}

fn exists() -> S3Error {
    s3_error!(PreconditionFailed, "At least one of the pre-conditions you specified did not hold")
}

/// What the disk says, in S3's words.
pub(super) fn failed(error: &object_store::Error) -> S3Error {
    use object_store::Error as E;
    match error {
        E::NotFound { .. } => s3_error!(NoSuchKey, "The key does not exist"),
        E::InvalidPath { .. } => {
            s3_error!(InvalidArgument, "The key is not one that a file can have")
        }
        error => {
            tracing::error!(%error, "folder of the store");
            S3Error::with_message(
                S3ErrorCode::InternalError,
                "The store's disk failed; see its log",
            )
        }
    }
}

/// A body that did not come whole, or not as it was signed.
fn body_error(error: &(dyn std::error::Error + 'static)) -> S3Error {
    tracing::info!(%error, "upload refused");
    S3Error::with_message(S3ErrorCode::IncompleteBody, "The body did not come as it was announced")
}

fn e_tag(meta: &ObjectMeta) -> Option<ETag> {
    meta.e_tag.as_ref().map(|text| ETag::Strong(text.trim_matches('"').to_owned()))
}

fn modified(meta: &ObjectMeta) -> Timestamp {
    SystemTime::from(meta.last_modified).into()
}

fn length(meta: &ObjectMeta) -> i64 {
    i64::try_from(meta.size).unwrap_or(i64::MAX)
}
