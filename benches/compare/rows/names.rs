//! Names that are known, and questions that reach the server.

use std::path::Path;
use std::sync::Arc;

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, StatxFlags, stat, statat, statx};
use rustix::io::Errno;

use super::super::place::{Place, create, reopen};
use super::super::row::{Aim, On, Outcome, Row, Sampler};
use crate::common::Identity;
use crate::common::identity::{ALICE, ROOT};

pub const ROWS: &[Row] = &[
    Row::micros(
        "stat-root",
        "stat of a known name, by root",
        "fstatat(2) of a name asked for before, relative to its directory's descriptor, by root",
        |place| stats(place, ROOT),
    )
    .aim(Aim::Ratio(1.2)),
    Row::micros(
        "stat-user",
        "stat of a known name, by a user",
        "the same by an ordinary user who is a member of another group too",
        |place| stats(place, ALICE),
    )
    .aim(Aim::Ratio(1.2)),
    Row::micros(
        "stat-top-root",
        "stat in the mount's root, by root",
        "the same of a name in the root directory of the mount",
        |place| stats(&at_the_top(place), ROOT),
    )
    .aim(Aim::Ratio(1.2)),
    Row::micros(
        "stat-top-user",
        "stat in the mount's root, by a user",
        "the same by an ordinary user",
        |place| stats(&at_the_top(place), ALICE),
    )
    .aim(Aim::Ratio(1.2)),
    Row::micros(
        "walk",
        "path walk of four directories",
        "stat(2) by an ordinary user of MOUNT/ROW/a/b/c/d/file, all of which is known and no symlink",
        walk,
    )
    .aim(Aim::Ratio(1.2)),
    Row::micros(
        "request",
        "one request (statx, FORCE_SYNC)",
        "statx(2) with AT_STATX_FORCE_SYNC of an open file: each FUSE server gets one GETATTR",
        request,
    )
    .on(On::FilesAndFloor),
    Row::micros(
        "absent",
        "lookup of an absent name",
        "fstatat(2) of names that do not exist, each a new one: each FUSE server gets one LOOKUP",
        absent,
    )
    .on(On::FilesAndFloor),
    Row::micros(
        "open-close",
        "open + close of a known file",
        "openat(2), O_RDONLY, and close(2) of one file over and over",
        open_close,
    )
    .on(On::FilesAndFloor),
];

fn at_the_top(place: &Place) -> Place {
    Place {
        dir: place.root.clone(),
        ..place.clone()
    }
}

/// A file that is gone with the sampler.
struct Passing {
    dir: Arc<OwnedFd>,
    name: &'static str,
}

impl Passing {
    fn new(dir: &Arc<OwnedFd>, name: &'static str) -> Outcome<Passing> {
        drop(create(dir, name)?);
        Ok(Passing {
            dir: Arc::clone(dir),
            name,
        })
    }
}

impl Drop for Passing {
    fn drop(&mut self) {
        let _already_gone = super::super::place::remove(&self.dir, self.name);
    }
}

fn stats(place: &Place, who: Identity) -> Outcome<Sampler> {
    let file = Passing::new(&place.open()?, "stat-file")?;
    place.calls(who, move || {
        statat(&file.dir, file.name, AtFlags::empty())?;
        Ok(())
    })
}

fn walk(place: &Place) -> Outcome<Sampler> {
    let deep = place.dir.join("a/b/c/d");
    std::fs::create_dir_all(&deep)?;
    std::fs::write(deep.join("file"), b"")?;
    let path = deep.join("file");
    place.calls(ALICE, move || {
        stat(&path)?;
        Ok(())
    })
}

fn request(place: &Place) -> Outcome<Sampler> {
    let file = create(&*place.open()?, "request")?;
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_FORCE_SYNC;
    place.calls(ROOT, move || {
        statx(&file, "", flags, StatxFlags::BASIC_STATS)?;
        Ok(())
    })
}

fn absent(place: &Place) -> Outcome<Sampler> {
    let (dir, mut number) = (place.open()?, 0_u64);
    place.calls(ROOT, move || {
        number += 1;
        match statat(&dir, Path::new(&format!("absent-{number}")), AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            other => Err(format!("an absent name is {other:?}").into()),
        }
    })
}

fn open_close(place: &Place) -> Outcome<Sampler> {
    let dir = place.open()?;
    drop(rustix::fs::openat(
        &*dir,
        "opened",
        OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
        Mode::from_raw_mode(0o644),
    )?);
    place.calls(ROOT, move || {
        drop(reopen(&dir, "opened", OFlags::RDONLY)?);
        Ok(())
    })
}
