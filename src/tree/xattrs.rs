//! The extended attributes of one inode. Knows their bytes, not their meaning.

use std::collections::BTreeMap;

use crate::types::Errno;

/// What setxattr(2) is told about an attribute that may exist already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Either way.
    None,
    /// XATTR_CREATE: EEXIST where it exists.
    Absent,
    /// XATTR_REPLACE: ENODATA where it does not.
    Present,
    /// Both at once, which nothing can meet: EEXIST or ENODATA.
    Never,
}

type ByName = BTreeMap<Box<[u8]>, Box<[u8]>>;

/// The extended attributes of one inode, in the order of their names; an inode without any pays one word. Somebody may set
/// as many as the limits allow, so none of it takes a time that grows with their number.
#[derive(Debug, Default)]
pub struct Xattrs(Option<Box<ByName>>);

/// What one attribute counts for besides its name and value, in bytes (`simple_xattr_space`); not less than it uses.
const ATTRIBUTE_SPACE: usize = 40;
const _: () = assert!(2 * size_of::<Box<[u8]>>() <= ATTRIBUTE_SPACE);

/// What one attribute counts for against the inode pool, in bytes.
fn space(name: &[u8], value: &[u8]) -> u64 {
    (ATTRIBUTE_SPACE + name.len() + value.len()) as u64
}

impl Xattrs {
    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        self.0.as_ref()?.get(name).map(|value| &**value)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|all| all.keys()).map(|name| &**name)
    }

    /// What an attribute counts for now, in bytes; 0 where there is none.
    pub fn space_of(&self, name: &[u8]) -> u64 {
        self.get(name).map_or(0, |value| space(name, value))
    }

    /// What it would count for with this value, in bytes.
    pub fn space_for(name: &[u8], value: &[u8]) -> u64 {
        space(name, value)
    }

    /// Whether [`Xattrs::set`] may go ahead. Errors: EEXIST, ENODATA.
    pub fn check(&self, name: &[u8], precondition: Precondition) -> Result<(), Errno> {
        match (precondition, self.get(name).is_some()) {
            (Precondition::Absent | Precondition::Never, true) => Err(Errno::EEXIST),
            (Precondition::Present | Precondition::Never, false) => Err(Errno::ENODATA),
            _ => Ok(()),
        }
    }

    /// Sets an attribute.
    pub fn set(&mut self, name: &[u8], value: &[u8]) {
        self.0.get_or_insert_default().insert(name.into(), value.into());
    }

    /// Removes an attribute. Errors: ENODATA.
    pub fn remove(&mut self, name: &[u8]) -> Result<(), Errno> {
        let all = self.0.as_deref_mut().ok_or(Errno::ENODATA)?;
        all.remove(name).ok_or(Errno::ENODATA)?;
        if all.is_empty() {
            self.0 = None;
        }
        Ok(())
    }
}
