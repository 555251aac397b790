//! What our own server promises beside the contract.

use std::path::Path;
use std::time::Duration;

use futures::TryStreamExt;
use futures::future::join_all;
use netckpt::store::{Place, Store};
use object_store::aws::AmazonS3Builder;
use object_store::{ObjectStore, ObjectStoreExt, PutMode};

use super::endpoints::Own;
use super::{ACCESS_KEY, BUCKET, SECRET_KEY, content, open, settings};

fn client(own: &Own) -> object_store::aws::AmazonS3 {
    AmazonS3Builder::new()
        .with_bucket_name(BUCKET)
        .with_endpoint(own.endpoint.as_str().trim_end_matches('/'))
        .with_allow_http(true)
        .with_access_key_id(ACCESS_KEY)
        .with_secret_access_key(SECRET_KEY)
        .build()
        .unwrap()
}

/// Files below a folder, whatever their names.
pub fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        if entry.path().is_dir() {
            found.extend(files(&entry.path()));
        } else {
            found.push(entry.path().display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn of_many_creates_of_one_key_exactly_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let client = client(&own);
    for round in 0..10 {
        let key = object_store::path::Path::from(format!("round/{round}"));
        let creates =
            (0..8).map(|n| client.put_opts(&key, content(1000 + n).into(), PutMode::Create.into()));
        let outcomes = join_all(creates).await;
        let winners: Vec<_> = (0..8).filter(|n| outcomes[*n].is_ok()).collect();
        assert_eq!(winners.len(), 1, "round {round}: {outcomes:?}");
        for error in outcomes.iter().filter_map(|outcome| outcome.as_ref().err()) {
            assert!(matches!(error, object_store::Error::AlreadyExists { .. }), "{error}");
        }
        let there = client.get(&key).await.unwrap().bytes().await.unwrap();
        assert!(there == content(1000 + winners[0]), "the winner's content stays");
    }
    assert_eq!(files(folder.path()).len(), 10, "and nothing else: {:?}", files(folder.path()));
}

#[tokio::test]
async fn ranges_and_lists_are_those_of_s3() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let client = client(&own);
    client.put(&"a/b/whole".into(), content(600_000).into()).await.unwrap();
    for range in [0..1, 10..20, 0..600_000, 599_999..600_000, 100_000..500_000] {
        let part = client.get_range(&"a/b/whole".into(), range.clone()).await.unwrap();
        assert!(part == content(600_000)[range.start as usize..range.end as usize], "{range:?}");
    }
    let error = client.get_range(&"a/b/whole".into(), 600_001..600_002).await.unwrap_err();
    assert!(format!("{error:?}").contains("416"), "{error:?}");
    assert_eq!(client.head(&"a/b/whole".into()).await.unwrap().size, 600_000);

    let many = folder.path().join(BUCKET).join("many");
    std::fs::create_dir_all(&many).unwrap();
    for n in 0..1005 {
        std::fs::write(many.join(format!("{n:04}")), "x").unwrap();
    }
    let all: Vec<_> = client.list(None).try_collect().await.unwrap();
    assert_eq!(all.len(), 1006, "over more than one page");
    let some: Vec<_> = client.list(Some(&"a/b".into())).try_collect().await.unwrap();
    assert_eq!(some.len(), 1);
    let top = client.list_with_delimiter(None).await.unwrap();
    assert_eq!(top.common_prefixes, ["a".into(), "many".into()]);
    assert!(top.objects.is_empty());
}

#[tokio::test]
async fn what_is_stored_outlives_the_server() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let stored = open(&settings(&own.endpoint)).put("a", content(5000)).await.unwrap();
    own.stop().await.unwrap().unwrap();

    // An upload that a crash left behind.
    let uploads = folder.path().join(BUCKET).join(".uploads");
    std::fs::create_dir_all(&uploads).unwrap();
    std::fs::write(uploads.join("7#1"), "half").unwrap();

    let own = Own::start(folder.path()).await;
    let store = open(&settings(&own.endpoint));
    store.get(&stored.key, &stored.digest, 1 << 20).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1, "{:?}", files(folder.path()));

    // The folder of a bucket is also a store by itself.
    let root = Place::File(folder.path().join(BUCKET));
    let here = Store::open(&netckpt::store::Settings::new(root)).unwrap();
    here.get(&stored.key, &stored.digest, 1 << 20).await.unwrap();
}

#[tokio::test]
async fn requests_under_way_end_before_the_server_does() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let address = format!("{}:{}", own.endpoint.host_str().unwrap(), own.endpoint.port().unwrap());
    let mut slow = tokio::net::TcpStream::connect(address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n").await.unwrap();
    tokio::time::sleep(Duration::from_millis(100)).await;
    let endpoint = own.endpoint.clone();
    let ended = own.stop();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!ended.is_finished(), "it waits for the request");
    assert!(reqwest::get(endpoint).await.is_err(), "and takes no other");
    slow.write_all(b"connection: close\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    slow.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("ok\n"), "{answer}");
    tokio::time::timeout(Duration::from_secs(5), ended).await.unwrap().unwrap().unwrap();
}

#[tokio::test]
async fn nobody_gets_in_without_a_signature() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    std::fs::create_dir_all(folder.path().join(BUCKET)).unwrap();
    std::fs::write(folder.path().join(BUCKET).join("x"), "secret content").unwrap();
    for path in ["images/x", "images/../images/x", "images/%2e%2e/images/x", "images", ""] {
        let answer = reqwest::get(own.endpoint.join(path).unwrap()).await.unwrap();
        assert_eq!(answer.status(), 403, "{path}");
        assert!(!answer.text().await.unwrap().contains("secret content"));
    }
    let put = reqwest::Client::new().put(own.endpoint.join("images/y").unwrap()).body("y");
    assert_eq!(put.send().await.unwrap().status(), 403);
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn names_of_hosts_are_resolved() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let by_name = format!("http://localhost:{}", own.endpoint.port().unwrap());
    open(&settings(&by_name.parse().unwrap())).probe().await.unwrap();
}
