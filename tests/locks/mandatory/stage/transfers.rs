//! The calls that move bytes. `10@5` is ten bytes at offset 5: read and write get there with lseek(2) first; `10` alone is at the
//! descriptor's own offset. What is written is the first letter of the player's name.

use rustix::fs::SeekFrom;
use rustix::io::{self, Errno};
use rustix::pipe::SpliceFlags;
use std::io::{IoSlice, IoSliceMut};

use super::player::{Done, Order, Player, errno, number, value};
use crate::common::mandatory::{self, Fd, Way};
use crate::common::uring;

/// How many bytes, and where.
fn range(text: &str) -> (usize, Option<i64>) {
    let (len, offset) = text.split_once('@').unwrap_or((text, ""));
    let len = usize::try_from(number(len)).expect("a length");
    (len, (!offset.is_empty()).then(|| number(offset)))
}

/// `A10 .90`: ten times A, ninety times a dot.
pub fn runs(bytes: &[u8]) -> String {
    let chunks = bytes.chunk_by(|a, b| a == b);
    let text = chunks.map(|run| match run[0] {
        0 => format!("0x{}", run.len()),
        byte => format!("{}{}", byte.escape_ascii(), run.len()),
    });
    text.collect::<Vec<_>>().join(" ")
}

/// Bytes that begin on a page, so that a MiB of them goes in one request.
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl Buffer {
    fn of(len: usize) -> Self {
        let bytes = vec![0; len + 4096];
        let start = bytes.as_ptr().align_offset(4096);
        Self { bytes, start, len }
    }

    fn get(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

fn seek(fd: Fd, offset: Option<i64>) -> Result<(), Errno> {
    match offset {
        Some(offset) => rustix::fs::seek(fd, SeekFrom::Start(offset.cast_unsigned())).map(drop),
        None => Ok(()),
    }
}

fn letters(player: &Player, order: &Order<'_>, at: usize, bytes: &mut [u8]) {
    bytes.fill(order.find(at).unwrap_or(&player.name).as_bytes()[0]);
}

/// Makes the call if it is one of these.
pub fn perform(player: &Player, order: &Order<'_>) -> Option<Done> {
    let done = match order.name {
        "read" | "pread" | "readv" | "preadv2" | "aio_read" | "uring_read" => read(player, order),
        "write" | "pwrite" | "writev" | "pwritev2" | "aio_write" | "uring_write" => write(player, order),
        "uring_fixed" => fixed(player, order),
        "sendfile" | "splice" | "splice_nb" | "copy" | "clone" | "dedupe" => between(player, order),
        _ => return None,
    };
    Some(done)
}

fn rwf(order: &Order<'_>, at: usize) -> i32 {
    match order.find(at) {
        None => 0,
        Some("nowait") => nix::libc::RWF_NOWAIT,
        Some("append") => nix::libc::RWF_APPEND,
        Some(other) => panic!("{other}: no flag of preadv2"),
    }
}

fn read(player: &Player, order: &Order<'_>) -> Done {
    let fd = player.table.fd(order.slot(0))?;
    let (len, offset) = range(order.word(0));
    let mut space = Buffer::of(len);
    let buffer = space.get();
    let n = match order.name {
        "read" => {
            seek(fd, offset)?;
            io::read(fd, &mut *buffer)? as i64
        }
        "readv" => {
            seek(fd, offset)?;
            let (one, two) = buffer.split_at_mut(len / 2);
            io::readv(fd, &mut [IoSliceMut::new(one), IoSliceMut::new(two)])? as i64
        }
        "pread" => io::pread(fd, &mut *buffer, offset.expect("an offset").cast_unsigned())? as i64,
        "preadv2" => mandatory::preadv2(fd, buffer, offset.unwrap_or(-1), rwf(order, 1))?,
        "uring_read" => {
            let by = uring_by(order, 1);
            let read = uring::read_at(by, fd, len, offset.expect("an offset").cast_unsigned())?;
            buffer[..read.len()].copy_from_slice(&read);
            read.len() as i64
        }
        _ => mandatory::aio(fd, Way::Read, buffer, offset.expect("an offset"))??,
    };
    Ok((n, runs(&buffer[..n as usize])))
}

fn uring_by(order: &Order<'_>, at: usize) -> uring::By {
    match order.find(at) {
        Some("worker") => uring::By::Worker,
        Some("poller") => uring::By::Poller,
        _ => uring::By::Submitter,
    }
}

fn write(player: &Player, order: &Order<'_>) -> Done {
    let fd = player.table.fd(order.slot(0))?;
    let (len, offset) = range(order.word(0));
    let mut space = Buffer::of(len);
    let bytes = space.get();
    let flagged = ["pwritev2", "uring_write"].contains(&order.name);
    letters(player, order, if flagged { 2 } else { 1 }, bytes);
    let at = || offset.expect("an offset");
    value(match order.name {
        "write" => {
            seek(fd, offset)?;
            io::write(fd, bytes).map(|n| n as i64)
        }
        "writev" => {
            seek(fd, offset)?;
            let (one, two) = bytes.split_at(len / 2);
            io::writev(fd, &[IoSlice::new(one), IoSlice::new(two)]).map(|n| n as i64)
        }
        "pwrite" => io::pwrite(fd, bytes, at().cast_unsigned()).map(|n| n as i64),
        "pwritev2" => {
            let flags = rwf(order, 1);
            mandatory::pwritev2(fd, bytes, offset.unwrap_or(-1), flags)
        }
        "uring_write" => {
            let by = uring_by(order, 1);
            uring::write_at(by, fd, bytes, at().cast_unsigned()).map(|n| n as i64)
        }
        _ => mandatory::aio(fd, Way::Write, bytes, at()).and_then(|done| done),
    })
}

/// With a buffer and a file that the ring holds.
fn fixed(player: &Player, order: &Order<'_>) -> Done {
    let fd = player.table.fd(order.slot(0))?;
    let (len, offset) = range(order.word(0));
    let way = if order.word(1) == "read" { Way::Read } else { Way::Write };
    let mut bytes = vec![b'f'; len];
    value(uring::transfer_fixed(way, fd, &mut bytes, offset.expect("an offset").cast_unsigned()).map(|n| n as i64))
}

/// From the first slot to the second: the range in the source, and an offset in the target where the call takes one. splice(2)
/// goes through a pipe, which the first of the two slots names for splices into it and the second for splices out of it.
fn between(player: &Player, order: &Order<'_>) -> Done {
    let (from, to) = (player.table.fd(order.slot(0))?, player.table.fd(order.slot(1))?);
    let (len, offset) = range(order.word(0));
    let target = order.find(1).map(number);
    let from_offset = offset.unwrap_or(0).cast_unsigned();
    value(match order.name {
        "sendfile" => {
            let mut from_offset = from_offset;
            rustix::fs::sendfile(to, from, Some(&mut from_offset), len).map(|n| n as i64)
        }
        "splice" | "splice_nb" => {
            let mut offset = offset.map(i64::cast_unsigned);
            let mut target = target.map(i64::cast_unsigned);
            let flags = match order.name {
                "splice" => SpliceFlags::empty(),
                _ => SpliceFlags::NONBLOCK,
            };
            rustix::pipe::splice(from, offset.as_mut(), to, target.as_mut(), len, flags).map(|n| n as i64)
        }
        "copy" => {
            let (mut i, mut o) = (from_offset, target.unwrap_or(0).cast_unsigned());
            rustix::fs::copy_file_range(from, Some(&mut i), to, Some(&mut o), len).map(|n| n as i64)
        }
        "clone" => mandatory::clone_range(from, from_offset, len as u64, to, target.unwrap_or(0).cast_unsigned()),
        _ => mandatory::dedupe_range(from, from_offset, len as u64, to, target.unwrap_or(0).cast_unsigned()),
    })
}

/// The read end and the write end of a new pipe, into two slots.
pub fn pipe(player: &Player, order: &Order<'_>) -> Done {
    let (read, write) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(errno)?;
    player.table.keep(order.slot(0), Fd::of(read));
    player.table.keep(order.slot(1), Fd::of(write));
    value(Ok(0))
}
