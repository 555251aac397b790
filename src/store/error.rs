//! Why a store did not do what it was asked, told from what its client library says.

use std::error::Error as StdError;

use object_store::client::{HttpError, HttpErrorKind};

/// A store's answer, or the want of one.
///
/// `at` names the store as a person would: `s3://images at http://store:9000/`, or a folder.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No connection, or no such host.
    #[error("store {at} can't be reached: {why}")]
    Unreachable { at: String, why: String },
    /// It was waited for in vain.
    #[error("store {at} is too slow: {what} did not end within {seconds} s")]
    Slow { at: String, what: String, seconds: u64 },
    /// It answered with a failure of its own (5xx), however often it was asked.
    #[error("store {at} fails: {status} {why}")]
    Failing { at: String, status: u16, why: String },
    /// It does not accept the credentials, or they may not do this.
    #[error(
        "store {at} denies access ({status} {why}): check the credentials and what they may do"
    )]
    Denied { at: String, status: u16, why: String },
    /// Any other refusal.
    #[error("store {at} refused: {status} {why}")]
    Refused { at: String, status: u16, why: String },
    #[error("store {at} has no such bucket: make it, or correct the storage's URL")]
    NoBucket { at: String },
    #[error("store {at} has no image {key}")]
    NotFound { at: String, key: String },
    /// The body ended before its announced length.
    #[error("store {at} cut the image {key} short: {why}")]
    Short { at: String, key: String, why: String },
    #[error("image {key} in store {at} has {size} bytes, more than the {limit} that are expected")]
    TooLarge { at: String, key: String, size: u64, limit: u64 },
    #[error(
        "image {key} in store {at} is not the one that was stored: {found} instead of {expected}"
    )]
    DigestMismatch { at: String, key: String, expected: String, found: String },
    /// Something else is stored under the key that is made of this content's digest.
    #[error("store {at} already has another content under {key}: remove it, it is damaged")]
    Occupied { at: String, key: String },
    #[error("key {0:?} is not one that a store takes")]
    Key(String),
    #[error("settings of the store: {0}")]
    Settings(String),
    /// A folder or file could not be used.
    #[error("{at}: {why}")]
    Disk { at: String, why: String },
}

impl Error {
    /// One of a few words, for conditions and metric labels.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "StoreUnreachable",
            Self::Slow { .. } => "StoreSlow",
            Self::Failing { .. } => "StoreFailing",
            Self::Denied { .. } => "StoreDenied",
            Self::Refused { .. } => "StoreRefused",
            Self::NoBucket { .. } => "BucketNotFound",
            Self::NotFound { .. } => "ImageNotFound",
            Self::Short { .. } => "ImageShort",
            Self::TooLarge { .. } => "ImageTooLarge",
            Self::DigestMismatch { .. } => "DigestMismatch",
            Self::Occupied { .. } => "StoreOccupied",
            Self::Key(_) | Self::Settings(_) => "StoreMisconfigured",
            Self::Disk { .. } => "StoreDisk",
        }
    }

    /// Whether the same request may well succeed when it is made again.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. }
                | Self::Slow { .. }
                | Self::Failing { .. }
                | Self::Short { .. }
        )
    }
}

/// What was being done, for the message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Attempt<'a> {
    pub at: &'a str,
    pub key: &'a str,
    pub what: &'static str,
    /// Longest time that one request may take.
    pub seconds: u64,
    /// Whether the answer's head has come and its body was being read.
    pub in_body: bool,
}

impl Attempt<'_> {
    /// Tells the client library's error in our words.
    pub fn failed(&self, error: &object_store::Error) -> Error {
        use object_store::Error as Theirs;
        let at = self.at.to_owned();
        let key = self.key.to_owned();
        let chain = Chain::of(error);
        let why = chain.summary();
        match (error, chain.transport) {
            (_, Some(HttpErrorKind::Timeout)) => {
                Error::Slow { at, what: self.what.to_owned(), seconds: self.seconds }
            }
            (_, Some(HttpErrorKind::Connect)) => Error::Unreachable { at, why },
            _ if self.in_body => Error::Short { at, key, why },
            (_, Some(_)) => Error::Unreachable { at, why },
            (Theirs::NotFound { .. }, _) if chain.code.as_deref() == Some("NoSuchBucket") => {
                Error::NoBucket { at }
            }
            (Theirs::NotFound { .. }, _) => Error::NotFound { at, key },
            (Theirs::InvalidPath { .. }, _) => Error::Key(key),
            _ => match chain.status {
                Some(status @ (401 | 403)) => Error::Denied { at, status, why },
                Some(status @ 500..) => Error::Failing { at, status, why },
                Some(status) => Error::Refused { at, status, why },
                None => Error::Disk { at, why },
            },
        }
    }
}

/// What the chain of an error's causes holds. The library keeps the type with status and body to
/// itself, so that these are taken from its message (the tests of stores see that this holds).
struct Chain {
    transport: Option<HttpErrorKind>,
    status: Option<u16>,
    /// `<Code>` of S3's XML.
    code: Option<String>,
    /// `<Message>` of S3's XML.
    message: Option<String>,
    /// The innermost cause.
    last: String,
}

impl Chain {
    fn of(error: &object_store::Error) -> Self {
        let (mut transport, mut text, mut last) = (None, String::new(), error.to_string());
        let mut next: Option<&(dyn StdError + 'static)> = Some(error);
        while let Some(error) = next {
            if let Some(http) = error.downcast_ref::<HttpError>() {
                transport = Some(http.kind());
            }
            last = error.to_string();
            if last.contains("status code: ") || last.contains("error response: ") {
                text.clone_from(&last);
            }
            next = error.source();
        }
        let status = text
            .split_once("status code: ")
            .and_then(|(_, rest)| rest.get(..3))
            .and_then(|digits| digits.parse().ok());
        // An error in the body of a 200: S3 has begun to answer before it failed.
        let status = status.or_else(|| text.contains("error response: ").then_some(500));
        let (code, message) = (element(&text, "Code"), element(&text, "Message"));
        Self { transport, status, code, message, last }
    }

    /// Short and without the server's page: that may hold a request's signature.
    fn summary(&self) -> String {
        let text = match (&self.code, &self.message) {
            (Some(code), Some(message)) => format!("{code}: {message}"),
            (Some(text), None) | (None, Some(text)) => text.clone(),
            (None, None) if self.status.is_some() => "without a reason".to_owned(),
            (None, None) => self.last.clone(),
        };
        text.chars().filter(|c| !c.is_control()).take(200).collect()
    }
}

/// Text of the first element of this name.
fn element(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once("</")?;
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One of each kind.
    fn all() -> Vec<Error> {
        let at = || "s3://images".to_owned();
        let (key, why) = (at, at);
        vec![
            Error::Unreachable { at: at(), why: why() },
            Error::Slow { at: at(), what: why(), seconds: 1 },
            Error::Failing { at: at(), status: 500, why: why() },
            Error::Denied { at: at(), status: 403, why: why() },
            Error::Refused { at: at(), status: 400, why: why() },
            Error::NoBucket { at: at() },
            Error::NotFound { at: at(), key: key() },
            Error::Short { at: at(), key: key(), why: why() },
            Error::TooLarge { at: at(), key: key(), size: 2, limit: 1 },
            Error::DigestMismatch { at: at(), key: key(), expected: why(), found: why() },
            Error::Occupied { at: at(), key: key() },
            Error::Key(key()),
            Error::Settings(why()),
            Error::Disk { at: at(), why: why() },
        ]
    }

    #[test]
    fn every_reason_is_in_the_documents() {
        let document = include_str!("../../docs/storage.md");
        for error in all() {
            let group = if error.is_passing() { "StorageUnreachable" } else { "StorageRefused" };
            let row = format!("| `{}` | {group} |", error.reason());
            assert!(document.contains(&row), "{row}");
        }
    }

    #[test]
    fn a_servers_page_is_told_in_short() {
        let page = "Server returned non-2xx status code: 403 Forbidden: <?xml version=\"1.0\"?>\
                    <Error><Code>SignatureDoesNotMatch</Code><Message>No\nmatch</Message>\
                    <StringToSign>AWS4-HMAC-SHA256 secret-ish</StringToSign></Error>";
        let error = object_store::Error::Generic { store: "S3", source: page.into() };
        let attempt = Attempt { at: "here", key: "k", what: "upload", seconds: 1, in_body: false };
        let told = attempt.failed(&error);
        assert!(matches!(told, Error::Denied { status: 403, .. }), "{told:?}");
        let text = told.to_string();
        assert!(text.contains("SignatureDoesNotMatch: Nomatch"), "{text}");
        assert!(!text.contains("secret-ish"), "{text}");
    }
}
