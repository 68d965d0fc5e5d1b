//! Finding nodes, and forgetting them.

use super::{Entry, Filesystem};
use crate::policy::atime;
use crate::tree::{Body, Inode};
use crate::types::{AtimePolicy, Errno, Name, NodeId, Timestamp};

impl Filesystem {
    /// Finds a name in a directory; `None` where nothing has it, which the kernel may remember. `.` and `..` are asked for
    /// when a file handle is opened (open_by_handle_at(2)). Errors: ENAMETOOLONG, ENOTDIR, ESTALE.
    pub fn lookup(&self, parent: NodeId, name: &[u8]) -> Result<Option<Entry>, Errno> {
        let found = match name {
            b"." => Some(self.tree.lookup_node(parent)?),
            b".." => Some(self.tree.lookup_parent(&*self.tree.inode(parent)?)?),
            _ => self.tree.lookup(&*self.tree.inode(parent)?, Name::new(name)?)?,
        };
        Ok(found.map(|inode| Entry::of(&inode)))
    }

    /// The kernel gives up `count` references to a node.
    pub fn forget(&self, node: NodeId, count: u64) {
        self.tree.forget(node, count);
    }

    /// Reads a symlink: gives its path to `sink`. Errors: EINVAL for what is none.
    pub fn readlink<T>(&self, node: NodeId, sink: impl FnOnce(&[u8]) -> T) -> Result<T, Errno> {
        let inode = self.tree.inode(node)?;
        let Body::Symlink { target, .. } = &inode.body else {
            return Err(Errno::EINVAL);
        };
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
