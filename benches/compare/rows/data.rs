//! Reads and writes of an ordinary file.

use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::{pread, pwrite, read, write};

use super::super::place::{Place, create, remove, reopen, timed};
use super::super::row::{Aim, Better, Outcome, Pace, Row, Sampler, Unit};
use crate::common::identity::ROOT;

const PAGE: usize = 4096;
/// Pages of the file whose pages are read and written one by one, in no order.
const PAGES: u64 = 1024;
const MIB: usize = 1 << 20;

pub const ROWS: &[Row] = &[
    Row::micros(
        "pread-new",
        "4 KiB pread, file just made",
        "pread(2) of a page somewhere in a file of 4 MiB, through the descriptor (O_RDWR) that created and filled it",
        |place| reads(place, |_, file| Ok(file)),
    )
    .aim(Aim::Ratio(1.5)),
    Row::micros(
        "pread-again",
        "4 KiB pread, file opened again",
        "the same after close(2), through a new descriptor (O_RDWR)",
        |place| reads(place, reopened),
    )
    .aim(Aim::Ratio(1.5)),
    Row::micros(
        "pwrite-new",
        "4 KiB pwrite, file just made",
        "pwrite(2) of a page somewhere in a file of 4 MiB, through the descriptor (O_RDWR) that created and filled it",
        |place| writes(place, |_, file| Ok(file)),
    )
    .aim(Aim::Ratio(1.5)),
    Row::micros(
        "pwrite-again",
        "4 KiB pwrite, file opened again",
        "the same after close(2), through a new descriptor (O_RDWR)",
        |place| writes(place, reopened),
    )
    .aim(Aim::Ratio(1.5)),
    Row::micros(
        "read-1m",
        "1 MiB reads in sequence",
        "a file of --size bytes is opened and read from end to end, 1 MiB at a time",
        sequential_reads,
    )
    .unit(Unit::Rate, Better::Higher)
    .aim(Aim::Ratio(0.9))
    .pace(Pace::Slow),
    Row::micros(
        "write-1m",
        "1 MiB writes in sequence",
        "a new file of --size bytes is written, 1 MiB at a time; creating, closing and removing it does not count",
        sequential_writes,
    )
    .unit(Unit::Rate, Better::Higher)
    .aim(Aim::Ratio(0.9))
    .pace(Pace::Slow),
];

/// A page number that looks like chance and is the same in every run.
fn somewhere(turn: &mut u64) -> u64 {
    *turn = turn
        .wrapping_mul(6_364_136_223_846_793_005)
        .wrapping_add(1_442_695_040_888_963_407);
    (*turn >> 33) % PAGES * PAGE as u64
}

fn filled(place: &Place) -> Outcome<(Arc<OwnedFd>, OwnedFd)> {
    let dir = place.open()?;
    let file = create(&dir, "pages")?;
    for page in 0..PAGES {
        whole(pwrite(&file, &[1; PAGE], page * PAGE as u64)?, PAGE)?;
    }
    Ok((dir, file))
}

fn reopened(dir: &OwnedFd, file: OwnedFd) -> Outcome<OwnedFd> {
    drop(file);
    reopen(dir, "pages", OFlags::RDWR)
}

fn whole(done: usize, wanted: usize) -> Outcome<()> {
    if done != wanted {
        return Err(format!("{done} bytes instead of {wanted}").into());
    }
    Ok(())
}

fn reads(place: &Place, how: fn(&OwnedFd, OwnedFd) -> Outcome<OwnedFd>) -> Outcome<Sampler> {
    let (dir, file) = filled(place)?;
    let file = how(&dir, file)?;
    let (mut turn, mut page) = (1, vec![0; PAGE]);
    place.calls(ROOT, move || {
        whole(pread(&file, &mut page[..], somewhere(&mut turn))?, PAGE)
    })
}

fn writes(place: &Place, how: fn(&OwnedFd, OwnedFd) -> Outcome<OwnedFd>) -> Outcome<Sampler> {
    let (dir, file) = filled(place)?;
    let file = how(&dir, file)?;
    let (mut turn, page) = (1, vec![2; PAGE]);
    place.calls(ROOT, move || whole(pwrite(&file, &page, somewhere(&mut turn))?, PAGE))
}

fn write_out(file: &OwnedFd, piece: &[u8], size: u64) -> Outcome<()> {
    let mut left = size;
    while left > 0 {
        let wanted = usize::try_from(left)?.min(piece.len());
        left -= write(file, &piece[..wanted])? as u64;
    }
    Ok(())
}

fn mib_per_second(size: u64, seconds: f64) -> f64 {
    size as f64 / f64::from(1 << 20) / seconds
}

fn sequential_reads(place: &Place) -> Outcome<Sampler> {
    let (dir, size) = (place.open()?, place.args.large());
    write_out(&create(&dir, "large")?, &vec![3; MIB], size)?;
    let mut piece = vec![0; MIB];
    Ok(Box::new(move || {
        let time = timed(|| {
            let file = reopen(&dir, "large", OFlags::RDONLY)?;
            let mut seen = 0;
            loop {
                match read(&file, &mut piece[..])? {
                    0 => return whole(usize::try_from(seen)?, usize::try_from(size)?),
                    bytes => seen += bytes as u64,
                }
            }
        })?;
        Ok(mib_per_second(size, time.as_secs_f64()))
    }))
}

fn sequential_writes(place: &Place) -> Outcome<Sampler> {
    let (dir, size) = (place.open()?, place.args.large());
    let piece = vec![4; MIB];
    Ok(Box::new(move || {
        let file = create(&dir, "large")?;
        let time = timed(|| write_out(&file, &piece, size))?;
        drop(file);
        remove(&dir, "large")?;
        Ok(mib_per_second(size, time.as_secs_f64()))
    }))
}
