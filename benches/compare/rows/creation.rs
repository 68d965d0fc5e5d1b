//! Names that come and go, and small files.

use rustix::fd::OwnedFd;
use rustix::fs::OFlags;
use rustix::io::{read, write};

use super::super::interrupt;
use super::super::place::{Place, come_and_go, create, remove, reopen, timed};
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};
use super::super::stats::median;
use crate::common::identity::ROOT;

/// Small files of one sample.
fn count(place: &Place) -> u32 {
    if place.args.quick { 20 } else { 1000 }
}

pub const ROWS: &[Row] = &[
    Row::micros(
        "create",
        "create + close + unlink",
        "openat(2) with O_CREAT|O_EXCL|O_RDWR, close(2), unlinkat(2) of one name over and over, by one client",
        |place| {
            let dir = place.open()?;
            place.calls(ROOT, move || come_and_go(&dir, "cycle"))
        },
    )
    .on(On::FilesAndFloor)
    .aim(Aim::Figure(40.0)),
    Row::micros(
        "create-million",
        "a million such cycles",
        "the same, each with a new name; without --million, the median time of 10,000 of them, times a hundred",
        million_cycles,
    )
    .unit(Unit::Seconds, Better::Lower)
    .pace(Pace::Once)
    .on(On::Us)
    .aim(Aim::Figure(44.0)),
    Row::micros(
        "small-write",
        "small file: create, write, close",
        "create, write(2) of 4 KiB and close of 1,000 new files; removing them does not count",
        small_writes,
    ),
    Row::micros(
        "small-read",
        "small file: open, read, close",
        "open(2), read(2) of 4 KiB and close(2) of each of 1,000 files",
        small_reads,
    ),
];

fn million_cycles(place: &Place) -> Outcome<Sampler> {
    let dir = place.open()?;
    let (cycles, times): (u32, u32) = match (place.args.quick, place.args.million) {
        (true, _) => (100, 1),
        (_, true) => (1_000_000, 1),
        _ => (10_000, 7),
    };
    Ok(Box::new(move || {
        let mut seconds = Vec::new();
        for turn in 0..times {
            let time = timed(|| cycles_with_new_names(&dir, turn * cycles, cycles))?;
            seconds.push(time.as_secs_f64() * 1e6 / f64::from(cycles));
        }
        Ok(median(&seconds).ok_or("nothing was measured")?)
    }))
}

fn cycles_with_new_names(dir: &OwnedFd, first: u32, cycles: u32) -> Outcome<()> {
    for cycle in first..first + cycles {
        if cycle % 1024 == 0 {
            interrupt::check()?;
        }
        come_and_go(dir, &format!("lock.{cycle}"))?;
    }
    Ok(())
}

fn name(number: u32) -> String {
    format!("small-{number}")
}

fn write_all(place: &Place, dir: &OwnedFd) -> Outcome<()> {
    for number in 0..count(place) {
        let file = create(dir, &name(number))?;
        if write(&file, &[5; 4096])? != 4096 {
            return Err("a short write".into());
        }
    }
    Ok(())
}

fn per_file(time: std::time::Duration, files: u32) -> f64 {
    time.as_secs_f64() * 1e6 / f64::from(files)
}

fn small_writes(place: &Place) -> Outcome<Sampler> {
    let (dir, place) = (place.open()?, place.clone());
    Ok(Box::new(move || {
        let time = timed(|| write_all(&place, &dir))?;
        for number in 0..count(&place) {
            remove(&dir, &name(number))?;
        }
        Ok(per_file(time, count(&place)))
    }))
}

fn small_reads(place: &Place) -> Outcome<Sampler> {
    let (dir, files) = (place.open()?, count(place));
    write_all(place, &dir)?;
    let mut buffer = [0; 8192];
    Ok(Box::new(move || {
        let time = timed(|| {
            for number in 0..files {
                let file = reopen(&dir, &name(number), OFlags::RDONLY)?;
                if read(&file, &mut buffer[..])? != 4096 {
                    return Err("a short read".into());
                }
            }
            Ok(())
        })?;
        Ok(per_file(time, files))
    }))
}
