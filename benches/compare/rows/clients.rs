//! Two clients at once against one.

use std::path::Path;
use std::sync::Barrier;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, unshare};
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, OFlags, StatxFlags, statx};

use super::super::interrupt;
use super::super::place::{Place, come_and_go, create, directory, reopen};
use super::super::row::{Aim, Better, On, Outcome, Pace, Row, Sampler, Unit};

pub const ROWS: &[Row] = &[
    row(
        "two-create",
        "two clients: create + close + unlink",
        "how many more such cycles two threads with tables of descriptors and directories of their own make than one",
        |place| two_against_one(place, |dir, _| come_and_go(dir, "cycle")),
    ),
    row(
        "two-request",
        "two clients: requests",
        "the same of statx(2) with AT_STATX_FORCE_SYNC, each on a file of its own",
        |place| {
            two_against_one(place, |_, file| {
                statx(
                    file,
                    "",
                    AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC,
                    StatxFlags::BASIC_STATS,
                )?;
                Ok(())
            })
        },
    ),
];

const fn row(id: &'static str, name: &'static str, what: &'static str, prepare: fn(&Place) -> Outcome<Sampler>) -> Row {
    Row::micros(id, name, what, prepare)
        .unit(Unit::Times, Better::Higher)
        .pace(Pace::Fast)
        .on(On::Files)
        .aim(Aim::Figure(1.5))
}

type Call = fn(&OwnedFd, &OwnedFd) -> Outcome<()>;

fn two_against_one(place: &Place, call: Call) -> Outcome<Sampler> {
    let place = place.clone();
    for client in ["client-0", "client-1"] {
        let path = place.dir.join(client);
        std::fs::create_dir(&path)?;
        drop(create(&directory(&path)?, "file")?);
    }
    let time = Duration::from_millis(if place.args.quick { 2 } else { 60 });
    Ok(Box::new(move || {
        let one = calls(&place, 1, time, call)?;
        let two = calls(&place, 2, time, call)?;
        Ok(two / one)
    }))
}

/// The calls that so many clients make in that time together.
fn calls(place: &Place, clients: usize, time: Duration, call: Call) -> Outcome<f64> {
    interrupt::check()?;
    let barrier = Barrier::new(clients);
    std::thread::scope(|scope| {
        let client = |number: usize| {
            let barrier = &barrier;
            move || one_client(place, number, barrier, time, call)
        };
        let threads: Vec<_> = (0..clients).map(|number| scope.spawn(client(number))).collect();
        let mut sum = 0.0;
        for thread in threads {
            sum += thread.join().map_err(|_| "a client panicked")??;
        }
        Ok(sum)
    })
}

/// Whoever fails has met the others at the barrier before.
fn one_client(place: &Place, number: usize, barrier: &Barrier, time: Duration, call: Call) -> Outcome<f64> {
    let ready = furnished(&place.dir.join(format!("client-{number}")));
    barrier.wait();
    let (dir, file) = ready?;
    let (start, mut count) = (Instant::now(), 0_u32);
    loop {
        for _ in 0..8 {
            call(&dir, &file)?;
        }
        count += 8;
        let elapsed = start.elapsed();
        if elapsed >= time {
            return Ok(f64::from(count) / elapsed.as_secs_f64());
        }
    }
}

/// A client's directory and file, in a table of descriptors of the calling thread's own.
fn furnished(path: &Path) -> Outcome<(OwnedFd, OwnedFd)> {
    unshare(CloneFlags::CLONE_FILES)?;
    let dir = directory(path)?;
    let file = reopen(&dir, "file", OFlags::RDONLY)?;
    Ok((dir, file))
}
