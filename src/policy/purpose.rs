//! What a caller wants, by the system call it sits in. A request tells neither whether a symlink is read or followed nor
//! whether an open would have created.
//!
//! A number is taken for what it says only where no other calling convention gives it to a call that does harm under that
//! guise: `/proc/<tid>/syscall` does not tell a 32-bit caller from one of our own kind. Whatever is not listed is
//! [`Purpose::Unseen`], and that is decided against the caller.

use crate::types::{OpenFlags, SystemCall};

/// What a system call is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// readlink(2), readlinkat(2): the last component of its path is read, the others are followed.
    ReadLink,
    /// An open with these flags.
    Open(OpenFlags),
    /// openat2(2): the flags are the first 8 bytes at this address of the caller's memory.
    OpenHow(u64),
    /// Takes a path and opens nothing that it could have created.
    Other,
    /// Nobody can tell.
    Unseen,
}

/// Whose a lock is that a caller asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// The process's (POSIX).
    Process,
    /// The open file's (OFD).
    OpenFile,
}

/// The numbers of fcntl(2), of our own kind and of 32-bit callers (fcntl and fcntl64 of i386 and ARM). Only such a call asks for a
/// record lock, whatever else has these numbers elsewhere.
const FCNTL: &[i64] = &[libc::SYS_fcntl, 55, 221];

/// The commands of fcntl(2) for the locks of open files.
const OPEN_FILE_COMMANDS: [i32; 3] = [libc::F_OFD_GETLK, libc::F_OFD_SETLK, libc::F_OFD_SETLKW];

/// Whose the lock is that a system call asks for; `None` for what asks for none.
pub fn lock_kind(call: SystemCall) -> Option<LockKind> {
    if !FCNTL.contains(&call.number) {
        return None;
    }
    let command = i32::try_from(call.arguments[1] & 0xffff_ffff).ok()?;
    Some(match OPEN_FILE_COMMANDS.contains(&command) {
        true => LockKind::OpenFile,
        false => LockKind::Process,
    })
}

/// The numbers of calls that take a path and neither open nor create a regular file by it.
///
/// On aarch64 setxattr(2) and getxattr(2) are left out: their numbers are those of open(2) and creat(2) for 32-bit ARM.
const OTHERS: &[i64] = &[
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_statfs,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_utimensat,
    libc::SYS_truncate,
    libc::SYS_linkat,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_renameat,
    libc::SYS_mkdirat,
    libc::SYS_mknodat,
    libc::SYS_symlinkat,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_chdir,
    libc::SYS_chroot,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_inotify_add_watch,
    libc::SYS_fanotify_mark,
    libc::SYS_name_to_handle_at,
    libc::SYS_lsetxattr,
    libc::SYS_lgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_removexattr,
    libc::SYS_lremovexattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_setxattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_getxattr,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lstat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chmod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_link,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_symlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utime,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_utimes,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_futimesat,
];

/// What the system call is for.
pub fn of(call: SystemCall) -> Purpose {
    let flags = |at: usize| Purpose::Open(open_flags(call.arguments[at]));
    match call.number {
        libc::SYS_readlinkat => Purpose::ReadLink,
        libc::SYS_openat => flags(2),
        libc::SYS_openat2 => Purpose::OpenHow(call.arguments[2]),
        libc::SYS_open_by_handle_at => flags(2),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_readlink => Purpose::ReadLink,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_open => flags(1),
        #[cfg(target_arch = "x86_64")]
        libc::SYS_creat => Purpose::Open(open_flags((libc::O_CREAT | libc::O_WRONLY | libc::O_TRUNC) as u64)),
        number if OTHERS.contains(&number) => Purpose::Other,
        _ => Purpose::Unseen,
    }
}

/// Whether a link that overlayfs makes in this call is one of its own, for a copy of what lies below it: not in link(2), nor
/// where it may be that (303 is linkat(2) of i386).
pub fn is_copy_up(call: SystemCall) -> bool {
    let is_link = match call.number {
        libc::SYS_linkat | libc::SYS_name_to_handle_at => true,
        #[cfg(target_arch = "x86_64")]
        libc::SYS_link => true,
        _ => false,
    };
    !is_link && !matches!(of(call), Purpose::Unseen | Purpose::ReadLink)
}

/// Whether the system call may have the kernel read a file into its page cache, and move bytes from there: splice(2), sendfile(2),
/// copy_file_range(2), readahead(2), posix_fadvise(2).
pub fn may_splice(call: SystemCall) -> bool {
    // The last ones are those of i386 and of 32-bit ARM.
    const NUMBERS: &[i64] = &[
        libc::SYS_splice,
        libc::SYS_sendfile,
        libc::SYS_copy_file_range,
        libc::SYS_io_uring_enter,
        libc::SYS_readahead,
        libc::SYS_fadvise64,
        187,
        225,
        239,
        250,
        270,
        272,
        313,
        340,
        377,
        391,
    ];
    NUMBERS.contains(&call.number)
}

/// What a system call takes from a file to give it to another, or to a pipe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Splice {
    /// The file's descriptor.
    pub descriptor: u64,
    /// Where in the caller's memory the offset is; 0: the position of the open file.
    pub offset_at: u64,
    /// Bytes.
    pub len: u64,
}

/// The arguments of sendfile(2), splice(2) and copy_file_range(2); `None` for other calls, and for 32-bit callers.
pub fn splice_of(call: SystemCall) -> Option<Splice> {
    let [descriptor, offset_at, len] = match call.number {
        libc::SYS_sendfile => [1, 2, 3],
        libc::SYS_splice | libc::SYS_copy_file_range => [0, 1, 4],
        _ => return None,
    }
    .map(|argument| call.arguments[argument]);
    Some(Splice {
        descriptor: descriptor & 0xffff_ffff,
        offset_at,
        len,
    })
}

/// Where in the caller's memory the path of a readlink(2) or readlinkat(2) is.
pub fn path_argument(call: SystemCall) -> u64 {
    match call.number {
        libc::SYS_readlinkat => call.arguments[1],
        _ => call.arguments[0],
    }
}

/// open(2) takes an int; what a register holds beyond it is nobody's. In the struct of openat2(2) such bits are EINVAL.
pub fn open_flags(register: u64) -> OpenFlags {
    let [a, b, c, d, ..] = register.to_le_bytes();
    OpenFlags(u32::from_le_bytes([a, b, c, d]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_tells_whose_a_lock_is() {
        let ask = |number, command: i32| {
            let arguments = [3, u64::from(command.cast_unsigned()), 0, 0, 0, 0];
            lock_kind(SystemCall { number, arguments })
        };
        assert_eq!(ask(libc::SYS_fcntl, libc::F_SETLK), Some(LockKind::Process));
        assert_eq!(ask(libc::SYS_fcntl, libc::F_OFD_SETLKW), Some(LockKind::OpenFile));
        assert_eq!(ask(221, 13), Some(LockKind::Process), "F_SETLK64 of a 32-bit caller");
        assert_eq!(ask(221, libc::F_OFD_SETLK), Some(LockKind::OpenFile));
        assert_eq!(ask(libc::SYS_read, libc::F_OFD_SETLK), None);
    }

    #[test]
    fn splices_tell_what_they_take() {
        let arguments = [10, 11, 12, 13, 14, 15];
        let of = |number| splice_of(SystemCall { number, arguments });
        let splice = |descriptor, offset_at, len| {
            Some(Splice {
                descriptor,
                offset_at,
                len,
            })
        };
        assert_eq!(of(libc::SYS_sendfile), splice(11, 12, 13));
        assert_eq!(of(libc::SYS_splice), splice(10, 11, 14));
        assert_eq!(of(libc::SYS_copy_file_range), splice(10, 11, 14));
        assert_eq!(of(libc::SYS_read), None);
    }

    fn call(number: i64, arguments: [u64; 6]) -> Purpose {
        of(SystemCall { number, arguments })
    }

    #[test]
    fn opens_tell_their_flags() {
        let flags = (libc::O_CREAT | libc::O_RDWR) as u64;
        let expected = Purpose::Open(open_flags(flags));
        assert_eq!(call(libc::SYS_openat, [0, 0, flags, 0, 0, 0]), expected);
        assert_eq!(
            call(libc::SYS_openat, [0, 0, flags | 1 << 40, 0, 0, 0]),
            expected,
            "an int"
        );
        assert_eq!(call(libc::SYS_openat2, [0, 0, 77, 24, 0, 0]), Purpose::OpenHow(77));
        assert!(open_flags(flags).creates_or_takes());
        let exclusive = open_flags(flags | libc::O_EXCL as u64);
        assert!(!exclusive.creates_or_takes());
        assert!(!open_flags(flags | libc::O_PATH as u64).creates_or_takes());
    }

    #[test]
    fn what_splices_is_known() {
        let splices = |number| {
            may_splice(SystemCall {
                number,
                arguments: [0; 6],
            })
        };
        assert!(splices(libc::SYS_sendfile) && splices(libc::SYS_splice) && splices(libc::SYS_copy_file_range));
        assert!(!splices(-1) && !splices(libc::SYS_read) && !splices(libc::SYS_write));
    }

    #[test]
    fn a_link_is_no_copy() {
        let is_copy_up = |number| {
            is_copy_up(SystemCall {
                number,
                arguments: [0; 6],
            })
        };
        assert!(is_copy_up(libc::SYS_openat) && is_copy_up(libc::SYS_fchmodat));
        assert!(!is_copy_up(libc::SYS_linkat) && !is_copy_up(-1));
    }

    #[test]
    #[cfg(target_arch = "x86_64")]
    fn the_older_calls_of_x86_tell_too() {
        let flags = libc::O_CREAT as u64;
        assert_eq!(call(2, [0, flags, 0, 0, 0, 0]), Purpose::Open(open_flags(flags)));
        let Purpose::Open(made) = call(85, [0; 6]) else {
            panic!()
        };
        assert!(made.creates_or_takes() && made.writes());
        assert_eq!(call(89, [0; 6]), Purpose::ReadLink);
        assert_eq!(call(267, [0; 6]), Purpose::ReadLink);
        assert_eq!(call(4, [0; 6]), Purpose::Other);
    }

    /// The 32-bit numbers of open, creat, openat and readlink, io_uring_enter, x32's readlink, none.
    #[test]
    #[cfg(target_arch = "x86_64")]
    fn what_may_be_something_else_is_unseen() {
        for number in [5, 8, 295, 305, 426, 0x4000_0059, -1, 0, 1] {
            assert_eq!(call(number, [0; 6]), Purpose::Unseen, "{number}");
        }
    }
}
