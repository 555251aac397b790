//! Lists of a bucket's objects.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::local::LocalFileSystem;
use object_store::{ObjectMeta, ObjectStore};
use s3s::S3Result;

use super::folder::{PAGE, failed, is_upload, object_path};

/// Keys with the prefix, after `after`, in order; what is alike up to the delimiter is one entry.
pub(super) async fn page(
    files: &LocalFileSystem,
    prefix: &str,
    delimiter: Option<&str>,
    after: Option<&str>,
) -> S3Result<BTreeMap<String, Option<ObjectMeta>>> {
    let mut found = BTreeMap::new();
    // Whole folders only; the rest of the prefix is compared below.
    let folder = prefix.rsplit_once('/').map(|(folder, _)| object_path(folder)).transpose()?;
    let mut all = files.list(folder.as_ref());
    while let Some(meta) = all.try_next().await.map_err(|error| failed(&error))? {
        let key = meta.location.to_string();
        if !key.starts_with(prefix) || is_upload(&meta.location) {
            continue;
        }
        let rest = &key[prefix.len()..];
        let group = delimiter.filter(|text| !text.is_empty()).and_then(|text| {
            rest.find(text).map(|at| key[..prefix.len() + at + text.len()].to_owned())
        });
        let (key, meta) = match group {
            Some(group) => (group, None),
            None => (key, Some(meta)),
        };
        if after.is_none_or(|after| key.as_str() > after) {
            found.insert(key, meta);
            // The page and one more, which tells that there is a next.
            if found.len() > PAGE + 1 {
                found.pop_last();
            }
        }
    }
    Ok(found)
}
