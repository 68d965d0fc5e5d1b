//! Owner, group, mode and ACLs of a new inode, all known before anyone can see its name (semantics 2.2).

use super::acl::Acl;
use crate::types::attr::{PERM_MASK, S_ISGID, S_IXGRP};
use crate::types::{Errno, FileType};

/// What of the directory goes into the decision.
#[derive(Clone, Copy, Debug)]
pub struct Parent<'a> {
    /// Permission bits.
    pub perm: u32,
    /// Group.
    pub gid: u32,
    /// Its default ACL.
    pub default_acl: Option<&'a Acl>,
}

/// What the caller asks for.
#[derive(Clone, Copy, Debug)]
pub struct Wish {
    /// Type of the new inode.
    pub file_type: FileType,
    /// Permission bits asked for.
    pub perm: u32,
    /// The caller's umask.
    pub umask: u32,
    /// The caller's fsuid.
    pub uid: u32,
    /// The caller's fsgid.
    pub gid: u32,
}

/// What the inode is born with.
#[derive(Debug, PartialEq, Eq)]
pub struct Birth {
    /// Permission bits.
    pub perm: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Access ACL, where the mode alone does not say it all.
    pub access: Option<Acl>,
    /// Default ACL, of directories.
    pub default: Option<Acl>,
}

/// Decides what the inode is born with (`inode_init_owner`, `posix_acl_create`). `in_group` tells whether the caller is a
/// member of the given group or may keep set-group-id anyway; it is asked only where that decides.
pub fn decide(wish: Wish, parent: Parent<'_>, in_group: impl FnOnce(u32) -> bool) -> Result<Birth, Errno> {
    let set_gid_parent = parent.perm & S_ISGID != 0;
    let gid = if set_gid_parent { parent.gid } else { wish.gid };
    if wish.file_type == FileType::Symlink {
        // Nobody reads a symlink's mode: it is always 0777, and neither umask nor ACLs apply.
        return Ok(Birth {
            perm: 0o777,
            uid: wish.uid,
            gid,
            access: None,
            default: None,
        });
    }
    let mut perm = wish.perm & PERM_MASK;
    if wish.file_type == FileType::Directory {
        if set_gid_parent {
            perm |= S_ISGID;
        }
    } else {
        // Threat: a set-group-id program of a group the caller does not belong to, made in that group's directory.
        let privilege = perm & S_ISGID != 0 && perm & S_IXGRP != 0;
        if set_gid_parent && privilege && gid != wish.gid && !in_group(gid) {
            perm &= !S_ISGID;
        }
    }
    let Some(default) = parent.default_acl else {
        return Ok(Birth {
            perm: perm & !(wish.umask & 0o777),
            uid: wish.uid,
            gid,
            access: None,
            default: None,
        });
    };
    let (perm, access) = default.inherit(perm)?;
    Ok(Birth {
        perm,
        uid: wish.uid,
        gid,
        access,
        default: (wish.file_type == FileType::Directory).then(|| default.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wish(file_type: FileType, perm: u32) -> Wish {
        Wish {
            file_type,
            perm,
            umask: 0o022,
            uid: 1000,
            gid: 100,
        }
    }

    fn parent(perm: u32) -> Parent<'static> {
        Parent {
            perm,
            gid: 7,
            default_acl: None,
        }
    }

    #[test]
    fn the_umask_applies_and_the_group_is_the_callers() {
        let born = decide(wish(FileType::Regular, 0o666), parent(0o1777), |_| unreachable!()).unwrap();
        assert_eq!((born.perm, born.uid, born.gid), (0o644, 1000, 100));
    }

    #[test]
    fn a_set_gid_directory_gives_its_group_and_its_bit() {
        let born = decide(wish(FileType::Directory, 0o777), parent(0o2777), |_| unreachable!()).unwrap();
        assert_eq!((born.perm, born.gid), (0o2755, 7));
        let born = decide(wish(FileType::Regular, 0o777), parent(0o2777), |_| unreachable!()).unwrap();
        assert_eq!((born.perm, born.gid), (0o755, 7));
    }

    #[test]
    fn set_gid_for_a_strangers_group_is_refused() {
        let born = |perm, member| {
            decide(wish(FileType::Regular, perm), parent(0o2777), |_| member)
                .unwrap()
                .perm
        };
        assert_eq!(born(0o2755, false), 0o755);
        assert_eq!(born(0o2755, true), 0o2755);
        assert_eq!(
            born(0o2666, false),
            0o2644,
            "the mark of mandatory locking is no privilege"
        );
    }

    #[test]
    fn a_symlink_is_open_to_all() {
        let born = decide(wish(FileType::Symlink, 0), parent(0o777), |_| unreachable!()).unwrap();
        assert_eq!(born.perm, 0o777);
    }
}
