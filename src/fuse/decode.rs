//! From the bytes of a request to a typed operation: in place, nothing copied but small structs, nothing allocated, every
//! length checked. What it cannot read is an error of the request, never of the daemon (semantics 6.1).

use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::wire::{self, InHeader, Opcode};
use crate::types::{Caller, NodeId, Unique};

/// Why a request was not understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// Shorter than its header: there is nobody to answer.
    NoHeader,
    /// Its header can be read and the rest cannot.
    Body(Unique),
}

/// One request.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Its number.
    pub unique: Unique,
    /// The node it is about.
    pub node: NodeId,
    /// Who caused it.
    pub caller: Caller,
    /// What it asks for.
    pub operation: Operation<'a>,
}

/// What a request asks for, with its arguments.
#[derive(Clone, Copy, Debug)]
#[allow(
    missing_docs,
    reason = "the variants are the requests of fuse.h, their fields its structs and strings"
)]
pub enum Operation<'a> {
    Lookup {
        name: &'a [u8],
    },
    Forget(wire::ForgetIn),
    BatchForget(Forgets<'a>),
    GetAttr(wire::GetAttrIn),
    StatX(wire::StatXIn),
    SetAttr(wire::SetAttrIn),
    ReadLink,
    Symlink {
        name: &'a [u8],
        target: &'a [u8],
    },
    MkNod {
        args: wire::MkNodIn,
        name: &'a [u8],
    },
    MkDir {
        args: wire::MkDirIn,
        name: &'a [u8],
    },
    Unlink {
        name: &'a [u8],
    },
    RmDir {
        name: &'a [u8],
    },
    Rename {
        args: wire::Rename2In,
        old: &'a [u8],
        new: &'a [u8],
    },
    Link {
        args: wire::LinkIn,
        name: &'a [u8],
    },
    Open(wire::OpenIn),
    OpenDir(wire::OpenIn),
    Create {
        args: wire::CreateIn,
        name: &'a [u8],
    },
    TmpFile(wire::CreateIn),
    Read(wire::ReadIn),
    Write {
        args: wire::WriteIn,
        data: &'a [u8],
    },
    Release(wire::ReleaseIn),
    ReleaseDir(wire::ReleaseIn),
    Flush(wire::FlushIn),
    Fsync(wire::FsyncIn),
    FsyncDir(wire::FsyncIn),
    SyncFs(wire::SyncFsIn),
    ReadDir(wire::ReadIn),
    ReadDirPlus(wire::ReadIn),
    SetXattr {
        args: wire::SetXattrIn,
        name: &'a [u8],
        value: &'a [u8],
    },
    GetXattr {
        args: wire::GetXattrIn,
        name: &'a [u8],
    },
    ListXattr(wire::GetXattrIn),
    RemoveXattr {
        name: &'a [u8],
    },
    GetLk(wire::LkIn),
    SetLk(wire::LkIn),
    SetLkW(wire::LkIn),
    StatFs,
    Access(wire::AccessIn),
    Interrupt(wire::InterruptIn),
    FAllocate(wire::FAllocateIn),
    LSeek(wire::LSeekIn),
    CopyFileRange {
        args: wire::CopyFileRangeIn,
        wide_reply: bool,
    },
    Ioctl {
        args: wire::IoctlIn,
        data: &'a [u8],
    },
    Poll(wire::PollIn),
    Destroy,
    /// The answer to a notification, which takes none itself.
    NotifyReply,
    /// Known or unknown, we have no use for it: ENOSYS.
    Unsupported {
        opcode: u32,
    },
}

impl Operation<'_> {
    /// What to call it in a message: its name and fixed arguments, but nothing of what users write.
    pub fn in_a_message(&self) -> String {
        match self {
            Operation::Write { args, .. } => format!("Write {args:?}"),
            Operation::SetXattr { args, .. } => format!("SetXattr {args:?}"),
            Operation::Ioctl { args, .. } => format!("Ioctl {args:?}"),
            Operation::BatchForget(_) => "BatchForget".to_owned(),
            other => format!("{other:?}"),
        }
    }
}

/// The nodes of a BATCH_FORGET.
#[derive(Clone, Copy, Debug)]
pub struct Forgets<'a>(&'a [[u8; 16]]);

impl Forgets<'_> {
    /// Each node and how many references to it are given up.
    pub fn iter(&self) -> impl Iterator<Item = (NodeId, u64)> {
        self.0
            .iter()
            .filter_map(|bytes| wire::ForgetOne::read_from_bytes(bytes).ok())
            .map(|one| (NodeId(one.nodeid), one.nlookup))
    }
}

/// Agreements of the session that change how requests are laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// FUSE_SETXATTR_EXT: SETXATTR has its long struct.
    pub setxattr_ext: bool,
}

struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take<T: FromBytes + KnownLayout + Immutable>(&mut self) -> Option<T> {
        let (value, rest) = T::read_from_prefix(self.0).ok()?;
        self.0 = rest;
        Some(value)
    }

    /// A string that ends with a NUL, which is not part of it.
    fn string(&mut self) -> Option<&'a [u8]> {
        let end = self.0.iter().position(|&byte| byte == 0)?;
        let (string, rest) = self.0.split_at(end);
        self.0 = &rest[1..];
        Some(string)
    }

    fn bytes(&mut self, count: u32) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }
}

/// Reads one request.
pub fn decode(bytes: &[u8], layout: Layout) -> Result<Request<'_>, Malformed> {
    let mut cursor = Cursor(bytes);
    let header: InHeader = cursor.take().ok_or(Malformed::NoHeader)?;
    let unique = Unique(header.unique);
    if header.len as usize != bytes.len() {
        return Err(Malformed::Body(unique));
    }
    let operation = operation(&header, &mut cursor, layout).ok_or(Malformed::Body(unique))?;
    Ok(Request {
        unique,
        node: NodeId(header.nodeid),
        caller: Caller {
            uid: header.uid,
            gid: header.gid,
            tid: header.pid,
        },
        operation,
    })
}

fn operation<'a>(header: &InHeader, cursor: &mut Cursor<'a>, layout: Layout) -> Option<Operation<'a>> {
    let Some(opcode) = Opcode::from_number(header.opcode) else {
        return Some(Operation::Unsupported { opcode: header.opcode });
    };
    names(opcode, cursor)
        .or_else(|| files(opcode, cursor))
        .or_else(|| others(opcode, cursor, layout))
        .unwrap_or(Some(Operation::Unsupported { opcode: header.opcode }))
}

/// What an opcode's family makes of it: `None` where it is of another family, `Some(None)` where the request is too short.
type Decoded<'a> = Option<Option<Operation<'a>>>;

fn names<'a>(opcode: Opcode, cursor: &mut Cursor<'a>) -> Decoded<'a> {
    let mut decode = || {
        Some(match opcode {
            Opcode::Lookup => Operation::Lookup { name: cursor.string()? },
            Opcode::Unlink => Operation::Unlink { name: cursor.string()? },
            Opcode::RmDir => Operation::RmDir { name: cursor.string()? },
            Opcode::Symlink => Operation::Symlink {
                name: cursor.string()?,
                target: cursor.string()?,
            },
            Opcode::MkNod => Operation::MkNod {
                args: cursor.take()?,
                name: cursor.string()?,
            },
            Opcode::MkDir => Operation::MkDir {
                args: cursor.take()?,
                name: cursor.string()?,
            },
            Opcode::Create => Operation::Create {
                args: cursor.take()?,
                name: cursor.string()?,
            },
            Opcode::Link => Operation::Link {
                args: cursor.take()?,
                name: cursor.string()?,
            },
            Opcode::Rename => {
                let wire::RenameIn { newdir } = cursor.take()?;
                let args = wire::Rename2In {
                    newdir,
                    flags: 0,
                    padding: 0,
                };
                rename(args, cursor)?
            }
            Opcode::Rename2 => rename(cursor.take()?, cursor)?,
            _ => return None,
        })
    };
    use Opcode::{Create, Link, Lookup, MkDir, MkNod, Rename, Rename2, RmDir, Symlink, Unlink};
    matches!(
        opcode,
        Lookup | Unlink | RmDir | Symlink | MkNod | MkDir | Create | Link | Rename | Rename2
    )
    .then(&mut decode)
}

fn rename<'a>(args: wire::Rename2In, cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
    Some(Operation::Rename {
        args,
        old: cursor.string()?,
        new: cursor.string()?,
    })
}

fn files<'a>(opcode: Opcode, cursor: &mut Cursor<'a>) -> Decoded<'a> {
    let operation = match opcode {
        Opcode::Open => cursor.take().map(Operation::Open),
        Opcode::OpenDir => cursor.take().map(Operation::OpenDir),
        // The name is made up by the kernel and nobody's.
        Opcode::TmpFile => cursor.take().map(Operation::TmpFile),
        Opcode::Read => cursor.take().map(Operation::Read),
        Opcode::Write => write(cursor),
        Opcode::Release => cursor.take().map(Operation::Release),
        Opcode::ReleaseDir => cursor.take().map(Operation::ReleaseDir),
        Opcode::Flush => cursor.take().map(Operation::Flush),
        Opcode::Fsync => cursor.take().map(Operation::Fsync),
        Opcode::FsyncDir => cursor.take().map(Operation::FsyncDir),
        Opcode::ReadDir => cursor.take().map(Operation::ReadDir),
        Opcode::ReadDirPlus => cursor.take().map(Operation::ReadDirPlus),
        Opcode::GetLk => cursor.take().map(Operation::GetLk),
        Opcode::SetLk => cursor.take().map(Operation::SetLk),
        Opcode::SetLkW => cursor.take().map(Operation::SetLkW),
        Opcode::FAllocate => cursor.take().map(Operation::FAllocate),
        Opcode::LSeek => cursor.take().map(Operation::LSeek),
        Opcode::CopyFileRange | Opcode::CopyFileRange64 => cursor.take().map(|args| Operation::CopyFileRange {
            args,
            wide_reply: opcode == Opcode::CopyFileRange64,
        }),
        _ => return None,
    };
    Some(operation)
}

fn write<'a>(cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
    let args: wire::WriteIn = cursor.take()?;
    Some(Operation::Write {
        args,
        data: cursor.bytes(args.size)?,
    })
}

fn others<'a>(opcode: Opcode, cursor: &mut Cursor<'a>, layout: Layout) -> Decoded<'a> {
    let operation = match opcode {
        Opcode::Forget => cursor.take().map(Operation::Forget),
        Opcode::BatchForget => batch_forget(cursor),
        Opcode::GetAttr => cursor.take().map(Operation::GetAttr),
        Opcode::StatX => cursor.take().map(Operation::StatX),
        Opcode::SetAttr => cursor.take().map(Operation::SetAttr),
        Opcode::ReadLink => Some(Operation::ReadLink),
        Opcode::StatFs => Some(Operation::StatFs),
        Opcode::SyncFs => cursor.take().map(Operation::SyncFs),
        Opcode::SetXattr => set_xattr(cursor, layout),
        Opcode::GetXattr => get_xattr(cursor),
        Opcode::ListXattr => cursor.take().map(Operation::ListXattr),
        Opcode::RemoveXattr => cursor.string().map(|name| Operation::RemoveXattr { name }),
        Opcode::Access => cursor.take().map(Operation::Access),
        Opcode::Interrupt => cursor.take().map(Operation::Interrupt),
        Opcode::Ioctl => ioctl(cursor),
        Opcode::Poll => cursor.take().map(Operation::Poll),
        Opcode::Destroy => Some(Operation::Destroy),
        Opcode::NotifyReply => Some(Operation::NotifyReply),
        _ => return None,
    };
    Some(operation)
}

fn batch_forget<'a>(cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
    let args: wire::BatchForgetIn = cursor.take()?;
    let (all, _) = cursor.0.as_chunks();
    Some(Operation::BatchForget(Forgets(all.get(..args.count as usize)?)))
}

fn set_xattr<'a>(cursor: &mut Cursor<'a>, layout: Layout) -> Option<Operation<'a>> {
    let args = if layout.setxattr_ext {
        cursor.take()?
    } else {
        let wire::SetXattrCompatIn { size, flags } = cursor.take()?;
        wire::SetXattrIn {
            size,
            flags,
            setxattr_flags: 0,
            padding: 0,
        }
    };
    Some(Operation::SetXattr {
        args,
        name: cursor.string()?,
        value: cursor.bytes(args.size)?,
    })
}

fn get_xattr<'a>(cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
    Some(Operation::GetXattr {
        args: cursor.take()?,
        name: cursor.string()?,
    })
}

fn ioctl<'a>(cursor: &mut Cursor<'a>) -> Option<Operation<'a>> {
    let args: wire::IoctlIn = cursor.take()?;
    Some(Operation::Ioctl {
        args,
        data: cursor.bytes(args.in_size)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_tells_nothing_of_what_users_write() {
        let data = &b"secret"[..];
        let args = wire::WriteIn::default();
        let message = Operation::Write { args, data }.in_a_message();
        assert!(
            message.starts_with("Write WriteIn") && !message.contains("115, 101"),
            "{message}"
        );
        let args = wire::SetXattrIn::default();
        let (name, value) = (&b"user.a"[..], data);
        let message = Operation::SetXattr { args, name, value }.in_a_message();
        assert!(!message.contains("115, 101"), "{message}");
    }
}
