//! What a filesystem is made with: the resolved options that change how it behaves.

/// When a read updates the access time (mount(8)).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AtimePolicy {
    /// Never.
    NoAtime,
    /// When it is not later than mtime or ctime, or a day old. The kernel's default.
    #[default]
    Relatime,
    /// Always.
    Strict,
}

/// What is done about a step that a rule forbids (semantics 3.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// The rule does not exist.
    Off,
    /// The step is allowed, and an event records it.
    Log,
    /// The step is refused, and an event records it.
    #[default]
    On,
    /// As `On`, and of a forbidden symlink the path cannot be read either.
    Strict,
}

/// How the rules for sticky directories are enforced.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Following symlinks (`symlinks=`, semantics 3.2).
    pub symlinks: Enforcement,
    /// Hard links to the files of others (`hardlinks=`, semantics 3.3).
    pub hardlinks: Enforcement,
    /// Opening what others have put in the place of a new file (`squatting=`, semantics 3.4).
    pub squatting: Enforcement,
}

/// Whose reads and writes obey the record locks of others (`mand=`, semantics 5.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mandatory {
    /// Nobody's: the kernel keeps the locks by itself.
    Off,
    /// Those of marked files.
    #[default]
    Marked,
    /// Those of marked files, also through descriptors opened before the mark.
    Full,
    /// Those of all regular files.
    All,
}

/// The settings of one filesystem. Sizes and counts are limits; `None` is no limit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Bytes all contents together may use (`size=`), a multiple of the page size.
    pub max_bytes: Option<u64>,
    /// Inodes that may exist (`nr_inodes=`), the root included.
    pub max_inodes: Option<u64>,
    /// Bytes the contents of one user's files may use (`user_size=`), a multiple of the page size; root has no such limit.
    pub user_bytes: Option<u64>,
    /// Inodes of one user that may exist (`user_inodes=`); root has no such limit.
    pub user_inodes: Option<u64>,
    /// Permission bits of the root directory (`mode=`).
    pub root_perm: u32,
    /// Owner of the root directory (`uid=`).
    pub root_uid: u32,
    /// Group of the root directory (`gid=`).
    pub root_gid: u32,
    /// Permission bits that no new inode gets, unless a default ACL decides (`umask=`).
    pub umask: u32,
    /// How the rules for sticky directories are enforced.
    pub rules: Rules,
    /// Whose reads and writes obey the record locks of others (`mand=`).
    pub mandatory: Mandatory,
    /// When reads update the access time.
    pub atime: AtimePolicy,
    /// Whether reading a directory updates its access time (`diratime`).
    pub diratime: bool,
}
