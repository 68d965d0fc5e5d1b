//! Clients that are killed in the middle of everything leave nothing open, registered, mapped or charged.

use rustix::fs::{OFlags, ftruncate, statfs};
use rustix::io::pwrite;
use std::time::Duration;

use super::{PATIENCE, Where, descriptors, worker};
use crate::common::map::Map;
use crate::common::rng::Rng;
use crate::common::{Dir, Kind, env_number, wait_until};

/// A part: creates, opens, writes, maps, closes and unlinks for ever.
pub fn churn_part(arguments: &[&str]) {
    let mut rng = Rng(arguments[0].parse().unwrap());
    let dir = Dir::open_root(std::path::Path::new("."), Kind::Owltmp).unwrap();
    let mut held = vec![];
    let mut maps = vec![];
    loop {
        let name = format!("k{}", rng.below(24));
        let mode = rng.pick(&[
            OFlags::RDWR,
            OFlags::WRONLY,
            OFlags::RDONLY,
            OFlags::RDWR | OFlags::TRUNC,
        ]);
        let flags = if rng.one_in(2) { mode | OFlags::CREATE } else { mode };
        if let Ok(fd) = dir.open(&name, flags, 0o666) {
            if rng.one_in(3) {
                let _ = pwrite(&fd, &[1; 5000], rng.below(20_000));
            }
            if rng.one_in(4) {
                let _ = ftruncate(&fd, rng.below(9000));
            }
            if rng.one_in(4) {
                maps.extend(Map::shared(&fd, 8192).ok());
            }
            held.push(fd);
        }
        if rng.one_in(3) {
            let _ = dir.unlink(&name);
        }
        if rng.one_in(5) {
            held.clear();
        }
        if maps.len() > 20 || rng.one_in(20) {
            maps.clear();
        }
        if rng.one_in(50) {
            // A child that has all of it too, and is killed by nobody: it ends by itself.
            if let Ok(mut child) = std::process::Command::new("true").spawn() {
                let _ = child.wait();
            }
        }
    }
}

/// By semantics 6.3: the daemon's descriptors and the space come back, however often clients are killed.
#[test]
fn leave_nothing() {
    let kills = env_number("OWLTMP_FAST_KILLS", 60);
    let mount = Where::Passthrough.mount("mode=0777,size=64m");
    let dir = mount.dir();
    let free = || statfs(dir.path("")).unwrap().f_bfree;
    let room = free();
    let before = mount.daemon_pid().map(|_| descriptors(&mount));
    let mut rng = Rng(11);
    let start = |seed: u64| worker::start("churn", &[&seed.to_string()], &dir.path(""));
    let mut running: Vec<_> = (0..3).map(start).collect();
    for kill in 0..kills {
        std::thread::sleep(Duration::from_millis(20 + rng.below(60)));
        let index = usize::try_from(kill % 3).unwrap();
        running[index].kill().unwrap();
        running[index].wait().unwrap();
        running[index] = start(kill + 100);
    }
    for mut child in running {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    for name in dir.names() {
        assert_eq!(dir.read(&name).unwrap().len() as i64, dir.stat(&name).unwrap().st_size);
        dir.unlink(&name).unwrap();
    }
    wait_until("all pages are free", PATIENCE, || free() == room);
    if let Some(before) = before {
        wait_until("no descriptor is left", PATIENCE, || descriptors(&mount) <= before + 80);
        println!("{kills} kills: {} descriptors, {before} before", descriptors(&mount));
    }
}
