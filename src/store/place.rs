//! Places: how a person names where an image is.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use url::Url;

/// A file, or an object in a bucket. As the root of a store: a folder, or a bucket with a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    File(PathBuf),
    S3 {
        bucket: String,
        /// Without a slash at either end; empty for the whole bucket.
        key: String,
    },
}

/// A text that names no place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is not a place for images: {why}; write a path, file:///PATH or s3://BUCKET/KEY")]
pub struct PlaceError {
    text: String,
    why: &'static str,
}

impl FromStr for Place {
    type Err = PlaceError;

    /// A plain path, `file:///PATH`, or `s3://BUCKET/KEY`. A path that holds `://` is written with
    /// `./` before it.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Not the text itself where a password may stand in it.
        let fail = |why| PlaceError { text: text.chars().take(200).collect(), why };
        if text.is_empty() {
            return Err(fail("it is empty"));
        }
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self::File(text.into()));
        };
        match scheme {
            _ if scheme.contains(['.', '/']) => Ok(Self::File(text.into())),
            "file" => {
                let url = Url::parse(text).map_err(|_| fail("it is no URL"))?;
                url.to_file_path().map(Self::File).map_err(|()| fail("its path must be absolute"))
            }
            "s3" => {
                let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
                if bucket.contains(['@', ':', '?', '#']) {
                    let why = "credentials and endpoints do not belong in it";
                    return Err(PlaceError { text: "s3://…".to_owned(), why });
                }
                if bucket.is_empty() {
                    return Err(fail("it names no bucket"));
                }
                let key = key.trim_matches('/').to_owned();
                Ok(Self::S3 { bucket: bucket.to_owned(), key })
            }
            _ => Err(fail("its scheme is not known")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => write!(f, "{}", path.display()),
            Self::S3 { bucket, key } if key.is_empty() => write!(f, "s3://{bucket}"),
            Self::S3 { bucket, key } => write!(f, "s3://{bucket}/{key}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s3(bucket: &str, key: &str) -> Place {
        Place::S3 { bucket: bucket.to_owned(), key: key.to_owned() }
    }

    #[test]
    fn places_are_read() {
        for (text, place) in [
            ("pod.netckpt", Place::File("pod.netckpt".into())),
            ("/a b/c", Place::File("/a b/c".into())),
            ("./s3://x", Place::File("./s3://x".into())),
            ("file:///a%20b/c", Place::File("/a b/c".into())),
            ("s3://images/default/web", s3("images", "default/web")),
            ("s3://images/default/", s3("images", "default")),
            ("s3://images", s3("images", "")),
        ] {
            assert_eq!(text.parse(), Ok(place), "{text}");
        }
        assert_eq!(s3("images", "a/b").to_string(), "s3://images/a/b");
    }

    #[test]
    fn other_texts_are_refused() {
        for text in ["", "s3://", "s3:///key", "https://host/x", "file://host/x", "file://x"] {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
        let error = "s3://user:secret@host/x".parse::<Place>().unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
