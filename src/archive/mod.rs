//! Checkpoint archives of containers, as runtimes write them for kubelet's checkpoint API: tar files
//! with CRIU's images and what the container was. Only what is needed to know whose one is, is read.
//!
//! An archive comes from the node's own runtime, and its name from whoever may write on a
//! `NetCheckpoint`. The name is judged before a file is opened, and whose archive it is by what the
//! runtime has written in it, never by the name: `checkpoint-web_a-b-c-…` may be of the container `c`
//! in the namespace `a-b`, or of `b-c` in `a`.

mod tar;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::Deserialize;

/// Folder of kubelet's archives, below its root directory.
pub const FOLDER: &str = "/var/lib/kubelet/checkpoints";

/// Largest archive that is carried: it is held in memory on its way.
pub const LARGEST: u64 = 512 << 20;

/// The runtime's description of the container (OCI `config.json`) in the archive.
const SPEC: &str = "spec.dump";
/// Largest such description.
const LARGEST_SPEC: usize = 4 << 20;

/// An archive that is not taken.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("`{0}` can't be the name of a checkpoint archive of this pod")]
    Name(String),
    #[error("the archive {path} can't be read: {source}", path = path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("the archive {path} has {size} bytes, more than the {LARGEST} that are carried", path = path.display())]
    Large { path: PathBuf, size: u64 },
    #[error("the archive is not one of a container: {0}")]
    Content(String),
    #[error(
        "the archive is of the pod with the UID {found} (container {container}), not of {expected}"
    )]
    Other { found: String, container: String, expected: String },
}

/// Whose archive it is, by what the runtime has written in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner {
    pub pod_uid: String,
    pub container: String,
}

/// Sees that a name is one that kubelet gives the archives of this pod:
/// `checkpoint-POD_NAMESPACE-CONTAINER-TIME.tar`.
///
/// # Errors
/// [`Error::Name`].
pub fn named(name: &str, namespace: &str, pod: &str) -> Result<(), Error> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-:+".contains(c);
    let is_of = name
        .strip_prefix(&format!("checkpoint-{pod}_{namespace}-"))
        .is_some_and(|rest| rest.ends_with(".tar"));
    if is_of && name.len() <= 255 && name.chars().all(plain) {
        return Ok(());
    }
    Err(Error::Name(name.chars().take(80).collect::<String>().escape_debug().to_string()))
}

/// Reads an archive and sees that it is of the pod with that UID.
///
/// # Errors
/// [`Error`].
pub fn read(path: &Path, pod_uid: &str) -> Result<(Bytes, Owner), Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() {
        return Err(failed(io::Error::other("it is no file")));
    }
    let size = metadata.len();
    if size > LARGEST {
        return Err(Error::Large { path: path.to_owned(), size });
    }
    let mut content = Vec::with_capacity(usize::try_from(size).unwrap_or_default());
    file.take(LARGEST).read_to_end(&mut content).map_err(failed)?;
    let owner = owner(&content)?;
    if owner.pod_uid != pod_uid {
        let Owner { pod_uid: found, container } = owner;
        return Err(Error::Other { found, container, expected: pod_uid.to_owned() });
    }
    Ok((content.into(), owner))
}

/// Whose archive it is.
///
/// # Errors
/// [`Error::Content`].
pub fn owner(archive: &[u8]) -> Result<Owner, Error> {
    #[derive(Deserialize)]
    struct Spec {
        #[serde(default)]
        annotations: std::collections::BTreeMap<String, String>,
    }
    let content = |why: String| Error::Content(why);
    let spec = tar::entry(archive, SPEC).map_err(|why| content(why.to_owned()))?;
    let spec = spec.ok_or_else(|| content(format!("it has no {SPEC}")))?;
    if spec.len() > LARGEST_SPEC {
        return Err(content(format!("its {SPEC} has {} bytes", spec.len())));
    }
    let mut spec: Spec =
        serde_json::from_slice(spec).map_err(|error| content(format!("its {SPEC}: {error}")))?;
    let mut annotation = |name: &str| {
        // containerd, then CRI-O.
        let names = [format!("io.kubernetes.cri.{name}"), crio(name).to_owned()];
        let found = names.iter().find_map(|name| spec.annotations.remove(name));
        found.ok_or_else(|| content(format!("its {SPEC} has no annotation {}", names[0])))
    };
    Ok(Owner { pod_uid: annotation("sandbox-uid")?, container: annotation("container-name")? })
}

/// What CRI-O calls the annotation of containerd's name.
fn crio(name: &str) -> &'static str {
    match name {
        "sandbox-uid" => "io.kubernetes.pod.uid",
        _ => "io.kubernetes.container.name",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn archive(annotations: &str) -> Vec<u8> {
        let spec = format!("{{\"ociVersion\": \"1.2.0\", \"annotations\": {annotations}}}");
        tar::tests::made(&[("checkpoint/inventory.img", b"x"), (SPEC, spec.as_bytes())])
    }

    #[test]
    fn names_of_other_pods_and_paths_are_refused() {
        named("checkpoint-web-0_shop-main-2026-12-01T10:00:00Z.tar", "shop", "web-0").unwrap();
        named("checkpoint-web-0_shop-main-2026-12-01T10:00:00+01:00.tar", "shop", "web-0").unwrap();
        for bad in [
            "",
            "checkpoint-web-0_bank-main-2026.tar",
            "checkpoint-web_shop-main-2026.tar",
            "checkpoint-web-0_shop-main-../../../etc/shadow.tar",
            "../checkpoint-web-0_shop-main-2026.tar",
            "checkpoint-web-0_shop-main-2026.tar.gz",
        ] {
            assert!(named(bad, "shop", "web-0").is_err(), "{bad}");
        }
    }

    #[test]
    fn whose_it_is_stands_in_it() {
        let annotations = r#"{"io.kubernetes.cri.sandbox-uid": "u1", "io.kubernetes.cri.container-name": "main"}"#;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar");
        std::fs::write(&path, archive(annotations)).unwrap();
        let (_, owner) = read(&path, "u1").unwrap();
        assert_eq!(owner.container, "main");
        let error = read(&path, "u2").unwrap_err();
        assert!(matches!(error, Error::Other { .. }), "{error}");
        let link = folder.path().join("link.tar");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert!(matches!(read(&link, "u1"), Err(Error::Read { .. })));
        let crio = r#"{"io.kubernetes.pod.uid": "u1", "io.kubernetes.container.name": "main"}"#;
        assert_eq!(super::owner(&archive(crio)).unwrap().pod_uid, "u1");
    }

    #[test]
    fn what_is_no_archive_is_refused() {
        for bad in [archive("{}"), archive("7"), b"not a tar".to_vec(), Vec::new()] {
            assert!(matches!(owner(&bad), Err(Error::Content(_))));
        }
    }
}
