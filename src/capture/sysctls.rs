//! The files under `/proc/sys/net` of the thread's namespace.
//!
//! What a namespace owns is what it may write: the kernel takes the write bits off every file whose
//! data other namespaces share (`ensure_safe_net_sysctl` of `net/sysctl_net.c`). So a file is opened
//! for reading and writing, which answers in one call both whether it counts and what it says.
//! Files for writing only (`route/flush`) are commands, not state, and refuse that too.
//!
//! Files of devices are mostly not opened at all: one dump of links tells what they say (`devconf`).

use std::collections::HashMap;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt};

use nix::errno::Errno;
use nix::fcntl::OFlag;
use nix::sys::stat::Mode;

use super::devconf::{Devices, Known};
use super::directory::{Directory, Entries};
use crate::state::Reader;
use crate::state::classes::sysctls;

/// Where they are.
pub(super) const ROOT: &str = "/proc/sys/net";
/// Values are mostly a few digits. The kernel clears as much as is asked for, so little is asked
/// for first.
const SHORT: usize = 1 << 10;
/// The longest: `ip_local_reserved_ports` names up to 65,536 ports.
const LONG: usize = 512 << 10;
/// Files that are kept open for the second reading, so that it costs one call for each. Others are
/// opened again: a program may have 1,024 descriptors where nobody raised the limit.
const KEPT_OPEN: usize = 640;
/// `/proc/sys/net/ipv4/conf/eth0/...` is the deepest that there is; MPLS and others are no deeper.
const DEEPEST: usize = 8;

/// A file that belongs to the namespace and could not be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable {
    pub(super) path: String,
    pub(super) errno: Errno,
}

/// Reads all files once; those that cannot be read are left out.
pub(super) fn once(reader: &mut Reader) -> io::Result<Vec<u8>> {
    Sysctls::default().walk(reader).map(|found| found.bytes)
}

/// The files of a namespace that is read several times: open between the readings, so that each
/// reading after the first costs one call for a file. Belongs to a thread inside the namespace that has a
/// table of descriptors of its own.
#[derive(Debug)]
pub struct Files(Sysctls);

impl Default for Files {
    fn default() -> Self {
        Self(Sysctls { keep: KEPT_OPEN, ..Sysctls::default() })
    }
}

impl Files {
    /// Reads all files as the section of sysctls.
    ///
    /// # Errors
    /// Where `/proc/sys/net` itself cannot be listed.
    pub fn read(&mut self, reader: &mut Reader) -> io::Result<Vec<u8>> {
        self.0 = std::mem::take(&mut self.0).walk(reader)?;
        Ok(self.0.bytes.clone())
    }
}

/// What one reading found.
#[derive(Debug, Default)]
pub(super) struct Sysctls {
    /// `path NUL value NUL`, paths from `/proc/sys/net`, in the kernel's order.
    pub(super) bytes: Vec<u8>,
    pub(super) unreadable: Vec<Unreadable>,
    /// What was not read from files.
    devices: Devices,
    open: Vec<Kept>,
    /// How many files are kept open.
    keep: usize,
    /// Some files are not among those kept open.
    more: bool,
}

/// A file that is kept open, and where path and value stand in [`Sysctls::bytes`].
#[derive(Debug)]
struct Kept {
    file: File,
    path: Range<usize>,
    value: Range<usize>,
}

/// Files that were kept open by an earlier reading, by path.
type Earlier = HashMap<Vec<u8>, File>;

impl Sysctls {
    /// Reads all files.
    ///
    /// # Errors
    /// Where `/proc/sys/net` itself cannot be listed; a file that vanishes with its device is none.
    pub(super) fn read(reader: &mut Reader) -> io::Result<Self> {
        Self { keep: KEPT_OPEN, ..Self::default() }.walk(reader)
    }

    /// Looks for files and reads them, those that are open without opening them again.
    fn walk(self, reader: &mut Reader) -> io::Result<Self> {
        let devices = Devices::read(reader);
        let mut earlier: Earlier =
            self.open.into_iter().map(|kept| (self.bytes[kept.path].to_vec(), kept.file)).collect();
        let bytes = Vec::with_capacity(64 << 10);
        let mut found = Self { bytes, keep: self.keep, ..Self::default() };
        let root = File::options()
            .read(true)
            .custom_flags(libc::O_DIRECTORY | libc::O_CLOEXEC)
            .open(ROOT)?;
        let mut way = Way { devices: &devices, earlier: &mut earlier, path: Vec::new() };
        found.folder(root.as_fd(), &mut way, DEEPEST)?;
        found.devices = devices;
        Ok(found)
    }

    /// Reads all files again; answers whether nothing changed, and keeps what was read last. With
    /// `listed` new files are looked for, too.
    ///
    /// # Errors
    /// As [`Self::read`].
    pub(super) fn read_again(&mut self, listed: bool, reader: &mut Reader) -> io::Result<bool> {
        if !listed && !self.more && Devices::read(reader) == self.devices {
            let mut value = [0; SHORT];
            let same = self.open.iter().all(|kept| {
                let read = kept.file.read_at(&mut value, 0);
                read.is_ok_and(|read| trim(&value[..read]) == &self.bytes[kept.value.clone()])
            });
            if same {
                return Ok(true);
            }
        }
        let before = self.bytes.clone();
        *self = std::mem::take(self).walk(reader)?;
        Ok(self.bytes == before)
    }

    fn folder(&mut self, at: BorrowedFd<'_>, way: &mut Way<'_>, depth: usize) -> io::Result<()> {
        let mut entries = Entries::default();
        match Directory(at).list(&mut entries) {
            Ok(()) => {}
            // A device went away between its being listed and its being looked into.
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno.into()),
        }
        let length = way.path.len();
        let settings = way.devices.of(&way.path);
        for entry in entries.iter() {
            // Of a link of such a name nothing is carried.
            if entry.name.to_str().is_err() {
                continue;
            }
            if length > 0 {
                way.path.push(b'/');
            }
            way.path.extend_from_slice(entry.name.to_bytes());
            if !entry.is_folder {
                match settings.and_then(|settings| settings.known(entry.name.to_bytes())) {
                    Some(known) => self.known(&way.path, known),
                    None => self.file(at, entry.name, way),
                }
            } else if depth > 0 && !left_out(&way.path) {
                let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
                if let Ok(folder) = nix::fcntl::openat(at, entry.name, flags, Mode::empty()) {
                    self.folder(folder.as_fd(), way, depth - 1)?;
                }
            }
            way.path.truncate(length);
        }
        Ok(())
    }

    /// Adds what is known of a file that is not opened.
    fn known(&mut self, path: &[u8], known: Known) {
        let value = match known {
            Known::Signed(number) => number.to_string(),
            Known::Unsigned(number) => number.to_string(),
            Known::Told => return,
        };
        self.bytes.extend_from_slice(path);
        self.bytes.push(0);
        self.bytes.extend_from_slice(value.as_bytes());
        self.bytes.push(0);
    }

    fn file(&mut self, folder: BorrowedFd<'_>, name: &CStr, way: &mut Way<'_>) {
        let start = self.bytes.len();
        // That of a device that went, and came again under its name, is not readable any more.
        if let Some(file) = way.earlier.remove(&way.path)
            && self.take(file, &way.path).is_ok()
        {
            return;
        }
        self.bytes.truncate(start);
        let mut opened = open(folder, name);
        if matches!(opened, Err(Errno::EMFILE)) {
            // The limit is lower than was thought: nothing is kept open then.
            (self.keep, self.more) = (0, true);
            self.open.clear();
            opened = open(folder, name);
        }
        let errno = match opened {
            Ok(Some(file)) => match self.take(File::from(file), &way.path) {
                Ok(()) => return,
                Err(errno) => errno,
            },
            // Not the namespace's.
            Ok(None) => return,
            Err(errno) => errno,
        };
        self.bytes.truncate(start);
        // It is gone; or it is `stable_secret`, which answers EIO until it is set.
        if !matches!(errno, Errno::EIO | Errno::ENOENT) {
            self.cannot_read(&way.path, errno);
        }
    }

    /// Adds path and value; on an error what was added is to be taken away again.
    fn take(&mut self, file: File, path: &[u8]) -> Result<(), Errno> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(path);
        self.bytes.push(0);
        let path = start..self.bytes.len() - 1;
        let start = self.bytes.len();
        let long = read(&file, &mut self.bytes)?;
        let value = start..self.bytes.len();
        self.bytes.push(0);
        if long || self.open.len() >= self.keep {
            self.more = true;
        } else {
            self.open.push(Kept { file, path, value });
        }
        Ok(())
    }

    fn cannot_read(&mut self, path: &[u8], errno: Errno) {
        let path = std::ffi::OsStr::from_bytes(path).to_string_lossy().into_owned();
        self.unreadable.push(Unreadable { path, errno });
    }
}

/// What a walk knows, and where it is.
struct Way<'a> {
    devices: &'a Devices,
    earlier: &'a mut Earlier,
    /// From `/proc/sys/net`.
    path: Vec<u8>,
}

/// Whether nothing in a folder is carried: it is then not even listed.
fn left_out(folder: &[u8]) -> bool {
    let below = |pattern: &str| pattern.strip_suffix("/*/*").map(str::as_bytes) == Some(folder);
    sysctls::LEFT_OUT.iter().any(|(pattern, _)| below(pattern))
}

/// Opens a file that belongs to the namespace; `None` for others.
fn open(folder: BorrowedFd<'_>, name: &CStr) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW;
    match nix::fcntl::openat(folder, name, OFlag::O_RDWR | flags, Mode::empty()) {
        Ok(file) => Ok(Some(file)),
        Err(Errno::EACCES) => Ok(None),
        // In an unprivileged container /proc/sys is mounted read-only: the mode tells then.
        Err(Errno::EROFS) => {
            let file = nix::fcntl::openat(folder, name, OFlag::O_RDONLY | flags, Mode::empty())?;
            let mode = File::from(file.try_clone().map_err(|_| Errno::EMFILE)?)
                .metadata()
                .map_err(|_| Errno::EIO)?
                .permissions()
                .mode();
            Ok((mode & 0o600 == 0o600).then_some(file))
        }
        Err(errno) => Err(errno),
    }
}

/// Appends what a file says; answers whether that was long.
fn read(file: &File, into: &mut Vec<u8>) -> Result<bool, Errno> {
    let errno = |error: io::Error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO));
    // A file of sysctl answers all in one read from its start.
    let mut short = [0; SHORT];
    let length = file.read_at(&mut short, 0).map_err(errno)?;
    if length < SHORT {
        into.extend_from_slice(trim(&short[..length]));
        return Ok(false);
    }
    let mut long = vec![0; LONG];
    let length = file.read_at(&mut long, 0).map_err(errno)?;
    if length == LONG {
        return Err(Errno::EFBIG);
    }
    into.extend_from_slice(trim(&long[..length]));
    Ok(true)
}

/// Without the newline that every value ends with.
fn trim(value: &[u8]) -> &[u8] {
    value.trim_ascii_end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Namespace;

    fn says(found: &Sysctls, path: &str, value: &str) -> bool {
        let entry = [path.as_bytes(), value.as_bytes(), b""].join(&0);
        found.bytes.windows(entry.len()).any(|window| window == entry)
    }

    #[test]
    fn what_can_be_written_is_read_and_changes_are_seen() {
        let namespace = Namespace::create().unwrap();
        namespace
            .run(|| {
                let mut reader = Reader::new();
                let mut found = Sysctls::read(&mut reader).unwrap();
                assert_eq!(found.unreadable, []);
                assert!(says(&found, "ipv4/ip_forward", "0"));
                assert!(says(&found, "ipv6/conf/lo/hop_limit", "64"));
                assert!(!found.bytes.windows(5).any(|window| window == b"flush"));
                assert!(found.read_again(false, &mut reader).unwrap());
                for (path, value) in [
                    ("ip_forward", "1"),
                    ("ip_local_reserved_ports", "7-9,80"),
                    ("conf/lo/rp_filter", "2"),
                ] {
                    std::fs::write(format!("{ROOT}/ipv4/{path}"), value).unwrap();
                    assert!(!found.read_again(false, &mut reader).unwrap(), "{path} changed");
                    assert!(says(&found, &format!("ipv4/{path}"), value));
                    assert!(found.read_again(false, &mut reader).unwrap());
                }
            })
            .unwrap();
    }

    /// What is kept open is read again, what came since is found, and what came back under an old name
    /// is not taken for the old.
    #[test]
    fn files_that_are_open_are_read_again() {
        let set = |device: &str, path: &str, value: &str| {
            std::fs::write(format!("{ROOT}/ipv6/conf/{device}/{path}"), value).unwrap();
        };
        let make = |add: bool| {
            let verb = if add { "add" } else { "del" };
            let of = if add { &["type", "ifb"][..] } else { &[] };
            let ip =
                std::process::Command::new("ip").args(["link", verb, "again0"]).args(of).status();
            assert!(ip.unwrap().success());
        };
        Namespace::create()
            .unwrap()
            .run(|| {
                let (mut reader, mut files) = (Reader::new(), Files::default());
                let mut says = |path: &str, value: &str| {
                    let bytes = files.read(&mut reader).unwrap();
                    says(&Sysctls { bytes, ..Sysctls::default() }, path, value)
                };
                assert!(says("ipv6/conf/lo/ra_honor_pio_life", "0"));
                set("lo", "ra_honor_pio_life", "1");
                assert!(says("ipv6/conf/lo/ra_honor_pio_life", "1"));
                for value in ["0", "1"] {
                    make(true);
                    set("again0", "ra_honor_pio_life", value);
                    assert!(says("ipv6/conf/again0/ra_honor_pio_life", value));
                    make(false);
                }
                assert!(!says("ipv6/conf/again0/ra_honor_pio_life", "1"));
            })
            .unwrap();
    }

    /// Every second port: longer than what is asked for first.
    #[test]
    fn long_values_are_whole() {
        let namespace = Namespace::create().unwrap();
        let ports: Vec<_> = (1..8_000).step_by(2).map(|port| port.to_string()).collect();
        let ports = ports.join(",");
        namespace
            .run(|| {
                std::fs::write(format!("{ROOT}/ipv4/ip_local_reserved_ports"), &ports).unwrap();
                let mut reader = Reader::new();
                let mut found = Sysctls::read(&mut reader).unwrap();
                assert!(says(&found, "ipv4/ip_local_reserved_ports", &ports));
                assert!(found.read_again(false, &mut reader).unwrap());
                std::fs::write(format!("{ROOT}/ipv4/ip_local_reserved_ports"), "7").unwrap();
                assert!(!found.read_again(false, &mut reader).unwrap());
            })
            .unwrap();
    }
}
