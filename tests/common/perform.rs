//! Makes the system calls of `call.rs`: one function per family.

use nix::fcntl::{FcntlArg, fcntl};
use rustix::fd::{AsFd, BorrowedFd, OwnedFd};
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, RawMode, RenameFlags, SeekFrom, Timespec, Timestamps};
use rustix::io::{self, Errno};
use rustix::process::{Gid, Uid};
use std::os::fd::AsRawFd;

use super::call::{Answer, Attr, Call, Wire};
use super::map::Map;

type Done = Result<(i64, Vec<u8>), Errno>;

/// The table of open files of one actor.
#[derive(Debug, Default)]
pub struct Performer {
    slots: Vec<Option<OwnedFd>>,
}

fn nothing(result: Result<(), Errno>) -> Done {
    result.map(|()| (0, vec![]))
}

fn count(result: Result<usize, Errno>) -> Done {
    result.map(|n| (n as i64, vec![]))
}

fn bytes(result: Result<Vec<u8>, Errno>) -> Done {
    result.map(|b| (b.len() as i64, b))
}

fn attr(result: Result<fs::Stat, Errno>) -> Done {
    let mut data = vec![];
    Attr::new(&result?).put(&mut data);
    Ok((0, data))
}

fn mode(bits: u32) -> Mode {
    Mode::from_raw_mode(bits as RawMode)
}

fn at(bits: u32) -> AtFlags {
    AtFlags::from_bits_retain(bits)
}

fn id(id: u32) -> Option<u32> {
    (id != u32::MAX).then_some(id)
}

fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

impl Performer {
    /// Makes the call.
    pub fn perform(&mut self, call: &Call) -> Answer {
        match self.on_names(call) {
            Ok((value, data)) => Answer { value, data },
            Err(errno) => Answer {
                value: -i64::from(errno.raw_os_error()),
                data: vec![],
            },
        }
    }

    fn slot(&self, slot: u8) -> Result<BorrowedFd<'_>, Errno> {
        self.slots
            .get(usize::from(slot))
            .and_then(Option::as_ref)
            .map(AsFd::as_fd)
            .ok_or(Errno::BADF)
    }

    fn put(&mut self, slot: u8, fd: Option<OwnedFd>) {
        let slot = usize::from(slot);
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        self.slots[slot] = fd;
    }

    fn on_names(&mut self, call: &Call) -> Done {
        match call {
            Call::Open {
                slot,
                name,
                flags,
                mode: bits,
            } => {
                let flags = OFlags::from_bits_retain(*flags) | OFlags::CLOEXEC | OFlags::NONBLOCK;
                let fd = fs::openat(CWD, name, flags, mode(*bits))?;
                self.put(*slot, Some(fd));
                Ok((0, vec![]))
            }
            Call::Close { slot } => {
                self.slot(*slot)?;
                self.put(*slot, None);
                Ok((0, vec![]))
            }
            Call::Mkdir { name, mode: bits } => nothing(fs::mkdirat(CWD, name, mode(*bits))),
            Call::Rmdir { name } => nothing(fs::unlinkat(CWD, name, AtFlags::REMOVEDIR)),
            Call::Unlink { name } => nothing(fs::unlinkat(CWD, name, AtFlags::empty())),
            Call::Mknod { name, mode: bits, dev } => nothing(fs::mknodat(
                CWD,
                name,
                FileType::from_raw_mode(*bits as RawMode),
                mode(bits & 0o7777),
                *dev,
            )),
            Call::Symlink { target, name } => nothing(fs::symlinkat(target, CWD, name)),
            Call::Readlink { name } => bytes(fs::readlinkat(CWD, name, vec![]).map(|t| t.into_bytes())),
            Call::Link { old, new, flags } => nothing(fs::linkat(CWD, old, CWD, new, at(*flags))),
            Call::LinkFd { slot, new } => {
                let old = format!("/proc/self/fd/{}", self.slot(*slot)?.as_raw_fd());
                nothing(fs::linkat(CWD, old, CWD, new, AtFlags::SYMLINK_FOLLOW))
            }
            Call::Rename { old, new, flags } => nothing(fs::renameat_with(
                CWD,
                old,
                CWD,
                new,
                RenameFlags::from_bits_retain(*flags),
            )),
            Call::Chdir { name } => nothing(rustix::process::chdir(name)),
            Call::Umask { mask } => Ok((rustix::process::umask(mode(*mask)).as_raw_mode().into(), vec![])),
            Call::Pid {} => Ok((std::process::id().into(), vec![])),
            Call::Exec { name } => {
                let status = std::process::Command::new(format!("./{name}")).status();
                let status = status.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
                Ok((status.code().unwrap_or(-1).into(), vec![]))
            }
            _ => self.on_contents(call),
        }
    }

    fn on_contents(&mut self, call: &Call) -> Done {
        match call {
            Call::Truncate { name, len } => nothing(nix::unistd::truncate(name.as_str(), *len).map_err(errno)),
            Call::Ftruncate { slot, len } => nothing(nix::unistd::ftruncate(self.slot(*slot)?, *len).map_err(errno)),
            Call::Fallocate {
                slot,
                mode,
                offset,
                len,
            } => {
                let flags = nix::fcntl::FallocateFlags::from_bits_retain(mode.cast_signed());
                nothing(nix::fcntl::fallocate(self.slot(*slot)?, flags, *offset, *len).map_err(errno))
            }
            Call::Seek { slot, offset, whence } => {
                let stat = fs::fstat(self.slot(*slot)?)?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                    return Err(Errno::ISDIR);
                }
                let to = match whence {
                    0 => SeekFrom::Start(offset.cast_unsigned()),
                    1 => SeekFrom::Current(*offset),
                    2 => SeekFrom::End(*offset),
                    3 => SeekFrom::Data(offset.cast_unsigned()),
                    _ => SeekFrom::Hole(offset.cast_unsigned()),
                };
                fs::seek(self.slot(*slot)?, to).map(|n| (n.cast_signed(), vec![]))
            }
            Call::Read { slot, len } => {
                let mut buffer = vec![0; *len as usize];
                let n = io::read(self.slot(*slot)?, &mut buffer)?;
                Ok((n as i64, buffer[..n].to_vec()))
            }
            Call::Pread { slot, len, offset } => bytes(super::dir::pread(self.slot(*slot)?, *len as usize, *offset)),
            Call::Write { slot, bytes } => count(io::write(self.slot(*slot)?, bytes)),
            Call::Pwrite { slot, bytes, offset } => count(io::pwrite(self.slot(*slot)?, bytes, *offset)),
            Call::CopyRange {
                from,
                from_offset,
                to,
                to_offset,
                len,
            } => {
                let (mut i, mut o) = (*from_offset, *to_offset);
                let len = usize::try_from(*len).map_err(|_| Errno::INVAL)?;
                count(fs::copy_file_range(
                    self.slot(*from)?,
                    Some(&mut i),
                    self.slot(*to)?,
                    Some(&mut o),
                    len,
                ))
            }
            Call::MapWrite { slot, bytes, offset } => self.map(*slot, *offset, bytes.len(), Some(bytes)),
            Call::MapRead { slot, len, offset } => self.map(*slot, *offset, *len as usize, None),
            Call::Fsync { slot } => nothing(fs::fsync(self.slot(*slot)?)),
            _ => self.on_attributes(call),
        }
    }

    fn map(&self, slot: u8, offset: u64, len: usize, write: Option<&[u8]>) -> Done {
        let fd = self.slot(slot)?;
        let size = usize::try_from(fs::fstat(fd)?.st_size)
            .map_err(|_| Errno::OVERFLOW)?
            .min(4 << 20);
        let offset = usize::try_from(offset).map_err(|_| Errno::OVERFLOW)?;
        let map = if write.is_some() {
            Map::shared(fd, size)?
        } else {
            Map::shared_read(fd, size)?
        };
        let len = len.min(size.saturating_sub(offset));
        if len == 0 {
            return Ok((0, vec![]));
        }
        if write.is_none() {
            let back = fs::tell(fd)?;
            let hole = fs::seek(fd, SeekFrom::Hole(offset as u64));
            fs::seek(fd, SeekFrom::Start(back))?;
            if hole? < (offset + len) as u64 {
                return Ok((0, vec![]));
            }
        }
        match write {
            Some(bytes) => map.put(offset, &bytes[..len]),
            None => return Ok((len as i64, map.get(offset, len))),
        }
        Ok((len as i64, vec![]))
    }

    fn on_attributes(&mut self, call: &Call) -> Done {
        match call {
            Call::Chmod { name, mode: bits } => nothing(fs::chmodat(CWD, name, mode(*bits), AtFlags::empty())),
            Call::Fchmod { slot, mode: bits } => nothing(fs::fchmod(self.slot(*slot)?, mode(*bits))),
            Call::Chown { name, uid, gid, flags } => {
                let (uid, gid) = (id(*uid).map(Uid::from_raw), id(*gid).map(Gid::from_raw));
                nothing(fs::chownat(CWD, name, uid, gid, at(*flags)))
            }
            Call::Fchown { slot, uid, gid } => {
                let (uid, gid) = (id(*uid).map(Uid::from_raw), id(*gid).map(Gid::from_raw));
                nothing(fs::fchown(self.slot(*slot)?, uid, gid))
            }
            Call::Utimens {
                name,
                atime,
                atime_ns,
                mtime,
                mtime_ns,
            } => {
                let times = Timestamps {
                    last_access: Timespec {
                        tv_sec: *atime,
                        tv_nsec: *atime_ns,
                    },
                    last_modification: Timespec {
                        tv_sec: *mtime,
                        tv_nsec: *mtime_ns,
                    },
                };
                nothing(fs::utimensat(CWD, name, &times, AtFlags::SYMLINK_NOFOLLOW))
            }
            Call::Setxattr {
                name,
                key,
                value,
                flags,
            } => nothing(fs::lsetxattr(
                name,
                key,
                value,
                fs::XattrFlags::from_bits_retain(*flags),
            )),
            Call::Getxattr { name, key } => bytes(super::xattr::get(name.as_ref(), key)),
            Call::Listxattr { name } => {
                let names = super::xattr::list(name.as_ref())?;
                bytes(Ok(names.into_iter().collect::<Vec<_>>().join("\n").into_bytes()))
            }
            Call::Removexattr { name, key } => nothing(fs::lremovexattr(name, key)),
            Call::Access { name, mode } => nothing(fs::accessat(
                CWD,
                name,
                fs::Access::from_bits_retain(*mode),
                AtFlags::empty(),
            )),
            Call::Stat { name, flags } => attr(fs::statat(CWD, name, at(*flags))),
            Call::Fstat { slot } => attr(fs::fstat(self.slot(*slot)?)),
            _ => self.on_the_rest(call),
        }
    }

    fn on_the_rest(&mut self, call: &Call) -> Done {
        match call {
            Call::Statfs { slot } => {
                let s = fs::fstatfs(self.slot(*slot)?)?;
                let mut data = vec![];
                for n in [s.f_blocks, s.f_bfree, s.f_bavail, s.f_files, s.f_ffree] {
                    n.put(&mut data);
                }
                Ok((s.f_bsize, data))
            }
            Call::ReadDir { slot } => {
                fs::seek(self.slot(*slot)?, SeekFrom::Start(0))?;
                let mut buffer = vec![std::mem::MaybeUninit::uninit(); 2048];
                let mut dir = fs::RawDir::new(self.slot(*slot)?, &mut buffer);
                let mut names = vec![];
                while let Some(entry) = dir.next() {
                    let entry = entry?;
                    let kind = entry.file_type().as_raw_mode() >> 12;
                    names.push(format!("{} {kind}", entry.file_name().to_string_lossy()));
                }
                names.sort();
                bytes(Ok(names.join("\n").into_bytes()))
            }
            Call::Flock { slot, operation } => {
                let operation = match operation {
                    1 => fs::FlockOperation::NonBlockingLockShared,
                    2 => fs::FlockOperation::NonBlockingLockExclusive,
                    _ => fs::FlockOperation::NonBlockingUnlock,
                };
                nothing(fs::flock(self.slot(*slot)?, operation))
            }
            Call::Lock { slot, kind, start, len } => {
                let lock = record(*kind, *start, *len);
                fcntl(self.slot(*slot)?, FcntlArg::F_SETLK(&lock))
                    .map(|_| (0, vec![]))
                    .map_err(errno)
            }
            Call::TestLock { slot, kind, start, len } => {
                let mut lock = record(*kind, *start, *len);
                fcntl(self.slot(*slot)?, FcntlArg::F_GETLK(&mut lock)).map_err(errno)?;
                let text = format!("{} {} {} {}", lock.l_type, lock.l_start, lock.l_len, lock.l_pid);
                bytes(Ok(text.into_bytes()))
            }
            other => panic!("nobody performs {other:?}"),
        }
    }
}

fn record(kind: u32, start: i64, len: i64) -> nix::libc::flock {
    let l_type = i16::try_from(kind).expect("F_RDLCK, F_WRLCK or F_UNLCK");
    nix::libc::flock {
        l_type,
        l_whence: 0,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}
