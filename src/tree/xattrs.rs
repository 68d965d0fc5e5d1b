//! The extended attributes of one inode: few, so a list. Knows their bytes, not their meaning.

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

#[derive(Debug)]
struct Attribute {
    name: Box<[u8]>,
    value: Box<[u8]>,
}

/// The extended attributes of one inode; an inode without any pays one word.
#[derive(Debug, Default)]
#[allow(clippy::box_collection, reason = "most inodes have none: one word instead of three")]
pub struct Xattrs(Option<Box<Vec<Attribute>>>);

/// What one attribute counts for besides its name and value, in bytes (`simple_xattr_space`); not less than it uses.
const ATTRIBUTE_SPACE: usize = 40;
const _: () = assert!(size_of::<Attribute>() <= ATTRIBUTE_SPACE);

/// What one attribute counts for against the inode pool, in bytes.
fn space(name: &[u8], value: &[u8]) -> u64 {
    (ATTRIBUTE_SPACE + name.len() + value.len()) as u64
}

impl Xattrs {
    fn list(&self) -> &[Attribute] {
        self.0.as_deref().map_or(&[], Vec::as_slice)
    }

    /// The value of an attribute.
    pub fn get(&self, name: &[u8]) -> Option<&[u8]> {
        let attribute = self.list().iter().find(|attribute| *attribute.name == *name)?;
        Some(&attribute.value)
    }

    /// The names.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.list().iter().map(|attribute| &*attribute.name)
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
        let list = self.0.get_or_insert_default();
        match list.iter_mut().find(|attribute| *attribute.name == *name) {
            Some(attribute) => attribute.value = value.into(),
            None => list.push(Attribute {
                name: name.into(),
                value: value.into(),
            }),
        }
    }

    /// Removes an attribute. Errors: ENODATA.
    pub fn remove(&mut self, name: &[u8]) -> Result<(), Errno> {
        let list = self.0.as_deref_mut().ok_or(Errno::ENODATA)?;
        let at = list
            .iter()
            .position(|attribute| *attribute.name == *name)
            .ok_or(Errno::ENODATA)?;
        list.remove(at);
        if list.is_empty() {
            self.0 = None;
        }
        Ok(())
    }
}
