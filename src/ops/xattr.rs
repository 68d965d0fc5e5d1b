//! Extended attributes, and the ACLs among them. The kernel has checked who may (`xattr_permission`).

use super::Filesystem;
use super::attr::{Changed, Turn};
use crate::policy::acl::Acl;
use crate::policy::xattr::{self, ACL_ACCESS, Kind, SIZE_MAX};
use crate::sys::proc::{self, Capability};
use crate::tree::{Inode, Precondition};
use crate::types::attr::S_ISGID;
use crate::types::{Caller, Errno, NodeId, Timestamp};

/// An attribute to be set.
#[derive(Clone, Copy, Debug)]
pub struct NewXattr<'a> {
    /// Its name.
    pub name: &'a [u8],
    /// Its value.
    pub value: &'a [u8],
    /// What is expected of one that exists.
    pub precondition: Precondition,
    /// With an access ACL: set-group-id ends, because the caller is not in the file's group (`FUSE_SETXATTR_ACL_KILL_SGID`).
    pub drop_set_gid: bool,
}

impl Filesystem {
    /// The value of an attribute: copied to `buf`, its length returned; with an empty `buf` the length alone. Errors:
    /// ENODATA, ERANGE where it does not fit, EOPNOTSUPP for a namespace there is not and for a label that there is not.
    pub fn getxattr(&self, node: NodeId, name: &[u8], buf: &mut [u8]) -> Result<usize, Errno> {
        let inode = self.tree.inode(node)?;
        let meta = inode.meta.lock();
        xattr::classify(name)?;
        let value = meta.xattrs().get(name).ok_or_else(|| xattr::absent(name))?;
        copy_out(value, buf)
    }

    /// The names of all attributes, each with a NUL behind it: as [`Filesystem::getxattr`] with their text. `trusted.` ones
    /// only for holders of CAP_SYS_ADMIN.
    pub fn listxattr(&self, caller: Caller, node: NodeId, buf: &mut [u8]) -> Result<usize, Errno> {
        let inode = self.tree.inode(node)?;
        let is_trusted = |name: &[u8]| xattr::classify(name) == Ok(Kind::Trusted);
        // Nobody waits for the inode while /proc is asked.
        let any_trusted = inode.meta.lock().xattrs().names().any(is_trusted);
        let sees_trusted = any_trusted && proc::has_capability(caller, Capability::SysAdmin);
        let meta = inode.meta.lock();
        let seen = || meta.xattrs().names().filter(|name| sees_trusted || !is_trusted(name));
        let length = seen().map(|name| name.len() + 1).sum();
        if !buf.is_empty() {
            let mut rest = buf.get_mut(..length).ok_or(Errno::ERANGE)?;
            for name in seen() {
                let (place, behind) = rest.split_at_mut(name.len() + 1);
                let (text, end) = place.split_at_mut(name.len());
                text.copy_from_slice(name);
                end.fill(0);
                rest = behind;
            }
        }
        Ok(length)
    }

    /// Sets an attribute. An access ACL may mark a file, or clear its mark, as chmod(2) does. Errors: EEXIST, ENODATA, ENOSPC, E2BIG,
    /// EOPNOTSUPP; EINVAL and EACCES for an ACL that cannot be; ESTALE where the cleaner has just removed it.
    pub fn setxattr(&self, node: NodeId, new: &NewXattr<'_>) -> Result<Changed, Errno> {
        let kind = xattr::classify(new.name)?;
        if new.value.len() > SIZE_MAX {
            return Err(Errno::E2BIG);
        }
        let inode = self.tree.inode(node)?;
        let turn = match kind {
            Kind::Plain | Kind::Trusted => {
                self.with_room(|| inode.meta.lock().set_xattr(new.name, new.value, new.precondition))?;
                let mut meta = inode.meta.lock();
                inode.check_not_aged()?;
                meta.ctime = Timestamp::now();
                Turn::default()
            }
            // The mask of an ACL is the group's bits, and so part of the mark.
            Kind::AccessAcl | Kind::DefaultAcl => self.with_room(|| set_acl(&inode, kind, new))?,
        };
        Ok(self.turned(&inode, turn))
    }

    /// Removes an attribute. Errors: ENODATA, EOPNOTSUPP; removing an ACL that is not there is no error (acl(5)).
    pub fn removexattr(&self, node: NodeId, name: &[u8]) -> Result<(), Errno> {
        let kind = xattr::classify(name)?;
        let inode = self.tree.inode(node)?;
        let mut meta = inode.meta.lock();
        inode.check_not_aged()?;
        match (meta.remove_xattr(name), kind) {
            (Err(Errno::ENODATA), Kind::AccessAcl | Kind::DefaultAcl) => {}
            (result, _) => result?,
        }
        meta.ctime = Timestamp::now();
        Ok(())
    }
}

fn copy_out(value: &[u8], buf: &mut [u8]) -> Result<usize, Errno> {
    if !buf.is_empty() {
        buf.get_mut(..value.len()).ok_or(Errno::ERANGE)?.copy_from_slice(value);
    }
    Ok(value.len())
}

/// An access ACL and the permission bits are two views of one thing: the bits follow, and an ACL that says no more than they
/// do is not kept (`posix_acl_update_mode`).
fn set_acl(inode: &Inode, kind: Kind, new: &NewXattr<'_>) -> Result<Turn, Errno> {
    xattr::acl_allowed(kind, inode.file_type)?;
    let acl = Acl::parse(new.value)?;
    let _no_bytes_move = inode.content().ok().map(|content| content.write());
    let mut meta = inode.meta.lock();
    inode.check_not_aged()?;
    let marked_before = inode.counts_as_marked(&meta);
    let (mode, complete) = acl.equivalent_mode();
    match kind {
        Kind::AccessAcl if complete => {
            if meta.xattrs().get(ACL_ACCESS).is_some() {
                meta.remove_xattr(ACL_ACCESS)?;
            }
        }
        _ => meta.set_xattr(new.name, &acl.to_bytes(), Precondition::None)?,
    }
    if kind == Kind::AccessAcl {
        meta.perm = (meta.perm & !0o777) | mode;
        if new.drop_set_gid {
            meta.perm &= !S_ISGID;
        }
    }
    meta.ctime = Timestamp::now();
    Ok(Turn::since(marked_before, inode, &mut meta))
}
