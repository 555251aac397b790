//! The reservations of the IPAM plugin `host-local`: an address of this node's own range that a moved
//! pod has must not be given to another pod, even when the pod that it came from is deleted.
//!
//! host-local keeps one file for each address, `NETWORKS/NETWORK/ADDRESS`, of two lines: the container
//! id and the interface. ADD takes only addresses without a file; DEL removes the files with exactly
//! its own two lines. A file of ours has four lines, so that no DEL matches it:
//!
//! ```text
//!   netckpt
//!   kept
//!   CONTAINER      whom host-local had given it to, if that is still so
//!   INTERFACE
//! ```
//!
//! All is done under the plugin's own lock. Other IPAM plugins have reservations of their own, which
//! is what their operators use: an address that may be restored elsewhere must be excluded there.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::need::contains;

/// A reservation could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("the reservations of host-local: {step} {path}: {source}", path = path.display())]
pub struct Error {
    step: &'static str,
    path: PathBuf,
    source: io::Error,
}

/// First line of a file of ours.
const OURS: &str = "netckpt";
/// Bytes of a reservation that are read at most.
const LONGEST: usize = 4096;

/// The networks of this node whose addresses host-local gives.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostLocal {
    networks: Vec<Network>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Network {
    folder: PathBuf,
    ranges: Vec<(IpAddr, u8)>,
}

impl HostLocal {
    /// Reads the CNI configurations of a folder. `networks` is where this process sees
    /// `/var/lib/cni/networks`; a configuration with a `dataDir` of its own is passed over, as its
    /// folder is not seen. What can't be read is no configuration: the runtime says so.
    #[must_use]
    pub fn read(configurations: &Path, networks: &Path) -> Self {
        let entries = fs::read_dir(configurations).into_iter().flatten().map_while(Result::ok);
        let texts = entries.filter_map(|entry| fs::read_to_string(entry.path()).ok());
        let lists = texts.filter_map(|text| serde_json::from_str::<Value>(&text).ok());
        let found = lists.flat_map(|list| of_list(&list, networks)).collect();
        Self { networks: found }
    }

    /// Whether one of the networks gives this address.
    #[must_use]
    pub fn gives(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.gives(address))
    }

    /// Reserves exactly `kept` of what the networks give: more is given back, to the container that
    /// it was taken from where `lives` says that a pod of this node still has the address, else to
    /// the network. Answers the addresses that are reserved now and were not before.
    ///
    /// # Errors
    /// [`Error`].
    pub fn keep(
        &self,
        kept: &BTreeSet<IpAddr>,
        lives: impl Fn(IpAddr) -> bool,
    ) -> Result<Vec<IpAddr>, Error> {
        let mut new = Vec::new();
        for network in &self.networks {
            let wanted: BTreeSet<_> = kept.iter().filter(|one| network.gives(**one)).collect();
            let ours = network.ours()?;
            if wanted.iter().copied().eq(ours.iter()) {
                continue;
            }
            let _lock = network.lock()?;
            for address in ours.iter().filter(|one| !wanted.contains(one)) {
                network.give_back(*address, lives(*address))?;
            }
            for address in wanted.into_iter().filter(|one| !ours.contains(one)) {
                network.take(*address)?;
                new.push(*address);
            }
        }
        Ok(new)
    }

    /// A container goes: what was taken from it is not to be given back to it. Its own DEL of
    /// host-local, which comes after ours, finds nothing of it.
    ///
    /// # Errors
    /// [`Error`].
    pub fn forget(&self, container_id: &str) -> Result<(), Error> {
        for network in &self.networks {
            for address in network.ours()? {
                let _lock = network.lock()?;
                if network.owner(address)?.is_some_and(|owner| owner.starts_with(container_id)) {
                    network.write(address, "")?;
                }
            }
        }
        Ok(())
    }

    /// Reserves the addresses of a container that is going; see [`Self::keep`] for giving them back.
    ///
    /// # Errors
    /// [`Error`].
    pub fn take_over(&self, addresses: &[IpAddr]) -> Result<(), Error> {
        for network in &self.networks {
            for address in addresses.iter().filter(|one| network.gives(**one)) {
                let _lock = network.lock()?;
                network.write(*address, "")?;
            }
        }
        Ok(())
    }
}

impl Network {
    fn gives(&self, address: IpAddr) -> bool {
        self.ranges.iter().any(|(of, length)| contains(*of, *length, address))
    }

    /// Addresses that are reserved by us.
    fn ours(&self) -> Result<BTreeSet<IpAddr>, Error> {
        let entries = match fs::read_dir(&self.folder) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeSet::new()),
            entries => entries.map_err(|source| self.failed("list", &self.folder, source))?,
        };
        let mut ours = BTreeSet::new();
        for entry in entries.map_while(Result::ok) {
            let name = entry.file_name();
            let address = name.to_str().and_then(|name| name.parse::<IpAddr>().ok());
            let Some(address) = address else { continue };
            if self.text(address)?.is_some_and(|text| text.lines().next() == Some(OURS)) {
                ours.insert(address);
            }
        }
        Ok(ours)
    }

    /// Whom a reservation of ours was taken from, as host-local writes it.
    fn owner(&self, address: IpAddr) -> Result<Option<String>, Error> {
        let text = self.text(address)?.unwrap_or_default();
        let mut lines = text.lines();
        let (first, _) = (lines.next(), lines.next());
        let owner: Vec<_> = lines.filter(|line| !line.is_empty()).collect();
        Ok((first == Some(OURS) && !owner.is_empty()).then(|| owner.join("\r\n")))
    }

    fn take(&self, address: IpAddr) -> Result<(), Error> {
        let owner = self.text(address)?.unwrap_or_default();
        self.write(address, owner.trim())
    }

    fn give_back(&self, address: IpAddr, lives: bool) -> Result<(), Error> {
        let path = self.path(address);
        match self.owner(address)?.filter(|_| lives) {
            Some(owner) => self.put(&path, &owner),
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(self.failed("remove", &path, error))
                }
                _ => Ok(()),
            },
        }
    }

    fn write(&self, address: IpAddr, owner: &str) -> Result<(), Error> {
        self.put(&self.path(address), format!("{OURS}\r\nkept\r\n{owner}").trim_end())
    }

    /// Whole or not at all: host-local reads the folder without its lock in places.
    fn put(&self, path: &Path, text: &str) -> Result<(), Error> {
        let beside = self.folder.join(".netckpt");
        fs::write(&beside, text).map_err(|source| self.failed("write", &beside, source))?;
        fs::rename(&beside, path).map_err(|source| self.failed("write", path, source))
    }

    fn text(&self, address: IpAddr) -> Result<Option<String>, Error> {
        let path = self.path(address);
        match fs::read(&path) {
            Ok(text) if text.len() <= LONGEST => {
                Ok(Some(String::from_utf8_lossy(&text).into_owned()))
            }
            Ok(_) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(self.failed("read", &path, error)),
        }
    }

    /// The plugin's lock: `flock` on the file `lock`, until the answer is dropped.
    fn lock(&self) -> Result<File, Error> {
        let path = self.folder.join("lock");
        fs::create_dir_all(&self.folder)
            .and_then(|()| File::options().create(true).append(true).open(&path))
            .and_then(|file| {
                // SAFETY: the descriptor is that of the open file.
                match unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX) } {
                    0 => Ok(file),
                    _ => Err(io::Error::last_os_error()),
                }
            })
            .map_err(|source| self.failed("lock", &path, source))
    }

    fn path(&self, address: IpAddr) -> PathBuf {
        self.folder.join(address.to_string())
    }

    fn failed(&self, step: &'static str, path: &Path, source: io::Error) -> Error {
        Error { step, path: path.to_owned(), source }
    }
}

/// Networks of one configuration list (or of a single configuration, as lists were before 0.3.0).
fn of_list(list: &Value, networks: &Path) -> Vec<Network> {
    // It becomes a part of a path.
    let name = list["name"].as_str().filter(|name| !name.is_empty() && !name.contains(['/', '\0']));
    let Some(name) = name.filter(|name| *name != "." && *name != "..") else { return Vec::new() };
    let single = [list.clone()];
    let plugins = list["plugins"].as_array().map_or(&single[..], Vec::as_slice);
    let ipams = plugins.iter().map(|plugin| &plugin["ipam"]);
    let ours = ipams.filter(|ipam| ipam["type"] == "host-local" && ipam["dataDir"].is_null());
    let network = |ipam| Network { folder: networks.join(name), ranges: ranges(ipam) };
    ours.map(network).filter(|network| !network.ranges.is_empty()).collect()
}

/// `ranges`, a list of lists, and the older `subnet`.
fn ranges(ipam: &Value) -> Vec<(IpAddr, u8)> {
    let lists = ipam["ranges"].as_array().into_iter().flatten();
    let all = lists.filter_map(Value::as_array).flatten().chain([ipam]);
    let subnets = all.filter_map(|range| range["subnet"].as_str());
    subnets
        .filter_map(|subnet| {
            let (address, length) = subnet.split_once('/')?;
            Some((address.parse().ok()?, length.parse().ok()?))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = r#"{"name": "lab", "cniVersion": "1.0.0", "plugins": [{"type": "bridge", "ipam": {
        "type": "host-local", "ranges": [[{"subnet": "10.88.1.0/24"}], [{"subnet": "fd88:0:0:1::/64"}]]}}]}"#;

    /// A folder of configurations and one of networks, with the file of one address.
    fn node() -> (tempfile::TempDir, HostLocal, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let (configurations, networks) = (folder.path().join("net.d"), folder.path().join("n"));
        fs::create_dir_all(&configurations).unwrap();
        fs::create_dir_all(networks.join("lab")).unwrap();
        fs::write(configurations.join("10-lab.conflist"), LIST).unwrap();
        fs::write(configurations.join("99-broken"), "{").unwrap();
        let file = networks.join("lab/10.88.1.7");
        fs::write(&file, "c1\r\neth0").unwrap();
        (folder, HostLocal::read(&configurations, &networks), file)
    }

    fn ips(all: &[&str]) -> BTreeSet<IpAddr> {
        all.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    #[test]
    fn an_address_is_kept_and_given_back_to_whom_it_was_taken_from() {
        let (_folder, ipam, file) = node();
        let kept = ips(&["10.88.1.7", "fd88:0:0:1::7", "10.88.2.7"]);
        assert_eq!(ipam.keep(&kept, |_| true).unwrap().len(), 2);
        assert_eq!(fs::read_to_string(&file).unwrap(), "netckpt\r\nkept\r\nc1\r\neth0");
        assert!(file.with_file_name("fd88:0:0:1::7").exists());
        assert!(!file.with_file_name("10.88.2.7").exists(), "another node's range");
        assert_eq!(ipam.keep(&kept, |_| true).unwrap(), Vec::<IpAddr>::new());
        ipam.keep(&BTreeSet::new(), |_| true).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "c1\r\neth0");
        assert!(!file.with_file_name("fd88:0:0:1::7").exists(), "nobody had it");
    }

    #[test]
    fn what_a_container_had_that_is_gone_goes_to_the_network() {
        let (_folder, ipam, file) = node();
        ipam.keep(&ips(&["10.88.1.7"]), |_| true).unwrap();
        ipam.forget("c1").unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), "netckpt\r\nkept");
        ipam.keep(&BTreeSet::new(), |_| true).unwrap();
        assert!(!file.exists());
        fs::write(&file, "c2\r\neth0").unwrap();
        ipam.keep(&ips(&["10.88.1.7"]), |_| false).unwrap();
        ipam.keep(&BTreeSet::new(), |_| false).unwrap();
        assert!(!file.exists(), "no pod has it any more");
    }

    #[test]
    fn a_name_is_no_way_out() {
        let list = LIST.replace("\"lab\"", "\"../../etc\"");
        assert!(of_list(&serde_json::from_str(&list).unwrap(), Path::new("/n")).is_empty());
    }
}
