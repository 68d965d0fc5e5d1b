//! Taking away what nobody has touched for long. Whether it may go is looked at, and it goes, under one hold of the locks: nobody
//! can open, touch, rename or replace it in between. Who found it in the kernel's cache just before is told ESTALE when he comes.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entries::Entries;
use super::inode::{Inode, Meta};
use super::table::Tree;
use crate::policy::ageing::{Facts, Spared, judge};
use crate::sync::WriteGuard;
use crate::types::{Cookie, Ino, Name, NodeId, Timestamp};

/// What may go, and how it was come by.
#[derive(Clone, Copy, Debug)]
pub struct Aged<'a> {
    /// The directory in which it was found.
    pub directory: &'a Inode,
    /// The name by which.
    pub name: Name<'a>,
    /// What it was.
    pub child: &'a Arc<Inode>,
    /// What was touched at this moment or later is young.
    pub cut_off: Timestamp,
}

/// Whether it is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It is done.
    Remove,
    /// It is only looked whether it would be: a directory as if it were empty.
    Look,
}

/// What went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// By what the kernel knows it.
    pub node: NodeId,
    /// Whether that was its last name.
    pub last: bool,
    /// Its owner.
    pub owner: u32,
    /// When it was last touched.
    pub touched: Timestamp,
}

impl Tree {
    /// Takes a name away if what it names is still the same, was not touched since, and is not in use. No times are marked: what
    /// the cleaner does keeps nothing young, neither the directory nor what has another name.
    pub fn remove_aged(&self, aged: &Aged<'_>, stage: Stage) -> Result<Gone, Spared> {
        let gone = match aged.child.is_directory() {
            true => self.remove_aged_directory(aged, stage)?,
            false => self.remove_aged_file(aged, stage)?,
        };
        if stage == Stage::Remove {
            self.reap(aged.child);
        }
        Ok(gone)
    }

    fn remove_aged_file(&self, aged: &Aged<'_>, stage: Stage) -> Result<Gone, Spared> {
        let Aged { directory, child, .. } = *aged;
        let mut entries = named(aged)?;
        let home = directory.meta.lock().home();
        if is_locked(child) {
            return Err(Spared::InUse);
        }
        let mut content = child.content().ok().map(|content| content.write());
        let mapped = content.as_mut().is_some_and(|content| content.is_mapped());
        let mut meta = child.meta.lock();
        if let Some(content) = &mut content {
            meta.absorb(content.look());
        }
        let gone = judged(aged, &meta, mapped)?;
        if stage == Stage::Remove {
            entries.remove(aged.name);
            self.drop_name_locked(child, &mut meta, directory.ino, home);
            child.aged.store(meta.nlink == 0, Ordering::Relaxed);
        }
        Ok(Gone {
            last: meta.nlink <= u32::from(stage == Stage::Look),
            ..gone
        })
    }

    fn remove_aged_directory(&self, aged: &Aged<'_>, stage: Stage) -> Result<Gone, Spared> {
        let Aged { directory, child, .. } = *aged;
        // Held, so that its entries can be locked beside those of the directory it is in.
        let _rename = self.rename.lock();
        let mut entries = named(aged)?;
        let mut own = child.entries().map_err(|_| Spared::Moved)?.write_second();
        if stage == Stage::Remove && !own.is_empty() {
            return Err(Spared::NotEmpty);
        }
        if is_locked(child) {
            return Err(Spared::InUse);
        }
        let gone = {
            let mut meta = child.meta.lock();
            let gone = judged(aged, &meta, false)?;
            if stage == Stage::Look {
                return Ok(gone);
            }
            own.kill().map_err(|_| Spared::NotEmpty)?;
            meta.nlink = 0;
            child.aged.store(true, Ordering::Relaxed);
            gone
        };
        entries.remove(aged.name);
        let mut meta = directory.meta.lock();
        meta.nlink = meta.nlink.saturating_sub(1);
        Ok(gone)
    }

    /// The root directory.
    pub fn root(&self) -> Option<Arc<Inode>> {
        self.inode(NodeId::ROOT).ok()
    }

    /// The number that the next new inode has at least.
    pub fn next_ino(&self) -> Ino {
        Ino(self.next_ino.load(Ordering::Relaxed))
    }

    /// Some entries of a directory with cookies in `[from, end)`, in their order.
    pub fn entries_between(
        &self,
        directory: &Inode,
        (from, end): (Cookie, Cookie),
        most: usize,
    ) -> Vec<(Cookie, Box<[u8]>, Arc<Inode>)> {
        let Ok(entries) = directory.entries() else {
            return Vec::new();
        };
        let entries = entries.read();
        let found = entries.iter_from(from).take_while(|(cookie, _, _)| *cookie < end);
        found
            .take(most)
            .map(|(cookie, name, child)| (cookie, name.into(), Arc::clone(child)))
            .collect()
    }
}

/// The entries of the directory, locked, in which the name still names what it did.
fn named<'a>(aged: &Aged<'a>) -> Result<WriteGuard<'a, Entries>, Spared> {
    let entries = aged.directory.entries().map_err(|_| Spared::Moved)?.write();
    let is_it = entries
        .get(aged.name)
        .is_some_and(|named| Arc::ptr_eq(named, aged.child));
    if is_it { Ok(entries) } else { Err(Spared::Moved) }
}

/// Whether anybody holds a lock on it or waits for one. Who does has it open; but whoever waits to truncate has not.
fn is_locked(child: &Inode) -> bool {
    child
        .locks_if_any()
        .is_some_and(|locks| !locks.records.is_idle() || !locks.flocks.is_idle())
}

fn judged(aged: &Aged<'_>, meta: &Meta, mapped: bool) -> Result<Gone, Spared> {
    let child = aged.child;
    let touched = meta.atime.max(meta.mtime).max(meta.ctime).max(meta.opened.read_until());
    let facts = Facts {
        file_type: child.file_type,
        perm: meta.perm,
        owner: meta.uid,
        touched,
        in_use: mapped || meta.opened.are_any() || child.opens.load(Ordering::Acquire) > 0,
        known: child.is_known(),
    };
    judge(facts, aged.cut_off)?;
    Ok(Gone {
        node: child.node(),
        last: true,
        owner: meta.uid,
        touched,
    })
}
