//! The mark comes and goes while others open, write, map and ask for locks. By semantics 5.3 and 5.6 a lock that is granted on a marked
//! file keeps: not one byte changes under it, by whatever descriptor.

use std::path::Path;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, fchmod, ftruncate};
use rustix::io::{pread, pwrite};

use super::part::Part;
use super::{Ask, NONE, READ, WRITE, lock, seconds};
use crate::common::map::Map;
use crate::common::mount::Setup;
use crate::common::rng::Rng;
use crate::common::{Dir, Errno, Kind, Mode};

/// A part: opens, writes and closes until it is killed.
pub fn part(arguments: &[&str]) {
    let dir = Dir::open_root(Path::new("."), Kind::Owltmp).unwrap();
    let mut rng = Rng(arguments[0].parse().unwrap());
    let mut mapping = None;
    loop {
        let fd = match dir.open("file", OFlags::RDWR | OFlags::NONBLOCK, 0) {
            Ok(fd) => fd,
            // Without passthrough, a node of the time of the mark beside others.
            Err(error) => {
                assert_eq!(error, Errno::STALE);
                continue;
            }
        };
        let bytes = rng.bits().to_le_bytes();
        match rng.below(8) {
            0 => mapping = Map::shared(&fd, 4096).ok(),
            1 => mapping = None,
            2 => drop(ftruncate(&fd, 4096)),
            3 => drop(dir.truncate("file", 4096)),
            4 => drop(dir.open("file", OFlags::RDWR | OFlags::APPEND | OFlags::NONBLOCK, 0)),
            _ => {
                for _ in 0..rng.below(4) {
                    let _ = pwrite(&fd, &bytes, 0);
                }
            }
        }
        if let Some(map) = &mapping {
            map.put(8, &bytes);
        }
    }
}

fn rounds(options: &str, immune_mappings: bool) {
    let mount = Setup::new(Kind::Owltmp, &format!("mode=0777,{options}")).mount();
    let dir = mount.dir();
    dir.file("file", &[1; 4096], 0o666);
    let mut others: Vec<Part> = (0..2_u64)
        .map(|seed| Part::start("mark", &[&seed.to_string()], mount.path()))
        .collect();
    let mut rng = Rng(7);
    let (mut granted, mut refused) = (0, 0);
    let end = Instant::now() + Duration::from_secs(seconds());
    while Instant::now() < end {
        let marked = rng.one_in(2);
        let fd = dir.open("file", OFlags::RDWR, 0).unwrap();
        fchmod(&fd, Mode::from_raw_mode(if marked { 0o2666 } else { 0o666 })).unwrap();
        drop(fd);
        fchmod(
            dir.open("file", OFlags::RDONLY, 0).unwrap(),
            Mode::from_raw_mode(0o2666),
        )
        .unwrap();
        let fd = dir.open("file", OFlags::RDWR, 0).unwrap();
        let kind = rng.pick(&[READ, WRITE]);
        match lock(&fd, rng.pick(&[Ask::Open, Ask::Process]), kind, 0, 16) {
            Err(error) => {
                assert_eq!(error, Errno::AGAIN);
                refused += 1;
                continue;
            }
            Ok(()) => granted += 1,
        }
        let seen = if immune_mappings { 8 } else { 16 };
        let look = || {
            let mut bytes = [0; 16];
            assert_eq!(pread(&fd, &mut bytes, 0), Ok(16));
            bytes[..seen].to_vec()
        };
        let first = look();
        for pause in [0, 50, 500] {
            std::thread::sleep(Duration::from_micros(pause));
            assert_eq!(look(), first, "{options}, after {granted} grants, {refused} refusals");
        }
        lock(&fd, Ask::Open, NONE, 0, 0).unwrap();
    }
    assert!(others.iter_mut().all(Part::plays));
    eprintln!("{options}: {granted} granted, {refused} refused");
    assert!(granted > 0);
}

#[test]
fn a_lock_on_a_marked_file_keeps() {
    for io in ["passthrough", "cached"] {
        rounds(&format!("mand=marked,io={io}"), false);
        // A mapping from before the mark is past all locks there (semantics 5.5).
        rounds(&format!("mand=full,io={io}"), io == "passthrough");
        rounds(&format!("mand=all,io={io}"), false);
    }
}
