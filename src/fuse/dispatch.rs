//! From a decoded request to the call of `ops`, and from its result to the reply. Converts; decides nothing.

use std::io;
use std::sync::Arc;
use std::task::{Wake, Waker};

use fuser::{INodeNo, Notifier, PollHandle};

use super::arguments::{
    io_call, lock_call, new_node, open_out, precondition, privileges, rename, room, set_attr, whence,
};
use super::background::Background;
use super::decode::{Operation, Request};
use super::device::Device;
use super::encode::{self, DirBuffer, narrow};
use super::names::Names;
use super::pages::Pages;
use super::reply::{Delivery, Reply};
use super::telling::Telling;
use super::top::Top;
use super::waiting::Waiting;
use super::wire;
use super::worker::Handler;
use crate::ops::attr::AttrCall;
use crate::ops::create::NewNode;
use crate::ops::io::{CopyRange, Read};
use crate::ops::open::Opened;
use crate::ops::xattr::NewXattr;
use crate::ops::{Entry, Filesystem};
use crate::policy::handle_mode::Mode;
use crate::types::{Attr, Cookie, Errno, Fh, FileType, LockOwner, NodeId, OpenFlags};

/// A regular file can always be read and written; the kernel takes of it what was asked for.
const READY: u32 = (libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM) as u32;

/// Serves a filesystem.
pub(super) struct Dispatch {
    filesystem: Arc<Filesystem>,
    background: Background,
    waiting: Waiting,
    names: Names,
    pages: Pages,
    /// How the kernel is told what it could not know; `None` where nobody is there to be told.
    notifier: Option<Notifier>,
    top: Arc<Top>,
}

impl Dispatch {
    /// `told` are what the kernel is told by, where it is there, and `telling` tells what may take long.
    pub(super) fn new(
        filesystem: Arc<Filesystem>,
        told: Option<(Notifier, Arc<Device>)>,
        telling: &Telling,
        top: Arc<Top>,
    ) -> io::Result<Dispatch> {
        let (notifier, device) = told.unzip();
        let background = Background::start()?;
        let names = Names::start(device.clone(), telling, &filesystem, &top)?;
        let pages = Pages::new(device, telling);
        let waiting = Waiting::start(&filesystem, background.clone(), names.clone(), pages.clone())?;
        Ok(Dispatch {
            filesystem,
            background,
            waiting,
            names,
            pages,
            notifier,
            top,
        })
    }

    /// Makes the kernel ask for a node's attributes again. It takes no lock that an answer of ours could depend on: no page is
    /// touched.
    fn doubt_attributes(&self, node: NodeId) {
        if let Some(notifier) = &self.notifier {
            // ENOENT where the kernel does not know the node, and then it knows no attributes.
            let _told = notifier.inval_inode(INodeNo(node.0), -1, 0);
        }
    }
}

impl Handler for Dispatch {
    fn handle(&self, request: &Request<'_>, reply: Reply<'_>, out: &mut [u8]) {
        let request = &self.top.translated(request);
        match request.operation {
            Operation::Lookup { .. }
            | Operation::Symlink { .. }
            | Operation::MkNod { .. }
            | Operation::MkDir { .. }
            | Operation::Link { .. } => self.entry(request, reply),
            Operation::Create { .. } | Operation::TmpFile(_) => self.create(request, reply),
            Operation::GetAttr(_) => attr(reply, self.filesystem.getattr(request.node)),
            Operation::SetAttr(args) => self.set_attr(request, &args, reply),
            Operation::StatX(_) => match self.filesystem.getattr(request.node) {
                Ok(attr) => value(reply, &encode::statx_out(&attr)),
                Err(errno) => reply.error(errno),
            },
            Operation::StatFs => value(reply, &encode::statfs_out(&self.filesystem.statfs(request.caller))),
            Operation::Open(_) | Operation::OpenDir(_) => self.open(request, reply),
            Operation::Read(args) => self.read(request, &args, reply, out),
            Operation::ReadDir(args) => self.readdir(&args, reply, out),
            Operation::ReadDirPlus(args) => self.readdirplus(&args, reply, out),
            Operation::ReadLink => {
                let read = self.filesystem.readlink(request.caller, request.node, |target| {
                    let length = target.len().min(out.len());
                    out[..length].copy_from_slice(&target[..length]);
                    length
                });
                bytes(reply, read.map(|length| &out[..length]));
            }
            Operation::GetXattr { args, .. } | Operation::ListXattr(args) => self.xattr(request, args.size, reply, out),
            Operation::Write { args, data } => self.write(request, &args, data, reply),
            Operation::LSeek(_) | Operation::CopyFileRange { .. } => self.count(request, reply),
            Operation::GetLk(args) | Operation::SetLk(args) | Operation::SetLkW(args) => {
                self.lock(request, &args, reply);
            }
            Operation::FAllocate(args) => self.fallocate(request, &args, reply),
            Operation::Poll(args) => self.poll(&args, reply),
            _ => match self.plain(request) {
                Ok(()) => reply.done(),
                Err(errno) => reply.error(errno),
            },
        }
    }

    fn forget(&self, node: NodeId, count: u64) {
        self.filesystem.forget(Top::from_kernel(node), count);
    }
}

impl Dispatch {
    /// Requests that are answered with an entry.
    fn entry(&self, request: &Request<'_>, reply: Reply<'_>) {
        let fs = &self.filesystem;
        let make = |name, new| fs.make(request.caller, request.node, name, new).map(Some);
        let result = match request.operation {
            Operation::Lookup { name } => self.lookup(request, name),
            Operation::Link { args, name } => fs
                .link(request.caller, NodeId(args.oldnodeid), request.node, name)
                .map(Some),
            Operation::Symlink { name, target } => make(name, new_node(FileType::Symlink, 0o777, 0, 0, target)),
            Operation::MkDir { args, name } => make(name, new_node(FileType::Directory, args.mode, args.umask, 0, b"")),
            Operation::MkNod { args, name } => match FileType::from_mode(args.mode) {
                Some(file_type) => make(name, new_node(file_type, args.mode, args.umask, args.rdev, b"")),
                None => Err(Errno::EINVAL),
            },
            _ => Err(Errno::ENOSYS),
        };
        match result {
            Ok(entry) => {
                let told = entry.map(|entry| Entry {
                    node: self.top.to_kernel(entry.node),
                    ..entry
                });
                let delivery = reply.value(&encode::entry_out(told.as_ref()));
                self.take_back(delivery, entry.as_ref(), None);
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn lookup(&self, request: &Request<'_>, name: &[u8]) -> Result<Option<Entry>, Errno> {
        let found = self.filesystem.lookup(request.caller, request.node, name)?;
        if found.is_none() {
            self.waiting.is_absent(request.caller);
        }
        Ok(found)
    }

    fn create(&self, request: &Request<'_>, reply: Reply<'_>) {
        let result = match request.operation {
            Operation::Create { args, name } => {
                let new = NewNode::regular(args.mode, args.umask);
                let flags = OpenFlags(args.flags);
                self.filesystem.create(request.caller, request.node, name, new, flags)
            }
            Operation::TmpFile(args) => {
                let new = NewNode::regular(args.mode, args.umask);
                self.filesystem
                    .tmpfile(request.caller, request.node, new, OpenFlags(args.flags))
            }
            _ => Err(Errno::ENOSYS),
        };
        match result {
            Ok((entry, opened)) => {
                let delivery = reply.values(&encode::created_out(&entry), &open_out(&opened));
                self.take_back(delivery, Some(&entry), Some(opened.fh));
            }
            Err(errno) => reply.error(errno),
        }
    }

    /// What an answer handed over and the kernel did not take is ours again.
    fn take_back(&self, delivery: Delivery, entry: Option<&Entry>, fh: Option<Fh>) {
        if delivery == Delivery::Taken {
            return;
        }
        if let Some(fh) = fh {
            let _known = self.filesystem.release(fh);
        }
        if let Some(entry) = entry {
            self.filesystem.forget(entry.node, 1);
        }
    }

    fn open(&self, request: &Request<'_>, reply: Reply<'_>) {
        let result = match request.operation {
            Operation::Open(args) => {
                let drop_set_id = args.open_flags & wire::FUSE_OPEN_KILL_SUIDGID != 0;
                self.filesystem
                    .open(request.caller, request.node, OpenFlags(args.flags), drop_set_id)
            }
            Operation::OpenDir(args) => {
                let opened = self.filesystem.opendir(request.node, OpenFlags(args.flags));
                opened.map(|fh| Opened {
                    fh,
                    mode: Mode::Cached,
                    backing: None,
                    doubtful: false,
                    keep_cache: false,
                })
            }
            _ => Err(Errno::ENOSYS),
        };
        match result {
            Ok(opened) => {
                if opened.doubtful {
                    self.doubt_attributes(request.node);
                }
                let delivery = reply.value(&open_out(&opened));
                self.take_back(delivery, None, Some(opened.fh));
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn read(&self, request: &Request<'_>, args: &wire::ReadIn, reply: Reply<'_>, out: &mut [u8]) {
        let size = room(args.size, out);
        let owner = args.read_flags & wire::FUSE_READ_LOCKOWNER != 0;
        let call = io_call(request, args.fh, owner.then_some(args.lock_owner), Some(args.flags));
        let mut asker = self.waiting.asker(reply);
        let read = self.filesystem.read(&call, args.offset, &mut out[..size], &mut asker);
        if let Some((reply, read)) = asker.outcome(read) {
            let (count, passing) = match read {
                Ok(Read { count, passing }) => (Ok(count), passing),
                Err(errno) => (Err(errno), None),
            };
            bytes(reply, count.map(|count| &out[..count]));
            // Not before they are there.
            self.pages.pass(passing);
        }
    }

    fn write(&self, request: &Request<'_>, args: &wire::WriteIn, data: &[u8], reply: Reply<'_>) {
        let owner = args.write_flags & wire::FUSE_WRITE_LOCKOWNER != 0;
        let call = io_call(request, args.fh, owner.then_some(args.lock_owner), Some(args.flags));
        let privileges = privileges(args.write_flags);
        let mut asker = self.waiting.asker(reply);
        let written = self.filesystem.write(&call, args.offset, data, privileges, &mut asker);
        match asker.outcome(written) {
            Some((reply, Ok(count))) => value(reply, &encode::write_out(count as u64)),
            Some((reply, Err(errno))) => reply.error(errno),
            None => {}
        }
    }

    fn set_attr(&self, request: &Request<'_>, args: &wire::SetAttrIn, reply: Reply<'_>) {
        let has = |bit| args.valid & bit != 0;
        let call = AttrCall {
            caller: request.caller,
            node: request.node,
            fh: has(wire::FATTR_FH).then_some(Fh(args.fh)),
            owner: has(wire::FATTR_LOCKOWNER).then_some(LockOwner(args.lock_owner)),
        };
        let mut asker = self.waiting.asker(reply);
        let changed = self.filesystem.setattr(&call, &set_attr(args), &mut asker);
        if let Some((reply, changed)) = asker.outcome(changed) {
            attr(reply, changed.map(|changed| changed.attr));
            changed.iter().for_each(|changed| self.names.changed(changed));
        }
    }

    fn lock(&self, request: &Request<'_>, args: &wire::LkIn, reply: Reply<'_>) {
        let fs = &self.filesystem;
        let call = match lock_call(request.caller, args) {
            Ok(call) => call,
            Err(errno) => return reply.error(errno),
        };
        let mut asker = self.waiting.asker(reply);
        let result = match request.operation {
            Operation::GetLk(_) => {
                let tested = fs.test_lock(&call, &mut asker);
                return match asker.outcome(tested) {
                    Some((reply, Ok(lock))) => value(reply, &encode::lock_out(lock.as_ref())),
                    Some((reply, Err(errno))) => reply.error(errno),
                    None => {}
                };
            }
            Operation::SetLkW(_) => fs.wait_for_lock(&call, &mut asker),
            _ => fs.set_lock(&call, &mut asker),
        };
        match asker.outcome(result) {
            Some((reply, Ok(()))) => reply.done(),
            Some((reply, Err(errno))) => reply.error(errno),
            None => {}
        }
    }

    fn readdir(&self, args: &wire::ReadIn, reply: Reply<'_>, out: &mut [u8]) {
        let size = room(args.size, out);
        let mut buffer = DirBuffer::plain(&mut out[..size]);
        let listed = self.filesystem.readdir(Fh(args.fh), Cookie(args.offset), &mut buffer);
        bytes(reply, listed.map(|()| buffer.bytes()));
    }

    fn readdirplus(&self, args: &wire::ReadIn, reply: Reply<'_>, out: &mut [u8]) {
        let size = room(args.size, out);
        let mut buffer = DirBuffer::plus(&mut out[..size]);
        match self
            .filesystem
            .readdirplus(Fh(args.fh), Cookie(args.offset), &mut buffer)
        {
            Ok(entries) => {
                buffer.fill_in(entries.iter().copied());
                if reply.bytes(buffer.bytes()) == Delivery::Refused {
                    for entry in entries.iter().flatten() {
                        self.filesystem.forget(entry.node, 1);
                    }
                }
            }
            Err(errno) => reply.error(errno),
        }
    }

    fn xattr(&self, request: &Request<'_>, size: u32, reply: Reply<'_>, out: &mut [u8]) {
        let size = room(size, out);
        let buf = &mut out[..size];
        let read = match request.operation {
            Operation::GetXattr { name, .. } => self.filesystem.getxattr(request.node, name, buf),
            _ => self.filesystem.listxattr(request.caller, request.node, buf),
        };
        match read {
            Ok(length) if size == 0 => value(
                reply,
                &wire::GetXattrOut {
                    size: narrow(length),
                    padding: 0,
                },
            ),
            read => bytes(reply, read.map(|length| &out[..length])),
        }
    }

    /// Requests that are answered with a number.
    fn count(&self, request: &Request<'_>, reply: Reply<'_>) {
        let fs = &self.filesystem;
        match request.operation {
            Operation::LSeek(args) => match whence(args.whence).and_then(|to| fs.seek(request.node, args.offset, to)) {
                Ok(offset) => value(reply, &wire::LSeekOut { offset }),
                Err(errno) => reply.error(errno),
            },
            Operation::CopyFileRange { args, wide_reply } => {
                let range = CopyRange {
                    source: request.node,
                    source_fh: Fh(args.fh_in),
                    from: args.off_in,
                    target: NodeId(args.nodeid_out),
                    target_fh: Fh(args.fh_out),
                    to: args.off_out,
                    len: args.len,
                };
                match fs.copy(request.caller, &range) {
                    Ok(bytes_copied) if wide_reply => value(reply, &wire::CopyFileRangeOut { bytes_copied }),
                    Ok(copied) => value(reply, &encode::write_out(copied)),
                    Err(errno) => reply.error(errno),
                }
            }
            _ => reply.error(Errno::ENOSYS),
        }
    }

    fn fallocate(&self, request: &Request<'_>, args: &wire::FAllocateIn, reply: Reply<'_>) {
        let call = io_call(request, args.fh, None, None);
        let mut asker = self.waiting.asker(reply);
        let allocated = self
            .filesystem
            .fallocate(&call, args.mode, args.offset, args.length, &mut asker);
        match asker.outcome(allocated) {
            Some((reply, Ok(None))) => reply.done(),
            Some((reply, Ok(Some(rest)))) => self.background.take(rest, reply),
            Some((reply, Err(errno))) => reply.error(errno),
            None => {}
        }
    }

    fn poll(&self, args: &wire::PollIn, reply: Reply<'_>) {
        let notifier = self.notifier.as_ref();
        let waits = notifier.filter(|_| args.flags & wire::FUSE_POLL_SCHEDULE_NOTIFY != 0);
        let poller = waits.map(|notifier| Poller {
            notifier: notifier.clone(),
            handle: PollHandle(args.kh),
        });
        let waker = poller.map(|poller| Waker::from(Arc::new(poller)));
        match self.filesystem.poll(Fh(args.fh), waker) {
            Ok(()) => value(
                reply,
                &wire::PollOut {
                    revents: READY,
                    padding: 0,
                },
            ),
            Err(errno) => reply.error(errno),
        }
    }

    /// Requests that are answered with success alone, and those we have no use for: ENOSYS, so that the kernel does by
    /// itself what there is to do and does not ask again.
    fn plain(&self, request: &Request<'_>) -> Result<(), Errno> {
        let fs = &self.filesystem;
        match request.operation {
            Operation::Unlink { name } => fs.unlink(request.node, name),
            Operation::RmDir { name } => fs.rmdir(request.node, name),
            Operation::Rename { args, old, new } => fs.rename(request.caller, &rename(request.node, &args, old, new)?),
            Operation::Release(args) | Operation::ReleaseDir(args) => fs.release(Fh(args.fh)),
            Operation::Flush(args) => fs.flush(request.caller, Fh(args.fh), LockOwner(args.lock_owner)),
            Operation::SetXattr { args, name, value } => {
                let new = NewXattr {
                    name,
                    value,
                    precondition: precondition(args.flags)?,
                    drop_set_gid: args.setxattr_flags & wire::FUSE_SETXATTR_ACL_KILL_SGID != 0,
                };
                fs.setxattr(request.node, &new)
                    .map(|changed| self.names.changed(&changed))
            }
            Operation::RemoveXattr { name } => fs.removexattr(request.node, name),
            Operation::SyncFs(_) | Operation::Destroy => Ok(()),
            // The kernel's own answer to an ioctl nobody knows, without keeping it from asking for another.
            Operation::Ioctl { .. } => Err(Errno::ENOTTY),
            _ => Err(Errno::ENOSYS),
        }
    }
}

/// Who polls an open file. The kernel takes no lock to wake him that an answer of ours could depend on.
struct Poller {
    notifier: Notifier,
    handle: PollHandle,
}

impl Wake for Poller {
    fn wake(self: Arc<Self>) {
        // Fails only where the conversation is over.
        let _told = self.notifier.poll(self.handle);
    }
}

fn value<T: zerocopy::IntoBytes + zerocopy::Immutable>(reply: Reply<'_>, value: &T) {
    let _nothing_handed_over = reply.value(value);
}

fn bytes(reply: Reply<'_>, result: Result<&[u8], Errno>) {
    match result {
        Ok(bytes) => {
            let _nothing_handed_over = reply.bytes(bytes);
        }
        Err(errno) => reply.error(errno),
    }
}

fn attr(reply: Reply<'_>, result: Result<Attr, Errno>) {
    match result {
        Ok(attr) => value(reply, &encode::attr_out(&attr)),
        Err(errno) => reply.error(errno),
    }
}
