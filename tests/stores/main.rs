//! The store against real S3 servers (our own and moto, which is independent of it), folders, and a
//! proxy that fails in the ways that networks and servers fail.

mod contract;
mod endpoints;
mod faults;
mod server;

use std::time::Duration;

use netckpt::store::{Credentials, Patience, Place, Settings, Store};
use url::Url;

const ACCESS_KEY: &str = "netckpt-tests";
const SECRET_KEY: &str = "a-secret-that-must-not-show";
const BUCKET: &str = "images";

/// Short enough for tests, long enough for a busy machine.
fn patience() -> Patience {
    Patience {
        connect: Duration::from_secs(2),
        request: Duration::from_secs(10),
        total: Duration::from_secs(20),
        retries: 3,
        pause: Duration::from_millis(50),
    }
}

fn settings(endpoint: &Url) -> Settings {
    Settings {
        endpoint: Some(endpoint.clone()),
        credentials: keys(ACCESS_KEY, SECRET_KEY),
        patience: patience(),
        ..Settings::new(bucket(BUCKET))
    }
}

fn keys(access_key: &str, secret_key: &str) -> Credentials {
    Credentials::Keys {
        access_key: access_key.to_owned(),
        secret_key: secret_key.to_owned(),
        session_token: None,
    }
}

fn bucket(name: &str) -> Place {
    format!("s3://{name}").parse().unwrap()
}

fn open(settings: &Settings) -> Store {
    Store::open(settings).unwrap()
}

/// Bytes that look like an image to nobody but the store.
fn content(size: usize) -> bytes::Bytes {
    (0..size).map(|at| (at * 31 % 251) as u8).collect::<Vec<_>>().into()
}
