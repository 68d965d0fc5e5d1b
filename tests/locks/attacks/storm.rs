//! Everything that has to do with nodes at once: processes look up, open, read, write, rename, link, remove and list a few names,
//! mark the files and end the mark, lock them, open them by handles and by descriptors. A word that is written says which file and
//! which offset it belongs to. Nobody is ever told ESTALE or EIO, no number changes, nothing is left.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{Mode, OFlags, RenameFlags, fchmod, fstat, ftruncate, statvfs};
use rustix::io::{pread, pwrite};

use super::part::Part;
use super::{Ask, NONE, PATIENCE, READ, WRITE, lock, seconds};
use crate::common::handle::Handle;
use crate::common::mount::Setup;
use crate::common::rng::Rng;
use crate::common::{Dir, Errno, Kind, Mount, env_number, wait_until};

const NAMES: u64 = 5;
const LARGEST: u64 = 64 << 10;
const MARKED: [u32; 5] = [0o2666, 0o666, 0o2660, 0o2676, 0o4666];

fn place(ino: u64, offset: u64) -> u64 {
    Rng(ino.wrapping_mul(0x1_0001).wrapping_add(offset)).bits() >> 24
}

fn words(ino: u64, offset: u64, count: u64, writer: u64) -> Vec<u8> {
    let word = |i| place(ino, offset + i * 8) << 24 | (writer & 0xff_ffff);
    (0..count).flat_map(|i| word(i).to_le_bytes()).collect()
}

/// The first word that does not belong where it is.
fn stray(bytes: &[u8], ino: u64, offset: u64) -> Option<(u64, u64)> {
    let words = bytes.as_chunks::<8>().0.iter().zip(0..);
    let mut numbered = words.map(|(word, i)| (offset + i * 8, u64::from_le_bytes(*word)));
    numbered.find(|&(at, word)| word != 0 && word >> 24 != place(ino, at))
}

struct Player {
    rng: Rng,
    dir: Dir,
    writer: u64,
    steps: u64,
    held: Vec<(OwnedFd, u64)>,
    paths: Vec<(OwnedFd, u64)>,
    /// ESTALE is right for a descriptor that only leads to a file, where there are two page caches.
    cached: bool,
}

/// What no program is to see.
#[track_caller]
fn fine<T>(result: Result<T, Errno>) -> Option<T> {
    match result {
        Ok(value) => Some(value),
        Err(error) => {
            assert!(
                !matches!(
                    error,
                    Errno::STALE | Errno::IO | Errno::BADF | Errno::INVAL | Errno::NOMEM
                ),
                "{error:?}"
            );
            None
        }
    }
}

impl Player {
    fn name(&mut self) -> String {
        format!("s{}", self.rng.below(NAMES))
    }

    fn flags(&mut self) -> OFlags {
        self.rng.pick(&[
            OFlags::RDWR | OFlags::NONBLOCK,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::APPEND,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::TRUNC,
            OFlags::RDONLY | OFlags::NONBLOCK,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::CREATE,
            OFlags::RDWR | OFlags::NONBLOCK | OFlags::CREATE,
        ])
    }

    fn hold(&mut self, fd: Option<OwnedFd>) {
        let Some(fd) = fd else { return };
        let ino = fstat(&fd).unwrap().st_ino;
        self.held.push((fd, ino));
        if self.held.len() > 10 {
            let index = usize::try_from(self.rng.below(10)).unwrap();
            self.held.swap_remove(index);
        }
    }

    fn open(&mut self) {
        let (name, flags) = (self.name(), self.flags());
        let mode = self.rng.pick(&MARKED);
        let fd = match self.rng.below(8) {
            0 => fine(
                self.dir
                    .open(".", OFlags::TMPFILE | OFlags::RDWR | OFlags::NONBLOCK, mode),
            ),
            1 => {
                let fd = fine(self.dir.open(&name, OFlags::PATH, 0));
                self.paths.extend(fd.map(|fd| {
                    let ino = fstat(&fd).unwrap().st_ino;
                    (fd, ino)
                }));
                if self.paths.len() > 5 {
                    self.paths.remove(0);
                }
                None
            }
            2 => match fine(Handle::of(self.dir.fd(), &name)) {
                // The file may be gone since.
                Some(handle) => handle.open(self.dir.fd(), OFlags::RDWR | OFlags::NONBLOCK).ok(),
                None => None,
            },
            3 => self.open_again(),
            _ => fine(self.dir.open(&name, flags, mode)),
        };
        self.hold(fd);
    }

    fn open_again(&mut self) -> Option<OwnedFd> {
        let path_only = self.rng.one_in(2);
        let from = if path_only { &self.paths } else { &self.held };
        let index = usize::try_from(self.rng.below(from.len() as u64)).unwrap();
        let (fd, ino) = from.get(index)?;
        let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
        let again = rustix::fs::open(path, OFlags::RDWR | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty());
        if self.cached && matches!(again, Err(Errno::STALE)) {
            return None;
        }
        let again = fine(again)?;
        assert_eq!(fstat(&again).unwrap().st_ino, *ino);
        Some(again)
    }

    fn transfer(&mut self, fd: &OwnedFd, ino: u64) {
        let offset = self.rng.below(LARGEST / 8) * 8;
        let count = 1 + self.rng.below(1000);
        match self.rng.below(6) {
            0..3 => {
                let appends = rustix::fs::fcntl_getfl(fd).unwrap().contains(OFlags::APPEND);
                if !appends {
                    let _ = pwrite(fd, &words(ino, offset, count, self.writer), offset).map_err(|error| {
                        assert!(matches!(error, Errno::AGAIN | Errno::BADF), "{error:?}");
                    });
                }
            }
            3 => ftruncate(fd, offset).unwrap_or_default(),
            _ => {
                let mut bytes = vec![0; 8192];
                let mut look = || match pread(fd, &mut bytes, offset) {
                    Ok(count) => stray(&bytes[..count / 8 * 8], ino, offset),
                    Err(error) => {
                        assert_eq!(error, Errno::AGAIN);
                        None
                    }
                };
                // A word may be read while it is written; read again it is whole.
                let found = (0..4).map_while(|_| look()).count();
                assert!(found < 4, "inode {ino}: {:x?}", look());
            }
        }
    }

    fn lock(&mut self, fd: &OwnedFd) {
        let ask = self.rng.pick(&[Ask::Process, Ask::Open]);
        let kind = self.rng.pick(&[READ, WRITE, NONE, NONE]);
        let start = i64::try_from(self.rng.below(LARGEST)).unwrap();
        if let Err(error) = lock(fd, ask, kind, start, 100) {
            assert!(matches!(error, Errno::AGAIN | Errno::BADF), "{error:?}");
        }
    }

    fn names(&mut self) {
        let (one, other) = (self.name(), self.name());
        let mode = self.rng.pick(&MARKED);
        match self.rng.below(12) {
            0 => fine(self.dir.rename(&one, &other)).unwrap_or_default(),
            1 => fine(self.dir.rename_with(&one, &other, RenameFlags::EXCHANGE)).unwrap_or_default(),
            2 => fine(self.dir.link(&one, &other)).unwrap_or_default(),
            3..7 => fine(self.dir.chmod(&one, mode)).unwrap_or_default(),
            7 => drop(self.dir.names()),
            8 => {
                let size = self.rng.below(LARGEST / 8) * 8;
                let _ = fine(self.dir.truncate(&one, i64::try_from(size).unwrap()));
            }
            9 => fine(self.dir.unlink(&one)).unwrap_or_default(),
            _ => {
                if let Some(fd) = fine(self.dir.open(&one, OFlags::RDONLY | OFlags::NONBLOCK, 0)) {
                    let attr = fstat(&fd).unwrap();
                    assert_eq!(fstat(&fd).unwrap().st_ino, attr.st_ino);
                }
            }
        }
    }

    fn step(&mut self) {
        self.steps += 1;
        let index = usize::try_from(self.rng.below(self.held.len() as u64)).unwrap();
        let choice = self.rng.below(10);
        if self.held.is_empty() || choice < 3 {
            return self.open();
        }
        let (fd, ino) = self.held.swap_remove(index);
        assert_eq!(fstat(&fd).unwrap().st_ino, ino);
        match choice {
            3..6 => self.transfer(&fd, ino),
            6 => self.lock(&fd),
            7 => fine(fchmod(&fd, Mode::from_raw_mode(self.rng.pick(&MARKED)))).unwrap_or_default(),
            _ => self.names(),
        }
        self.held.push((fd, ino));
    }
}

/// A part: plays until the time is over.
pub fn part(arguments: &[&str]) {
    let number = |i: usize| arguments[i].parse::<u64>().unwrap();
    let end = Instant::now() + Duration::from_secs(number(1));
    let mut player = Player {
        rng: Rng(number(0)),
        dir: Dir::open_root(Path::new("."), Kind::Owltmp).unwrap(),
        writer: number(0),
        steps: 0,
        held: vec![],
        paths: vec![],
        cached: number(2) == 1,
    };
    while Instant::now() < end {
        player.step();
    }
    eprintln!("player {}: {} steps", player.writer, player.steps);
}

fn storm(options: &str, seed: u64) {
    let mount = Setup::new(Kind::Owltmp, &format!("mode=0777,{options}")).mount();
    let dir = mount.dir();
    let free = |mount: &Mount| {
        let all = statvfs(mount.path()).unwrap();
        (all.f_ffree, all.f_bfree)
    };
    let before = free(&mount);
    let start = |player: u64| {
        let cached = u64::from(!mount.passthrough());
        let arguments = [seed * 100 + player, seconds(), cached].map(|number| number.to_string());
        Part::start("storm", &arguments.each_ref().map(String::as_str), mount.path())
    };
    let players: Vec<_> = (0..3).map(start).collect();
    players.into_iter().for_each(Part::join);
    for name in dir.names() {
        let fd = dir.open(&name, OFlags::RDONLY, 0).unwrap();
        let stat = fstat(&fd).unwrap();
        let bytes = dir.read(&name).unwrap();
        assert_eq!(bytes.len() as i64, stat.st_size, "{name}");
        assert_eq!(stray(&bytes, stat.st_ino, 0), None, "{name}");
        dir.unlink(&name).unwrap();
    }
    wait_until("all is free again", PATIENCE, || free(&mount) == before);
    let rss = mount.daemon_rss().unwrap();
    assert!(rss < 64 << 20, "{rss} bytes of the daemon are left");
}

/// By semantics 1.1, 1.3, 1.4, 5.9, 6.3.
#[test]
fn everything_at_once() {
    let seed = env_number("OWLTMP_STORM_SEED", 1);
    for mand in ["marked", "full", "all"] {
        for io in ["passthrough", "cached"] {
            eprintln!("mand={mand},io={io}:");
            storm(&format!("mand={mand},io={io}"), seed);
        }
    }
}
