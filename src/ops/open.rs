//! Opening and closing.

use std::sync::Arc;

use super::Filesystem;
use super::wait::binds;
use crate::content::Content;
use crate::policy::atime;
use crate::policy::handle_mode::{self, Facts, Mode};
use crate::policy::mandatory;
use crate::policy::set_id::Keeps;
use crate::tree::{Handle, Inode, Meta, Opening};
use crate::types::{AtimePolicy, BackingId, Caller, Errno, Fh, NodeId, OpenFlags, Timestamp};

/// An open file as the kernel learns of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its number.
    pub fh: Fh,
    /// How the kernel is to serve it.
    pub mode: Mode,
    /// What the kernel reads and writes without asking (FUSE passthrough).
    pub backing: Option<BackingId>,
    /// What the kernel knows of the attributes may no longer be true without its noticing: it should ask again.
    pub doubtful: bool,
    /// The kernel may go on serving reads from the pages it has: no read is due that would have to be seen here because it
    /// moves the access time.
    pub keep_cache: bool,
}

/// How a regular file is served, from when it is opened.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) mode: Mode,
    pub(super) backing: Option<BackingId>,
    /// What pages the kernel has of it may be old.
    bypassed: bool,
}

impl Filesystem {
    /// Opens a regular file; O_TRUNC empties it in the same step. A kernel before 5.11 never asks to `drop_set_id` then, so
    /// where there are such bits the caller is looked at. Errors: EISDIR, EINVAL for what the kernel opens itself; EACCES and
    /// ESTALE by semantics 3.4; ESTALE too where the cleaner has just removed it; EAGAIN for O_TRUNC by semantics 5.4; ETXTBSY.
    pub fn open(&self, caller: Caller, node: NodeId, flags: OpenFlags, drop_set_id: bool) -> Result<Opened, Errno> {
        let inode = self.tree.inode(node)?;
        self.may_open(caller, node, &inode, flags)?;
        self.look_up_anew(caller, node, &inode)?;
        let emptied = flags.truncates().then(|| {
            let capable = drop_set_id.then_some(false);
            self.keeps(&inode, caller, capable)
        });
        if flags.writes() {
            self.make_room(caller.uid);
        }
        let attempt = || self.with_room(|| self.open_content(caller, &inode, node, flags, emptied));
        let (served, doubtful) = self.once_closed(attempt)?;
        Ok(self.opened(caller, &inode, flags, served, doubtful))
    }

    /// Does what a program that is executed, or written, stands in the way of: for a moment again and again, as that may be over and
    /// we are told late.
    pub(super) fn once_closed<T>(&self, mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
        let mut result = attempt();
        if matches!(result, Err(Errno::ETXTBSY))
            && let Some(mut patience) = self.tree.brief_patience()
        {
            while matches!(result, Err(Errno::ETXTBSY)) && patience.again() {
                result = attempt();
            }
        }
        result
    }

    /// The kernel may have found a marked file in its cache, by the node it had before the mark. A write that waits would hold up
    /// all who share that node (semantics 5.9), and an old descriptor keeps locks from being granted (5.6). It is made to look the
    /// path up; who has no path but a descriptor opens that node again. Errors: ESTALE.
    fn look_up_anew(&self, caller: Caller, node: NodeId, inode: &Inode) -> Result<(), Errno> {
        let shares_a_node = {
            let meta = inode.meta.lock();
            let may_be_cached = meta.names.expire() || meta.opened.unseen > 0 || meta.opened.checked > 0;
            may_be_cached && node == NodeId(inode.ino.0) && self.tree.has_own_nodes(inode, &meta)
        };
        match shares_a_node {
            true => self.looks.once(caller),
            false => {
                self.looks.done(caller);
                Ok(())
            }
        }
    }

    /// Opens a file that was just made with contents that are open already.
    pub(super) fn open_new(&self, caller: Caller, inode: &Arc<Inode>, flags: OpenFlags, served: Served) -> Opened {
        let opened = self.opened(caller, inode, flags, served, false);
        Opened {
            keep_cache: served.mode == Mode::Cached,
            ..opened
        }
    }

    fn opened(&self, caller: Caller, inode: &Arc<Inode>, flags: OpenFlags, served: Served, doubtful: bool) -> Opened {
        let Served { mode, backing, .. } = served;
        if mode.is_direct() {
            // Before the first transfer: where there is no table, no lock can be looked for.
            inode.locks();
        }
        let opening = Opening {
            flags,
            mode,
            tid: caller.tid,
        };
        Opened {
            fh: self.tree.open(inode, opening),
            mode,
            backing,
            doubtful,
            keep_cache: mode == Mode::Cached && !served.bypassed && !self.read_would_count(inode, flags),
        }
    }

    /// Decides how the file is served, and opens what the kernel is to read and write by itself. The kernel decides by the times of
    /// that whether a read moves the access time; what has changed them here meanwhile it is told. With O_TRUNC it is `emptied` once
    /// nothing stands in the way, and keeps of its set-id bits what that says. The second result is whether attributes cease to be
    /// [steady](crate::types::Attr::steady). Errors: ETXTBSY; EAGAIN by semantics 5.4; ESTALE.
    fn open_content(
        &self,
        caller: Caller,
        inode: &Inode,
        node: NodeId,
        flags: OpenFlags,
        emptied: Option<Keeps>,
    ) -> Result<(Served, bool), Errno> {
        // Held until the file is empty, so that no lock is granted in between (semantics 5.3).
        let transfer = match emptied {
            Some(_) => self.may_empty(caller, inode)?,
            None => None,
        };
        let mut content = inode.content()?.write();
        inode.check_not_aged()?;
        if emptied.is_some() && transfer.is_none() && binds(inode) {
            // It was marked meanwhile, and there may be locks.
            drop(content);
            return self.open_content(caller, inode, node, flags, emptied);
        }
        let steady_before = content.is_steady();
        let served = self.serve(inode, node, flags, &mut content)?;
        if let Some(keeps) = emptied {
            if let Err(error) = content.set_size(0) {
                let _nobody_has_it = content.close(flags, served.mode);
                inode.meta.lock().opened.remove(served.mode, flags);
                return Err(error);
            }
            let mut meta = inode.meta.lock();
            meta.note_change(&mut content, Timestamp::now());
            meta.drop_privileges(keeps);
        }
        if served.backing.is_some() && flags.reads() && self.atime != AtimePolicy::NoAtime {
            let mut meta = inode.meta.lock();
            meta.absorb(content.look());
            if content.is_behind(meta.ctime) {
                content.set_times(meta.atime, meta.mtime);
            }
        }
        Ok((served, steady_before && !content.is_steady()))
    }

    /// Decides how a file is served, by the contents given, and counts it.
    pub(super) fn serve(
        &self,
        inode: &Inode,
        node: NodeId,
        flags: OpenFlags,
        content: &mut Content,
    ) -> Result<Served, Errno> {
        let (mode, bypassed) = {
            let mut meta = inode.meta.lock();
            let mode = self.mode(inode, &meta, node)?;
            // Of who empties it without writing the kernel asks only when that is done.
            let is_text = match flags.writes() {
                true => is_executed(inode, &meta),
                false => flags.truncates() && meta.opened.executing > 0,
            };
            if is_text || (flags.executes() && is_written(inode, &meta)) {
                return Err(Errno::ETXTBSY);
            }
            meta.begin_open(node, mode, flags);
            (mode, mode == Mode::Cached && meta.opened.take_bypassed())
        };
        match content.open(flags, mode) {
            Ok(backing) => Ok(Served {
                mode,
                backing: backing.filter(|_| mode.is_passthrough()),
                bypassed,
            }),
            Err(error) => {
                inode.meta.lock().opened.remove(mode, flags);
                Err(error)
            }
        }
    }

    /// Errors: ESTALE where the kernel is to look the file up once more.
    fn mode(&self, inode: &Inode, meta: &Meta, node: NodeId) -> Result<Mode, Errno> {
        let passthrough = self.tree.limits.has_store();
        // A node that was looked up while the file was marked has a page cache of its own.
        let apart = !passthrough && node != NodeId(inode.ino.0);
        if apart && meta.opened.unseen > 0 {
            // The others have the file in theirs, and must see what is written here (semantics 1.1).
            return Err(Errno::ESTALE);
        }
        Ok(handle_mode::decide(Facts {
            regular: true,
            marked: mandatory::is_marked(meta.perm),
            mandatory: self.mandatory,
            passthrough,
            beside_passthrough: passthrough && meta.is_passthrough(inode, node),
            uncached: apart || meta.opened.enforced > 0,
        }))
    }

    fn read_would_count(&self, inode: &Inode, flags: OpenFlags) -> bool {
        if self.atime == AtimePolicy::NoAtime || flags.no_atime() {
            return false;
        }
        let now = Timestamp::recent();
        let meta = inode.meta.lock();
        atime::read_counts(self.atime, meta.atime, meta.mtime, meta.ctime, now)
    }

    /// Opens a directory. Errors: ENOTDIR; ESTALE where the cleaner has just removed it.
    pub fn opendir(&self, node: NodeId, flags: OpenFlags) -> Result<Fh, Errno> {
        let inode = self.tree.inode(node)?;
        // Held until it counts as open.
        let _entries = inode.entries()?.read();
        inode.check_not_aged()?;
        let mode = Mode::Cached;
        Ok(self.tree.open(&inode, Opening { flags, mode, tid: 0 }))
    }

    /// The last descriptor of an open file or directory is closed: its locks end. Errors: EBADF.
    pub fn release(&self, fh: Fh) -> Result<(), Errno> {
        let handle = self.tree.take_handle(fh)?;
        self.end_locks_of(&handle);
        if handle.mode == Mode::Cached && self.atime != AtimePolicy::NoAtime {
            note_unseen_reads(&handle);
        }
        self.tree.close(&handle);
        self.closed(&handle);
        Ok(())
    }
}

/// What the kernel reads from its own pages moves no access time here, though the file is in use: the cleaner is to know.
fn note_unseen_reads(handle: &Handle) {
    let inode = &handle.inode;
    if handle.flags.reads() && !handle.flags.no_atime() && !inode.is_directory() {
        inode.meta.lock().opened.note_unseen_reads(Timestamp::recent());
    }
}

/// Whether somebody executes the file by a node that another opener may not share: else the kernel keeps the rule by itself,
/// and sooner knows when it is over.
pub(super) fn is_executed(inode: &Inode, meta: &Meta) -> bool {
    meta.opened.executing > 0 && meta.has_many_nodes(inode)
}

/// The same for somebody who may write.
fn is_written(inode: &Inode, meta: &Meta) -> bool {
    meta.opened.writing > 0 && meta.has_many_nodes(inode)
}
