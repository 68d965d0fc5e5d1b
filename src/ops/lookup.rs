//! Finding nodes, and forgetting them.

use super::{Entry, Filesystem};
use crate::policy::atime;
use crate::tree::{Body, Inode};
use crate::types::{AtimePolicy, Caller, Errno, Name, NodeId, Timestamp};

impl Filesystem {
    /// Finds a name in a directory; `None` where nothing has it, which the kernel may remember. `.` and `..` are asked for
    /// when a file handle is opened (open_by_handle_at(2)). Errors: ENAMETOOLONG, ENOTDIR, ESTALE; EACCES by semantics 3.4.
    pub fn lookup(&self, caller: Caller, parent: NodeId, name: &[u8]) -> Result<Option<Entry>, Errno> {
        if name == b"." {
            return Ok(Some(self.entry(&*self.tree.lookup_node(parent)?, parent)));
        }
        let directory = self.tree.inode(parent)?;
        if name == b".." {
            let above = self.tree.lookup_parent(&directory)?;
            return Ok(Some(self.entry(&above, above.node())));
        }
        let see = |inode: &Inode| self.looks.found(caller, inode);
        let Some((inode, node)) = self.tree.lookup(&directory, Name::new(name)?, see)? else {
            return Ok(None);
        };
        if let Err(refused) = self.may_find(caller, &directory, &inode) {
            self.tree.forget(node, 1);
            return Err(refused);
        }
        Ok(Some(self.entry(&inode, node)))
    }

    /// What the kernel knows of the names of a node, which was marked, is about to expire. To be followed by
    /// [`Filesystem::names_expired`].
    pub fn begin_to_expire(&self, node: NodeId) {
        if let Ok(inode) = self.tree.inode(node) {
            inode.meta.lock().names.begin();
        }
    }

    /// The directories that hold names of a node, as far as those are told apart.
    pub fn homes_of(&self, node: NodeId) -> Vec<NodeId> {
        self.tree
            .inode(node)
            .map_or_else(|_| Vec::new(), |inode| self.tree.homes_of(&inode))
    }

    /// The names that a directory has for a node. Takes long where it holds many others.
    pub fn names_in(&self, directory: NodeId, node: NodeId) -> Vec<Vec<u8>> {
        self.tree.names_in(directory, node).unwrap_or_default()
    }

    /// Whose a node is; root's where nobody has it any more.
    pub fn owner_of(&self, node: NodeId) -> u32 {
        self.tree.inode(node).map_or(0, |inode| inode.meta.lock().uid)
    }

    /// Nobody is on his way any more who has found the node by a name that has expired since.
    pub fn names_expired(&self, node: NodeId) {
        if let Ok(inode) = self.tree.inode(node) {
            inode.meta.lock().names.end();
        }
    }

    /// The kernel gives up `count` references to a node.
    pub fn forget(&self, node: NodeId, count: u64) {
        self.tree.forget(node, count);
    }

    /// Reads a symlink, or follows it: gives its path to `sink`. Errors: EINVAL for what is none; EACCES and ESTALE by
    /// semantics 3.2.
    pub fn readlink<T>(&self, caller: Caller, node: NodeId, sink: impl FnOnce(&[u8]) -> T) -> Result<T, Errno> {
        let inode = self.tree.inode(node)?;
        let Body::Symlink { target, .. } = &inode.body else {
            return Err(Errno::EINVAL);
        };
        self.may_follow(caller, node, &inode)?;
        note_access(&inode, self.atime);
        Ok(sink(target))
    }
}

/// A read happened: moves the access time where the policy says so.
pub(super) fn note_access(inode: &Inode, policy: AtimePolicy) {
    if policy == AtimePolicy::NoAtime {
        return;
    }
    let mut meta = inode.meta.lock();
    if atime::read_counts(policy, meta.atime, meta.mtime, meta.ctime, Timestamp::recent()) {
        meta.atime = Timestamp::now();
    }
}
