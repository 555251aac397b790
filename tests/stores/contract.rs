//! What holds of every store, whatever is behind it.

use futures::future::join_all;
use netckpt::store::{Error, Place, Settings, Store, prefix};
use object_store::ObjectStoreExt;
use object_store::aws::AmazonS3Builder;

use super::endpoints::{Moto, Own};
use super::{BUCKET, bucket, content, keys, open, patience, settings};

const LIMIT: u64 = 64 << 20;

fn moto_settings(moto: &Moto) -> Settings {
    Settings { credentials: keys(&moto.access_key, &moto.secret_key), ..settings(&moto.endpoint) }
}

#[tokio::test]
async fn our_server_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let settings = settings(&own.endpoint);
    contract(&open(&settings)).await;
    bucket_contract(&settings).await;
    own.stop().await.unwrap().unwrap();
}

#[tokio::test]
async fn moto_keeps_the_contract() {
    let moto = Moto::start().await;
    let settings = moto_settings(&moto);
    contract(&open(&settings)).await;
    bucket_contract(&settings).await;
}

#[tokio::test]
async fn tls_is_trusted_by_the_authority_that_is_given() {
    let folder = tempfile::tempdir().unwrap();
    let (moto, ca) = Moto::with_tls(folder.path()).await;
    let settings = moto_settings(&moto);
    assert_eq!(settings.endpoint.as_ref().unwrap().scheme(), "https");
    open(&Settings { ca: Some(ca), ..settings.clone() }).probe().await.unwrap();
    let error = open(&settings).probe().await.unwrap_err();
    assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
    assert!(error.to_string().contains("certificate"), "{error}");
    let nonsense = Settings { ca: Some(b"no certificate".to_vec()), ..settings };
    assert!(matches!(Store::open(&nonsense).unwrap_err(), Error::Settings(_)));
}

#[tokio::test]
async fn a_folder_keeps_the_contract() {
    let folder = tempfile::tempdir().unwrap();
    let root = Place::File(folder.path().join("not/yet/there"));
    contract(&open(&Settings { patience: patience(), ..Settings::new(root) })).await;
    let left: Vec<_> = std::fs::read_dir(folder.path().join("not/yet/there")).unwrap().collect();
    assert!(left.is_empty(), "deletes leave nothing behind: {left:?}");
}

/// Of a store that is empty, and is empty again afterwards.
async fn contract(store: &Store) {
    let probe = store.probe().await.unwrap();
    assert!(probe.conditional, "a create of what exists is refused");

    // Round trip, at the sizes where uploads change their ways.
    let of_web = prefix("default", "web", "0d0a");
    for size in [0, 1, 64 << 10, 6 << 20] {
        let image = content(size);
        let stored = store.put(&of_web, image.clone()).await.unwrap();
        let digest = netckpt::image::digest(&image);
        assert_eq!(stored.key, format!("default/web-0d0a/{}.netckpt", &digest[7..]));
        assert_eq!((stored.digest.as_str(), stored.size), (digest.as_str(), size as u64));
        assert_eq!(store.put(&of_web, image.clone()).await.unwrap(), stored, "again");
        let back = store.get(&stored.key, &stored.digest, LIMIT).await.unwrap();
        assert!(back == image, "{size} bytes come back");
        store.delete(&stored.key).await.unwrap();
        let error = store.get(&stored.key, &stored.digest, LIMIT).await.unwrap_err();
        assert!(matches!(error, Error::NotFound { .. }), "{error}");
        store.delete(&stored.key).await.expect("what is gone may be deleted");
    }

    // Another digest, and a limit.
    let stored = store.put(&of_web, content(1000)).await.unwrap();
    let other = netckpt::image::digest(b"other");
    let error = store.get(&stored.key, &other, LIMIT).await.unwrap_err();
    assert!(
        matches!(&error, Error::DigestMismatch { expected, .. } if *expected == other),
        "{error}"
    );
    assert_eq!(error.reason(), "DigestMismatch");
    let error = store.get(&stored.key, &stored.digest, 999).await.unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 1000, limit: 999, .. }), "{error}");
    store.delete(&stored.key).await.unwrap();

    // Many at once, with the longest names that Kubernetes has.
    let long = prefix(&"n".repeat(63), &"p".repeat(253), "0c47a1a5-6a0e-4f5e-9a57-2f9c3a5d1b11");
    let puts = join_all((0..12).map(|_| store.put(&long, content(50_000)))).await;
    let first = puts[0].as_ref().unwrap();
    assert!(puts.iter().all(|put| put.as_ref().is_ok_and(|stored| stored == first)), "{puts:?}");
    store.delete(&first.key).await.unwrap();

    for key in ["", "/", "a//b", "../x", "a/./b", "a/../../x"] {
        let error = store.get(key, &other, LIMIT).await.unwrap_err();
        assert_eq!(error.reason(), "StoreMisconfigured", "{key:?}: {error}");
    }
}

async fn bucket_contract(settings: &Settings) {
    // A root with a prefix: keys are relative to it.
    let root: Place = format!("s3://{BUCKET}/some/prefix").parse().unwrap();
    let below = open(&Settings { root, ..settings.clone() });
    let stored = below.put("a", content(10)).await.unwrap();
    let whole = open(settings);
    whole.get(&format!("some/prefix/{}", stored.key), &stored.digest, LIMIT).await.unwrap();

    // Another content under the key of this one.
    let key = format!("some/prefix/{}", stored.key);
    raw(settings).put(&key.as_str().into(), content(11).into()).await.unwrap();
    let error = below.put("a", content(10)).await.unwrap_err();
    assert!(matches!(error, Error::Occupied { .. }), "{error}");
    let error = below.get(&stored.key, &stored.digest, LIMIT).await.unwrap_err();
    assert!(matches!(error, Error::DigestMismatch { .. }), "{error}");
    below.delete(&stored.key).await.unwrap();

    // No such bucket.
    let nowhere = open(&Settings { root: bucket("no-such-bucket"), ..settings.clone() });
    for error in [
        nowhere.probe().await.map(drop).unwrap_err(),
        nowhere.put("a", content(10)).await.map(drop).unwrap_err(),
        nowhere.get(&stored.key, &stored.digest, LIMIT).await.map(drop).unwrap_err(),
    ] {
        assert_eq!(error.reason(), "BucketNotFound", "{error}");
    }

    // Credentials that are wrong in either half.
    let netckpt::store::Credentials::Keys { access_key, secret_key, .. } = &settings.credentials
    else {
        unreachable!()
    };
    for credentials in [keys("somebody-else", secret_key), keys(access_key, "wrong-secret")] {
        let stranger = open(&Settings { credentials, ..settings.clone() });
        for error in [
            stranger.probe().await.map(drop).unwrap_err(),
            stranger.get(&stored.key, &stored.digest, LIMIT).await.map(drop).unwrap_err(),
        ] {
            assert!(matches!(error, Error::Denied { .. }), "{error:?}");
            let told = format!("{error} {error:?} {stranger:?}");
            assert!(!told.contains(secret_key) && !told.contains("wrong-secret"), "{told}");
        }
    }
}

/// A client that replaces objects, as no part of this project does.
fn raw(settings: &Settings) -> impl object_store::ObjectStore {
    let netckpt::store::Credentials::Keys { access_key, secret_key, .. } = &settings.credentials
    else {
        unreachable!()
    };
    AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(settings.endpoint.as_ref().unwrap().as_str().trim_end_matches('/'))
        .with_allow_http(true)
        .with_access_key_id(access_key)
        .with_secret_access_key(secret_key)
        .build()
        .unwrap()
}
