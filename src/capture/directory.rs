//! A directory's entries with their types, by `getdents64(2)`: no call for each entry.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::errno::Errno;

/// An open directory.
pub(super) struct Directory<'a>(pub(super) BorrowedFd<'a>);

/// What [`Directory::list`] found.
#[derive(Debug, Default)]
pub(super) struct Entries(Vec<u8>);

#[derive(Debug, Clone, Copy)]
pub(super) struct Entry<'a> {
    pub(super) name: &'a CStr,
    pub(super) is_folder: bool,
}

/// Bytes asked for at once.
const ROOM: usize = 16 << 10;
/// `struct linux_dirent64`: inode and offset of eight bytes each, then the record's length.
const LENGTH_AT: usize = 16;
const TYPE_AT: usize = 18;
const NAME_AT: usize = 19;

impl Directory<'_> {
    /// Reads all entries.
    pub(super) fn list(&self, into: &mut Entries) -> Result<(), Errno> {
        loop {
            into.0.reserve(ROOM);
            let spare = into.0.spare_capacity_mut();
            // SAFETY: the kernel writes at most `spare.len()` bytes and says how many it wrote.
            let got = unsafe {
                libc::syscall(
                    libc::SYS_getdents64,
                    self.0.as_raw_fd(),
                    spare.as_mut_ptr(),
                    spare.len(),
                )
            };
            let got = usize::try_from(got).map_err(|_| Errno::last())?;
            if got == 0 {
                return Ok(());
            }
            // SAFETY: the kernel initialised `got` bytes of the spare room.
            unsafe { into.0.set_len(into.0.len() + got) };
        }
    }
}

impl Entries {
    /// All but `.` and `..`.
    pub(super) fn iter(&self) -> impl Iterator<Item = Entry<'_>> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || {
            let length = rest.get(LENGTH_AT..LENGTH_AT + 2)?;
            let length = usize::from(u16::from_ne_bytes([length[0], length[1]]));
            let (record, after) = rest.split_at_checked(length.max(NAME_AT))?;
            rest = after;
            let name = CStr::from_bytes_until_nul(&record[NAME_AT..]).ok()?;
            Some(Entry { name, is_folder: record[TYPE_AT] == libc::DT_DIR })
        })
        .filter(|entry| !matches!(entry.name.to_bytes(), b"." | b".."))
    }
}
