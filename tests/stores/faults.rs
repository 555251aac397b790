//! A store that is slow, fails, cuts bodies short or is away: a bounded number of tries, the right
//! reason, and nothing stored in part.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use netckpt::store::{Error, Patience, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use super::endpoints::Own;
use super::server::files;
use super::{content, open, patience, settings};

/// What happens to one request.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Goes through.
    Pass,
    /// Answered with this status, and not passed on.
    Status(u16),
    /// Passed on; the answer ends after this many bytes of its body.
    CutAnswer(usize),
    /// Passed on; the answer is lost.
    LoseAnswer,
    /// Passed on up to the middle of its body.
    CutRequest,
    /// Passed on with a byte of its body changed.
    Falsify,
    /// Read, and never answered.
    Stall,
    /// Passed on; the answer's body comes a byte at a time.
    Trickle,
}

/// Stands before a server. Faults are used up in order; the last one stays.
struct Proxy {
    endpoint: Url,
    requests: Arc<Mutex<Vec<String>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Proxy {
    async fn before(own: &Own, faults: &[Fault]) -> Self {
        let backend: SocketAddr =
            format!("127.0.0.1:{}", own.endpoint.port().unwrap()).parse().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let faults = Arc::new(Mutex::new(VecDeque::from(faults.to_vec())));
        let requests = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&requests);
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let (faults, seen) = (Arc::clone(&faults), Arc::clone(&seen));
                tokio::spawn(async move {
                    // A broken connection is what is being tested.
                    let _ = one_request(client, backend, &faults, &seen).await;
                });
            }
        });
        Self { endpoint, requests, task }
    }

    fn count(&self, method: &str) -> usize {
        let seen = self.requests.lock().unwrap();
        seen.iter().filter(|line| line.starts_with(method)).count()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn one_request(
    mut client: TcpStream,
    backend: SocketAddr,
    faults: &Mutex<VecDeque<Fault>>,
    seen: &Mutex<Vec<String>>,
) -> std::io::Result<()> {
    let (head, mut body) = read_message(&mut client).await?;
    seen.lock().unwrap().push(head.lines().next().unwrap_or_default().to_owned());
    let fault = {
        let mut faults = faults.lock().unwrap();
        let fault = *faults.front().unwrap();
        if faults.len() > 1 {
            faults.pop_front();
        }
        fault
    };
    match fault {
        Fault::Status(status) => {
            let answer =
                format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
            return client.write_all(answer.as_bytes()).await;
        }
        Fault::Stall => std::future::pending().await,
        Fault::CutRequest => body.truncate(body.len() / 2),
        Fault::Falsify => body[0] ^= 1,
        _ => {}
    }
    let mut server = TcpStream::connect(backend).await?;
    server.write_all(head.as_bytes()).await?;
    server.write_all(&body).await?;
    if matches!(fault, Fault::CutRequest) {
        return Ok(());
    }
    let is_head = head.starts_with("HEAD");
    let (answer, body) = if is_head {
        (read_head(&mut server).await?.0, Vec::new())
    } else {
        read_message(&mut server).await?
    };
    if matches!(fault, Fault::LoseAnswer) {
        return Ok(());
    }
    // One request per connection, so that each meets its own fault.
    let answer = answer.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    client.write_all(answer.as_bytes()).await?;
    match fault {
        Fault::CutAnswer(at) => client.write_all(&body[..at.min(body.len())]).await,
        Fault::Trickle => {
            for byte in body {
                client.write_all(&[byte]).await?;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Ok(())
        }
        _ => client.write_all(&body).await,
    }
}

async fn read_head(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let mut bytes = Vec::new();
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = bytes.split_off(at + 4);
            return Ok((String::from_utf8(bytes).unwrap(), rest));
        }
        if stream.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
}

async fn read_message(stream: &mut TcpStream) -> std::io::Result<(String, Vec<u8>)> {
    let (head, mut body) = read_head(stream).await?;
    let length = head
        .lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .map_or(0, |(_, value)| value.trim().parse().unwrap());
    while body.len() < length {
        if stream.read_buf(&mut body).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok((head, body))
}

fn quick(endpoint: &Url) -> Settings {
    let request = Duration::from_millis(600);
    let total = Duration::from_millis(2500);
    Settings { patience: Patience { request, total, ..patience() }, ..settings(endpoint) }
}

#[tokio::test]
async fn a_few_failures_are_waited_out() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let faults = [Fault::Status(500), Fault::Status(503), Fault::Status(429), Fault::Pass];
    let proxy = Proxy::before(&own, &faults).await;
    let store = open(&settings(&proxy.endpoint));
    let stored = store.put("a", content(1000)).await.unwrap();
    assert_eq!(proxy.count("PUT"), 4);
    let direct = open(&settings(&own.endpoint));
    direct.get(&stored.key, &stored.digest, 1000).await.unwrap();
}

#[tokio::test]
async fn lasting_failures_are_told_after_a_bounded_number_of_tries() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let stored = open(&settings(&own.endpoint)).put("a", content(1000)).await.unwrap();
    for (status, reason, tries) in [
        (500, "StoreFailing", 4),
        (503, "StoreFailing", 4),
        (400, "StoreRefused", 1),
        (403, "StoreDenied", 1),
        (401, "StoreDenied", 1),
    ] {
        let proxy = Proxy::before(&own, &[Fault::Status(status)]).await;
        let store = open(&settings(&proxy.endpoint));
        let put = store.put("b", content(2000)).await.unwrap_err();
        let get = store.get(&stored.key, &stored.digest, 1000).await.unwrap_err();
        assert_eq!((put.reason(), get.reason()), (reason, reason), "{put:?} {get:?}");
        assert!(put.to_string().contains(&status.to_string()), "{put}");
        assert_eq!((proxy.count("PUT"), proxy.count("GET")), (tries, tries), "{status}");
        let delete = store.delete(&stored.key).await.unwrap_err();
        assert_eq!(delete.reason(), reason, "{delete:?}");
        let probe = store.probe().await.unwrap_err();
        assert_eq!(probe.reason(), reason, "{probe:?}");
    }
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn silence_ends_at_the_deadline() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let stored = open(&settings(&own.endpoint)).put("a", content(1000)).await.unwrap();
    for fault in [Fault::Stall, Fault::Trickle] {
        let proxy = Proxy::before(&own, &[fault]).await;
        let store = open(&quick(&proxy.endpoint));
        let start = Instant::now();
        let error = store.get(&stored.key, &stored.digest, 1000).await.unwrap_err();
        assert!(matches!(error, Error::Slow { .. }), "{fault:?}: {error:?}");
        assert!(start.elapsed() < Duration::from_secs(4), "{fault:?}: {:?}", start.elapsed());
        assert!(error.is_passing());
    }
    let proxy = Proxy::before(&own, &[Fault::Stall]).await;
    let error = open(&quick(&proxy.endpoint)).put("b", content(10)).await.unwrap_err();
    assert_eq!(error.reason(), "StoreSlow", "{error:?}");
    assert!(proxy.count("PUT") <= 2, "{}", proxy.count("PUT"));
}

#[tokio::test]
async fn a_body_that_is_cut_short_is_resumed_or_refused() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let image = content(100_000);
    let stored = open(&settings(&own.endpoint)).put("a", image.clone()).await.unwrap();

    let proxy = Proxy::before(&own, &[Fault::CutAnswer(40_000), Fault::Pass]).await;
    let store = open(&settings(&proxy.endpoint));
    let back = store.get(&stored.key, &stored.digest, 1 << 20).await.unwrap();
    assert!(back == image);
    assert_eq!(proxy.count("GET"), 2);

    let proxy = Proxy::before(&own, &[Fault::CutAnswer(0)]).await;
    let store = open(&settings(&proxy.endpoint));
    let error = store.get(&stored.key, &stored.digest, 1 << 20).await.unwrap_err();
    assert!(matches!(error, Error::Short { .. }), "{error:?}");
    assert_eq!(error.reason(), "ImageShort");
    assert!((2..=8).contains(&proxy.count("GET")), "{}", proxy.count("GET"));
}

#[tokio::test]
async fn an_upload_whose_answer_is_lost_counts_as_done() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let proxy = Proxy::before(&own, &[Fault::LoseAnswer, Fault::Pass]).await;
    let store = open(&settings(&proxy.endpoint));
    let stored = store.put("a", content(1000)).await.unwrap();
    assert_eq!(proxy.count("PUT"), 2, "asked again, and told that it is there");
    open(&settings(&own.endpoint)).get(&stored.key, &stored.digest, 1000).await.unwrap();
    assert_eq!(files(folder.path()).len(), 1);
}

#[tokio::test]
async fn half_an_upload_is_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    for fault in [Fault::CutRequest, Fault::Falsify] {
        let proxy = Proxy::before(&own, &[fault]).await;
        let error = open(&quick(&proxy.endpoint)).put("a", content(100_000)).await.unwrap_err();
        assert!(!matches!(error, Error::NotFound { .. }), "{fault:?}: {error:?}");
        assert!((1..=8).contains(&proxy.count("PUT")), "{}", proxy.count("PUT"));
    }
    // The server learns of a broken connection a moment later.
    let deadline = Instant::now() + Duration::from_secs(5);
    while !files(folder.path()).is_empty() && Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(files(folder.path()).is_empty(), "{:?}", files(folder.path()));
}

#[tokio::test]
async fn a_store_that_is_away_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let store = open(&quick(&closed));
    for error in [
        store.put("a", content(10)).await.map(drop).unwrap_err(),
        store.get("a/b", "sha256:0", 10).await.map(drop).unwrap_err(),
        store.delete("a/b").await.unwrap_err(),
        store.probe().await.map(drop).unwrap_err(),
    ] {
        assert!(matches!(error, Error::Unreachable { .. }), "{error:?}");
        assert!(error.is_passing());
        let told = error.to_string();
        assert!(told.contains("127.0.0.1") && !told.contains(super::SECRET_KEY), "{told}");
    }
}

#[tokio::test]
async fn a_store_that_comes_back_is_found_again() {
    let folder = tempfile::tempdir().unwrap();
    let own = Own::start(folder.path()).await;
    let port = own.endpoint.port().unwrap();
    let store = open(&settings(&own.endpoint));
    own.stop().await.unwrap().unwrap();
    assert_eq!(store.probe().await.unwrap_err().reason(), "StoreUnreachable");
    let listener = TcpListener::bind(("127.0.0.1", port)).await.unwrap();
    let again = Own::on(listener, folder.path());
    store.probe().await.unwrap();
    again.stop().await.unwrap().unwrap();
}
