//! Opening and closing.

use std::sync::Arc;

use super::Filesystem;
use crate::content::Content;
use crate::policy::atime;
use crate::policy::handle_mode::{self, Facts, Mode};
use crate::policy::mandatory;
use crate::policy::set_id::Keeps;
use crate::tree::{Inode, Meta, Opening};
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
    /// ESTALE by semantics 3.4; EAGAIN for O_TRUNC by semantics 5.4; ETXTBSY.
    pub fn open(&self, caller: Caller, node: NodeId, flags: OpenFlags, drop_set_id: bool) -> Result<Opened, Errno> {
        let inode = self.tree.inode(node)?;
        self.may_open(caller, node, &inode, flags)?;
        self.look_up_anew(caller, node, &inode)?;
        if flags.truncates() {
            let capable = drop_set_id.then_some(false);
            let keeps = self.keeps(&inode, caller, capable);
            self.truncate_on_open(caller, &inode, keeps)?;
        }
        if flags.writes() {
            self.make_room(caller.uid);
        }
        let (served, doubtful) = self.with_room(|| self.open_content(&inode, node, flags))?;
        Ok(self.opened(caller, &inode, flags, served, doubtful))
    }

    /// The kernel may have found a marked file in its cache, by the node it had before the mark (what it remembers of the name expires
    /// a moment after chmod(2) has returned). There an old descriptor keeps locks from being granted (semantics 5.6), and a write
    /// that waits would hold up others (5.9). It is made to look the path up; who has no path but a descriptor opens that node
    /// again. Errors: ESTALE.
    fn look_up_anew(&self, caller: Caller, node: NodeId, inode: &Inode) -> Result<(), Errno> {
        let shares_a_node = {
            let meta = inode.meta.lock();
            node == NodeId(inode.ino.0) && self.tree.has_own_nodes(inode, &meta)
        };
        match shares_a_node {
            true => self.looks.once(caller, inode.ino),
            false => {
                self.looks.done(caller);
                Ok(())
            }
        }
    }

    fn truncate_on_open(&self, caller: Caller, inode: &Inode, keeps: Keeps) -> Result<(), Errno> {
        // Held until the file is empty, so that no lock is granted in between (semantics 5.3).
        let _transfer = self.may_empty(caller, inode)?;
        let mut content = inode.content()?.write();
        content.set_size(0)?;
        let mut meta = inode.meta.lock();
        meta.note_change(&mut content, Timestamp::now());
        meta.drop_privileges(keeps);
        Ok(())
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
    /// that whether a read moves the access time; what has changed them here meanwhile it is told. The second result is whether
    /// attributes cease to be [steady](crate::types::Attr::steady). Errors: ETXTBSY.
    fn open_content(&self, inode: &Inode, node: NodeId, flags: OpenFlags) -> Result<(Served, bool), Errno> {
        let mut content = inode.content()?.write();
        let steady_before = content.is_steady();
        let served = self.serve(inode, node, flags, &mut content)?;
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
            let mode = self.mode(inode, &meta, node);
            // The kernel keeps this rule for those who share a node.
            let is_text = flags.writes() && meta.opened.executing > 0;
            if mode == Mode::Enforced && (is_text || (flags.executes() && meta.opened.writing > 0)) {
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

    fn mode(&self, inode: &Inode, meta: &Meta, node: NodeId) -> Mode {
        let passthrough = self.tree.limits.has_store();
        handle_mode::decide(Facts {
            regular: true,
            marked: mandatory::is_marked(meta.perm),
            mandatory: self.mandatory,
            passthrough,
            beside_passthrough: passthrough && meta.is_passthrough(inode, node),
            beside_enforced: meta.opened.enforced > 0,
        })
    }

    fn read_would_count(&self, inode: &Inode, flags: OpenFlags) -> bool {
        if self.atime == AtimePolicy::NoAtime || flags.no_atime() {
            return false;
        }
        let now = Timestamp::recent();
        let meta = inode.meta.lock();
        atime::read_counts(self.atime, meta.atime, meta.mtime, meta.ctime, now)
    }

    /// Opens a directory. Errors: ENOTDIR.
    pub fn opendir(&self, node: NodeId, flags: OpenFlags) -> Result<Fh, Errno> {
        let inode = self.tree.inode(node)?;
        inode.entries()?;
        let mode = Mode::Cached;
        Ok(self.tree.open(&inode, Opening { flags, mode, tid: 0 }))
    }

    /// The last descriptor of an open file or directory is closed: its locks end. Errors: EBADF.
    pub fn release(&self, fh: Fh) -> Result<(), Errno> {
        let handle = self.tree.take_handle(fh)?;
        self.end_locks_of(&handle);
        self.tree.close(&handle);
        self.closed(&handle);
        Ok(())
    }
}
