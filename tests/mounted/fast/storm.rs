//! Everything at once: processes that create, open, write, map, truncate, rename, link and unlink the same few names, with hardly any
//! room, for `OWLTMP_FAST_SECONDS` (10). Every word that is written says which inode and which offset it belongs to, so a word of
//! another file, or of an inode long gone, betrays itself wherever it turns up.

use rustix::fd::OwnedFd;
use rustix::fs::{FallocateFlags, OFlags, RenameFlags, fallocate, fstat, ftruncate, statfs};
use rustix::io::pwrite;
use std::path::Path;
use std::time::{Duration, Instant};

use super::{PATIENCE, Where, descriptors, punch, worker};
use crate::common::dir::pread;
use crate::common::map::Map;
use crate::common::rng::Rng;
use crate::common::{Dir, Kind, env_number, wait_until};

const NAMES: u64 = 12;
const LARGEST: u64 = 96 << 10;

/// The upper 40 bits of a word say where it belongs, the rest who wrote it and when.
fn place(ino: u64, offset: u64) -> u64 {
    Rng(ino.wrapping_mul(0x1_0001).wrapping_add(offset)).bits() >> 24
}

fn words(ino: u64, offset: u64, count: u64, writer: u64, sequence: u64) -> Vec<u8> {
    let word = |i| place(ino, offset + i * 8) << 24 | (writer & 0xff) << 16 | (sequence & 0xffff);
    (0..count).flat_map(|i| word(i).to_le_bytes()).collect()
}

/// The first word that does not belong where it is.
fn stray(bytes: &[u8], ino: u64, offset: u64) -> Option<(u64, u64)> {
    let whole = bytes.as_chunks::<8>().0.iter().zip(0..);
    let numbered = whole.map(|(word, i)| (offset + i * 8, u64::from_le_bytes(*word)));
    numbered
        .into_iter()
        .find(|&(at, word)| word != 0 && word >> 24 != place(ino, at))
}

struct Player {
    rng: Rng,
    dir: Dir,
    writer: u64,
    steps: u64,
    held: Vec<(OwnedFd, u64)>,
    maps: Vec<(Map, u64)>,
}

impl Player {
    fn name(&mut self) -> String {
        format!("s{}", self.rng.below(NAMES))
    }

    fn one(&mut self) -> Option<(usize, u64)> {
        let index = usize::try_from(self.rng.below(self.held.len() as u64)).unwrap();
        self.held.get(index).map(|(_, ino)| (index, *ino))
    }

    fn open(&mut self) {
        let name = self.name();
        let mode = self
            .rng
            .pick(&[OFlags::RDWR, OFlags::RDWR, OFlags::RDWR | OFlags::TRUNC, OFlags::RDONLY]);
        let make = self
            .rng
            .pick(&[OFlags::CREATE, OFlags::CREATE | OFlags::EXCL, OFlags::empty()]);
        let fd = match self.rng.one_in(10) {
            true => self.dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600),
            false => self.dir.open(&name, mode | make, 0o666),
        };
        if let Ok(fd) = fd {
            let ino = fstat(&fd).unwrap().st_ino;
            self.held.push((fd, ino));
        }
        if self.held.len() > 12 {
            let index = usize::try_from(self.rng.below(12)).unwrap();
            self.held.swap_remove(index);
        }
    }

    fn transfer(&mut self) {
        let Some((index, ino)) = self.one() else { return };
        let offset = self.rng.below(LARGEST / 8) * 8;
        let count = 1 + self.rng.below(1500);
        let fd = &self.held[index].0;
        if self.rng.one_in(2) {
            let _ = pwrite(fd, &words(ino, offset, count, self.writer, self.steps), offset);
            return;
        }
        // A word may be read while it is written; read again it is whole.
        let look = || stray(&pread(fd, 16_384, offset).unwrap(), ino, offset);
        let found = (0..3).map(|_| look()).take_while(Option::is_some).last().flatten();
        assert_eq!(
            found.filter(|_| look().is_some()),
            None,
            "inode {ino}, place {:x}",
            place(ino, offset)
        );
    }

    fn mapping(&mut self) {
        if self.rng.one_in(3) || self.maps.is_empty() {
            let Some((index, ino)) = self.one() else { return };
            if let Ok(map) = Map::shared(&self.held[index].0, 65_536) {
                self.maps.push((map, ino));
            }
            if self.maps.len() > 6 {
                let index = usize::try_from(self.rng.below(6)).unwrap();
                self.maps.swap_remove(index);
            }
            return;
        }
        let index = usize::try_from(self.rng.below(self.maps.len() as u64)).unwrap();
        let (map, ino) = &self.maps[index];
        let offset = self.rng.below(65_536 / 8) * 8;
        let at = usize::try_from(offset).unwrap();
        // Byte by byte, the last of which says nothing of the place.
        let read: Vec<_> = (0..8).map_while(|i| map.peek(at + i)).collect();
        if read.len() == 8 && stray(&read, *ino, offset).is_some() {
            std::thread::sleep(Duration::from_millis(2));
            let again: Vec<_> = (0..8).map_while(|i| map.peek(at + i)).collect();
            assert!(
                again != read || stray(&again, *ino, offset).is_none(),
                "inode {ino} at {offset}: {again:x?}"
            );
        }
        if read.len() == 8 && read[3..] == place(*ino, offset).to_le_bytes()[..5] {
            map.poke(at, self.writer as u8);
        }
    }

    fn shape(&mut self) {
        let Some((index, _)) = self.one() else { return };
        let fd = &self.held[index].0;
        let (at, len) = (self.rng.below(LARGEST), 1 + self.rng.below(30_000));
        // On the edges of words, so that none is cut in two. Much of it fails: the descriptor is to read, or there is no room.
        let (at, len) = (at & !7, len.next_multiple_of(8));
        let hole = FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE;
        let _ = match self.rng.below(5) {
            0 => ftruncate(fd, at),
            1 => fallocate(fd, FallocateFlags::empty(), at, len),
            2 => fallocate(fd, FallocateFlags::KEEP_SIZE, at, len),
            3 => fallocate(fd, hole, at, len),
            _ => ftruncate(fd, 0),
        };
    }

    fn names(&mut self) {
        let (one, other) = (self.name(), self.name());
        let index = self.one();
        let _ = match self.rng.below(7) {
            0 => self.dir.rename(&one, &other),
            1 => self.dir.rename_with(&one, &other, RenameFlags::EXCHANGE),
            2 => self.dir.link(&one, &other),
            3 => self.dir.chmod(&one, 0o666),
            4 => match index {
                Some((index, _)) => self.dir.link_fd(&self.held[index].0, &other),
                None => Ok(()),
            },
            _ => self.dir.unlink(&one),
        };
        if let Ok(stat) = self.dir.stat(&other) {
            assert!(stat.st_size as u64 <= LARGEST + 60_000, "{stat:?}");
        }
    }
}

/// A part: plays until the time is over.
pub fn storm_part(arguments: &[&str]) {
    let number = |i: usize| arguments[i].parse::<u64>().unwrap();
    let end = Instant::now() + Duration::from_secs(number(1));
    let dir = Dir::open_root(Path::new("."), Kind::Owltmp).unwrap();
    let (rng, writer) = (Rng(number(0)), number(0));
    let mut player = Player {
        rng,
        dir,
        writer,
        steps: 0,
        held: vec![],
        maps: vec![],
    };
    while Instant::now() < end {
        player.steps += 1;
        match player.rng.below(10) {
            0..2 => player.open(),
            2..6 => player.transfer(),
            6..8 => player.mapping(),
            8 => player.shape(),
            _ => player.names(),
        }
    }
    eprintln!("player {writer}: {} steps", player.steps);
}

/// By semantics 1.1, 1.3, 1.5, 6.3: no word is ever found where it does not belong, and at the end all space and every descriptor
/// comes back.
#[test]
fn everything_at_once() {
    let seconds = env_number("OWLTMP_FAST_SECONDS", 10);
    let seed = env_number("OWLTMP_FAST_SEED", 1);
    let place = Where::Passthrough;
    let mount = place.mount("mode=0777,size=700k");
    let dir = mount.dir();
    let free = || statfs(dir.path("")).unwrap().f_bfree;
    let (room, before) = (free(), mount.daemon_pid().map(|_| descriptors(&mount)));
    let start = |player: u64| {
        let arguments = [(seed * 100 + player).to_string(), seconds.to_string()];
        worker::start("storm", &[&arguments[0], &arguments[1]], &dir.path(""))
    };
    let players: Vec<_> = (0..4).map(start).collect();
    for mut player in players {
        let status = player.wait().unwrap();
        assert!(status.success(), "a player: {status:?}");
    }
    for name in dir.names() {
        let fd = dir.open(&name, OFlags::RDWR, 0).unwrap();
        let stat = fstat(&fd).unwrap();
        let bytes = dir.read(&name).unwrap();
        assert_eq!(bytes.len() as i64, stat.st_size, "{name}");
        assert_eq!(stray(&bytes, stat.st_ino, 0), None, "{name}");
        punch(&fd, 0, 1 << 20);
        assert!(dir.read(&name).unwrap().iter().all(|&byte| byte == 0));
        drop(fd);
        dir.unlink(&name).unwrap();
    }
    wait_until("all pages are free", PATIENCE, || free() == room);
    if let Some(before) = before {
        wait_until("no descriptor is left", PATIENCE, || descriptors(&mount) <= before + 80);
    }
}
