//! Very many files in one directory: what one more costs, in time and in the server's memory.

use std::time::Instant;

use rustix::fd::OwnedFd;

use super::super::interrupt;
use super::super::place::{Place, create};
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};
use super::super::stats::median;

/// How many files there are when the first measurement starts.
const FEW: u32 = 1_000;
/// Files whose creation is timed as one.
const BATCH: u32 = 100;

pub const ROWS: &[Row] = &[
    Row::micros(
        "many-few",
        "creation among 1,000 files",
        "create and close of a file that stays, in a directory of a fresh mount with 1,000 others",
        |place| grown(place, |growth| Ok(growth.early)),
    )
    .pace(Pace::Once)
    .on(On::Us),
    Row::micros(
        "many-late",
        "creation among 100,000 or a million",
        "the same when the directory has 100,000 others, a million with --million",
        |place| grown(place, |growth| Ok(growth.late)),
    )
    .pace(Pace::Once)
    .on(On::Us),
    Row::micros(
        "many-growth",
        "the latter against the former",
        "the two figures above divided",
        |place| grown(place, |growth| Ok(growth.late / growth.early)),
    )
    .unit(Unit::Times, Better::Lower)
    .aim(Aim::Figure(1.3))
    .pace(Pace::Once)
    .on(On::Us),
    Row::micros(
        "many-bytes",
        "memory of the daemon for a file",
        "by how much the resident memory of the daemon has grown, divided by the number of files",
        |place| grown(place, |growth| growth.resident.ok_or_else(|| "no daemon".into())),
    )
    .unit(Unit::Bytes, Better::Lower)
    .pace(Pace::Once)
    .on(On::Owltmp),
];

/// What came out of filling one directory.
#[derive(Clone, Copy, Debug)]
pub struct Growth {
    /// Microseconds for one among few.
    early: f64,
    /// Microseconds for one among many.
    late: f64,
    /// Bytes for one.
    resident: Option<f64>,
}

/// The directory is filled once on each system, for all rows.
fn grown(place: &Place, figure: fn(Growth) -> Outcome<f64>) -> Outcome<Sampler> {
    let growth = match place.material.growth(&place.system) {
        Some(growth) => growth,
        None => {
            let growth = grow(place)?;
            place.material.remember_growth(&place.system, growth);
            growth
        }
    };
    Ok(Box::new(move || figure(growth)))
}

fn grow(place: &Place) -> Outcome<Growth> {
    let (many, window) = match (place.args.quick, place.args.million) {
        (true, _) => (2 * FEW, 5 * BATCH),
        (_, true) => (1_000_000, 40 * BATCH),
        _ => (100_000, 40 * BATCH),
    };
    let dir = place.open()?;
    let before = place.server.and_then(resident);
    let mut batches = Vec::new();
    for first in (0..many + window).step_by(BATCH as usize) {
        interrupt::check()?;
        batches.push(batch(&dir, first)?);
    }
    let of = |from: u32| median(&batches[(from / BATCH) as usize..((from + window) / BATCH) as usize]);
    let after = place.server.and_then(resident);
    let files = f64::from(many + window);
    Ok(Growth {
        early: of(FEW).ok_or("nothing was measured")?,
        late: of(many).ok_or("nothing was measured")?,
        resident: before.zip(after).map(|(before, after)| (after - before) / files),
    })
}

/// Makes a hundred files and returns the microseconds for one.
fn batch(dir: &OwnedFd, first: u32) -> Outcome<f64> {
    let start = Instant::now();
    for number in first..first + BATCH {
        drop(create(dir, &format!("file-{number}"))?);
    }
    Ok(start.elapsed().as_secs_f64() * 1e6 / f64::from(BATCH))
}

/// Resident bytes of a process.
fn resident(pid: u32) -> Option<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: f64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024.0)
}
