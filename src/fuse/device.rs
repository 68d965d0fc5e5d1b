//! Reading requests from the device, writing replies to it. One descriptor a worker; a reply goes to the descriptor its
//! request came from.

use std::fs::File;
use std::io::{self, IoSlice, Read, Write};

use zerocopy::IntoBytes;

use super::encode::narrow;
use super::wire::{
    DeleteOut, FUSE_EXPIRE_ONLY, FUSE_NOTIFY_DELETE, FUSE_NOTIFY_INVAL_ENTRY, FUSE_NOTIFY_INVAL_INODE,
    FUSE_NOTIFY_PRUNE, InvalEntryOut, InvalInodeOut, OutHeader, PruneOut,
};
use crate::types::{Errno, NodeId, Unique};

/// The most pieces a reply has behind its header.
const MAX_PIECES: usize = 2;

/// One descriptor of the connection.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// The descriptor as a device.
    pub fn new(file: File) -> Device {
        Device(file)
    }

    /// Waits for a request; `None` when the conversation is over: unmounted (ENODEV) or aborted (ECONNABORTED).
    pub fn receive(&self, buf: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            let error = match (&self.0).read(buf) {
                // Only the other end of a socket can be closed.
                Ok(0) => return Ok(None),
                Ok(count) => return Ok(Some(count)),
                Err(error) => error,
            };
            match error.raw_os_error() {
                // ENOENT: the request was taken back while we read it. ENOMEM: there was no page for its bytes, and the
                // kernel has answered it EIO (semantics 6.3).
                Some(libc::ENOENT | libc::EINTR | libc::EAGAIN | libc::ENOMEM) => {}
                Some(libc::ENODEV | libc::ECONNABORTED) => return Ok(None),
                _ => return Err(error),
            }
        }
    }

    /// Tells the kernel to look a name up again before it goes by it. Errors: ENOENT where it does not know the name.
    pub fn expire_entry(&self, directory: NodeId, name: &[u8]) -> io::Result<()> {
        self.invalidate_entry(directory, name, FUSE_EXPIRE_ONLY)
    }

    /// Tells the kernel that a name is gone, of something that has others. What is mounted on it is detached. Errors: ENOENT where
    /// it does not know the name.
    pub fn drop_entry(&self, directory: NodeId, name: &[u8]) -> io::Result<()> {
        self.invalidate_entry(directory, name, 0)
    }

    fn invalidate_entry(&self, directory: NodeId, name: &[u8], flags: u32) -> io::Result<()> {
        let entry = InvalEntryOut {
            parent: directory.0,
            namelen: narrow(name.len()),
            flags,
        };
        self.notify(FUSE_NOTIFY_INVAL_ENTRY, [entry.as_bytes(), name, b"\0"])
    }

    /// Tells the kernel that a name is gone and what it named has no other. What is mounted on it is detached. Errors: ENOENT where
    /// it does not know the name, or by another node.
    pub fn delete_entry(&self, directory: NodeId, name: &[u8], node: NodeId) -> io::Result<()> {
        let entry = DeleteOut {
            parent: directory.0,
            child: node.0,
            namelen: narrow(name.len()),
            padding: 0,
        };
        self.notify(FUSE_NOTIFY_DELETE, [entry.as_bytes(), name, b"\0"])
    }

    /// Asks the kernel to give up a node that nobody uses. Errors: EINVAL before Linux 6.18, ENOENT where it does not know the node.
    pub fn prune(&self, node: NodeId) -> io::Result<()> {
        let prune = PruneOut {
            count: 1,
            padding: 0,
            spare: 0,
        };
        self.notify(FUSE_NOTIFY_PRUNE, [prune.as_bytes(), node.0.as_bytes()])
    }

    /// Tells the kernel to ask for the attributes of a node again. Errors: ENOENT where it does not know the node.
    pub fn doubt_attributes(&self, node: NodeId) -> io::Result<()> {
        let attributes = InvalInodeOut {
            ino: node.0,
            off: -1,
            len: 0,
        };
        self.notify(FUSE_NOTIFY_INVAL_INODE, [attributes.as_bytes()])
    }

    fn notify<const PIECES: usize>(&self, code: i32, pieces: [&[u8]; PIECES]) -> io::Result<()> {
        let header = OutHeader {
            len: narrow(size_of::<OutHeader>() + pieces.iter().map(|piece| piece.len()).sum::<usize>()),
            error: code,
            unique: 0,
        };
        let mut message = header.as_bytes().to_vec();
        message.extend(pieces.concat());
        (&self.0).write_all(&message)
    }

    /// Tells the kernel to drop pages of a node that it has in its cache, to the end where the size is 0. Waits for those that are
    /// being read. Errors: ENOENT where it does not know the node.
    pub fn drop_pages(&self, node: NodeId, offset: u64, size: usize) -> io::Result<()> {
        let pages = InvalInodeOut {
            ino: node.0,
            off: offset.cast_signed(),
            len: i64::try_from(size).unwrap_or(0),
        };
        self.notify(FUSE_NOTIFY_INVAL_INODE, [pages.as_bytes()])
    }

    /// Answers a request: an errno, or the pieces of a result. Errors: ENOENT where the kernel does not want the answer any
    /// more, so that what it hands over was not taken.
    pub fn send(&self, unique: Unique, result: Result<&[&[u8]], Errno>) -> io::Result<()> {
        let (error, pieces) = match result {
            Ok(pieces) => (0, pieces),
            Err(errno) => (-errno.0, &[][..]),
        };
        debug_assert!(pieces.len() <= MAX_PIECES);
        let length = size_of::<OutHeader>() + pieces.iter().map(|piece| piece.len()).sum::<usize>();
        let header = OutHeader {
            len: narrow(length),
            error,
            unique: unique.0,
        };
        let mut slices = [IoSlice::new(header.as_bytes()), IoSlice::new(&[]), IoSlice::new(&[])];
        for (slice, piece) in slices[1..].iter_mut().zip(pieces) {
            *slice = IoSlice::new(piece);
        }
        // The device takes a reply whole or not at all.
        (&self.0).write_vectored(&slices[..=pieces.len()]).map(drop)
    }
}
