//! Which extended attributes there are, and whom they are shown to.

use crate::types::{Errno, FileType};

/// The attribute that holds the access ACL.
pub const ACL_ACCESS: &[u8] = b"system.posix_acl_access";
/// The attribute that holds the default ACL.
pub const ACL_DEFAULT: &[u8] = b"system.posix_acl_default";
/// The attribute that holds file capabilities; it goes when the file changes.
pub const CAPABILITY: &[u8] = b"security.capability";

/// The attribute that holds a SELinux label.
const SELINUX: &[u8] = b"security.selinux";

/// The longest name, in bytes (`XATTR_NAME_MAX`).
pub const NAME_MAX: usize = 255;
/// The largest value, in bytes (`XATTR_SIZE_MAX`).
pub const SIZE_MAX: usize = 65536;

/// What an attribute is, by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value we only keep.
    Plain,
    /// A value that only holders of CAP_SYS_ADMIN see in listings.
    Trusted,
    /// The access ACL.
    AccessAcl,
    /// The default ACL.
    DefaultAcl,
}

/// What the name stands for, as on tmpfs: `user.`, `trusted.`, `security.` and the two ACLs. Who may read and write which
/// the kernel has decided (`xattr_permission`). Errors: EOPNOTSUPP for another namespace, EINVAL for a bare prefix, ERANGE
/// for a length that cannot be.
pub fn classify(name: &[u8]) -> Result<Kind, Errno> {
    if name.is_empty() || name.len() > NAME_MAX {
        return Err(Errno::ERANGE);
    }
    let plain = [
        (&b"user."[..], Kind::Plain),
        (b"trusted.", Kind::Trusted),
        (b"security.", Kind::Plain),
    ];
    for (prefix, kind) in plain {
        if name == prefix {
            return Err(Errno::EINVAL);
        }
        if name.starts_with(prefix) {
            return Ok(kind);
        }
    }
    match name {
        ACL_ACCESS => Ok(Kind::AccessAcl),
        ACL_DEFAULT => Ok(Kind::DefaultAcl),
        _ => Err(Errno::EOPNOTSUPP),
    }
}

/// What the reader of an attribute is told that an inode does not have. tmpfs says ENODATA, and so do we, but for a SELinux
/// label: we are asked for one only where there is no SELinux, by every `ls -l` for every file; told that there are no labels
/// here it asks no further.
pub fn absent(name: &[u8]) -> Errno {
    match name {
        SELINUX => Errno::EOPNOTSUPP,
        _ => Errno::ENODATA,
    }
}

/// Whether an inode of the type can have an ACL of the kind. Errors: EOPNOTSUPP for symlinks, EACCES for the default ACL of
/// what is no directory (acl(5), `set_posix_acl`).
pub fn acl_allowed(kind: Kind, file_type: FileType) -> Result<(), Errno> {
    match (kind, file_type) {
        (_, FileType::Symlink) => Err(Errno::EOPNOTSUPP),
        (Kind::DefaultAcl, FileType::Directory) => Ok(()),
        (Kind::DefaultAcl, _) => Err(Errno::EACCES),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_classified_as_on_tmpfs() {
        assert_eq!(classify(b"user.a"), Ok(Kind::Plain));
        assert_eq!(classify(b"trusted.overlay.opaque"), Ok(Kind::Trusted));
        assert_eq!(classify(CAPABILITY), Ok(Kind::Plain));
        assert_eq!(classify(ACL_ACCESS), Ok(Kind::AccessAcl));
        assert_eq!(classify(b"user."), Err(Errno::EINVAL));
        assert_eq!(classify(b"system.other"), Err(Errno::EOPNOTSUPP));
        assert_eq!(classify(b"other.a"), Err(Errno::EOPNOTSUPP));
        assert_eq!(classify(b""), Err(Errno::ERANGE));
        assert_eq!(classify(&[b'a'; 256]), Err(Errno::ERANGE));
    }

    #[test]
    fn a_label_that_is_not_there_is_not_asked_for_again() {
        assert_eq!(absent(SELINUX), Errno::EOPNOTSUPP);
        assert_eq!(absent(CAPABILITY), Errno::ENODATA);
        assert_eq!(absent(b"user.a"), Errno::ENODATA);
    }

    #[test]
    fn only_directories_have_default_acls() {
        assert_eq!(acl_allowed(Kind::DefaultAcl, FileType::Regular), Err(Errno::EACCES));
        assert_eq!(acl_allowed(Kind::DefaultAcl, FileType::Directory), Ok(()));
        assert_eq!(acl_allowed(Kind::AccessAcl, FileType::Symlink), Err(Errno::EOPNOTSUPP));
    }
}
