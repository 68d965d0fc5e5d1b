//! One user is refused as fast as he can: semantics 3.5 bounds what is said about him and keeps him out of the way of others.

use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use super::*;

const FLOOD: usize = 100_000;
const BURST: usize = 100;
const A_SECOND: usize = 20;

/// Events told one by one, and events only counted, of a user.
fn told(said: &str, uid: u32) -> (usize, usize) {
    let (of, end) = (format!("uid={uid} "), format!(" events of uid {uid}"));
    let lines = said
        .lines()
        .filter(|line| line.contains("refused symlinks: ") && line.contains(&of));
    let counted = said.lines().filter_map(|line| {
        let (_, number) = line.trim_end().strip_suffix(&end)?.split_once("suppressed ")?;
        number.parse::<usize>().ok()
    });
    (lines.count(), counted.sum())
}

/// semantics 3.5: a hundred thousand refusals of Bob's; Carol's requests and Carol's event get through.
#[test]
fn a_flood_drowns_nobody() {
    let Some(place) = Place::new("") else { return };
    let dir = place.dir();
    as_user(ALICE, || dir.symlink(".", "alices").unwrap());
    as_user(CAROL, || dir.symlink(".", "carols").unwrap());
    let (flooded, carols) = (AtomicBool::new(false), AtomicUsize::new(0));
    let start = Instant::now();
    let refuse = |times| {
        as_user(BOB, || {
            for _ in 0..times {
                assert_eq!(dir.open("alices", OFlags::RDONLY, 0).map(drop), Err(Errno::ACCESS));
            }
        });
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            refuse(FLOOD);
            flooded.store(true, Ordering::Relaxed);
        });
        scope.spawn(|| {
            as_user(CAROL, || {
                while !flooded.load(Ordering::Relaxed) {
                    dir.open("carols", OFlags::RDONLY, 0).map(drop).unwrap();
                    carols.fetch_add(1, Ordering::Relaxed);
                }
            });
        });
    });
    let carols = carols.load(Ordering::Relaxed);
    println!(
        "{FLOOD} refusals in {:?}, meanwhile {carols} of another user's requests",
        start.elapsed()
    );
    assert!(carols > FLOOD / 10, "only {carols} against {FLOOD}");

    assert_eq!(follow(CAROL, dir, "alices"), Err(Errno::ACCESS));
    place.event(&["refused symlinks: ", "uid=60003 ", "object=\"/alices\""]);
    let mut refused = FLOOD;
    wait_until("what was not told is counted", Duration::from_secs(20), || {
        refuse(1);
        refused += 1;
        told(&place.mount.stderr(), BOB.uid).1 > 0
    });
    let said = place.mount.stderr();
    let (lines, counted) = told(&said, BOB.uid);
    let seconds = start.elapsed().as_secs() as usize + 1;
    println!(
        "{lines} lines and {counted} counted in {seconds} s, {} bytes",
        said.len()
    );
    assert!(
        lines >= BURST / 2 && lines <= BURST + A_SECOND * seconds,
        "{lines} lines in {seconds} s"
    );
    assert!(lines + counted <= refused, "{lines} + {counted} of {refused}");
    assert!(said.len() < 200 * 1024 + 10_000 * seconds, "{} bytes", said.len());
}

/// semantics 3.5: what is only noted floods no more than what is refused, nor do the other rules.
#[test]
fn nor_does_a_flood_of_notes() {
    let Some(place) = Place::new("symlinks=log,hardlinks=log,squatting=log") else {
        return;
    };
    let dir = place.dir();
    as_user(ALICE, || {
        dir.symlink(".", "alices").unwrap();
        dir.file("file", b"", 0o666);
    });
    let start = Instant::now();
    as_user(BOB, || {
        for i in 0..2000 {
            dir.open("alices", OFlags::RDONLY, 0).map(drop).unwrap();
            dir.open("file", OFlags::CREATE | OFlags::RDWR, 0o600)
                .map(drop)
                .unwrap();
            let name = format!("n{i}");
            dir.link("file", &name).unwrap();
        }
    });
    assert_eq!(
        as_user(CAROL, || dir.open("alices", OFlags::RDONLY, 0).map(drop)),
        Ok(())
    );
    place.event(&["noted symlinks: ", "uid=60003 "]);
    let seconds = start.elapsed().as_secs() as usize + 1;
    let lines = place
        .mount
        .stderr()
        .lines()
        .filter(|line| line.contains("uid=60002 "))
        .count();
    assert!(
        lines >= BURST / 2 && lines <= BURST + A_SECOND * seconds,
        "{lines} lines in {seconds} s"
    );
}

/// semantics 3.4: who is told to look again is remembered until he has, whatever a crowd of others does meanwhile.
#[test]
fn nor_does_a_crowd_that_looks_again() {
    const CROWD: usize = 80;
    const OPENS: usize = 200;
    let Some(place) = Place::new("mode=1777") else { return };
    let dir = place.dir();
    dir.subdir("plain", 0o777);
    as_user(CAROL, || {
        dir.file("log", b"", 0o666);
        dir.rename("log", "plain/log").unwrap();
    });
    let (over, looked) = (AtomicBool::new(false), AtomicUsize::new(0));
    let crowd = || {
        // Marked after it was opened: whoever opens it by the descriptor is told to look again.
        let marked = dir.create("marked");
        dir.chmod("marked", 0o2666).unwrap();
        dir.unlink("marked").unwrap();
        let path = format!("/proc/self/fd/{}", marked.as_raw_fd());
        let look = || {
            while !over.load(Ordering::Relaxed) {
                let _ = std::fs::File::open(&path);
                looked.fetch_add(1, Ordering::Relaxed);
            }
        };
        std::thread::scope(|scope| (0..CROWD).for_each(|_| drop(scope.spawn(look))));
    };
    let open = || dir.open("plain/log", OFlags::CREATE | OFlags::RDWR, 0o600).map(drop);
    let refused = std::thread::scope(|scope| {
        scope.spawn(|| as_user(ALICE, crowd));
        wait_until("a crowd", Duration::from_secs(20), || {
            looked.load(Ordering::Relaxed) > 2 * CROWD
        });
        let refused = as_user(BOB, || (0..OPENS).filter(|_| open() != Ok(())).count());
        over.store(true, Ordering::Relaxed);
        refused
    });
    println!("{} of the crowd's opens", looked.load(Ordering::Relaxed));
    assert_eq!(refused, 0, "of {OPENS}");
}
