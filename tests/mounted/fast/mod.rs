//! With `io=passthrough` the kernel reads, writes and maps contents without asking, and nobody must notice anything but the
//! speed. tmpfs is the oracle; what does not come from passthrough is held to it with `io=cached` too.

use std::time::Duration;

use rustix::fd::AsFd;
use rustix::fs::{AtFlags, FallocateFlags, OFlags, SeekFrom, StatxFlags, fallocate, fstat, seek, statx};

use crate::common::call::Attr;
use crate::common::mount::{Setup, tmpfs_plays_owltmp};
use crate::common::{Dir, Errno, Kind, Mount};

mod appending;
mod contents;
mod kills;
mod limits;
mod memory;
mod privileges;
mod recycling;
mod sizes;
mod storm;
mod times;
mod worker;

/// The filesystems to compare: tmpfs, and owltmp in both modes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Tmpfs,
    Passthrough,
    Cached,
}

impl Where {
    fn mount(self, options: &str) -> Mount {
        let (kind, io) = match self {
            Where::Tmpfs => (Kind::Tmpfs, ""),
            _ if tmpfs_plays_owltmp() => (Kind::Owltmp, ""),
            Where::Passthrough => (Kind::Owltmp, ",io=passthrough"),
            Where::Cached => (Kind::Owltmp, ",io=cached"),
        };
        eprintln!("on {self:?} ({options}):");
        Setup::new(kind, &format!("{options}{io}")).mount()
    }
}

/// Runs a body on tmpfs and with passthrough.
fn fast(options: &str, body: impl Fn(&Mount)) {
    for place in [Where::Tmpfs, Where::Passthrough] {
        body(&place.mount(options));
    }
}

/// Runs a body on tmpfs and on owltmp in both modes.
fn all(options: &str, body: impl Fn(&Mount)) {
    for place in [Where::Tmpfs, Where::Passthrough, Where::Cached] {
        body(&place.mount(options));
    }
}

/// What a body says has happened must be the same with passthrough as on tmpfs.
fn same_story(options: &str, tell: impl Fn(&Dir) -> Vec<String>) {
    let [expected, told] = [Where::Tmpfs, Where::Passthrough].map(|place| tell(place.mount(options).dir()));
    let different: Vec<_> = expected.iter().zip(&told).filter(|(a, b)| a != b).collect();
    assert!(
        different.is_empty() && expected.len() == told.len(),
        "({options}) tmpfs and owltmp differ: {different:#?}"
    );
}

/// How long what comes at once on a quiet machine may take on a busy one.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until the clock of the kernel's filesystems shows another time.
fn tick() {
    std::thread::sleep(Duration::from_millis(12));
}

fn punch(fd: impl AsFd, offset: u64, len: u64) {
    fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, offset, len).unwrap();
}

/// Attributes asked for one group at a time, as programs do that ask for little, and then all at once: the answers agree.
fn attributes(fd: impl AsFd) -> Attr {
    let ask = |mask| statx(fd.as_fd(), "", AtFlags::EMPTY_PATH, mask).unwrap();
    let ns = |time: rustix::fs::StatxTimestamp| time.tv_sec * 1_000_000_000 + i64::from(time.tv_nsec);
    let (size, blocks) = (ask(StatxFlags::SIZE).stx_size, ask(StatxFlags::BLOCKS).stx_blocks);
    let mtime = ns(ask(StatxFlags::MTIME).stx_mtime);
    let ctime = ns(ask(StatxFlags::CTIME).stx_ctime);
    let attr = Attr::new(&fstat(fd.as_fd()).unwrap());
    let little = (size as i64, blocks as i64, mtime, ctime);
    assert_eq!(
        little,
        (attr.size, attr.blocks, attr.times.mtime, attr.times.ctime),
        "what statx(2) says by little, and fstat(2)"
    );
    attr
}

/// Where data and holes begin, from the start to the end.
fn layout(fd: impl AsFd) -> Vec<u64> {
    let back = seek(fd.as_fd(), SeekFrom::Current(0)).unwrap();
    let (mut found, mut at) = (vec![], 0);
    loop {
        let data = match seek(fd.as_fd(), SeekFrom::Data(at)) {
            Err(Errno::NXIO) => break,
            data => data.unwrap(),
        };
        at = seek(fd.as_fd(), SeekFrom::Hole(data)).unwrap();
        found.extend([data, at]);
    }
    seek(fd.as_fd(), SeekFrom::Start(back)).unwrap();
    found
}

/// How many descriptors the daemon has.
fn descriptors(mount: &Mount) -> usize {
    let pid = mount.daemon_pid().expect("a daemon");
    std::fs::read_dir(format!("/proc/{pid}/fd")).expect("it lives").count()
}

fn path_only(dir: &Dir, name: &str) -> rustix::fd::OwnedFd {
    dir.open(name, OFlags::PATH, 0).unwrap()
}
