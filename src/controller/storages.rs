//! From a storage's name to an open store: the objects by a watch, their Secrets when they are opened.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Secret;
use kube::runtime::reflector;
use kube::{Api, Client, ResourceExt};
use tokio::sync::Mutex;

use crate::api::{NetCheckpointStorage, Reason, S3Storage, StorageReason, StorageType};
use crate::store::{self, Credentials, Place, Settings, Store};

/// How long an open store is used before its Secret is read again: a changed credential takes
/// effect within this time, or with the first refusal.
const FRESH: Duration = Duration::from_secs(60);

/// Longest wait for the API server's answer.
const DEADLINE: Duration = Duration::from_secs(10);

/// Why there is no store to work with.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    #[error("there is no NetCheckpointStorage {name}: create it, or give another storageName")]
    NotFound { name: String },
    #[error(
        "no NetCheckpointStorage is marked as default: mark one with isDefault: true, or give storageName"
    )]
    NoDefault,
    #[error(
        "{} NetCheckpointStorages are marked as default ({}): leave isDefault on one, or give storageName",
        .names.len(), .names.join(", ")
    )]
    SeveralDefaults { names: Vec<String> },
    #[error("NetCheckpointStorage {storage}: Secret {namespace}/{secret} {why}")]
    Secret { storage: String, namespace: String, secret: String, why: String },
    #[error("NetCheckpointStorage {storage}: {why}")]
    Spec { storage: String, why: String },
    #[error("NetCheckpointStorage {storage}: {source}")]
    Store { storage: String, source: store::Error },
}

impl StorageError {
    /// The reason of the checkpoint's condition.
    #[must_use]
    pub fn reason(&self) -> Reason {
        match self {
            Self::NotFound { .. } | Self::NoDefault | Self::SeveralDefaults { .. } => {
                Reason::StorageNotFound
            }
            Self::Secret { .. } | Self::Spec { .. } => Reason::StorageRefused,
            Self::Store { source, .. } if source.is_passing() => Reason::StorageUnreachable,
            Self::Store { .. } => Reason::StorageRefused,
        }
    }

    /// The reason of the storage's own condition.
    #[must_use]
    pub fn storage_reason(&self) -> StorageReason {
        match self {
            Self::Secret { .. } => StorageReason::SecretNotFound,
            Self::Store { source, .. } if source.is_passing() => StorageReason::Unreachable,
            _ => StorageReason::Refused,
        }
    }
}

/// A store that is open.
#[derive(Debug, Clone)]
pub struct Storage {
    /// Name of its `NetCheckpointStorage`.
    pub name: String,
    store: Store,
}

impl Storage {
    /// The store's operations, each bounded by the store's own patience.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// An error of an operation with the name of the storage.
    #[must_use]
    pub fn failed(&self, source: store::Error) -> StorageError {
        StorageError::Store { storage: self.name.clone(), source }
    }
}

/// All storages of the cluster, as an agent sees them.
pub struct Storages {
    client: Option<Client>,
    /// The agents' namespace.
    namespace: String,
    objects: reflector::Store<NetCheckpointStorage>,
    open: Mutex<HashMap<String, Opened>>,
    /// Those that have failed in use since they were last asked for.
    doubted: std::sync::Mutex<HashSet<String>>,
}

#[derive(Debug, Clone)]
struct Opened {
    uid: String,
    generation: i64,
    at: Instant,
    storage: Storage,
}

impl Storages {
    /// Over the watched objects; Secrets are read with the client.
    #[must_use]
    pub fn new(
        client: Client,
        namespace: String,
        objects: reflector::Store<NetCheckpointStorage>,
    ) -> Self {
        Self {
            client: Some(client),
            namespace,
            objects,
            open: Mutex::default(),
            doubted: Default::default(),
        }
    }

    /// The storage of that name, or the default one, open.
    ///
    /// # Errors
    /// When it isn't there, or when it can't be opened. Nothing is asked of the store itself.
    pub async fn open(&self, name: Option<&str>) -> Result<Storage, StorageError> {
        let all: Vec<_> = self.objects.state();
        let object = choose(name, all.iter().map(AsRef::as_ref))?;
        let name = object.name_any();
        // One opening at a time: it is rare and short, and the second would do the same.
        let mut open = self.open.lock().await;
        if let Some(opened) = open.get(&name).filter(|opened| opened.is_of(object)) {
            return Ok(opened.storage.clone());
        }
        let settings = self.settings(object).await?;
        let storage = Storage { name: name.clone(), store: opened(&name, settings).await? };
        let uid = object.uid().unwrap_or_default();
        let generation = object.metadata.generation.unwrap_or_default();
        let kept = Opened { uid, generation, at: Instant::now(), storage: storage.clone() };
        open.retain(|_, opened| opened.at.elapsed() < FRESH);
        open.insert(name, kept);
        Ok(storage)
    }

    /// Has the storage's Secret read again when it is next opened: after a refusal.
    pub async fn forget(&self, name: &str) {
        self.open.lock().await.remove(name);
    }

    /// As [`Self::forget`], after a failure in use: the store is tried at the next round of
    /// [`super::health`], whatever it was found to be last.
    pub async fn doubt(&self, name: &str) {
        self.forget(name).await;
        self.doubts().insert(name.to_owned());
    }

    /// Those that have failed in use since the last call.
    #[must_use]
    pub fn doubted(&self) -> HashSet<String> {
        std::mem::take(&mut *self.doubts())
    }

    fn doubts(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        // A set of names is whole after any panic.
        self.doubted.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Waits until the watch has told what there is.
    ///
    /// # Errors
    /// When the watch has ended first.
    pub async fn ready(&self) -> Result<(), reflector::store::WriterDropped> {
        self.objects.wait_until_ready().await
    }

    /// Every storage there is.
    #[must_use]
    pub fn all(&self) -> Vec<std::sync::Arc<NetCheckpointStorage>> {
        self.objects.state()
    }

    async fn settings(&self, object: &NetCheckpointStorage) -> Result<Settings, StorageError> {
        let storage = object.name_any();
        let absent = |what: &str| StorageError::Spec {
            storage: storage.clone(),
            why: format!("type needs the field {what}"),
        };
        match object.spec.type_ {
            StorageType::File => {
                let file = object.spec.file.as_ref().ok_or_else(|| absent("file"))?;
                Ok(Settings::new(Place::File(file.path.clone().into())))
            }
            StorageType::S3 => {
                let s3 = object.spec.s3.as_ref().ok_or_else(|| absent("s3"))?;
                let credentials = self.credentials(&storage, s3).await?;
                s3_settings(&storage, s3, credentials)
            }
        }
    }

    async fn credentials(
        &self,
        storage: &str,
        s3: &S3Storage,
    ) -> Result<Credentials, StorageError> {
        let Some(reference) = &s3.secret_ref else { return Ok(Credentials::default()) };
        let namespace = reference.namespace.as_deref().unwrap_or(&self.namespace);
        let failed = |why: String| StorageError::Secret {
            storage: storage.to_owned(),
            namespace: namespace.to_owned(),
            secret: reference.name.clone(),
            why,
        };
        let Some(client) = &self.client else { return Err(failed("can't be read".to_owned())) };
        let api: Api<Secret> = Api::namespaced(client.clone(), namespace);
        let secret = tokio::time::timeout(DEADLINE, api.get_opt(&reference.name))
            .await
            .map_err(|_| failed(format!("was not answered by the API server within {DEADLINE:?}")))?
            .map_err(|error| failed(format!("can't be read: {error}")))?
            .ok_or_else(|| failed("is not there: create it".to_owned()))?;
        keys(&secret).map_err(failed)
    }
}

impl Opened {
    fn is_of(&self, object: &NetCheckpointStorage) -> bool {
        self.at.elapsed() < FRESH
            && Some(self.uid.as_str()) == object.metadata.uid.as_deref()
            && Some(self.generation) == object.metadata.generation
    }
}

/// Opens on a blocking thread: a folder may be made, certificates are read.
async fn opened(name: &str, settings: Settings) -> Result<Store, StorageError> {
    let spec = |why: String| StorageError::Spec { storage: name.to_owned(), why };
    match tokio::task::spawn_blocking(move || Store::open(&settings)).await {
        Ok(Ok(store)) => Ok(store),
        Ok(Err(source)) => Err(StorageError::Store { storage: name.to_owned(), source }),
        Err(panic) => Err(spec(panic.to_string())),
    }
}

/// The one that is meant.
fn choose<'a>(
    name: Option<&str>,
    all: impl Iterator<Item = &'a NetCheckpointStorage>,
) -> Result<&'a NetCheckpointStorage, StorageError> {
    // One that is being deleted is gone for new work, and still serves what is stored there.
    if let Some(name) = name {
        let mut all = all;
        return all
            .find(|storage| storage.metadata.name.as_deref() == Some(name))
            .ok_or_else(|| StorageError::NotFound { name: name.to_owned() });
    }
    let mut defaults: Vec<_> = all.filter(|storage| storage.spec.is_default).collect();
    match defaults.len() {
        1 => Ok(defaults.remove(0)),
        0 => Err(StorageError::NoDefault),
        _ => {
            let mut names: Vec<_> = defaults.iter().map(|storage| storage.name_any()).collect();
            names.sort();
            Err(StorageError::SeveralDefaults { names })
        }
    }
}

fn s3_settings(
    storage: &str,
    s3: &S3Storage,
    credentials: Credentials,
) -> Result<Settings, StorageError> {
    let key = s3.prefix.clone().unwrap_or_default();
    let mut settings = Settings::new(Place::S3 { bucket: s3.bucket.clone(), key });
    settings.region = Some(s3.region.clone());
    settings.credentials = credentials;
    settings.ca = s3.ca_bundle.clone().map(String::into_bytes);
    settings.endpoint = match s3.endpoint.as_deref().map(store::endpoint).transpose() {
        Ok(endpoint) => endpoint,
        Err(source) => {
            return Err(StorageError::Store { storage: storage.to_owned(), source });
        }
    };
    if settings.endpoint.as_ref().is_some_and(|url| url.scheme() == "http") && !s3.allow_http {
        let why = "its endpoint is http://; set allowHTTP: true to allow that".to_owned();
        return Err(StorageError::Spec { storage: storage.to_owned(), why });
    }
    Ok(settings)
}

/// The keys of a Secret; the error says what it lacks.
fn keys(secret: &Secret) -> Result<Credentials, String> {
    let data = secret.data.clone().unwrap_or_default();
    let text = |key: &str| match data.get(key) {
        None => Ok(None),
        // A line end at the end is what `kubectl create secret --from-file` brings along.
        Some(bytes) => match std::str::from_utf8(&bytes.0) {
            Ok(text) => Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty())),
            Err(_) => Err(format!("holds something else than text under {key}")),
        },
    };
    let needed = |key: &str| text(key)?.ok_or_else(|| format!("lacks the key {key}"));
    Ok(Credentials::Keys {
        access_key: needed("accessKeyID")?,
        secret_key: needed("secretAccessKey")?,
        session_token: text("sessionToken")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{FileStorage, NetCheckpointStorageSpec};
    use k8s_openapi::ByteString;
    use std::collections::BTreeMap;

    fn file(name: &str, is_default: bool, path: &str) -> NetCheckpointStorage {
        let spec = NetCheckpointStorageSpec {
            type_: StorageType::File,
            is_default,
            s3: None,
            file: Some(FileStorage { path: path.into() }),
        };
        NetCheckpointStorage::new(name, spec)
    }

    #[test]
    fn the_named_or_the_one_default() {
        let all = [file("a", false, "/a"), file("b", true, "/b"), file("c", true, "/c")];
        let chosen = choose(Some("a"), all.iter()).unwrap();
        assert_eq!(chosen.name_any(), "a");
        let chosen = choose(None, all[..2].iter()).unwrap();
        assert_eq!(chosen.name_any(), "b");
        let error = choose(Some("d"), all.iter()).unwrap_err();
        assert_eq!(error.reason(), Reason::StorageNotFound);
        assert!(matches!(choose(None, all[..1].iter()), Err(StorageError::NoDefault)));
        let error = choose(None, all.iter()).unwrap_err().to_string();
        assert!(error.contains("2 NetCheckpointStorages are marked as default (b, c)"), "{error}");
    }

    #[test]
    fn a_secret_says_what_it_lacks() {
        let entry = |key: &str, value: &str| (key.to_owned(), ByteString(value.into()));
        let mut secret = Secret { data: Some(BTreeMap::new()), ..Secret::default() };
        assert_eq!(keys(&secret).unwrap_err(), "lacks the key accessKeyID");
        let data = secret.data.get_or_insert_default();
        data.extend([entry("accessKeyID", "someone\n"), entry("secretAccessKey", "hush")]);
        let Credentials::Keys { access_key, secret_key, session_token } = keys(&secret).unwrap()
        else {
            panic!("keys are there")
        };
        assert_eq!(
            (access_key.as_str(), secret_key.as_str(), session_token),
            ("someone", "hush", None)
        );
    }

    #[test]
    fn plain_http_must_be_allowed() {
        let mut s3 = S3Storage {
            bucket: "images".into(),
            endpoint: Some("http://store:9000".into()),
            region: "eu-west-1".into(),
            prefix: Some("a/b".into()),
            ..S3Storage::default()
        };
        let error = s3_settings("main", &s3, Credentials::default()).unwrap_err();
        assert_eq!(error.storage_reason(), StorageReason::Refused);
        s3.allow_http = true;
        let settings = s3_settings("main", &s3, Credentials::default()).unwrap();
        assert_eq!(settings.root, Place::S3 { bucket: "images".into(), key: "a/b".into() });
        assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
    }

    #[tokio::test]
    async fn a_folder_is_opened_once_and_stores() {
        let folder = tempfile::tempdir().unwrap();
        let (objects, mut writer) = reflector::store();
        let mut object = file("main", true, folder.path().to_str().unwrap());
        object.metadata.uid = Some("u".into());
        object.metadata.generation = Some(1);
        writer.apply_watcher_event(&kube::runtime::watcher::Event::Apply(object));
        let storages = Storages {
            client: None,
            namespace: "netckpt".into(),
            objects,
            open: Mutex::default(),
            doubted: Default::default(),
        };
        let storage = storages.open(None).await.unwrap();
        assert_eq!(storage.name, "main");
        let image = bytes::Bytes::from_static(b"content");
        let stored = storage.store().put("shop/web", image.clone()).await.unwrap();
        let again = storages.open(Some("main")).await.unwrap();
        let back = again.store().get(&stored.key, &stored.digest, 100).await.unwrap();
        assert_eq!(back, image);
    }
}
