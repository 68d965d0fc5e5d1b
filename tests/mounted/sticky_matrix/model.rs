//! What semantics 3.2, 3.3 and 3.4 say of one operation by one caller on one object, written down from their text; and what
//! Linux says with `fs.protected_*` at their strictest. Knows only numbers: neither owltmp nor a filesystem.

use crate::common::Errno;
use crate::common::identity::{ALICE, CAROL, Identity, ROOT, SHARED};

/// Whose directory it is, in every case.
pub const DIRECTORY_OWNER: Identity = CAROL;
/// Whose file the links lead to.
pub const TARGET_OWNER: Identity = ROOT;
/// A user who makes himself root of a user namespace.
pub const DAVE: Identity = Identity {
    uid: 60_004,
    gid: 60_004,
    groups: &[SHARED],
};

/// Modes of the directory that holds the object; its group is [`SHARED`], to which all but Carol belong.
pub const MODES: [u32; 5] = [0o755, 0o777, 0o1755, 0o1777, 0o1770];

/// Owners of the object: somebody, the directory's owner, and root in a directory of somebody else.
pub const OWNERS: [Identity; 3] = [ALICE, DIRECTORY_OWNER, ROOT];

/// What is in the directory. Everybody may read and write it, as far as its permission bits go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    File,
    Fifo,
    Socket,
    Directory,
    LinkToFile,
    LinkToDirectory,
    Dangling,
}

/// All of them.
pub const KINDS: [Kind; 7] = [
    Kind::File,
    Kind::Fifo,
    Kind::Socket,
    Kind::Directory,
    Kind::LinkToFile,
    Kind::LinkToDirectory,
    Kind::Dangling,
];

/// What is done to its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    OpenRead,
    OpenWrite,
    OpenCreate,
    OpenCreateRead,
    OpenExclusive,
    OpenNoFollow,
    Stat,
    Chdir,
    /// stat(2) of a name below it.
    Below,
    Lstat,
    Readlink,
    /// readlink(2) of a name below it.
    ReadlinkBelow,
    Link,
    LinkFollowed,
}

/// All of them.
pub const OPERATIONS: [Operation; 14] = [
    Operation::OpenRead,
    Operation::OpenWrite,
    Operation::OpenCreate,
    Operation::OpenCreateRead,
    Operation::OpenExclusive,
    Operation::OpenNoFollow,
    Operation::Stat,
    Operation::Chdir,
    Operation::Below,
    Operation::Lstat,
    Operation::Readlink,
    Operation::ReadlinkBelow,
    Operation::Link,
    Operation::LinkFollowed,
];

/// Who asks. A root of a user namespace is, to the rules, who he is outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caller {
    User(Identity),
    NamespaceRoot(Identity),
}

/// The owner, another, the directory's owner, root, and two with all capabilities in user namespaces of their own.
pub const CALLERS: [Caller; 6] = [
    Caller::User(ALICE),
    Caller::User(crate::common::identity::BOB),
    Caller::User(DIRECTORY_OWNER),
    Caller::User(ROOT),
    Caller::NamespaceRoot(DAVE),
    Caller::NamespaceRoot(ALICE),
];

impl Caller {
    fn uid(self) -> u32 {
        let (Self::User(who) | Self::NamespaceRoot(who)) = self;
        who.uid
    }
}

/// One field of the matrix.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    pub mode: u32,
    pub kind: Kind,
    pub owner: Identity,
    pub caller: Caller,
    pub operation: Operation,
}

/// Whose rules are in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    Nobodys,
    Kernels,
    Owltmps,
}

impl Kind {
    fn is_link(self) -> bool {
        matches!(self, Self::LinkToFile | Self::LinkToDirectory | Self::Dangling)
    }

    /// What is found there if no rule is in the way: the errno, or None for success.
    fn plainly(self, operation: Operation) -> Option<Errno> {
        use Operation::*;
        let (file, below) = match self {
            Self::File | Self::LinkToFile => (None, Some(Errno::NOTDIR)),
            Self::Fifo => (None, Some(Errno::NOTDIR)),
            Self::Socket => (Some(Errno::NXIO), Some(Errno::NOTDIR)),
            Self::Directory | Self::LinkToDirectory => (Some(Errno::ISDIR), None),
            Self::Dangling => (Some(Errno::NOENT), Some(Errno::NOENT)),
        };
        match operation {
            // Nobody reads from the FIFO.
            OpenWrite if self == Self::Fifo => Some(Errno::NXIO),
            OpenCreate | OpenCreateRead if self == Self::Dangling => None,
            OpenWrite | OpenCreate | OpenCreateRead => file,
            OpenExclusive => Some(Errno::EXIST),
            OpenNoFollow if self.is_link() => Some(Errno::LOOP),
            OpenRead | OpenNoFollow => file.filter(|&it| it != Errno::ISDIR),
            Stat => below.filter(|_| self == Self::Dangling),
            Chdir | Below | ReadlinkBelow => below,
            Lstat => None,
            Readlink => (!self.is_link()).then_some(Errno::INVAL),
            LinkFollowed if self == Self::Dangling => Some(Errno::NOENT),
            LinkFollowed if self == Self::LinkToDirectory => Some(Errno::PERM),
            Link | LinkFollowed => (self == Self::Directory).then_some(Errno::PERM),
        }
    }
}

impl Case {
    fn sticky(&self) -> bool {
        self.mode & 0o1000 != 0
    }

    /// The operation goes through the object, if that is a symlink.
    fn follows(&self) -> bool {
        use Operation::*;
        let through = [
            OpenRead,
            OpenWrite,
            OpenCreate,
            OpenCreateRead,
            Stat,
            Chdir,
            Below,
            ReadlinkBelow,
            LinkFollowed,
        ];
        self.kind.is_link() && through.contains(&self.operation)
    }

    /// 3.2: a symlink in a sticky directory leads on only those who made it, or all if the directory's owner made it.
    fn follow_refused(&self, rules: Rules) -> bool {
        let middle = matches!(self.operation, Operation::Below | Operation::ReadlinkBelow);
        let governed = self.sticky() && (rules == Rules::Owltmps || self.mode & 0o002 != 0 && !middle);
        governed && self.follows() && self.owner != DIRECTORY_OWNER && self.owner.uid != self.caller.uid()
    }

    /// Whose inode link(2) would give a name, and whether it is a regular file (that all may read and write).
    fn source(&self) -> Option<(Identity, bool)> {
        match (self.operation, self.kind) {
            (Operation::LinkFollowed, Kind::LinkToFile) => Some((TARGET_OWNER, true)),
            (Operation::Link | Operation::LinkFollowed, kind) => Some((self.owner, kind == Kind::File)),
            _ => None,
        }
    }

    /// 3.3: hard links are for the owner and for the real root.
    fn link_refused(&self, rules: Rules) -> bool {
        self.source().is_some_and(|(owner, regular)| {
            let governed = rules == Rules::Owltmps || !regular;
            governed && owner.uid != self.caller.uid() && self.caller != Caller::User(ROOT)
        })
    }

    /// 3.4: who asks for a new file is not given somebody else's, where others can create.
    fn squat_refused(&self) -> bool {
        let creates = matches!(self.operation, Operation::OpenCreate | Operation::OpenCreateRead);
        let governed = self.sticky() && self.mode & 0o022 != 0 && matches!(self.kind, Kind::File | Kind::Fifo);
        creates && governed && self.owner.uid != self.caller.uid() && self.owner != DIRECTORY_OWNER
    }

    /// Linux itself, whatever its sysctls say, gives nobody's socket to who asks for a new file where all can create.
    fn linux_refuses(&self) -> bool {
        let creates = matches!(self.operation, Operation::OpenCreate | Operation::OpenCreateRead);
        let governed = self.sticky() && self.mode & 0o002 != 0 && self.kind == Kind::Socket;
        creates && governed && self.owner.uid != self.caller.uid() && self.owner != DIRECTORY_OWNER
    }

    /// The errno, or None for success.
    pub fn expected(&self, rules: Rules) -> Option<Errno> {
        let plainly = self.kind.plainly(self.operation);
        if self.linux_refuses() {
            return Some(Errno::ACCESS);
        }
        if rules == Rules::Nobodys {
            plainly
        } else if self.follow_refused(rules) || self.squat_refused() {
            Some(Errno::ACCESS)
        } else if plainly.is_none() && self.link_refused(rules) {
            Some(Errno::PERM)
        } else {
            plainly
        }
    }

    /// Why tmpfs with the kernel's rules answers otherwise than owltmp with its own.
    pub fn difference(&self) -> Option<&'static str> {
        let found = DIFFERENCES.iter().find(|(_, applies)| applies(self));
        found.map(|(reason, _)| *reason)
    }
}

type Applies = fn(&Case) -> bool;

/// Where the rules do not coincide. 3.4 is the same as protected_regular = protected_fifos = 2.
const DIFFERENCES: [(&str, Applies); 3] = [
    ("protected_symlinks: only the last component of a path counts", |case| {
        let middle = matches!(case.operation, Operation::Below | Operation::ReadlinkBelow);
        middle && case.follow_refused(Rules::Owltmps)
    }),
    (
        "protected_symlinks: a sticky directory counts only if it is world-writable",
        |case| case.follow_refused(Rules::Owltmps) && case.mode & 0o002 == 0,
    ),
    (
        "protected_hardlinks: a regular file that the caller may read and write is linked by anyone",
        |case| {
            let by_rule = case.link_refused(Rules::Owltmps) && !case.follow_refused(Rules::Owltmps);
            by_rule && case.source().is_some_and(|(_, regular)| regular)
        },
    ),
];
