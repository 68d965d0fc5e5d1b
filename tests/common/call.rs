//! System calls as values: sent to an actor, performed there, answered. A random sequence of them is a test.

use rustix::io::Errno;

/// A value that can go through a socket.
pub trait Wire: Sized {
    /// Appends it.
    fn put(&self, to: &mut Vec<u8>);
    /// Takes it from the front.
    fn take(from: &mut &[u8]) -> Self;
}

macro_rules! wire_number {
    ($($t:ty),*) => {$(
        impl Wire for $t {
            fn put(&self, to: &mut Vec<u8>) {
                to.extend(self.to_le_bytes());
            }
            fn take(from: &mut &[u8]) -> Self {
                let (head, tail) = from.split_at(size_of::<$t>());
                *from = tail;
                <$t>::from_le_bytes(head.try_into().expect("its size"))
            }
        }
    )*};
}
wire_number!(u8, u32, u64, i64);

impl Wire for Vec<u8> {
    fn put(&self, to: &mut Vec<u8>) {
        u32::try_from(self.len()).expect("a short string").put(to);
        to.extend(self);
    }
    fn take(from: &mut &[u8]) -> Self {
        let len = u32::take(from) as usize;
        let (head, tail) = from.split_at(len);
        *from = tail;
        head.to_vec()
    }
}

impl Wire for String {
    fn put(&self, to: &mut Vec<u8>) {
        self.as_bytes().to_vec().put(to);
    }
    fn take(from: &mut &[u8]) -> Self {
        Self::from_utf8(Vec::take(from)).expect("text")
    }
}

macro_rules! calls {
    ($($(#[$doc:meta])* $name:ident { $($field:ident: $t:ty),* },)*) => {
        /// A system call. Descriptors are slots of the actor's table, paths are relative to its root.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[allow(missing_docs)]
        pub enum Call { $($(#[$doc])* $name { $($field: $t),* }),* }

        #[allow(non_camel_case_types, clippy::upper_case_acronyms)]
        enum Tag { $($name),* }

        impl Wire for Call {
            fn put(&self, to: &mut Vec<u8>) {
                match self {
                    $(Self::$name { $($field),* } => {
                        (Tag::$name as u32).put(to);
                        $($field.put(to);)*
                    })*
                }
            }
            fn take(from: &mut &[u8]) -> Self {
                let tag = u32::take(from);
                $(if tag == Tag::$name as u32 {
                    return Self::$name { $($field: Wire::take(from)),* };
                })*
                panic!("unknown call {tag}");
            }
        }
    };
}

calls! {
    /// openat(2) into a slot, which keeps what it holds if that fails.
    Open { slot: u8, name: String, flags: u32, mode: u32 },
    Close { slot: u8 },
    Mkdir { name: String, mode: u32 },
    Rmdir { name: String },
    Unlink { name: String },
    Mknod { name: String, mode: u32, dev: u64 },
    Symlink { target: String, name: String },
    Readlink { name: String },
    Link { old: String, new: String, flags: u32 },
    /// linkat(2) of an open file through /proc.
    LinkFd { slot: u8, new: String },
    Rename { old: String, new: String, flags: u32 },
    Truncate { name: String, len: i64 },
    Ftruncate { slot: u8, len: i64 },
    Fallocate { slot: u8, mode: u32, offset: i64, len: i64 },
    /// lseek(2); EISDIR on directories, whose positions mean nothing but what readdir gave.
    Seek { slot: u8, offset: i64, whence: u32 },
    Read { slot: u8, len: u32 },
    Pread { slot: u8, len: u32, offset: u64 },
    Write { slot: u8, bytes: Vec<u8> },
    Pwrite { slot: u8, bytes: Vec<u8>, offset: u64 },
    CopyRange { from: u8, from_offset: u64, to: u8, to_offset: u64, len: u64 },
    /// A write through a shared mapping, cut to the file's size.
    MapWrite { slot: u8, bytes: Vec<u8>, offset: u64 },
    /// A read through a shared mapping, cut to the file's size; nothing if that meets a hole, which tmpfs would fill with
    /// pages that it may drop again, so that st_blocks depends on the weather.
    MapRead { slot: u8, len: u32, offset: u64 },
    Fsync { slot: u8 },
    Chmod { name: String, mode: u32 },
    Fchmod { slot: u8, mode: u32 },
    /// fchownat(2); 0xffff_ffff leaves an id alone.
    Chown { name: String, uid: u32, gid: u32, flags: u32 },
    Fchown { slot: u8, uid: u32, gid: u32 },
    /// utimensat(2), the nanoseconds may be UTIME_NOW or UTIME_OMIT.
    Utimens { name: String, atime: i64, atime_ns: i64, mtime: i64, mtime_ns: i64 },
    Setxattr { name: String, key: String, value: Vec<u8>, flags: u32 },
    Getxattr { name: String, key: String },
    Listxattr { name: String },
    Removexattr { name: String, key: String },
    Access { name: String, mode: u32 },
    /// fstatat(2).
    Stat { name: String, flags: u32 },
    Fstat { slot: u8 },
    Statfs { slot: u8 },
    /// Rewinds, then the names and types that one getdents(2) after another gives, to the end.
    ReadDir { slot: u8 },
    Umask { mask: u32 },
    /// flock(2) with LOCK_NB.
    Flock { slot: u8, operation: u32 },
    /// F_SETLK.
    Lock { slot: u8, kind: u32, start: i64, len: i64 },
    /// F_GETLK; the answer holds type, start, length and pid.
    TestLock { slot: u8, kind: u32, start: i64, len: i64 },
    /// execve(2) of a name in a child; the value is its exit status.
    Exec { name: String },
    Chdir { name: String },
    Pid {},
}

/// What came of a call: a value not below 0, or minus an errno; and bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The system call's own result.
    pub value: i64,
    /// What it brought.
    pub data: Vec<u8>,
}

impl Answer {
    /// The errno.
    pub fn errno(&self) -> Option<Errno> {
        (self.value < 0).then(|| Errno::from_raw_os_error(i32::try_from(-self.value).expect("an errno")))
    }

    /// The value, or the errno.
    pub fn result(&self) -> Result<i64, Errno> {
        self.errno().map_or(Ok(self.value), Err)
    }
}

impl std::fmt::Debug for Answer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.errno() {
            Some(errno) => write!(f, "{errno:?}"),
            None if self.data.is_empty() => write!(f, "{}", self.value),
            None if self.data.len() > 64 => write!(f, "{} +{} bytes", self.value, self.data.len()),
            None => write!(f, "{} {:?}", self.value, String::from_utf8_lossy(&self.data)),
        }
    }
}

impl Wire for Answer {
    fn put(&self, to: &mut Vec<u8>) {
        self.value.put(to);
        self.data.put(to);
    }
    fn take(from: &mut &[u8]) -> Self {
        Self {
            value: i64::take(from),
            data: Wire::take(from),
        }
    }
}

/// The attributes of a file as Stat and Fstat answer them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Attr {
    pub ino: u64,
    pub mode: u32,
    pub nlink: u64,
    pub uid: u32,
    pub gid: u32,
    pub rdev: u64,
    pub size: i64,
    pub blocks: i64,
    pub times: Times,
}

/// The times of a file in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Times {
    pub atime: i64,
    pub mtime: i64,
    pub ctime: i64,
}

impl Attr {
    /// From the kernel's form.
    pub fn new(stat: &rustix::fs::Stat) -> Self {
        let ns = |seconds: i64, ns: u64| seconds.wrapping_mul(1_000_000_000).wrapping_add(ns.cast_signed());
        Self {
            ino: stat.st_ino,
            mode: stat.st_mode,
            nlink: stat.st_nlink,
            uid: stat.st_uid,
            gid: stat.st_gid,
            rdev: stat.st_rdev,
            size: stat.st_size,
            blocks: stat.st_blocks,
            times: Times {
                atime: ns(stat.st_atime, stat.st_atime_nsec),
                mtime: ns(stat.st_mtime, stat.st_mtime_nsec),
                ctime: ns(stat.st_ctime, stat.st_ctime_nsec),
            },
        }
    }
}

impl Wire for Attr {
    fn put(&self, to: &mut Vec<u8>) {
        self.ino.put(to);
        self.mode.put(to);
        self.nlink.put(to);
        self.uid.put(to);
        self.gid.put(to);
        self.rdev.put(to);
        self.size.put(to);
        self.blocks.put(to);
        self.times.atime.put(to);
        self.times.mtime.put(to);
        self.times.ctime.put(to);
    }
    fn take(from: &mut &[u8]) -> Self {
        Self {
            ino: Wire::take(from),
            mode: Wire::take(from),
            nlink: Wire::take(from),
            uid: Wire::take(from),
            gid: Wire::take(from),
            rdev: Wire::take(from),
            size: Wire::take(from),
            blocks: Wire::take(from),
            times: Times {
                atime: Wire::take(from),
                mtime: Wire::take(from),
                ctime: Wire::take(from),
            },
        }
    }
}
