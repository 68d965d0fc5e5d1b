//! What somebody may do at the worst moment, thousands of times: marks that come and go, signals that come with the grant, owners
//! whose numbers come again. Small storms of processes, each of which knows what it must see.

mod part;

mod marks;
mod nodes;
mod owners;
mod pages;
mod programs;
mod storm;
mod waits;

use std::time::Duration;

use nix::fcntl::{FcntlArg, fcntl};
use nix::libc;
use rustix::fd::AsFd;

use crate::common::mount::Setup;
use crate::common::{Errno, Kind, Mount, env_number};

/// How long what comes at once on a quiet machine may take on a busy one.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long a storm lasts.
fn seconds() -> u64 {
    env_number("OWLTMP_STORM_SECONDS", 3)
}

/// owltmp in both modes of `io=`, with these options besides.
fn both_modes(options: &str, body: impl Fn(&Mount)) {
    for io in ["passthrough", "cached"] {
        eprintln!("with io={io}:");
        body(&Setup::new(Kind::Owltmp, &format!("mode=0777,{options},io={io}")).mount());
    }
}

/// What is asked of record locks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    /// F_SETLK.
    Process,
    /// F_SETLKW.
    ProcessWait,
    /// F_OFD_SETLK.
    Open,
    /// F_OFD_SETLKW.
    OpenWait,
}

const READ: i32 = libc::F_RDLCK;
const WRITE: i32 = libc::F_WRLCK;
const NONE: i32 = libc::F_UNLCK;

fn record(kind: i32, start: i64, len: i64) -> libc::flock {
    libc::flock {
        l_type: kind as i16,
        l_whence: libc::SEEK_SET as i16,
        l_start: start,
        l_len: len,
        l_pid: 0,
    }
}

fn errno(error: nix::Error) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

/// fcntl(2) about a lock.
fn lock(fd: impl AsFd, ask: Ask, kind: i32, start: i64, len: i64) -> Result<(), Errno> {
    let record = record(kind, start, len);
    let ask = match ask {
        Ask::Process => FcntlArg::F_SETLK(&record),
        Ask::ProcessWait => FcntlArg::F_SETLKW(&record),
        Ask::Open => FcntlArg::F_OFD_SETLK(&record),
        Ask::OpenWait => FcntlArg::F_OFD_SETLKW(&record),
    };
    fcntl(fd, ask).map(drop).map_err(errno)
}

/// F_OFD_GETLK: the type, start and length of what is in the way of a write lock.
fn in_the_way(fd: impl AsFd, start: i64, len: i64) -> Option<(i32, i64, i64)> {
    let mut record = record(WRITE, start, len);
    fcntl(fd, FcntlArg::F_OFD_GETLK(&mut record)).expect("F_OFD_GETLK");
    let kind = i32::from(record.l_type);
    (kind != NONE).then_some((kind, record.l_start, record.l_len))
}
