//! rename(2) in all its forms: one whole change under the rename lock and the locks of both directories.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::changes::{Seed, kill_directory};
use super::entries::Entries;
use super::inode::{Body, Inode};
use super::table::Tree;
use crate::sync::WriteGuard;
use crate::types::{Errno, Ino, Name, NodeId, RenameMode, Timestamp};

/// What is to be renamed, and how.
pub struct Rename<'a> {
    /// The directory that holds the old name.
    pub from: &'a Inode,
    /// The old name.
    pub old: Name<'a>,
    /// The directory that will hold the new name.
    pub to: &'a Inode,
    /// The new name.
    pub new: Name<'a>,
    /// What happens where the new name exists.
    pub mode: RenameMode,
    /// What is left at the old name (RENAME_WHITEOUT).
    pub whiteout: Option<Seed>,
}

/// The entries of the two directories of a rename, both locked; one where they are the same.
struct Locked<'a> {
    from: WriteGuard<'a, Entries>,
    /// `None` where it is the same directory.
    to: Option<WriteGuard<'a, Entries>>,
}

impl<'a> Locked<'a> {
    /// Preconditions: the rename lock is held, so nobody else locks two directories, whatever the order.
    fn both(from: &'a Inode, to: &'a Inode) -> Result<Locked<'a>, Errno> {
        let target = to.entries()?;
        let locked = Locked {
            from: from.entries()?.write(),
            to: (from.ino != to.ino).then(|| target.write_second()),
        };
        locked.from.check_alive()?;
        locked.to().check_alive()?;
        Ok(locked)
    }

    fn to(&self) -> &Entries {
        self.to.as_deref().unwrap_or(&self.from)
    }

    fn to_mut(&mut self) -> &mut Entries {
        self.to.as_deref_mut().unwrap_or(&mut self.from)
    }
}

impl Tree {
    /// Renames. Errors: ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY; EINVAL where a directory would come to lie below
    /// itself; ENOSPC. Whatever the error, nothing was changed.
    pub fn rename(&self, request: Rename<'_>) -> Result<(), Errno> {
        let rename = self.rename.lock();
        let mut locked = Locked::both(request.from, request.to)?;
        let moved = Arc::clone(locked.from.get(request.old).ok_or(Errno::ENOENT)?);
        let target = locked.to().get(request.new).cloned();
        if self.is_within(request.to.ino, &moved) {
            return Err(Errno::EINVAL);
        }
        let victim = match (request.mode, target) {
            (RenameMode::NoReplace, Some(_)) => return Err(Errno::EEXIST),
            (RenameMode::Exchange, None) => return Err(Errno::ENOENT),
            // Two names of one inode: rename(2) leaves both.
            (_, Some(target)) if Arc::ptr_eq(&target, &moved) => return Ok(()),
            (RenameMode::Exchange, Some(target)) => {
                if self.is_within(request.from.ino, &target) {
                    return Err(Errno::EINVAL);
                }
                self.exchange(&request, &mut locked, &moved, &target);
                return Ok(());
            }
            (_, victim) => victim,
        };
        self.replace(request, &mut locked, &moved, victim.as_ref())?;
        drop(locked);
        drop(rename);
        if let Some(victim) = victim {
            self.reap(&victim);
        }
        Ok(())
    }

    /// Whether `ino` is `ancestor` or lies below it. Preconditions: the rename lock is held, so parents stand still.
    fn is_within(&self, ino: Ino, ancestor: &Inode) -> bool {
        if !ancestor.is_directory() {
            return false;
        }
        let mut at = ino;
        while at != ancestor.ino {
            if at == Ino::ROOT {
                return false;
            }
            match self.inode(NodeId(at.0)).ok().and_then(|inode| inode.parent()) {
                Some(parent) => at = parent,
                None => return false,
            }
        }
        true
    }

    fn replace(
        &self,
        request: Rename<'_>,
        locked: &mut Locked<'_>,
        moved: &Arc<Inode>,
        victim: Option<&Arc<Inode>>,
    ) -> Result<(), Errno> {
        if let Some(victim) = victim {
            match (moved.is_directory(), victim.is_directory()) {
                (false, true) => return Err(Errno::EISDIR),
                (true, false) => return Err(Errno::ENOTDIR),
                // It holds the old name; and its entries are locked already.
                _ if victim.ino == request.from.ino => return Err(Errno::ENOTEMPTY),
                _ => {}
            }
        }
        let whiteout = match request.whiteout {
            Some(seed) => Some(self.new_inode(seed, request.from.ino)?),
            None => None,
        };
        if let Some(victim) = victim
            && victim.is_directory()
        {
            kill_directory(victim)?;
        }
        if let Some(whiteout) = &whiteout {
            let mut meta = whiteout.meta.lock();
            meta.nlink = 1;
            meta.arrive(whiteout, request.from.ino);
            drop(meta);
            self.enter(whiteout);
        }
        move_entry((request.old, request.new), locked, moved, victim.is_some(), whiteout)?;
        let now = Timestamp::now();
        if let Some(victim) = victim {
            let home = request.to.meta.lock().home();
            self.drop_name(victim, request.to.ino, home, now);
        }
        self.relocate(moved, request.from, request.to, now);
        settle_directories(request.from, request.to, moved, victim, now);
        Ok(())
    }

    fn exchange(&self, request: &Rename<'_>, locked: &mut Locked<'_>, one: &Arc<Inode>, other: &Arc<Inode>) {
        locked.to_mut().replace(request.new, Arc::clone(one));
        locked.from.replace(request.old, Arc::clone(other));
        let now = Timestamp::now();
        self.relocate(one, request.from, request.to, now);
        self.relocate(other, request.to, request.from, now);
        settle_directories(request.from, request.to, one, None, now);
        settle_directories(request.to, request.from, other, None, now);
    }

    /// An inode has a name in another directory than before, or another name in the same.
    fn relocate(&self, inode: &Arc<Inode>, from: &Inode, to: &Inode, now: Timestamp) {
        let left = from.meta.lock().home();
        let mut meta = inode.meta.lock();
        meta.ctime = now;
        if from.ino != to.ino {
            // Before it leaves: it is never without a place.
            meta.arrive(inode, to.ino);
            self.depart(inode, &mut meta, from.ino, left);
        }
    }
}

/// Moves the entry: first to the new name, which can fail, then from the old, which cannot. An existing new name keeps its
/// place in the directory, so does an entry renamed within its directory, and a whiteout has the place of the old name.
fn move_entry(
    (old, new): (Name<'_>, Name<'_>),
    locked: &mut Locked<'_>,
    moved: &Arc<Inode>,
    replaces: bool,
    whiteout: Option<Arc<Inode>>,
) -> Result<(), Errno> {
    if replaces {
        locked.to_mut().replace(new, Arc::clone(moved));
    } else if locked.to.is_none() && whiteout.is_none() {
        locked.from.rename(old, new);
        return Ok(());
    } else {
        locked.to_mut().insert(new, Arc::clone(moved))?;
    }
    match whiteout {
        Some(whiteout) => locked.from.replace(old, whiteout),
        None => locked.from.remove(old),
    };
    Ok(())
}

/// Times and link counts of the two directories, and the parent of a moved directory.
fn settle_directories(from: &Inode, to: &Inode, moved: &Inode, victim: Option<&Arc<Inode>>, now: Timestamp) {
    if let Body::Directory { parent, .. } = &moved.body {
        parent.store(to.ino.0, Ordering::Relaxed);
    }
    {
        let mut meta = from.meta.lock();
        meta.touch_contents(now);
        meta.nlink = meta.nlink.saturating_sub(u32::from(moved.is_directory()));
    }
    let mut meta = to.meta.lock();
    meta.touch_contents(now);
    meta.nlink += u32::from(moved.is_directory());
    meta.nlink = meta
        .nlink
        .saturating_sub(u32::from(victim.is_some_and(|victim| victim.is_directory())));
}
