//! Giving, moving and taking away names.

use super::create::{NewNode, seed};
use super::rules::still_owned_by;
use super::{Entry, Filesystem};
use crate::tree::Rename;
use crate::types::{Caller, Errno, FileType, Name, NodeId, RenameMode};

/// Both ends of a rename.
#[derive(Clone, Copy, Debug)]
pub struct Move<'a> {
    /// The directory that holds the old name.
    pub from: NodeId,
    /// The old name.
    pub old: &'a [u8],
    /// The directory that will hold the new name.
    pub to: NodeId,
    /// The new name.
    pub new: &'a [u8],
    /// What happens where the new name exists.
    pub mode: RenameMode,
    /// A whiteout is left at the old name (RENAME_WHITEOUT).
    pub whiteout: bool,
}

impl Filesystem {
    /// Removes a name of something that is no directory. Errors: ENOENT, EISDIR.
    pub fn unlink(&self, parent: NodeId, name: &[u8]) -> Result<(), Errno> {
        self.tree.unlink(&*self.tree.inode(parent)?, Name::new(name)?)
    }

    /// Removes an empty directory. Errors: ENOENT, ENOTDIR, ENOTEMPTY.
    pub fn rmdir(&self, parent: NodeId, name: &[u8]) -> Result<(), Errno> {
        self.tree.rmdir(&*self.tree.inode(parent)?, Name::new(name)?)
    }

    /// Gives a node one more name. Errors: EEXIST, EPERM, EMLINK, ENOSPC; EPERM by semantics 3.3 too.
    pub fn link(&self, caller: Caller, node: NodeId, parent: NodeId, name: &[u8]) -> Result<Entry, Errno> {
        let inode = self.tree.inode(node)?;
        let directory = self.tree.inode(parent)?;
        let name = Name::new(name)?;
        let allow = still_owned_by(self.may_link(caller, node, &inode)?);
        let known_as = self.with_room(|| self.tree.link(&inode, &directory, name, &allow))?;
        Ok(self.entry(&inode, known_as))
    }

    /// Renames. Errors: as rename(2); nothing is changed then.
    pub fn rename(&self, caller: Caller, request: &Move<'_>) -> Result<(), Errno> {
        let from = self.tree.inode(request.from)?;
        let to = self.tree.inode(request.to)?;
        let whiteout = match request.whiteout {
            false => None,
            true => {
                // A character device 0:0 that nobody may open: what overlayfs takes for "not there".
                let node = NewNode {
                    file_type: FileType::CharDevice,
                    perm: 0,
                    umask: 0,
                    rdev: 0,
                    target: b"",
                };
                Some(seed(caller, node, &from.meta.lock(), None)?)
            }
        };
        self.tree.rename(Rename {
            from: &from,
            old: Name::new(request.old)?,
            to: &to,
            new: Name::new(request.new)?,
            mode: request.mode,
            whiteout,
        })
    }
}
