//! Stores to a shared mapping of an ordinary file.

use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::fs::ftruncate;

use super::super::place::{Place, create, remove, timed};
use super::super::row::{Aim, Outcome, Pace, Row, Sampler};
use crate::common::map::Map;

const PAGE: usize = 4096;

pub const ROWS: &[Row] = &[
    Row::micros(
        "mmap-first",
        "mmap: first touch, a page",
        "a store to each page of a MAP_SHARED mapping of a new file of 64 MiB that ftruncate(2) made all hole",
        |place| touches(place, |file, length| timed_stores(&mapped(file, length)?, length)),
    )
    .aim(Aim::Ratio(1.2))
    .pace(Pace::Slow),
    Row::micros(
        "mmap-reuse",
        "mmap: second touch, a page",
        "another store to each page through the same mapping",
        |place| {
            touches(place, |file, length| {
                let map = mapped(file, length)?;
                timed_stores(&map, length)?;
                timed_stores(&map, length)
            })
        },
    )
    .aim(Aim::Ratio(1.2))
    .pace(Pace::Slow),
    Row::micros(
        "mmap-again",
        "mmap: mapped anew, a page",
        "the file is unmapped and mapped anew, and a store made to each page; munmap(2) and mmap(2) do not count",
        |place| {
            touches(place, |file, length| {
                timed_stores(&mapped(file, length)?, length)?;
                timed_stores(&mapped(file, length)?, length)
            })
        },
    )
    .aim(Aim::Ratio(1.2))
    .pace(Pace::Slow),
];

fn mapped(file: &OwnedFd, length: usize) -> Outcome<Map> {
    Ok(Map::shared(file, length)?)
}

fn timed_stores(map: &Map, length: usize) -> Outcome<Duration> {
    timed(|| {
        for page in (0..length).step_by(PAGE) {
            map.put(page, &[1]);
        }
        Ok(())
    })
}

fn touches(place: &Place, touch: fn(&OwnedFd, usize) -> Outcome<Duration>) -> Outcome<Sampler> {
    let dir = place.open()?;
    let length: usize = if place.args.quick { 1 << 20 } else { 64 << 20 };
    Ok(Box::new(move || {
        let file = create(&dir, "mapped")?;
        ftruncate(&file, length as u64)?;
        let time = touch(&file, length)?;
        remove(&dir, "mapped")?;
        Ok(time.as_secs_f64() * 1e6 / (length / PAGE) as f64)
    }))
}
