//! Extended attributes as vectors, and POSIX ACLs in the form they have inside one.

#![allow(unsafe_code)]

use rustix::fd::AsFd;
use rustix::fs::XattrFlags;
use rustix::io::Errno;
use std::collections::BTreeSet;
use std::path::Path;

/// The value of an attribute.
pub fn get(path: &Path, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let len = rustix::fs::lgetxattr(path, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// The value of an attribute of an open file.
pub fn fget(fd: impl AsFd, name: &str) -> Result<Vec<u8>, Errno> {
    let mut value = vec![0; 65_536];
    let len = rustix::fs::fgetxattr(fd, name, &mut value)?;
    value.truncate(len);
    Ok(value)
}

/// Sets an attribute, new or not.
pub fn set(path: &Path, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::lsetxattr(path, name, value, XattrFlags::empty())
}

/// Removes an attribute.
pub fn remove(path: &Path, name: &str) -> Result<(), Errno> {
    rustix::fs::lremovexattr(path, name)
}

/// The names of all attributes.
pub fn list(path: &Path) -> Result<BTreeSet<String>, Errno> {
    let mut names = vec![0; 65_536];
    let len = rustix::fs::llistxattr(path, &mut names)?;
    Ok(split(&names[..len]))
}

/// What size queries say: of an attribute's value and of the list of all names.
pub fn sizes(path: &Path, name: &str) -> (isize, isize) {
    use std::os::unix::ffi::OsStrExt;
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).expect("no NUL");
    let name = std::ffi::CString::new(name).expect("no NUL");
    // SAFETY: both strings end with NUL and outlive the calls; a size of 0 lets the kernel write nothing.
    unsafe {
        let value = nix::libc::lgetxattr(path.as_ptr(), name.as_ptr(), std::ptr::null_mut(), 0);
        (value, nix::libc::llistxattr(path.as_ptr(), std::ptr::null_mut(), 0))
    }
}

/// The names in a list as the kernel gives it.
pub fn split(list: &[u8]) -> BTreeSet<String> {
    list.split(|&b| b == 0)
        .filter(|n| !n.is_empty())
        .map(|n| String::from_utf8_lossy(n).into_owned())
        .collect()
}

/// The attribute of the access ACL.
pub const ACCESS: &str = "system.posix_acl_access";
/// The attribute of a directory's default ACL.
pub const DEFAULT: &str = "system.posix_acl_default";

/// An entry of an ACL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The owner.
    UserObj(u16),
    /// A named user.
    User(u32, u16),
    /// The owning group.
    GroupObj(u16),
    /// A named group.
    Group(u32, u16),
    /// The most that named entries and groups get.
    Mask(u16),
    /// Everybody else.
    Other(u16),
}

/// The attribute's value for an ACL.
pub fn acl(entries: &[Entry]) -> Vec<u8> {
    let mut value = 2_u32.to_le_bytes().to_vec();
    for entry in entries {
        let (tag, perm, id) = match *entry {
            Entry::UserObj(p) => (1_u16, p, u32::MAX),
            Entry::User(id, p) => (2, p, id),
            Entry::GroupObj(p) => (4, p, u32::MAX),
            Entry::Group(id, p) => (8, p, id),
            Entry::Mask(p) => (16, p, u32::MAX),
            Entry::Other(p) => (32, p, u32::MAX),
        };
        value.extend(tag.to_le_bytes());
        value.extend(perm.to_le_bytes());
        value.extend(id.to_le_bytes());
    }
    value
}
