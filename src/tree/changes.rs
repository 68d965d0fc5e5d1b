//! Making and removing names: each function is one whole change, checked and made under one hold of the directory's lock
//! (semantics 2.1).

use std::sync::Arc;

use super::inode::{Inode, Meta};
use super::places::Places;
use super::table::Tree;
use crate::content::INODE_SPACE;
use crate::policy::verdict::Home;
use crate::types::{Errno, FileType, Ino, Name, NodeId, Timestamp};

/// What a new inode is made from; all of it is in place before anyone can see a name (semantics 2.2).
#[derive(Debug)]
pub struct Seed {
    /// Its type.
    pub file_type: FileType,
    /// Permission bits.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Device number of a device node, as the FUSE protocol packs it.
    pub rdev: u32,
    /// What a symlink points to.
    pub target: Box<[u8]>,
    /// Extended attributes it is born with: ACLs.
    pub xattrs: Vec<(&'static [u8], Vec<u8>)>,
}

impl Tree {
    /// Makes a new inode under a name that does not exist yet, with a reference of the kernel's counted. `decide` turns the
    /// attributes of the directory into what is made, and `prepare` does with it what must not fail once it has its name.
    /// Errors: EEXIST, ENOSPC, ENOTDIR, ENOENT in a removed directory.
    pub fn create<T>(
        &self,
        directory: &Inode,
        name: Name<'_>,
        decide: impl FnOnce(&Meta) -> Result<Seed, Errno>,
        prepare: impl FnOnce(&Inode) -> Result<T, Errno>,
    ) -> Result<(Arc<Inode>, T), Errno> {
        let mut entries = directory.entries()?.write();
        entries.check_alive()?;
        if entries.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let seed = decide(&directory.meta.lock())?;
        let child = self.new_inode(seed, directory.ino)?;
        let prepared = prepare(&child)?;
        {
            let mut meta = child.meta.lock();
            meta.nlink = if child.is_directory() { 2 } else { 1 };
            meta.arrive(&child, directory.ino);
        }
        self.refer_first(&child);
        entries.insert(name, Arc::clone(&child))?;
        self.enter(&child);
        let mut meta = directory.meta.lock();
        meta.touch_contents(child.btime);
        if child.is_directory() {
            meta.nlink += 1;
        }
        Ok((child, prepared))
    }

    /// Makes an inode without a name (O_TMPFILE), with a reference of the kernel's counted; also in a removed directory, as
    /// tmpfs does. Errors: ENOSPC, ENOTDIR.
    pub fn create_nameless<T>(
        &self,
        directory: &Inode,
        decide: impl FnOnce(&Meta) -> Result<Seed, Errno>,
        prepare: impl FnOnce(&Inode) -> Result<T, Errno>,
    ) -> Result<(Arc<Inode>, T), Errno> {
        directory.entries()?;
        let seed = decide(&directory.meta.lock())?;
        let child = self.new_inode(seed, directory.ino)?;
        let prepared = prepare(&child)?;
        self.refer_first(&child);
        self.enter(&child);
        Ok((child, prepared))
    }

    /// Gives an inode one more name, with a reference of the kernel's counted by the node id returned. As on tmpfs each name
    /// but the first counts as an inode. `allow` has the last word on the inode as it is then. Errors: EEXIST, EPERM for a
    /// directory, EMLINK, ENOSPC, ENOTDIR; ENOENT in a removed directory, and for what has lost its last name.
    pub fn link(
        &self,
        inode: &Arc<Inode>,
        directory: &Inode,
        name: Name<'_>,
        allow: impl FnOnce(&Meta) -> Result<(), Errno>,
    ) -> Result<NodeId, Errno> {
        if inode.is_directory() {
            return Err(Errno::EPERM);
        }
        let mut entries = directory.entries()?.write();
        entries.check_alive()?;
        if entries.get(name).is_some() {
            return Err(Errno::EEXIST);
        }
        let now = Timestamp::now();
        {
            let mut meta = inode.meta.lock();
            allow(&meta)?;
            // What has lost its last name gets none again, as in Linux; only what never had one does (O_TMPFILE). The
            // kernel does not always know: it may have an old node of a symlink in hand.
            if meta.nlink == 0 && meta.places != Places::Nowhere {
                return Err(Errno::ENOENT);
            }
            let nlink = meta.nlink.checked_add(1).ok_or(Errno::EMLINK)?;
            if meta.nlink > 0 {
                meta.charge.grow(INODE_SPACE)?;
            }
            meta.nlink = nlink;
            meta.ctime = now;
            meta.arrive(inode, directory.ino);
        }
        if let Err(error) = entries.insert(name, Arc::clone(inode)) {
            let home = directory.meta.lock().home();
            self.drop_name(inode, directory.ino, home, now);
            return Err(error);
        }
        let node = self.refer(inode);
        directory.meta.lock().touch_contents(now);
        Ok(node)
    }

    /// Removes a name of something that is no directory. Errors: ENOENT, EISDIR.
    pub fn unlink(&self, directory: &Inode, name: Name<'_>) -> Result<(), Errno> {
        let mut entries = directory.entries()?.write();
        match entries.get(name) {
            None => return Err(Errno::ENOENT),
            Some(child) if child.is_directory() => return Err(Errno::EISDIR),
            Some(_) => {}
        }
        let child = entries.remove(name).ok_or(Errno::ENOENT)?;
        let now = Timestamp::now();
        let home = {
            let mut meta = directory.meta.lock();
            meta.touch_contents(now);
            meta.home()
        };
        self.drop_name(&child, directory.ino, home, now);
        drop(entries);
        self.reap(&child);
        Ok(())
    }

    /// Removes an empty directory. Errors: ENOENT, ENOTDIR, ENOTEMPTY.
    pub fn rmdir(&self, directory: &Inode, name: Name<'_>) -> Result<(), Errno> {
        let rename = self.rename.lock();
        let mut entries = directory.entries()?.write();
        let child = Arc::clone(entries.get(name).ok_or(Errno::ENOENT)?);
        kill_directory(&child)?;
        entries.remove(name);
        let now = Timestamp::now();
        let home = {
            let mut meta = directory.meta.lock();
            meta.touch_contents(now);
            meta.nlink = meta.nlink.saturating_sub(1);
            meta.home()
        };
        self.drop_name(&child, directory.ino, home, now);
        drop(entries);
        drop(rename);
        self.reap(&child);
        Ok(())
    }

    /// Takes away one name of an inode, in `directory`, which is like `home`.
    pub(super) fn drop_name(&self, inode: &Arc<Inode>, directory: Ino, home: Home, now: Timestamp) {
        let mut meta = inode.meta.lock();
        meta.ctime = now;
        self.drop_name_locked(inode, &mut meta, directory, home);
    }

    /// As [`Tree::drop_name`], without marking the time. Preconditions: `meta` is the inode's.
    pub(super) fn drop_name_locked(&self, inode: &Arc<Inode>, meta: &mut Meta, directory: Ino, home: Home) {
        if meta.nlink > 1 {
            meta.charge.shrink(INODE_SPACE);
        }
        meta.nlink = meta.nlink.saturating_sub(1);
        self.depart(inode, meta, directory, home);
    }
}

/// Marks a directory removed. Preconditions: the rename lock is held, so locking it beside its parent cannot deadlock.
/// Errors: ENOTDIR, ENOTEMPTY.
pub(super) fn kill_directory(directory: &Inode) -> Result<(), Errno> {
    directory.entries()?.write_second().kill()?;
    directory.meta.lock().nlink = 0;
    Ok(())
}
