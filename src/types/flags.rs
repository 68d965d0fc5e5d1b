//! Flag words that callers pass, as types.

/// The flags of open(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OpenFlags(pub u32);

impl OpenFlags {
    fn has(self, flag: i32) -> bool {
        self.0 & flag.cast_unsigned() != 0
    }

    /// O_TRUNC: the open empties the file.
    pub fn truncates(self) -> bool {
        self.has(libc::O_TRUNC)
    }

    /// O_EXCL: with O_CREAT the name must be new.
    pub fn exclusive(self) -> bool {
        self.has(libc::O_EXCL)
    }

    /// Opened for reading, with or without writing.
    pub fn reads(self) -> bool {
        matches!(self.0.cast_signed() & libc::O_ACCMODE, libc::O_RDONLY | libc::O_RDWR)
    }

    /// Opened for writing, with or without reading.
    pub fn writes(self) -> bool {
        matches!(self.0.cast_signed() & libc::O_ACCMODE, libc::O_WRONLY | libc::O_RDWR)
    }

    /// O_CREAT without O_EXCL: makes the file, or takes the one that is there. O_PATH leaves both without meaning.
    pub fn creates_or_takes(self) -> bool {
        self.has(libc::O_CREAT) && !self.has(libc::O_EXCL) && !self.has(libc::O_PATH)
    }

    /// O_NONBLOCK: what would have to wait is refused.
    pub fn non_blocking(self) -> bool {
        self.has(libc::O_NONBLOCK)
    }

    /// O_APPEND: writes go to the end of the file.
    pub fn appends(self) -> bool {
        self.has(libc::O_APPEND)
    }

    /// The kernel opens it to execute it (`__FMODE_EXEC` of fs.h).
    pub fn executes(self) -> bool {
        self.has(0x20)
    }

    /// O_NOATIME: reads leave the access time.
    pub fn no_atime(self) -> bool {
        self.has(libc::O_NOATIME)
    }
}

/// What rename does where both names exist (renameat2(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RenameMode {
    /// The new name is replaced.
    Replace,
    /// RENAME_NOREPLACE: EEXIST where the new name exists.
    NoReplace,
    /// RENAME_EXCHANGE: the two change places.
    Exchange,
}
