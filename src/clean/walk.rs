//! One walk over the tree: children before their directory, a few names at a time, with nothing locked in between.
//!
//! It comes to an end whatever others do meanwhile: each directory is walked once, over the entries it has then, and what was
//! made since the walk began is young and not looked at.

use std::collections::{HashSet, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::{Cleaner, Order, Summary, Taken};
use crate::ops::ageing::{Found, Removed};
use crate::policy::ageing::Spared;
use crate::tree::{Aged, Gone, Inode, Stage};
use crate::types::{Cookie, FileType, Ino, Name, NodeId, Timestamp};

/// The names that are taken from a directory at a time.
const BATCH: usize = 16;

/// How long what is said about mounts and locks holds.
const HOLDS: Duration = Duration::from_millis(250);

/// How often, a millisecond apart, it is looked whether the kernel has given up a FIFO that it was asked to.
const TRIES: u32 = 3;

/// A directory on the way from the root to where the walk is.
struct Level {
    directory: Arc<Inode>,
    /// Its name; none of the root.
    name: Box<[u8]>,
    /// Up to where the path is its parent's.
    above: usize,
    from: Cookie,
    end: Cookie,
    batch: VecDeque<Found>,
    /// Something in it stays.
    keeps: bool,
}

/// Inodes of which the kernel said something, when it was last asked.
struct Seen {
    when: Instant,
    inodes: HashSet<Ino>,
}

/// Whether an inode is among those seen, looked for anew where that is long ago.
fn is_seen(seen: &mut Option<Seen>, ino: Ino, look: impl FnOnce() -> HashSet<Ino>) -> bool {
    let fresh = seen.take().filter(|seen| seen.when.elapsed() <= HOLDS);
    let seen = seen.insert(fresh.unwrap_or_else(|| Seen {
        inodes: look(),
        when: Instant::now(),
    }));
    seen.inodes.contains(&ino)
}

pub(super) struct Walk<'a> {
    cleaner: &'a Cleaner,
    order: &'a Order,
    cut_off: Timestamp,
    taken: &'a mut dyn FnMut(&Taken<'_>) -> ControlFlow<()>,
    levels: Vec<Level>,
    path: Vec<u8>,
    walked: HashSet<Ino>,
    /// What has this number or a greater one was made since.
    unborn: Ino,
    mounted: Option<Seen>,
    flocked: Option<Seen>,
    working: Instant,
    summary: Summary,
    ended: bool,
}

impl<'a> Walk<'a> {
    pub(super) fn new(
        cleaner: &'a Cleaner,
        order: &'a Order,
        taken: &'a mut dyn FnMut(&Taken<'_>) -> ControlFlow<()>,
    ) -> Walk<'a> {
        Walk {
            cleaner,
            order,
            cut_off: order.cut_off(),
            taken,
            levels: Vec::new(),
            path: Vec::new(),
            walked: HashSet::new(),
            unborn: cleaner.filesystem.next_ino(),
            mounted: None,
            flocked: None,
            working: Instant::now(),
            summary: Summary::default(),
            ended: false,
        }
    }

    pub(super) fn run(mut self) -> Summary {
        if let Some(root) = self.cleaner.filesystem.root() {
            self.descend(root, Box::default(), 0);
        }
        while !self.ended && !self.levels.is_empty() {
            self.rest();
            match self.next() {
                Some(found) => self.visit(found),
                None => self.ascend(),
            }
        }
        self.summary
    }

    /// Rests after so much work.
    fn rest(&mut self) {
        if self.working.elapsed() >= self.order.pace.work {
            thread::sleep(self.order.pace.rest);
            self.working = Instant::now();
        }
    }

    fn descend(&mut self, directory: Arc<Inode>, name: Box<[u8]>, above: usize) {
        let (from, end) = self.cleaner.filesystem.extent(&directory);
        self.walked.insert(directory.ino);
        self.levels.push(Level {
            directory,
            name,
            above,
            from,
            end,
            batch: VecDeque::new(),
            keeps: false,
        });
    }

    /// The next entry of the directory where the walk is.
    fn next(&mut self) -> Option<Found> {
        let level = self.levels.last_mut()?;
        if level.batch.is_empty() {
            let extent = (level.from, level.end);
            let found = self.cleaner.filesystem.entries_between(&level.directory, extent, BATCH);
            level.from = Cookie(found.last()?.cookie.0 + 1);
            level.batch = found.into();
        }
        level.batch.pop_front()
    }

    fn visit(&mut self, found: Found) {
        let above = self.path.len();
        self.path.push(b'/');
        self.path.extend(&found.name);
        self.summary.looked += 1;
        match self.enters(&found.child) {
            Ok(true) => return self.descend(found.child, found.name, above),
            Ok(false) => self.consider(&found.name, &found.child),
            Err(why) => self.spare(why),
        }
        self.path.truncate(above);
    }

    /// Whether it is a directory to walk.
    fn enters(&mut self, child: &Inode) -> Result<bool, Spared> {
        if self.cleaner.exclude.names(&self.path) {
            return Err(Spared::Excluded);
        }
        if child.ino >= self.unborn {
            return Err(Spared::Young);
        }
        if !child.is_directory() {
            return Ok(false);
        }
        // As systemd-tmpfiles: who holds a directory with flock(2) keeps what is in it.
        let cleaner = self.cleaner;
        if child.is_open() && is_seen(&mut self.flocked, child.ino, || cleaner.surroundings.flocked()) {
            return Err(Spared::InUse);
        }
        match self.walked.contains(&child.ino) {
            true => Err(Spared::Moved),
            false => Ok(true),
        }
    }

    /// All in the directory was seen.
    fn ascend(&mut self) {
        let Some(level) = self.levels.pop() else { return };
        if !self.levels.is_empty() {
            match level.keeps {
                true => self.spare(Spared::NotEmpty),
                false => self.consider(&level.name, &level.directory),
            }
            self.path.truncate(level.above);
        }
    }

    fn spare(&mut self, why: Spared) {
        self.summary.spare(why);
        if let Some(level) = self.levels.last_mut() {
            level.keeps = true;
        }
    }

    /// Takes away a name in the directory where the walk is, if it may go.
    fn consider(&mut self, name: &[u8], child: &Arc<Inode>) {
        let Some(directory) = self.levels.last().map(|level| Arc::clone(&level.directory)) else {
            return;
        };
        match self.take(&directory, name, child) {
            Ok(gone) => self.tell(&directory, name, child, &gone),
            Err(why) => self.spare(why),
        }
    }

    fn take(&mut self, directory: &Inode, name: &[u8], child: &Arc<Inode>) -> Result<Gone, Spared> {
        // Most are young, and that is seen at once.
        if child.meta.lock().ctime >= self.cut_off {
            return Err(Spared::Young);
        }
        if child.file_type == FileType::Fifo {
            self.part_from(child);
        }
        if child.is_known() && self.is_mounted(child.ino) {
            return Err(Spared::Mounted);
        }
        let aged = Aged {
            directory,
            name: Name::new(name).map_err(|_| Spared::Moved)?,
            child,
            cut_off: self.cut_off,
        };
        self.cleaner
            .filesystem
            .remove_aged(&aged, self.order.stage, &self.path, self.order.now)
    }

    /// Has the kernel give up a FIFO that nobody has open.
    fn part_from(&self, child: &Inode) {
        if child.is_known() {
            self.cleaner.kernel.let_go(child.node());
        }
        for _ in 0..TRIES {
            if !child.is_known() {
                return;
            }
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Whether something is mounted on it, or it is mounted elsewhere. By inode: a path may have changed since.
    fn is_mounted(&mut self, ino: Ino) -> bool {
        let cleaner = self.cleaner;
        is_seen(&mut self.mounted, ino, || {
            let places = cleaner.surroundings.mounted();
            let found = places
                .iter()
                .map(|place| cleaner.filesystem.find(place.from, &place.path));
            found.flatten().collect()
        })
    }

    fn tell(&mut self, directory: &Inode, name: &[u8], child: &Inode, gone: &Gone) {
        if self.order.stage == Stage::Remove {
            self.cleaner.kernel.removed(&Removed {
                directory: NodeId(directory.ino.0),
                owner: directory.meta.lock().uid,
                name,
                node: gone.node,
                last: gone.last,
            });
        }
        match child.is_directory() {
            true => self.summary.directories += 1,
            false => self.summary.files += 1,
        }
        let taken = Taken {
            path: &self.path,
            file_type: child.file_type,
            owner: gone.owner,
            touched: gone.touched,
        };
        self.ended |= (self.taken)(&taken).is_break();
    }
}
