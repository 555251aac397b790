//! The kernel's interface to legacy tables: options of a raw socket, a whole table at a time.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use super::family::{COUNTERS, Family, TABLE_NAME};

/// Most bytes of a table. It is what a section of an image may have.
const LARGEST: usize = 512 << 20;
/// Times that a table is asked for, or told, again when others change it meanwhile.
const TRIES: u32 = 8;

/// A socket of the thread's namespace.
#[derive(Debug)]
pub struct Control {
    fd: OwnedFd,
    family: &'static Family,
}

/// A table as the kernel holds it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Bits of the hooks that it is looked at in.
    pub hooks: u32,
    /// For each hook of the family the offset of its first entry, and of its policy.
    pub first: Vec<u32>,
    pub policy: Vec<u32>,
    /// Number of entries.
    pub count: u32,
    pub entries: Vec<u8>,
}

impl Control {
    /// Opens the socket.
    ///
    /// # Errors
    /// As socket(2) has them: without CAP_NET_RAW `EPERM`, without the family `EAFNOSUPPORT`.
    pub fn open(family: &'static Family) -> io::Result<Self> {
        // SAFETY: plain system call; the descriptor is owned from here on.
        let fd = unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let fd = libc::socket(family.domain, kind, libc::IPPROTO_RAW);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            OwnedFd::from_raw_fd(fd)
        };
        Ok(Self { fd, family })
    }

    /// Reads a table. One that the namespace has not would be made by that.
    ///
    /// # Errors
    /// As the kernel says it; `EAGAIN` where it kept changing.
    pub fn read(&self, name: &str) -> io::Result<Table> {
        let mut outcome = Err(io::Error::from_raw_os_error(libc::EAGAIN));
        for _ in 0..TRIES {
            outcome = self.read_once(name);
            match &outcome {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) => {}
                _ => break,
            }
        }
        outcome
    }

    fn read_once(&self, name: &str) -> io::Result<Table> {
        /// `struct ipt_get_entries`: name, size, padding.
        const HEADER: usize = 40;
        let (mut table, size) = self.info(name)?;
        if size > LARGEST {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        }
        let mut buffer = vec![0; HEADER + size];
        write_name(&mut buffer, name);
        buffer[TABLE_NAME..TABLE_NAME + 4].copy_from_slice(&(size as u32).to_ne_bytes());
        // `IPT_SO_GET_ENTRIES`. The size must be that of the table at this moment.
        self.get(1, &mut buffer)?;
        table.entries = buffer.split_off(HEADER);
        Ok(table)
    }

    /// The table without its entries, and their size in bytes (`struct ipt_getinfo`).
    fn info(&self, name: &str) -> io::Result<(Table, usize)> {
        let hooks = self.family.hooks.len();
        let mut buffer = vec![0; TABLE_NAME + 4 + 8 * hooks + 8];
        write_name(&mut buffer, name);
        // `IPT_SO_GET_INFO`.
        self.get(0, &mut buffer)?;
        let mut numbers = buffer[TABLE_NAME..]
            .chunks_exact(4)
            .map(|number| number.try_into().map_or(0, u32::from_ne_bytes));
        let valid = numbers.next().unwrap_or_default();
        let first: Vec<u32> = numbers.by_ref().take(hooks).collect();
        let policy: Vec<u32> = numbers.by_ref().take(hooks).collect();
        let count = numbers.next().unwrap_or_default();
        let size = numbers.next().unwrap_or_default() as usize;
        Ok((Table { hooks: valid, first, policy, count, entries: Vec::new() }, size))
    }

    /// Replaces a table as a whole, then sets the counters of its entries. `replace` is the argument of
    /// `IPT_SO_SET_REPLACE` without the place for the old counters; `counters` has those of each entry.
    ///
    /// # Errors
    /// As the kernel says it. A table that was refused is as before.
    pub fn replace(&self, name: &str, replace: &[u8], counters: &[u8]) -> io::Result<()> {
        let family = self.family;
        if replace.len() < family.replace() {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        let mut argument = replace.to_vec();
        let mut tries = 0;
        loop {
            // The kernel gives back the counters of the old entries, and wants to be told how many.
            let (old, _) = self.info(name)?;
            let mut place = vec![0_u8; old.count as usize * COUNTERS];
            let at = family.counters_at();
            argument[at..at + 4].copy_from_slice(&old.count.to_ne_bytes());
            let at = family.pointer_at();
            let pointer = place.as_mut_ptr().expose_provenance();
            argument[at..at + 8].copy_from_slice(&(pointer as u64).to_ne_bytes());
            match self.set(0, &argument) {
                Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && tries < TRIES => {
                    tries += 1;
                }
                outcome => break outcome?,
            }
        }
        // `struct xt_counters_info`: name, number, padding, counters.
        let mut argument = vec![0; 40];
        write_name(&mut argument, name);
        let count = (counters.len() / COUNTERS) as u32;
        argument[TABLE_NAME..TABLE_NAME + 4].copy_from_slice(&count.to_ne_bytes());
        argument.extend_from_slice(counters);
        self.set(1, &argument)
    }

    fn get(&self, option: libc::c_int, buffer: &mut [u8]) -> io::Result<()> {
        let Ok(mut length) = libc::socklen_t::try_from(buffer.len()) else {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        };
        // SAFETY: the kernel reads and writes at most `length` bytes of the buffer.
        let outcome = unsafe {
            libc::getsockopt(
                self.fd.as_raw_fd(),
                self.family.level,
                self.family.base + option,
                buffer.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    /// What the argument points at must be valid: see [`Self::replace`].
    fn set(&self, option: libc::c_int, argument: &[u8]) -> io::Result<()> {
        let Ok(length) = libc::socklen_t::try_from(argument.len()) else {
            return Err(io::Error::from_raw_os_error(libc::EFBIG));
        };
        // SAFETY: pointer and length are those of one slice. The one pointer in it leads to room for as
        // many counters as it says, which lives until the call is over.
        let outcome = unsafe {
            libc::setsockopt(
                self.fd.as_raw_fd(),
                self.family.level,
                self.family.base + option,
                argument.as_ptr().cast(),
                length,
            )
        };
        if outcome < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

fn write_name(buffer: &mut [u8], name: &str) {
    let name = name.as_bytes();
    let length = name.len().min(TABLE_NAME - 1);
    buffer[..length].copy_from_slice(&name[..length]);
}
