//! What people are told of a filesystem: who uses how much, what is deleted and still open, who holds locks and who waits. Plain
//! figures; nothing stays locked while they are gathered, so each is true for some moment of that time.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::Filesystem;
use super::wait::binds;
use crate::content::Usage;
use crate::lock::{FileLocks, Held, Waited};
use crate::sys::proc;
use crate::tree::Inode;
use crate::types::{FileType, Ino, Mandatory, NodeId};

/// Threads that are named as having opened a file, for each file.
const MOST_OPENERS: usize = 16;

/// The most inodes that are looked at one by one.
const MOST_INODES: usize = 1 << 22;

/// Whose things are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whose {
    /// Everybody's.
    All,
    /// Those of one user.
    User(u32),
}

impl Whose {
    /// Whether those of this user are among them.
    pub fn includes(self, uid: u32) -> bool {
        match self {
            Whose::All => true,
            Whose::User(own) => own == uid,
        }
    }

    fn user(self) -> Option<u32> {
        match self {
            Whose::All => None,
            Whose::User(uid) => Some(uid),
        }
    }
}

/// What the files of a user are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// How many inodes.
    pub inodes: u64,
    /// Bytes of memory.
    pub bytes: u64,
}

/// A file without a name that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deleted {
    /// Its number.
    pub ino: Ino,
    /// Its type.
    pub file_type: FileType,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes of memory.
    pub bytes: u64,
    /// Its owner.
    pub owner: u32,
    /// How many open files there are of it. None where it is only mapped, or on its way out.
    pub open: u32,
    /// Threads that opened it, some that have ended since included.
    pub openers: Vec<u32>,
}

/// What a walk over all inodes finds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// What belongs to whom, by uid.
    pub users: BTreeMap<u32, Share>,
    /// What has no name and is in use, by inode number.
    pub deleted: Vec<Deleted>,
}

/// A lock that is held, or one that is waited for, and what its process calls itself, where that is there.
#[derive(Clone, Debug)]
pub struct OfProcess<T> {
    /// The lock, or the wait.
    pub it: T,
    /// Whether it is about locks of flock(2).
    pub flock: bool,
    /// The process; 0 where it is not known.
    pub pid: u32,
    /// What it calls itself.
    pub command: Option<String>,
}

/// The locks of one file.
#[derive(Clone, Debug)]
pub struct LockedFile {
    /// Its number.
    pub ino: Ino,
    /// A path of it, as far as one could be found.
    pub path: Option<Vec<u8>>,
    /// Its owner.
    pub owner: u32,
    /// Whether record locks on it bind the reads and writes of others.
    pub binding: bool,
    /// What is held.
    pub held: Vec<OfProcess<Held>>,
    /// How much more.
    pub held_more: usize,
    /// Who waits; with the process that is in the way.
    pub waiting: Vec<(OfProcess<Waited>, Option<OfProcess<Held>>)>,
    /// How many more.
    pub waiting_more: usize,
}

impl LockedFile {
    fn entries(&self) -> usize {
        self.held.len() + self.waiting.len()
    }
}

/// The locks of a filesystem.
#[derive(Clone, Debug, Default)]
pub struct LockedFiles {
    /// Files with locks, by inode number.
    pub files: Vec<LockedFile>,
    /// How many more.
    pub more: usize,
}

/// What processes call themselves, each looked up once.
#[derive(Default)]
struct Commands(HashMap<u32, Option<(u32, String)>>);

impl Commands {
    /// The process of a thread, and its name.
    fn of(&mut self, tid: u32) -> Option<(u32, String)> {
        self.0
            .entry(tid)
            .or_insert_with(|| proc::process_of_thread(tid))
            .clone()
    }

    fn of_process<T>(&mut self, it: T, flock: bool, tid: u32) -> OfProcess<T> {
        let (pid, command) = self.of(tid).unzip();
        OfProcess {
            it,
            flock,
            pid: pid.unwrap_or(tid),
            command,
        }
    }
}

impl Filesystem {
    /// What is used and what may be, by all.
    pub fn room(&self) -> Usage {
        self.let_go();
        self.tree.limits.usage()
    }

    /// What a user uses and may use by the limits for users; `None` where none holds him.
    pub fn room_of(&self, uid: u32) -> Option<Usage> {
        self.tree.limits.usage_of(uid)
    }

    /// How many open files there are.
    pub fn open_files(&self) -> usize {
        self.tree.open_files()
    }

    /// Whether locks are kept here, and not by the kernel.
    pub fn keeps_locks(&self) -> bool {
        self.mandatory != Mandatory::Off
    }

    /// Looks at all inodes; `None` where there are too many. Takes about a second for a million.
    pub fn census(&self) -> Option<Census> {
        self.let_go();
        if self.tree.inode_count() > MOST_INODES {
            return None;
        }
        let mut census = Census::default();
        for inode in self.tree.everything() {
            let attr = inode.attr();
            let bytes = attr.blocks * 512;
            let share = census.users.entry(attr.uid).or_default();
            share.inodes += 1;
            share.bytes += bytes;
            let open = inode.open_count();
            // One that is neither open nor large may be on its way out, and is of no interest.
            if attr.nlink == 0 && (open > 0 || bytes > 0) {
                census.deleted.push(Deleted {
                    ino: attr.ino,
                    file_type: attr.file_type,
                    size: attr.size,
                    bytes,
                    owner: attr.uid,
                    open,
                    openers: Vec::new(),
                });
            }
        }
        census.deleted.sort_unstable_by_key(|it| it.ino);
        let wanted: HashSet<Ino> = census.deleted.iter().map(|it| it.ino).collect();
        let mut openers = self.tree.openers(&wanted, MOST_OPENERS);
        for deleted in &mut census.deleted {
            deleted.openers = openers.remove(&deleted.ino).unwrap_or_default();
        }
        Some(census)
    }

    /// The locks on one file, or on all, up to `most` entries. Of others than `whose` nothing but what is in his way.
    pub fn locks(&self, ino: Option<Ino>, whose: Whose, most: usize) -> LockedFiles {
        let inodes = match ino {
            Some(ino) => self.tree.inode(NodeId(ino.0)).into_iter().collect(),
            None => {
                let mut all = self.tree.lockable();
                all.sort_unstable_by_key(|inode| inode.ino);
                all
            }
        };
        let mut commands = Commands::default();
        let (mut all, mut left) = (LockedFiles::default(), most);
        for inode in inodes {
            let Some(file) = self.locks_on(&inode, whose, left, &mut commands) else {
                continue;
            };
            if left == 0 {
                all.more += 1;
                continue;
            }
            left -= file.entries();
            all.files.push(file);
        }
        all
    }

    /// How many wait for locks.
    pub fn waiting(&self, whose: Whose) -> usize {
        let of = |locks: &FileLocks| locks.waited(&|uid| uid_in(whose, uid), 0).1;
        let of_inode = |inode: &Inode| inode.locks_if_any().map_or(0, |it| of(&it.records) + of(&it.flocks));
        self.tree.lockable().iter().map(|inode| of_inode(inode)).sum()
    }

    /// The locks of one file up to `most` entries; `None` where there are none.
    fn locks_on(&self, inode: &Inode, whose: Whose, most: usize, commands: &mut Commands) -> Option<LockedFile> {
        let locks = inode.locks_if_any()?;
        let (places, owner) = {
            let meta = inode.meta.lock();
            (meta.places.clone(), meta.uid)
        };
        let mut file = LockedFile {
            ino: inode.ino,
            path: None,
            owner,
            binding: binds(inode),
            held: Vec::new(),
            held_more: 0,
            waiting: Vec::new(),
            waiting_more: 0,
        };
        for (locks, flock) in [(&locks.records, false), (&locks.flocks, true)] {
            let (held, more) = locks.held(whose.user(), most - file.entries());
            file.held_more += more;
            for it in held {
                file.held.push(commands.of_process(it, flock, it.lock.pid));
            }
            let (waited, more) = locks.waited(&|uid| uid_in(whose, uid), most - file.entries());
            file.waiting_more += more;
            for it in waited {
                let blocker = it.blocked_by;
                let tid = it.pid.or(it.caller.map(|caller| caller.tid)).unwrap_or(0);
                let in_the_way = blocker.map(|held| commands.of_process(held, flock, held.lock.pid));
                file.waiting.push((commands.of_process(it, flock, tid), in_the_way));
            }
        }
        if file.entries() + file.held_more + file.waiting_more == 0 {
            return None;
        }
        if file.entries() > 0 {
            file.path = self.tree.path_of(inode, &places);
        }
        Some(file)
    }
}

/// Of whom nothing is known, only who sees all is told.
fn uid_in(whose: Whose, uid: Option<u32>) -> bool {
    uid.map_or(whose == Whose::All, |uid| whose.includes(uid))
}
