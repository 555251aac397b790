//! What a request says of an attachment, looked at before anything is done with it: a netns that is
//! one, under a folder where runtimes put them, and not the node's own.

use std::path::{Component, Path};

use super::protocol::Attachment;
use crate::netns::{self, Namespace};

/// Where runtimes keep network namespaces. `/proc/PID/ns/net` is allowed beside them.
const FOLDERS: &[&str] = &["/run/netns", "/var/run/netns", "/run/containerd/netns"];

/// A request that is not acted on.
#[derive(Debug, thiserror::Error)]
pub enum Invalid {
    #[error("{what} `{value}` is not a valid name")]
    Name { what: &'static str, value: String },
    #[error("the netns path `{0}` is neither under {folders} nor /proc/PID/ns/net", folders = FOLDERS.join(", "))]
    Folder(String),
    #[error(transparent)]
    Netns(#[from] netns::Error),
    #[error("`{0}` is the node's own network namespace; nothing is ever restored into it")]
    OwnNetns(String),
}

/// An attachment whose every part has been looked at.
#[derive(Debug)]
pub struct Checked {
    pub container_id: String,
    pub interface: String,
    pub namespace: String,
    pub pod: String,
    pub uid: String,
    /// Held open, so that the path can't come to mean another one.
    pub netns: Namespace,
}

impl Checked {
    /// Looks at all of it.
    ///
    /// # Errors
    /// [`Invalid`] with the part that is wrong.
    pub fn new(attachment: &Attachment) -> Result<Self, Invalid> {
        names(attachment)?;
        Ok(Self {
            container_id: attachment.container_id.clone(),
            interface: attachment.interface.clone(),
            namespace: attachment.namespace.clone(),
            pod: attachment.pod.clone(),
            uid: attachment.uid.clone(),
            netns: open(&attachment.netns)?,
        })
    }
}

/// Sees that the names are names: they become file names, API paths and log fields.
///
/// # Errors
/// [`Invalid::Name`].
pub fn names(attachment: &Attachment) -> Result<(), Invalid> {
    let checks = [
        ("container id", &attachment.container_id, container_id(&attachment.container_id)),
        ("interface", &attachment.interface, interface(&attachment.interface)),
        ("namespace", &attachment.namespace, label(&attachment.namespace)),
        ("pod", &attachment.pod, subdomain(&attachment.pod)),
        ("uid", &attachment.uid, uid(&attachment.uid)),
    ];
    match checks.into_iter().find(|(_, _, valid)| !valid) {
        // Only so much of it that a log line stays a line.
        Some((what, value, _)) => {
            let value = value.chars().take(80).collect::<String>().escape_debug().to_string();
            Err(Invalid::Name { what, value })
        }
        None => Ok(()),
    }
}

/// CNI specification: alphanumeric first, then also `_`, `.`, `-`.
#[must_use]
pub fn container_id(id: &str) -> bool {
    id.len() <= 128
        && id.starts_with(|first: char| first.is_ascii_alphanumeric())
        && id.chars().all(|one| one.is_ascii_alphanumeric() || "_.-".contains(one))
}

/// Kernel `dev_valid_name`: 1 to 15 bytes, no slash, colon or space, neither `.` nor `..`.
#[must_use]
pub fn interface(name: &str) -> bool {
    (1..=15).contains(&name.len())
        && name != "."
        && name != ".."
        && name.chars().all(|one| one.is_ascii_graphic() && !"/:%".contains(one))
}

/// RFC 1123 label, as namespaces are named.
fn label(name: &str) -> bool {
    name.len() <= 63 && subdomain(name) && !name.contains('.')
}

/// RFC 1123 subdomain, as pods and most other objects are named.
#[must_use]
pub fn subdomain(name: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with('-')
            && !part.ends_with('-')
            && part
                .bytes()
                .all(|one| one.is_ascii_lowercase() || one.is_ascii_digit() || one == b'-')
    };
    name.len() <= 253 && name.split('.').all(part)
}

fn uid(uid: &str) -> bool {
    (1..=64).contains(&uid.len())
        && uid.bytes().all(|one| one.is_ascii_alphanumeric() || one == b'-')
}

/// Opens the namespace and sees that it is one, and not the caller's.
///
/// # Errors
/// [`Invalid`] for everything that it could be instead.
pub fn open(path: &str) -> Result<Namespace, Invalid> {
    if !allowed(Path::new(path)) {
        return Err(Invalid::Folder(path.chars().take(300).collect()));
    }
    let found = Namespace::open(path)?;
    if found.id() == Namespace::current()?.id() {
        return Err(Invalid::OwnNetns(path.to_owned()));
    }
    Ok(found)
}

/// A file directly in one of the folders, or `/proc/PID/ns/net`; without `..` or `.` on the way.
fn allowed(path: &Path) -> bool {
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    let text = path.to_string_lossy();
    if !plain || text.contains('\0') || text.len() > 255 {
        return false;
    }
    let parent = path.parent().unwrap_or(Path::new(""));
    let pid = |text: &str| {
        let pid = text.strip_prefix("/proc/").and_then(|rest| rest.strip_suffix("/ns/net"));
        pid.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|one| one.is_ascii_digit()))
    };
    FOLDERS.iter().any(|folder| parent == Path::new(folder)) || pid(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_folders_of_runtimes_are_opened() {
        for good in ["/var/run/netns/cni-1", "/run/netns/a", "/proc/17/ns/net"] {
            assert!(allowed(Path::new(good)), "{good}");
        }
        for bad in [
            "",
            "run/netns/a",
            "/run/netns",
            "/run/netns/../../etc/shadow",
            "/run/netns/a/b",
            "/etc/passwd",
            "/proc/self/ns/net",
            "/proc//ns/net",
            "/proc/1/ns/mnt",
            "/proc/1/root/run/netns/a",
        ] {
            assert!(!allowed(Path::new(bad)), "{bad}");
        }
    }

    #[test]
    fn the_nodes_own_namespace_is_refused() {
        let own = format!("/proc/{}/ns/net", std::process::id());
        assert!(matches!(open(&own), Err(Invalid::OwnNetns(_))));
        assert!(matches!(open("/proc/0/ns/net"), Err(Invalid::Netns(_))));
    }

    #[test]
    fn names_that_are_none_are_refused() {
        let good = Attachment {
            container_id: "3f2a_x.y-z".into(),
            interface: "eth0".into(),
            namespace: "default".into(),
            pod: "web-0.a".into(),
            uid: "6f1b2c3d-0000-4000-8000-000000000000".into(),
            ..Attachment::default()
        };
        names(&good).unwrap();
        let with = |change: fn(&mut Attachment)| {
            let mut bad = good.clone();
            change(&mut bad);
            names(&bad)
        };
        assert!(with(|bad| bad.container_id = "../x".into()).is_err());
        assert!(with(|bad| bad.container_id.clear()).is_err());
        assert!(with(|bad| bad.interface = "a/b".into()).is_err());
        assert!(with(|bad| bad.interface = "sixteen-bytes-xx".into()).is_err());
        assert!(with(|bad| bad.namespace = "a.b".into()).is_err());
        assert!(with(|bad| bad.pod = "Web".into()).is_err());
        assert!(with(|bad| bad.uid = "a\nb".into()).is_err());
    }
}
