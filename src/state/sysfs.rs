//! sysfs of the thread's network namespace. What is mounted on `/sys` shows the links of the namespace
//! that it was mounted in; so one is made that is mounted nowhere, and goes with its descriptor.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::null;

/// `FSCONFIG_CMD_CREATE` of `linux/mount.h`.
const CREATE: libc::c_uint = 6;
/// `FSOPEN_CLOEXEC` and `FSMOUNT_CLOEXEC`.
const CLOEXEC: libc::c_uint = 1;

/// Its root.
///
/// # Errors
/// That of the system call; before Linux 5.2 there is none.
pub fn open() -> io::Result<OwnedFd> {
    // SAFETY: plain system calls; what they answer is owned from here on.
    unsafe {
        let context = owned(libc::syscall(libc::SYS_fsopen, c"sysfs".as_ptr(), CLOEXEC))?;
        let none: *const libc::c_char = null();
        let made = libc::syscall(libc::SYS_fsconfig, context.as_raw_fd(), CREATE, none, none, 0);
        if made < 0 {
            return Err(io::Error::last_os_error());
        }
        owned(libc::syscall(libc::SYS_fsmount, context.as_raw_fd(), CLOEXEC, 0))
    }
}

/// # Safety
/// The number is what a system call answered that gives a new descriptor.
unsafe fn owned(answer: libc::c_long) -> io::Result<OwnedFd> {
    match libc::c_int::try_from(answer) {
        // SAFETY: as the caller promises.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}
