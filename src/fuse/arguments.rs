//! From the structs of the protocol to the arguments of `ops`, and how an open file is told to the kernel.

use super::decode::Request;
use super::wire;
use crate::content::Whence;
use crate::lock::{Kind, Range};
use crate::ops::attr::{SetAttr, SetTime};
use crate::ops::create::NewNode;
use crate::ops::io::{IoCall, Privileges};
use crate::ops::lock::LockCall;
use crate::ops::names::Move;
use crate::ops::open::Opened;
use crate::policy::handle_mode::Mode;
use crate::tree::Precondition;
use crate::types::{Caller, Errno, Fh, FileType, LockOwner, NodeId, OpenFlags, RenameMode, Timestamp};

pub(super) fn new_node(file_type: FileType, perm: u32, umask: u32, rdev: u32, target: &[u8]) -> NewNode<'_> {
    NewNode {
        file_type,
        perm,
        umask,
        rdev,
        target,
    }
}

pub(super) fn io_call(request: &Request<'_>, fh: u64, owner: Option<u64>, flags: Option<u32>) -> IoCall {
    IoCall {
        caller: request.caller,
        node: request.node,
        fh: Fh(fh),
        owner: owner.map(LockOwner),
        flags: flags.map(OpenFlags),
    }
}

/// Errors: EINVAL for a type or a range that is none.
pub(super) fn lock_call(caller: Caller, args: &wire::LkIn) -> Result<LockCall, Errno> {
    let kind = match args.lock.kind.cast_signed() {
        libc::F_RDLCK => Some(Kind::Read),
        libc::F_WRLCK => Some(Kind::Write),
        libc::F_UNLCK => None,
        _ => return Err(Errno::EINVAL),
    };
    Ok(LockCall {
        caller,
        fh: Fh(args.fh),
        owner: LockOwner(args.owner),
        pid: args.lock.pid,
        range: Range::of_wire(args.lock.start, args.lock.end).ok_or(Errno::EINVAL)?,
        kind,
        flock: args.lk_flags & wire::FUSE_LK_FLOCK != 0,
    })
}

pub(super) fn open_out(opened: &Opened) -> wire::OpenOut {
    debug_assert_eq!(opened.mode.is_passthrough(), opened.backing.is_some());
    let open_flags = match opened.mode {
        Mode::Fast => wire::FOPEN_PASSTHROUGH,
        Mode::Cached if opened.keep_cache => wire::FOPEN_KEEP_CACHE,
        Mode::Cached => 0,
        // In parallel: of who shares a node with a write that waits, some need not wait for it.
        Mode::Enforced => wire::FOPEN_DIRECT_IO | wire::FOPEN_PARALLEL_DIRECT_WRITES,
        Mode::Checked => wire::FOPEN_PASSTHROUGH | wire::FOPEN_DIRECT_IO | wire::FOPEN_PARALLEL_DIRECT_WRITES,
    };
    wire::OpenOut {
        fh: opened.fh.0,
        open_flags,
        backing_id: opened.backing.map_or(0, |backing| backing.0),
    }
}

pub(super) fn privileges(write_flags: u32) -> Privileges {
    match write_flags {
        flags if flags & wire::FUSE_WRITE_CACHE != 0 => Privileges::Stay,
        flags if flags & wire::FUSE_WRITE_KILL_SUIDGID != 0 => Privileges::End,
        _ => Privileges::KeepSetId,
    }
}

/// The bytes asked for, as far as the buffer goes.
pub(super) fn room(size: u32, out: &[u8]) -> usize {
    (size as usize).min(out.len())
}

pub(super) fn set_attr(args: &wire::SetAttrIn) -> SetAttr {
    let has = |bit| args.valid & bit != 0;
    let time = |given, now, secs, nanos| {
        has(given).then(|| match has(now) {
            true => SetTime::Now,
            false => SetTime::At(Timestamp { secs, nanos }),
        })
    };
    SetAttr {
        perm: has(wire::FATTR_MODE).then_some(args.mode),
        uid: has(wire::FATTR_UID).then_some(args.uid),
        gid: has(wire::FATTR_GID).then_some(args.gid),
        size: has(wire::FATTR_SIZE).then_some(args.size),
        atime: time(wire::FATTR_ATIME, wire::FATTR_ATIME_NOW, args.atime, args.atimensec),
        mtime: time(wire::FATTR_MTIME, wire::FATTR_MTIME_NOW, args.mtime, args.mtimensec),
        drop_set_id: has(wire::FATTR_KILL_SUIDGID),
    }
}

pub(super) fn whence(whence: u32) -> Result<Whence, Errno> {
    match whence.cast_signed() {
        libc::SEEK_DATA => Ok(Whence::Data),
        libc::SEEK_HOLE => Ok(Whence::Hole),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn precondition(flags: u32) -> Result<Precondition, Errno> {
    match flags.cast_signed() {
        0 => Ok(Precondition::None),
        libc::XATTR_CREATE => Ok(Precondition::Absent),
        libc::XATTR_REPLACE => Ok(Precondition::Present),
        both if both == libc::XATTR_CREATE | libc::XATTR_REPLACE => Ok(Precondition::Never),
        _ => Err(Errno::EINVAL),
    }
}

pub(super) fn rename<'a>(
    from: NodeId,
    args: &wire::Rename2In,
    old: &'a [u8],
    new: &'a [u8],
) -> Result<Move<'a>, Errno> {
    let whiteout = args.flags & libc::RENAME_WHITEOUT != 0;
    let mode = match args.flags & !libc::RENAME_WHITEOUT {
        0 => RenameMode::Replace,
        libc::RENAME_NOREPLACE => RenameMode::NoReplace,
        libc::RENAME_EXCHANGE if !whiteout => RenameMode::Exchange,
        _ => return Err(Errno::EINVAL),
    };
    let to = NodeId(args.newdir);
    Ok(Move {
        from,
        old,
        to,
        new,
        mode,
        whiteout,
    })
}
