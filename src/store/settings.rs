//! What a store is opened with.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use url::Url;

use super::{Error, Place};

/// Where a store is and how it is spoken to.
#[derive(Debug, Clone)]
pub struct Settings {
    /// A folder, or a bucket with a prefix; every key is under it.
    pub root: Place,
    /// The S3 endpoint; Amazon's for the region where none is given. `http` is allowed.
    pub endpoint: Option<Url>,
    /// `us-east-1` where none is given, as most servers other than Amazon's want it.
    pub region: Option<String>,
    pub credentials: Credentials,
    /// PEM certificates to trust beside the system's.
    pub ca: Option<Vec<u8>>,
    pub patience: Patience,
}

/// Who asks.
#[derive(Clone, Default, PartialEq, Eq)]
pub enum Credentials {
    /// Whatever the surroundings offer: a web identity token, a container's or a machine's role.
    #[default]
    Surroundings,
    Keys {
        access_key: String,
        secret_key: String,
        /// Of temporary credentials.
        session_token: Option<String>,
    },
}

/// How long a store is waited for, and how often it is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// For one request with its answer.
    pub request: Duration,
    /// For a whole operation with all its repetitions.
    pub total: Duration,
    /// Repetitions of a request after the first.
    pub retries: usize,
    /// Longest pause before a repetition; the first is a tenth of a second.
    pub pause: Duration,
}

impl Default for Patience {
    /// About six seconds of pauses: a store that restarts is waited for, one that is gone is told of
    /// while kubelet still waits.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(3),
            request: Duration::from_secs(20),
            total: Duration::from_secs(45),
            retries: 6,
            pause: Duration::from_secs(3),
        }
    }
}

impl Settings {
    /// Of a store without endpoint and keys: a folder, or a bucket at Amazon.
    #[must_use]
    pub fn new(root: Place) -> Self {
        Self {
            root,
            endpoint: None,
            region: None,
            credentials: Credentials::default(),
            ca: None,
            patience: Patience::default(),
        }
    }

    /// With the variables that every S3 tool knows: `AWS_ENDPOINT_URL_S3` or `AWS_ENDPOINT_URL`,
    /// `AWS_REGION` or `AWS_DEFAULT_REGION`, `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY`,
    /// `AWS_SESSION_TOKEN`, and `AWS_CA_BUNDLE` (a path).
    ///
    /// # Errors
    /// [`Error::Settings`] for an endpoint that is no URL, a key without its secret, or a bundle that
    /// can't be read.
    pub fn from_env(root: Place) -> Result<Self, Error> {
        Self::from_variables(root, |name| {
            std::env::var(name).ok().filter(|value| !value.is_empty())
        })
    }

    fn from_variables(
        root: Place,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, Error> {
        let mut settings = Self::new(root);
        if matches!(settings.root, Place::File(_)) {
            return Ok(settings);
        }
        let either = |first, second| variable(first).or_else(|| variable(second));
        if let Some(text) = either("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL") {
            settings.endpoint = Some(endpoint(&text)?);
        }
        settings.region = either("AWS_REGION", "AWS_DEFAULT_REGION");
        settings.credentials =
            match (variable("AWS_ACCESS_KEY_ID"), variable("AWS_SECRET_ACCESS_KEY")) {
                (Some(access_key), Some(secret_key)) => Credentials::Keys {
                    access_key,
                    secret_key,
                    session_token: variable("AWS_SESSION_TOKEN"),
                },
                (None, None) => Credentials::Surroundings,
                _ => {
                    let why = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY must be set together";
                    return Err(Error::Settings(why.to_owned()));
                }
            };
        if let Some(path) = variable("AWS_CA_BUNDLE") {
            settings.ca = Some(read_bundle(Path::new(&path))?);
        }
        Ok(settings)
    }
}

/// Reads an endpoint's URL. Credentials in it would end up in messages, so that it may have none.
///
/// # Errors
/// [`Error::Settings`], without the text where it has a password.
pub fn endpoint(text: &str) -> Result<Url, Error> {
    let fail = |why: String| Error::Settings(why);
    let url = Url::parse(text).map_err(|error| fail(format!("endpoint {text:?}: {error}")))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fail("endpoint: credentials belong in the Secret, not in the URL".to_owned()));
    }
    match url.scheme() {
        "http" | "https" if url.has_host() => Ok(url),
        _ => Err(fail(format!("endpoint {text:?}: must be http://HOST or https://HOST"))),
    }
}

fn read_bundle(path: &Path) -> Result<Vec<u8>, Error> {
    std::fs::read(path)
        .map_err(|error| Error::Settings(format!("certificates {}: {error}", path.display())))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Surroundings => f.write_str("Surroundings"),
            // The access key is an identity, not a secret, and helps to find a mistake.
            Self::Keys { access_key, session_token, .. } => f
                .debug_struct("Keys")
                .field("access_key", access_key)
                .field("temporary", &session_token.is_some())
                .finish_non_exhaustive(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket() -> Place {
        "s3://images".parse().unwrap()
    }

    #[test]
    fn the_variables_of_s3_tools_are_known() {
        let settings = Settings::from_variables(bucket(), |name| {
            let value = match name {
                "AWS_ENDPOINT_URL" => "http://store:9000",
                "AWS_DEFAULT_REGION" => "eu-west-1",
                "AWS_ACCESS_KEY_ID" => "someone",
                "AWS_SECRET_ACCESS_KEY" => "hush-hush",
                _ => return None,
            };
            Some(value.to_owned())
        })
        .unwrap();
        assert_eq!(settings.endpoint.as_ref().unwrap().as_str(), "http://store:9000/");
        assert_eq!(settings.region.as_deref(), Some("eu-west-1"));
        let shown = format!("{settings:?}");
        assert!(shown.contains("someone") && !shown.contains("hush"), "{shown}");
    }

    #[test]
    fn halves_and_nonsense_are_refused() {
        let only = |only: &'static str, value: &'static str| {
            Settings::from_variables(bucket(), move |name| (name == only).then(|| value.to_owned()))
        };
        assert!(only("AWS_ACCESS_KEY_ID", "someone").is_err());
        for text in ["store:9000", "ftp://store", "nonsense", "http://"] {
            assert!(only("AWS_ENDPOINT_URL", text).is_err(), "{text}");
        }
        let error = only("AWS_ENDPOINT_URL_S3", "http://me:secret@store").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
