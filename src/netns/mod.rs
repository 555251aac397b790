//! Network namespaces: open, tell one from another, make, keep under a path, run inside.
//!
//! A thread enters a namespace once and ends there. No thread comes back, so that none can be left
//! in the wrong namespace by an early return or a panic.
//!
//! What follows the thread: sockets opened there, `/proc/thread-self/net` and `/proc/sys/net`
//! (both are resolved by the namespace of the task that opens the file; `fs/proc/proc_net.c`,
//! `net/sysctl_net.c`). What does not: `/sys/class/net` and `/proc/net` (`/proc/net` is a link to
//! `self/net`, the namespace of the process's first thread).
//!
//! Sources: setns(2), namespaces(7), `linux/nsfs.h`.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread::JoinHandle;

use nix::mount::{MntFlags, MsFlags};
use nix::sched::CloneFlags;

/// What can go wrong with a network namespace.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("network namespace {path}: cannot be opened: {source}", path = path.display())]
    Open { path: PathBuf, source: io::Error },
    #[error(
        "{path} is not a network namespace (a path such as /run/netns/NAME or /proc/PID/ns/net is wanted)",
        path = path.display()
    )]
    NotOne { path: PathBuf },
    #[error("a new network namespace cannot be made: {0} (CAP_SYS_ADMIN is needed)")]
    Create(io::Error),
    #[error("a network namespace cannot be {step} {path}: {source}", path = path.display())]
    Mount { step: &'static str, path: PathBuf, source: io::Error },
    #[error("network namespace {name} cannot be entered: {source} (CAP_SYS_ADMIN is needed)")]
    Enter { name: String, source: io::Error },
    #[error("no thread could be started for network namespace {name}: {source}")]
    Thread { name: String, source: io::Error },
}

/// What tells one namespace from another while it lives: device and inode on nsfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    pub device: u64,
    pub inode: u64,
}

impl std::fmt::Display for Id {
    /// As the kernel prints it in `/proc/PID/ns/net`.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "net:[{}]", self.inode)
    }
}

/// An open network namespace. It lives at least as long as this.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    id: Id,
    /// How it was found, for messages.
    name: String,
}

impl Namespace {
    /// Opens the namespace at a path: a bind mount such as `/run/netns/NAME`, or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// [`Error::Open`]; [`Error::NotOne`] where the path is something else.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let path = path.as_ref();
        let failed = |source| Error::Open { path: path.to_owned(), source };
        let file = File::open(path).map_err(failed)?;
        if kind(&file) != Some(libc::CLONE_NEWNET) {
            return Err(Error::NotOne { path: path.to_owned() });
        }
        let metadata = file.metadata().map_err(failed)?;
        let id = Id { device: metadata.dev(), inode: metadata.ino() };
        Ok(Self { file, id, name: path.display().to_string() })
    }

    /// The namespace of a process.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn of_process(pid: u32) -> Result<Self, Error> {
        Self::open(format!("/proc/{pid}/ns/net"))
    }

    /// The calling thread's namespace.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub fn current() -> Result<Self, Error> {
        Self::open("/proc/thread-self/ns/net")
    }

    /// Makes a namespace. It goes away with the last descriptor and process in it, unless it is
    /// bound to a path ([`Self::bind`]).
    ///
    /// # Errors
    /// [`Error::Create`].
    pub fn create() -> Result<Self, Error> {
        let made = on_thread("new", || {
            nix::sched::unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::Create(errno.into()))?;
            Self::current()
        })??;
        Ok(Self { name: made.id.to_string(), ..made })
    }

    /// Keeps the namespace at a path, which is made; `ip netns` knows those under `/run/netns`.
    ///
    /// # Errors
    /// [`Error::Mount`] with the failing step; the path is then as it was.
    pub fn bind(&self, path: &Path) -> Result<(), Error> {
        let failed = |step, source| Error::Mount { step, path: path.to_owned(), source };
        File::create_new(path).map_err(|source| failed("kept at", source))?;
        let own = format!("/proc/self/fd/{}", self.file.as_raw_fd());
        nix::mount::mount(Some(own.as_str()), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
            .map_err(|errno| {
                // The mount's failure is the one to tell.
                let _ = std::fs::remove_file(path);
                failed("kept at", errno.into())
            })
    }

    /// Takes away a path made by [`Self::bind`]; the namespace ends with its last user.
    ///
    /// # Errors
    /// [`Error::Mount`] with the failing step.
    pub fn unbind(path: &Path) -> Result<(), Error> {
        let failed = |source| Error::Mount { step: "taken from", path: path.to_owned(), source };
        nix::mount::umount2(path, MntFlags::MNT_DETACH).map_err(|errno| failed(errno.into()))?;
        std::fs::remove_file(path).map_err(failed)
    }

    /// What tells this namespace from every other.
    #[must_use]
    pub fn id(&self) -> Id {
        self.id
    }

    /// How it was found: its path, or its inode where it was made here.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The descriptor, to be passed on (`IFLA_NET_NS_FD`, CRIU's `--inherit-fd`).
    #[must_use]
    pub fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.file.as_raw_fd()
    }

    /// Runs `work` on a fresh thread inside the namespace and waits for it. Blocks: on an async
    /// runtime call it from a blocking task. A panic of `work` goes on in the caller.
    ///
    /// # Errors
    /// [`Error::Enter`], [`Error::Thread`]; `work` then did not run.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread(&self.name, || {
            nix::sched::setns(&self.file, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::Enter { name: self.name.clone(), source: errno.into() })?;
            Ok(work())
        })?
    }

    /// Starts `work` on a thread of its own inside the namespace, which is not waited for here.
    ///
    /// # Errors
    /// [`Error::Thread`]; what the thread gives is [`Error::Enter`] where it could not enter, and `work`
    /// then did not run.
    pub fn start<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<JoinHandle<Result<T, Error>>, Error> {
        let own = self.try_clone()?;
        let failed = |source| Error::Thread { name: self.name.clone(), source };
        let inside = move || {
            let Self { file, name, .. } = own;
            nix::sched::setns(&file, CloneFlags::CLONE_NEWNET)
                .map_err(|errno| Error::Enter { name, source: errno.into() })?;
            drop(file);
            Ok(work())
        };
        std::thread::Builder::new().name("netns".to_owned()).spawn(inside).map_err(failed)
    }

    /// The same namespace behind another descriptor.
    ///
    /// # Errors
    /// [`Error::Open`] where the program may have no more descriptors.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let failed = |source| Error::Open { path: PathBuf::from(&self.name), source };
        let file = self.file.try_clone().map_err(failed)?;
        Ok(Self { file, id: self.id, name: self.name.clone() })
    }
}

/// Runs `work` on a thread that ends with it.
fn on_thread<T: Send>(name: &str, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".to_owned())
            .spawn_scoped(scope, work)
            .map_err(|source| Error::Thread { name: name.to_owned(), source })?;
        thread.join().map_err(|panic| std::panic::resume_unwind(panic))
    })
}

/// The kind of namespace behind a descriptor (`CLONE_NEW*`), `None` for anything else.
fn kind(file: &File) -> Option<libc::c_int> {
    /// `NS_GET_NSTYPE` of `linux/nsfs.h`: `_IO(0xb7, 0x3)`.
    const NS_GET_NSTYPE: libc::Ioctl = 0xb703;
    // SAFETY: the request takes no argument, and other files answer ENOTTY.
    let kind = unsafe { libc::ioctl(file.as_raw_fd(), NS_GET_NSTYPE) };
    (kind >= 0).then_some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_network_namespace_is_refused() {
        assert!(matches!(Namespace::open("/dev/null"), Err(Error::NotOne { .. })));
        assert!(matches!(Namespace::open("/proc/self/ns/uts"), Err(Error::NotOne { .. })));
        let missing = Namespace::open("/run/netns/there is none");
        assert!(matches!(missing, Err(Error::Open { .. })));
    }

    #[test]
    fn work_runs_inside_and_the_caller_stays_outside() {
        let before = Namespace::current().unwrap().id();
        let made = Namespace::create().unwrap();
        let inside = made.run(|| Namespace::current().unwrap().id()).unwrap();
        assert_eq!(inside, made.id());
        assert_ne!(inside, before);
        assert_eq!(Namespace::current().unwrap().id(), before);
        assert_eq!(Namespace::of_process(std::process::id()).unwrap().id(), before);
    }

    /// What the module's text says of procfs.
    #[test]
    fn proc_follows_the_thread() {
        let forward = "/proc/sys/net/ipv4/conf/lo/forwarding";
        let made = Namespace::create().unwrap();
        let old = std::fs::read_to_string(forward).unwrap();
        let new = if old.trim() == "1" { "0" } else { "1" };
        made.run(|| std::fs::write(forward, new).unwrap()).unwrap();
        assert_eq!(std::fs::read_to_string(forward).unwrap(), old);
        assert_eq!(made.run(|| std::fs::read_to_string(forward).unwrap()).unwrap().trim(), new);
        let devices =
            made.run(|| std::fs::read_to_string("/proc/thread-self/net/dev").unwrap()).unwrap();
        assert_eq!(devices.lines().count(), 3, "two lines of heading and lo");
    }

    #[test]
    fn a_bound_namespace_outlives_its_descriptor() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("kept");
        let id = {
            let made = Namespace::create().unwrap();
            made.bind(&path).unwrap();
            assert!(made.bind(&path).is_err(), "a path that is taken stays as it is");
            made.id()
        };
        assert_eq!(Namespace::open(&path).unwrap().id(), id);
        Namespace::unbind(&path).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_panic_inside_goes_on_outside() {
        let made = Namespace::create().unwrap();
        let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            made.run(|| panic!("inside"))
        }));
        assert_eq!(outcome.unwrap_err().downcast_ref::<&str>(), Some(&"inside"));
    }
}
