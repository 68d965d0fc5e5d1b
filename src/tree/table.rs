//! All inodes of a filesystem, by node id, and when one is let go.

use std::collections::hash_map::RandomState;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use dashmap::DashMap;

use super::changes::Seed;
use super::entries::Entries;
use super::handles::Handles;
use super::inode::{Body, Inode, Meta, Names};
use super::leaving::Leaving;
use super::nodes::OtherNodes;
use super::opened::Opened;
use super::places::Places;
use super::warm::Warm;
use super::xattrs::{Precondition, Xattrs};
use crate::content::{Account, Content, InodeCharge, Limits, PageCharge, Store};
use crate::sync::{Mutex, RENAME, RwLock};
use crate::types::{Errno, FileType, Ino, Mandatory, Name, NodeId, Settings, Timestamp};

/// Symlinks to paths of so many bytes use a page, as on tmpfs (`SHORT_SYMLINK_LEN`, which counts the NUL).
const SHORT_SYMLINK: usize = 128;

/// The parts of the tables of inodes and of open files, each with a lock of its own. So many that a walk over all holds each of
/// them for some tenths of a millisecond only where there are a million.
pub(super) const SHARDS: usize = 256;

/// How many inodes there are, and when so many have gone that the table of them should shrink. Relaxed throughout: exactness is of no use here.
#[derive(Debug, Default)]
struct Population {
    now: AtomicUsize,
    /// The most there were since the table last shrank.
    peak: AtomicUsize,
}

impl Population {
    /// Fewer inodes than these are not worth the work.
    const FEW: usize = 512;

    fn join(&self) {
        let now = self.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.peak.fetch_max(now, Ordering::Relaxed);
    }

    /// Returns whether less than half of the peak is left: so the work is constant per inode, in the long run.
    fn leave(&self) -> bool {
        let now = self.now.fetch_sub(1, Ordering::Relaxed) - 1;
        let peak = self.peak.load(Ordering::Relaxed);
        let shrunk = now.saturating_mul(2).saturating_add(Self::FEW) < peak;
        shrunk
            && self
                .peak
                .compare_exchange(peak, now, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

/// The namespace of one filesystem.
#[derive(Debug)]
pub struct Tree {
    pub(super) inodes: DashMap<NodeId, Arc<Inode>>,
    population: Population,
    /// The next inode number, and the next node id: no two inodes ever share either.
    pub(super) next_ino: AtomicU64,
    name_hasher: RandomState,
    /// What may be used and is.
    pub limits: Arc<Limits>,
    /// Held over every change that locks more than one directory, so that no two such changes can meet.
    pub(super) rename: Mutex<RENAME, ()>,
    pub(super) handles: Handles,
    pub(super) leaving: Arc<Leaving>,
    pub(super) warm: Warm,
    /// Whose reads and writes obey record locks.
    mandatory: Mandatory,
}

/// Directories are emptied one by one: let go of from the root down, each would let go of the next within its own end, and
/// a chain of some ten thousand ends the stack.
impl Drop for Tree {
    fn drop(&mut self) {
        for inode in &self.inodes {
            if let Ok(entries) = inode.entries() {
                entries.write().clear();
            }
        }
    }
}

impl Tree {
    /// A tree with an empty root directory, whose files' contents are kept in the store if there is one. Errors: ENOSPC where
    /// the limits leave no room for it.
    pub fn new(settings: &Settings, store: Option<Arc<Store>>) -> Result<Tree, Errno> {
        let tree = Tree {
            inodes: DashMap::with_shard_amount(SHARDS),
            population: Population::default(),
            next_ino: AtomicU64::new(Ino::ROOT.0),
            name_hasher: RandomState::new(),
            limits: Limits::of(settings, store)?,
            rename: Mutex::new(()),
            handles: Handles::default(),
            leaving: Arc::new(Leaving::new()),
            warm: Warm::default(),
            mandatory: settings.mandatory,
        };
        let root = tree.new_inode(
            Seed {
                file_type: FileType::Directory,
                perm: settings.root_perm,
                uid: settings.root_uid,
                gid: settings.root_gid,
                rdev: 0,
                target: Box::default(),
                xattrs: Vec::new(),
            },
            Ino::ROOT,
        )?;
        root.meta.lock().nlink = 2;
        tree.enter(&root);
        Ok(tree)
    }

    /// The inode of a node id. Errors: ESTALE where there is none.
    pub fn inode(&self, node: NodeId) -> Result<Arc<Inode>, Errno> {
        self.inodes
            .get(&node)
            .map(|entry| Arc::clone(&entry))
            .ok_or(Errno::ESTALE)
    }

    /// Finds a name and counts a reference of the kernel's to what it names, by the node id returned. `see` sees it while it
    /// has that name.
    pub fn lookup(
        &self,
        directory: &Inode,
        name: Name<'_>,
        see: impl FnOnce(&Inode),
    ) -> Result<Option<(Arc<Inode>, NodeId)>, Errno> {
        let entries = directory.entries()?.read();
        Ok(entries.get(name).map(|child| {
            see(child);
            (Arc::clone(child), self.refer(child))
        }))
    }

    /// Counts a reference of the kernel's to a node it may have forgotten: how file handles are opened (name_to_handle_at).
    /// Errors: ESTALE where nothing is left of it.
    pub fn lookup_node(&self, node: NodeId) -> Result<Arc<Inode>, Errno> {
        let inode = self.inode(node)?;
        let mut meta = inode.meta.lock();
        // Found, and forgotten before it was locked: nothing would ever find it by that number again, to forget it.
        let is_of_it = node == inode.node() || meta.others.contains(node);
        if !is_of_it || meta.nlink == 0 && inode.lookups.load(Ordering::Relaxed) == 0 {
            return Err(Errno::ESTALE);
        }
        inode.lookups.fetch_add(1, Ordering::Relaxed);
        meta.others.refer(node);
        drop(meta);
        Ok(inode)
    }

    /// The directory that holds this one, with a reference of the kernel's counted. Errors: ENOTDIR, ESTALE.
    pub fn lookup_parent(&self, directory: &Inode) -> Result<Arc<Inode>, Errno> {
        let parent = directory.parent().ok_or(Errno::ENOTDIR)?;
        self.lookup_node(NodeId(parent.0))
    }

    /// The kernel gives up `count` references.
    pub fn forget(&self, node: NodeId, count: u64) {
        let Ok(inode) = self.inode(node) else {
            return;
        };
        let one_of_many = inode.is_symlink() || node != NodeId(inode.ino.0);
        let mut meta = one_of_many.then(|| inode.meta.lock());
        if meta.as_mut().is_some_and(|meta| meta.others.forget(node, count)) {
            self.inodes.remove(&node);
        }
        let forgotten = inode.lookups.fetch_update(Ordering::AcqRel, Ordering::Relaxed, |held| {
            Some(held.saturating_sub(count))
        });
        drop(meta);
        if forgotten.is_ok_and(|held| held <= count) {
            self.reap(&inode);
        }
    }

    /// Lets go of an inode that has no name, is not open and is unknown to the kernel: its memory is free again when the
    /// last request that works on it is done (semantics 1.3). Preconditions: the caller holds no lock of the inode.
    pub(super) fn reap(&self, inode: &Inode) {
        let meta = inode.meta.lock();
        let nameless = meta.nlink == 0;
        let in_use = inode.lookups.load(Ordering::Acquire) > 0 || inode.opens.load(Ordering::Acquire) > 0;
        if nameless && in_use {
            self.leaving.seen(!inode.leaving.swap(true, Ordering::Relaxed));
        }
        drop(meta);
        let unused = nameless && !in_use;
        // Once unused it stays so: each of the counters grows only where one of them is not zero.
        if unused && inode.ino != Ino::ROOT && self.inodes.remove(&inode.node()).is_some() {
            debug_assert!(
                inode.meta.lock().others.is_empty(),
                "the kernel holds none of its node ids"
            );
            // The bytes are free before it counts as gone.
            let leaving = inode.leaving.load(Ordering::Relaxed).then(|| Arc::clone(&self.leaving));
            let gone = move || leaving.iter().for_each(|leaving| leaving.gone());
            match &inode.body {
                Body::Regular(content) => content.write().discard(gone),
                _ => gone(),
            }
            if self.population.leave() {
                self.inodes.shrink_to_fit();
            }
        }
    }

    /// An inode with a number nobody ever had, not yet to be found. Errors: ENOSPC.
    pub(super) fn new_inode(&self, seed: Seed, parent: Ino) -> Result<Arc<Inode>, Errno> {
        let account = self.limits.account(seed.uid);
        let charge = InodeCharge::inode(Arc::clone(&account))?;
        let now = Timestamp::now();
        let mut meta = Meta {
            perm: seed.perm,
            uid: seed.uid,
            gid: seed.gid,
            nlink: 0,
            atime: now,
            mtime: now,
            ctime: now,
            places: Places::default(),
            departures: 0,
            others: OtherNodes::default(),
            opened: Opened::default(),
            names: Names::default(),
            xattrs: Xattrs::default(),
            charge,
        };
        for (name, value) in &seed.xattrs {
            meta.set_xattr(name, value, Precondition::None)?;
        }
        let body = match seed.file_type {
            FileType::Regular => Body::Regular(RwLock::new(Content::owned_by(account))),
            FileType::Directory => Body::Directory {
                parent: AtomicU64::new(parent.0),
                entries: Box::new(RwLock::new(Entries::new(self.name_hasher.clone()))),
            },
            FileType::Symlink => Body::Symlink {
                charge: RwLock::new(symlink_charge(account, &seed.target)?),
                target: seed.target,
            },
            _ => Body::Special(seed.rdev),
        };
        let ino = Ino(self.next_ino.fetch_add(1, Ordering::Relaxed));
        Ok(Arc::new(Inode {
            ino,
            node: AtomicU64::new(ino.0),
            file_type: seed.file_type,
            btime: now,
            meta: Mutex::new(meta),
            body,
            lookups: AtomicU64::new(0),
            opens: AtomicU32::new(0),
            leaving: AtomicBool::new(false),
            aged: AtomicBool::new(false),
            mandatory: self.mandatory,
            doubts: AtomicU32::new(1),
            passing: AtomicU32::new(0),
            locks: OnceLock::new(),
        }))
    }

    /// Makes a new inode known by its node id.
    pub(super) fn enter(&self, inode: &Arc<Inode>) {
        self.inodes.insert(inode.node(), Arc::clone(inode));
        self.population.join();
    }

    /// The number of inodes there are, the root included.
    pub fn inode_count(&self) -> usize {
        self.population.now.load(Ordering::Relaxed)
    }
}

fn symlink_charge(account: Arc<Account>, target: &[u8]) -> Result<PageCharge, Errno> {
    let mut charge = PageCharge::to(account);
    if target.len() >= SHORT_SYMLINK {
        charge.grow(1)?;
    }
    Ok(charge)
}
