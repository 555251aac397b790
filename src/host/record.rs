//! Records: one file for each attachment that the node has a way to, so that it can be taken away by
//! an agent that did not make it.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Whose the attachment is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Pod {
    pub namespace: String,
    pub name: String,
    pub uid: String,
    /// The NetCheckpoint that it was restored from.
    pub checkpoint: String,
}

/// What the node has for one attachment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Record {
    pub container_id: String,
    pub interface: String,
    pub pod: Pod,
    pub netns: PathBuf,
    /// Device and inode of the namespace: the path may come to mean another one.
    pub netns_id: (u64, u64),
    /// The link that the addresses are behind: the bridge, or the outer end itself.
    pub device: u32,
    pub device_name: String,
    /// Addresses that Kubernetes knew the captured pod by, and that the interface has.
    #[serde(default)]
    pub kept: Vec<IpAddr>,
    /// Which move of the addresses brought them here; 0 until the node leads to them.
    #[serde(default)]
    pub sequence: i64,
    /// Addresses of the node's own range that CNI had given the interface before the restore.
    #[serde(default)]
    pub range: Vec<IpAddr>,
    /// Hardware address of the interface, as `aa:bb:…`; empty where it has none.
    #[serde(default)]
    pub mac: String,
    /// Routes to these lead to the device.
    pub addresses: Vec<IpAddr>,
    /// These are addresses of the device, for the pod's sake.
    pub gateways: Vec<IpAddr>,
    /// For these the device answers neighbour solicitations.
    pub proxied: Vec<IpAddr>,
    /// Files under `/proc/sys/net` that were changed for the pod's sake, and what they had before
    /// any pod needed that.
    pub settings: BTreeMap<String, String>,
}

impl Record {
    /// Whether the namespace is still there under its path.
    #[must_use]
    pub fn lives(&self) -> bool {
        use std::os::unix::fs::MetadataExt;
        let found = fs::metadata(&self.netns).map(|found| (found.dev(), found.ino()));
        found.is_ok_and(|found| found == self.netns_id)
    }

    /// Whether the pod has this address, and the node leads to it.
    #[must_use]
    pub fn has(&self, address: IpAddr) -> bool {
        self.sequence > 0 && self.kept.contains(&address)
    }

    /// Whether it is the record of that attachment.
    #[must_use]
    pub fn is_of(&self, container_id: &str, interface: &str) -> bool {
        self.container_id == container_id && self.interface == interface
    }
}

/// The folder of records.
#[derive(Debug, Clone)]
pub struct Records {
    folder: PathBuf,
}

impl Records {
    /// Makes the folder if it is missing.
    ///
    /// # Errors
    /// When it can't be made.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// All that can be read; what can't is logged and left, since only a person knows what it was.
    ///
    /// # Errors
    /// When the folder can't be listed.
    pub fn all(&self) -> io::Result<Vec<Record>> {
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let path = entry?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            let read = fs::read(&path)
                .map_err(|error| error.to_string())
                .and_then(|text| serde_json::from_slice(&text).map_err(|error| error.to_string()));
            match read {
                Ok(record) => records.push(record),
                Err(error) => {
                    tracing::warn!(path = %path.display(), error, "a record of a restored pod can't be read");
                }
            }
        }
        Ok(records)
    }

    /// Writes a record, whole or not at all.
    ///
    /// # Errors
    /// When it can't be written.
    pub fn put(&self, record: &Record) -> io::Result<()> {
        let path = self.path(record);
        let beside = path.with_extension("new");
        fs::write(&beside, serde_json::to_vec_pretty(record)?)?;
        fs::rename(&beside, &path)
    }

    /// Removes a record; that it is not there is no error.
    ///
    /// # Errors
    /// When it can't be removed.
    pub fn remove(&self, record: &Record) -> io::Result<()> {
        match fs::remove_file(self.path(record)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Container id and interface were checked to be names before they came here.
    fn path(&self, record: &Record) -> PathBuf {
        self.folder.join(format!("{}@{}.json", record.container_id, record.interface))
    }
}
