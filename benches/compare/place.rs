//! Where one row works on one system: a directory of its own, and the calls that rows make there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, openat, unlinkat};

use super::args::Args;
use super::interrupt;
use super::row::{Outcome, Sampler};
use super::rows::material::Material;
use crate::common::Identity;
use crate::common::as_user;

/// What a row finds on a system.
#[derive(Clone)]
pub struct Place {
    /// A directory of root's, 0755, that belongs to this row.
    pub dir: PathBuf,
    /// The root of the mount.
    pub root: PathBuf,
    /// The directory of a tmpfs that is shown there, if the system shows one.
    pub shows: Option<PathBuf>,
    /// What the system is called.
    pub system: String,
    /// The process that serves it, if there is one.
    pub server: Option<u32>,
    /// Sizes and the like.
    pub args: Arc<Args>,
    /// What the rows that run programs work on.
    pub material: Arc<Material>,
}

impl Place {
    /// How long a sample of many fast calls is to take at least.
    fn sample_time(&self) -> Duration {
        Duration::from_millis(if self.args.quick { 1 } else { 12 })
    }

    /// The directory, opened.
    pub fn open(&self) -> Outcome<Arc<OwnedFd>> {
        Ok(Arc::new(directory(&self.dir)?))
    }

    /// A sampler of the microseconds that one `call` takes, made by `who` over and over.
    pub fn calls(&self, who: Identity, call: impl FnMut() -> Outcome<()> + Send + 'static) -> Outcome<Sampler> {
        let mut call = call;
        let mut measure = move |times: u32| -> Outcome<Duration> {
            interrupt::check()?;
            as_user(who, || {
                let start = Instant::now();
                for _ in 0..times {
                    call()?;
                }
                Ok(start.elapsed())
            })
        };
        let mut times = 8;
        while measure(times)? < self.sample_time() {
            times *= 2;
        }
        Ok(Box::new(move || {
            Ok(measure(times)?.as_secs_f64() * 1e6 / f64::from(times))
        }))
    }
}

/// Opens a directory.
pub fn directory(path: &Path) -> Outcome<OwnedFd> {
    let flags = OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC;
    Ok(rustix::fs::open(path, flags, Mode::empty())?)
}

/// A new file, open to read and write.
pub fn create(dir: &OwnedFd, name: &str) -> Outcome<OwnedFd> {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    Ok(openat(dir, name, flags, Mode::from_raw_mode(0o644))?)
}

/// An existing file.
pub fn reopen(dir: &OwnedFd, name: &str, flags: OFlags) -> Outcome<OwnedFd> {
    Ok(openat(dir, name, flags | OFlags::CLOEXEC, Mode::empty())?)
}

/// Removes a file.
pub fn remove(dir: &OwnedFd, name: &str) -> Outcome<()> {
    Ok(unlinkat(dir, name, AtFlags::empty())?)
}

/// create(O_EXCL) + close + unlink.
pub fn come_and_go(dir: &OwnedFd, name: &str) -> Outcome<()> {
    drop(create(dir, name)?);
    remove(dir, name)
}

/// The time that `body` takes.
pub fn timed(body: impl FnOnce() -> Outcome<()>) -> Outcome<Duration> {
    interrupt::check()?;
    let start = Instant::now();
    body()?;
    Ok(start.elapsed())
}
