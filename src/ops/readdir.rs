//! Listing directories: stable whatever happens meanwhile (semantics 1.2).

use std::sync::Arc;

use super::lookup::note_access;
use super::{Entry, Filesystem};
use crate::tree::{FIRST_COOKIE, Inode};
use crate::types::{AtimePolicy, Cookie, Errno, Fh, FileType, Ino, NodeId};

/// One entry of a listing.
#[derive(Clone, Copy, Debug)]
pub struct Listed<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The inode number of what it names.
    pub ino: Ino,
    /// The type of what it names.
    pub file_type: FileType,
    /// Where the listing goes on behind this entry.
    pub next: Cookie,
}

/// What takes the entries of a listing.
pub trait Sink {
    /// Takes an entry; `false` where there is no room for it, and the listing ends before it.
    fn take(&mut self, entry: Listed<'_>) -> bool;
}

impl Filesystem {
    /// Lists an open directory from `offset` (0, or [`Listed::next`] of an entry) on. Errors: EBADF, ENOTDIR.
    pub fn readdir(&self, fh: Fh, offset: Cookie, sink: &mut dyn Sink) -> Result<(), Errno> {
        self.list(fh, offset, sink, |_| {})
    }

    /// [`Filesystem::readdir`] with what each entry names: the result has an entry for each one taken, and a reference of the
    /// kernel's is counted for it. `None` for `.` and `..`, and for what the kernel knows: telling it again would make it forget
    /// the ACLs it knows too, and ask for each of them.
    pub fn readdirplus(&self, fh: Fh, offset: Cookie, sink: &mut dyn Sink) -> Result<Vec<Option<Entry>>, Errno> {
        let mut children = Vec::new();
        self.list(fh, offset, sink, |child| {
            children.push(child.and_then(|child| Some((Arc::clone(child), self.tree.refer_unknown(child)?))));
        })?;
        // The attributes are read once the directory is no longer locked: a child may be a directory itself.
        let entry = |child: Option<(Arc<Inode>, NodeId)>| child.map(|(inode, node)| self.entry(&inode, node));
        Ok(children.into_iter().map(entry).collect())
    }

    fn list(
        &self,
        fh: Fh,
        offset: Cookie,
        sink: &mut dyn Sink,
        mut taken: impl FnMut(Option<&Arc<Inode>>),
    ) -> Result<(), Errno> {
        let handle = self.tree.handle(fh)?;
        let directory = &handle.inode;
        {
            let entries = directory.entries()?.read();
            if offset.0 == 0 {
                handle.begin_scan(entries.next_cookie());
            }
            let end = handle.scan_end();
            let file_type = FileType::Directory;
            let parent = directory.parent().unwrap_or(directory.ino);
            for (place, name, ino) in [(0, &b"."[..], directory.ino), (1, b"..", parent)] {
                let next = Cookie(place + 1);
                if offset.0 > place {
                    continue;
                }
                if !sink.take(Listed {
                    name,
                    ino,
                    file_type,
                    next,
                }) {
                    return Ok(());
                }
                taken(None);
            }
            for (cookie, name, child) in entries.iter_from(offset.max(FIRST_COOKIE)) {
                let next = Cookie(cookie.0 + 1);
                let (ino, file_type) = (child.ino, child.file_type);
                if cookie >= end
                    || !sink.take(Listed {
                        name,
                        ino,
                        file_type,
                        next,
                    })
                {
                    break;
                }
                taken(Some(child));
            }
        }
        if self.diratime {
            let policy = if handle.flags.no_atime() {
                AtimePolicy::NoAtime
            } else {
                self.atime
            };
            note_access(directory, policy);
        }
        Ok(())
    }
}
