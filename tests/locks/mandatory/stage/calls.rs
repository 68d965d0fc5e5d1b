//! The calls on descriptors, names and mappings that neither lock nor move bytes.

use nix::fcntl::FallocateFlags;
use rustix::fs::{self, AtFlags, CWD, OFlags, SeekFrom, Timestamps};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags};
use rustix::process::{Gid, Uid};

use super::player::{Done, Order, Player, errno, flags, nothing, value};
use super::transfers;
use crate::common::handle::Handle;
use crate::common::mandatory::{self, Fd};
use crate::common::map::Map;

/// Makes a call on a descriptor if it is one.
pub fn perform(player: &Player, order: &Order<'_>) -> Option<Done> {
    let table = &player.table;
    let fd = || table.fd(order.slot(0));
    let done = match order.name {
        "open" => open(player, order),
        "creat" => table
            .open(
                order.slot(0),
                order.word(0),
                flags("w,creat,trunc"),
                fs::Mode::from_raw_mode(0o666),
            )
            .map(|_| (0, String::new())),
        "linkfd" => nothing(fd().and_then(|fd| {
            let name = format!("/proc/self/fd/{}", fd.number());
            fs::linkat(CWD, name, CWD, order.word(0), AtFlags::SYMLINK_FOLLOW)
        })),
        "reopen" => fd().and_then(|fd| {
            let name = format!("/proc/self/fd/{}", fd.number());
            table.open(order.slot(1), &name, flags(order.word(0)), fs::Mode::empty())?;
            nothing(Ok(()))
        }),
        "close" => nothing(fd().and_then(|_| table.forget(order.slot(0))?.close())),
        "handle" => nothing(by_handle(player, order)),
        "dup" => fd().and_then(|fd| {
            table.keep(order.slot(1), Fd::of(rustix::io::fcntl_dupfd_cloexec(fd, 0)?));
            nothing(Ok(()))
        }),
        "pipe" => transfers::pipe(player, order),
        "inherit" => nothing(fd().and_then(|fd| mandatory::close_on_exec(fd, false))),
        "setfl" => nothing(fd().and_then(|fd| {
            let other = fs::fcntl_getfl(fd)? - OFlags::NONBLOCK;
            fs::fcntl_setfl(fd, other | flags(order.word(0)))
        })),
        "lseek" => value(fd().and_then(|fd| seek(fd, order))),
        "ftruncate" => nothing(fd().and_then(|fd| nix::unistd::ftruncate(fd, order.number(0)).map_err(errno))),
        "fallocate" => nothing(fd().and_then(|fd| fallocate(fd, order))),
        "fchmod" => nothing(fd().and_then(|fd| fs::fchmod(fd, order.mode(0)))),
        "fsync" => nothing(fd().and_then(fs::fsync)),
        "fdatasync" => nothing(fd().and_then(fs::fdatasync)),
        "fadvise" => nothing(fd().and_then(|fd| fs::fadvise(fd, 0, None, fs::Advice::WillNeed))),
        "readahead" => value(fd().and_then(|fd| mandatory::readahead(fd, 100))),
        "sync_file_range" => value(fd().and_then(mandatory::sync_file_range)),
        "poll" => value(fd().and_then(mandatory::poll)),
        "epoll" => nothing(fd().and_then(|fd| {
            table.keep(order.slot(1), mandatory::epoll(fd)?);
            Ok(())
        })),
        "event" => value(fd().and_then(mandatory::event)),
        "fsize" => value(fd().and_then(|fd| Ok(fs::fstat(fd)?.st_size))),
        "getdents" => nothing(fd().and_then(|fd| {
            fs::Dir::read_from(fd)?.for_each(|entry| drop(entry.expect("an entry")));
            Ok(())
        })),
        _ => return None,
    };
    Some(done)
}

fn open(player: &Player, order: &Order<'_>) -> Done {
    let mode = match order.find(2) {
        Some(_) => order.mode(2),
        None => fs::Mode::from_raw_mode(0o666),
    };
    let words = order.word(1);
    let fd = player.table.open(order.slot(0), order.word(0), flags(words), mode)?;
    if words.contains("stay") {
        mandatory::close_on_exec(fd, false)?;
    }
    nothing(Ok(()))
}

/// Opens a name's handle (open_by_handle_at(2)).
fn by_handle(player: &Player, order: &Order<'_>) -> Result<(), Errno> {
    let here = fs::open(".", OFlags::DIRECTORY | OFlags::CLOEXEC, fs::Mode::empty())?;
    let handle = Handle::of(&here, order.word(0))?;
    player
        .table
        .keep(order.slot(0), Fd::of(handle.open(&here, flags(order.word(1)))?));
    Ok(())
}

fn seek(fd: Fd, order: &Order<'_>) -> Result<i64, Errno> {
    let offset = order.number(1);
    let to = match order.word(0) {
        "set" => SeekFrom::Start(offset.cast_unsigned()),
        "cur" => SeekFrom::Current(offset),
        "end" => SeekFrom::End(offset),
        "data" => SeekFrom::Data(offset.cast_unsigned()),
        "hole" => SeekFrom::Hole(offset.cast_unsigned()),
        other => panic!("{other}: no whence"),
    };
    fs::seek(fd, to).map(u64::cast_signed)
}

fn fallocate(fd: Fd, order: &Order<'_>) -> Result<(), Errno> {
    let keep = FallocateFlags::FALLOC_FL_KEEP_SIZE;
    let flags = match order.word(0) {
        "plain" => FallocateFlags::empty(),
        "keep" => keep,
        "punch" => FallocateFlags::FALLOC_FL_PUNCH_HOLE | keep,
        "zero" => FallocateFlags::FALLOC_FL_ZERO_RANGE,
        "collapse" => FallocateFlags::FALLOC_FL_COLLAPSE_RANGE,
        "insert" => FallocateFlags::FALLOC_FL_INSERT_RANGE,
        other => panic!("{other}: no mode of fallocate"),
    };
    nix::fcntl::fallocate(fd, flags, order.number(1), order.number(2)).map_err(errno)
}

/// Makes a call on names if it is one.
pub fn on_names(order: &Order<'_>) -> Option<Done> {
    let one = || order.word(0);
    let done = match order.name {
        "truncate" => nothing(nix::unistd::truncate(one(), order.number(1)).map_err(errno)),
        "chmod" => nothing(fs::chmodat(CWD, one(), order.mode(1), AtFlags::empty())),
        "chown" => nothing(chown(order)),
        "utimes" => nothing(fs::utimensat(CWD, one(), &now(), AtFlags::empty())),
        "link" => nothing(fs::linkat(CWD, one(), CWD, order.word(1), AtFlags::SYMLINK_FOLLOW)),
        "unlink" => nothing(fs::unlinkat(CWD, one(), AtFlags::empty())),
        "rename" => nothing(fs::renameat(CWD, one(), CWD, order.word(1))),
        "mkdir" => nothing(fs::mkdirat(CWD, one(), order.mode(1)).and_then(|()| chmod(order))),
        "mkfifo" => nothing(
            fs::mknodat(CWD, one(), fs::FileType::Fifo, fs::Mode::from_raw_mode(0o600), 0).and_then(|()| chmod(order)),
        ),
        "acl" => nothing(acl(order)),
        "getxattr" => nothing(crate::common::xattr::get(one().as_ref(), "user.note").map(drop)),
        "statfs" => nothing(fs::statfs(one()).map(drop)),
        "setxattr" => nothing(fs::setxattr(one(), "user.note", b"x", fs::XattrFlags::empty())),
        "stat" => nothing(fs::statat(CWD, one(), AtFlags::empty()).map(drop)),
        "mode" => fs::statat(CWD, one(), AtFlags::empty()).map(|it| (0, format!("{:o}", it.st_mode & 0o7777))),
        "size" => value(fs::statat(CWD, one(), AtFlags::empty()).map(|it| it.st_size)),
        "locks" => Ok((i64::from(listed(one())), String::new())),
        "run" => run(one()),
        "program" => nothing(program(order)),
        _ => return None,
    };
    Some(done)
}

fn chmod(order: &Order<'_>) -> Result<(), Errno> {
    fs::chmodat(CWD, order.word(0), order.mode(1), AtFlags::empty())
}

/// Sets an ACL, by which a named user and the group may all, with that mask, which becomes the group's bits of the mode.
fn acl(order: &Order<'_>) -> Result<(), Errno> {
    use crate::common::xattr::{self, Entry};
    let mask = u16::try_from(order.number(1)).expect("a mask");
    let entries = [
        Entry::UserObj(6),
        Entry::User(1000, 7),
        Entry::GroupObj(7),
        Entry::Mask(mask),
        Entry::Other(6),
    ];
    xattr::set(order.word(0).as_ref(), xattr::ACCESS, &xattr::acl(&entries))
}

fn chown(order: &Order<'_>) -> Result<(), Errno> {
    let id = |at| u32::try_from(order.number(at)).ok();
    let (uid, gid) = (id(1).map(Uid::from_raw), id(2).map(Gid::from_raw));
    fs::chownat(CWD, order.word(0), uid, gid, AtFlags::empty())
}

fn now() -> Timestamps {
    let now = fs::Timespec {
        tv_sec: 0,
        tv_nsec: fs::UTIME_NOW,
    };
    Timestamps {
        last_access: now,
        last_modification: now,
    }
}

/// Whether /proc/locks names the file.
fn listed(name: &str) -> bool {
    let stat = fs::statat(CWD, name, AtFlags::empty()).expect("it is there");
    let (major, minor) = (fs::major(stat.st_dev), fs::minor(stat.st_dev));
    let it = format!(" {major:02x}:{minor:02x}:{} ", stat.st_ino);
    std::fs::read_to_string("/proc/locks")
        .expect("/proc/locks")
        .contains(&it)
}

/// Makes a file that is a program.
fn program(order: &Order<'_>) -> Result<(), Errno> {
    let made = fs::open(
        order.word(0),
        flags("w,creat,excl") | OFlags::CLOEXEC,
        fs::Mode::from_raw_mode(0o600),
    )?;
    rustix::io::write(&made, b"#!/bin/true\n")?;
    drop(made);
    chmod(order)
}

/// execve(2) in a child; its exit status.
fn run(name: &str) -> Done {
    let status = std::process::Command::new(format!("./{name}")).status();
    let status = status.map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
    value(Ok(status.code().unwrap_or(-1).into()))
}

/// Makes a call on mappings if it is one. A mapping has a name of its own.
pub fn on_maps(player: &Player, order: &Order<'_>) -> Option<Done> {
    let maps = || player.table.maps();
    let at = |index| usize::try_from(order.number(index)).expect("an offset");
    let done = match order.name {
        "mmap" => mmap(player, order),
        "munmap" => {
            assert!(maps().remove(order.word(0)).is_some());
            nothing(Ok(()))
        }
        "peek" => {
            let byte = maps()[order.word(0)].peek(at(1)).ok_or(Errno::FAULT);
            byte.map(|byte| (0, transfers::runs(&[byte])))
        }
        "poke" => nothing(match maps()[order.word(0)].poke(at(1), player.name.as_bytes()[0]) {
            true => Ok(()),
            false => Err(Errno::FAULT),
        }),
        "msync" => nothing(maps()[order.word(0)].sync()),
        "remove" => nothing(maps()[order.word(0)].remove(at(1))),
        _ => return None,
    };
    Some(done)
}

/// `mmap NAME shared|private|validate PROT LENGTH`.
fn mmap(player: &Player, order: &Order<'_>) -> Done {
    let fd = player.table.fd(order.slot(0))?;
    let kind = match order.word(1) {
        "shared" => MapFlags::SHARED,
        "validate" => MapFlags::SHARED_VALIDATE,
        "private" => MapFlags::PRIVATE,
        other => panic!("{other}: no kind of mapping"),
    };
    let protection = match order.word(2) {
        "rw" => ProtFlags::READ | ProtFlags::WRITE,
        "r" => ProtFlags::READ,
        "w" => ProtFlags::WRITE,
        "none" => ProtFlags::empty(),
        other => panic!("{other}: no protection"),
    };
    let len = usize::try_from(order.number(3)).expect("a length");
    let map = Map::with(fd, len, protection, kind)?;
    player.table.maps().insert(order.word(0).to_owned(), map);
    nothing(Ok(()))
}
