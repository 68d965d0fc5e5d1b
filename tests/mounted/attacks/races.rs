//! The attacker changes what a name means while the victim uses it (semantics 3.2, 3.4): none of 100,000 rounds is won, though on
//! tmpfs it takes a few. An attacker in a thread of his own goes on until the victim, in another, has had enough.

use rustix::fs::{FileType, OFlags, RenameFlags, Stat, fstat};
use std::sync::atomic::{AtomicBool, Ordering};

use super::ops::End;
use super::symlinks::Home;
use super::{ATTACKER, Event, World, on_both, rounds};
use crate::common::dir::Sys;
use crate::common::identity::{Identity, ROOT};
use crate::common::{Dir, Errno, as_user};

/// Rounds after which a race on tmpfs counts as one that cannot be won.
const TMPFS_BOUND: u64 = 20_000_000;

/// What a round came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Round {
    /// The attacker has won.
    Won,
    /// He has not, though the victim walked into the trap.
    Refused,
    /// The victim met nothing evil at the decisive moment.
    Harmless,
    /// The attacker was quick twice, and the kernel does not look a third time: ESTALE.
    Stale,
    /// He saw the trap himself, or nothing at all, and did not go: no round.
    Careful,
}

/// Ends the other side, also when this one panics.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `attack` again and again beside `victim`. On tmpfs until it is won; on owltmp for that many rounds, and on until
/// the trap was met at least once, so that the race has been one.
fn race(world: &World, least: u64, who: Identity, attack: impl Fn() + Sync, victim: impl Fn() -> Round + Sync) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let _stop = Stop(&stop);
            as_user(ATTACKER, || {
                while !stop.load(Ordering::Relaxed) {
                    attack();
                }
            });
        });
        let _stop = Stop(&stop);
        let (mut done, mut refused, mut stale, mut careful) = (0, 0_u64, 0_u64, 0_u64);
        let least = if world.owltmp() { least } else { TMPFS_BOUND };
        let won = as_user(who, || {
            while done < least || (world.owltmp() && refused == 0) {
                assert!(done < TMPFS_BOUND, "the trap was never met: this is no race");
                assert!(!stop.load(Ordering::Relaxed), "the attacker has given up");
                match victim() {
                    Round::Won => return true,
                    Round::Refused => refused += 1,
                    Round::Stale => stale += 1,
                    Round::Harmless => {}
                    Round::Careful => {
                        careful += 1;
                        continue;
                    }
                }
                done += 1;
            }
            false
        });
        eprintln!(
            "won: {won}; rounds: {done}, of these refused: {refused}, stale: {stale}; the victim saw it himself: {careful}"
        );
        assert_eq!(won, !world.owltmp(), "after {done} rounds");
    });
}

/// Somebody is told; of an object with several names any of them.
fn refused(world: &World, rule: &str, objects: &[&str]) {
    let told = |object| Event {
        rule,
        uid: ROOT.uid,
        object,
        owner: ATTACKER.uid,
        errno: "EACCES",
    };
    world.event_of(&objects.iter().copied().map(told).collect::<Vec<_>>());
}

/// What an open that may be refused came to; `evil` tells whether the victim got what he should not.
fn outcome(opened: Sys<rustix::fd::OwnedFd>, evil: impl FnOnce(&Stat) -> bool) -> Round {
    match opened {
        Ok(fd) if evil(&fstat(&fd).expect("fstat")) => Round::Won,
        Ok(_) => Round::Harmless,
        Err(Errno::ACCESS) => Round::Refused,
        Err(Errno::STALE) => Round::Stale,
        Err(Errno::NOENT) => Round::Careful,
        Err(error) => panic!("the victim's open: {error:?}"),
    }
}

/// A careful victim: lstat says that it is a file, and then it is opened.
#[test]
fn a_file_swapped_for_a_link_after_it_was_checked() {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, ROOT);
        let dir = world.mount.dir();
        as_user(ATTACKER, || dir.file("name", b"bait", 0o666));
        world.plant(home.path.join("file"), "trap");
        let attack = || {
            dir.rename_with("name", "trap", RenameFlags::EXCHANGE)
                .expect("his own names")
        };
        let victim = || {
            let seen = dir.lstat("name").expect("it is always there");
            if seen.st_mode & 0o170_000 != 0o100_000 {
                return Round::Careful;
            }
            outcome(dir.open("name", OFlags::WRONLY, 0), |s| s.st_uid == ROOT.uid)
        };
        race(world, rounds(100_000), ROOT, attack, victim);
        refused(world, "symlinks", &["/name", "/trap"]);
    });
}

/// The link that the victim follows is moved out of the sticky directory in the middle of his walk.
fn moving(attack: fn(&Dir)) {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, ROOT);
        let dir = world.mount.dir();
        as_user(ATTACKER, || dir.subdir("alice", 0o755));
        for name in ["trap", "alice/other"] {
            world.plant(home.path.join("file"), name);
        }
        let victim = || outcome(dir.open("trap", OFlags::WRONLY, 0), |_| true);
        race(world, rounds(100_000) / 5, ROOT, || attack(dir), victim);
        refused(world, "symlinks", &["/trap", "/alice/other", "/alice/trap"]);
    });
}

#[test]
fn a_link_moved_out_and_in() {
    moving(|dir| {
        dir.rename("trap", "alice/trap").expect("out");
        dir.rename("alice/trap", "trap").expect("in");
    });
}

#[test]
fn a_link_exchanged_with_one_outside() {
    moving(|dir| {
        dir.rename_with("trap", "alice/other", RenameFlags::EXCHANGE)
            .expect("exchange");
    });
}

#[test]
fn a_link_whose_sticky_name_comes_and_goes() {
    moving(|dir| {
        dir.unlink("trap").expect("unlink");
        dir.link("alice/other", "trap").expect("link");
    });
}

#[test]
fn a_link_removed_and_made_again() {
    moving(|dir| {
        let target = dir.readlink("trap").expect("readlink");
        dir.unlink("trap").expect("unlink");
        dir.symlink(&String::from_utf8(target).expect("text"), "trap")
            .expect("symlink");
    });
}

/// The attacker's file that the victim opens with O_CREAT moves in and out; `attack` must leave no way to open it but the name.
fn squatting(attack: fn(&Dir)) {
    on_both(|world| {
        let dir = world.mount.dir();
        as_user(ATTACKER, || {
            dir.subdir("alice", 0o755);
            dir.file("squatted", b"", 0o666);
            dir.file("alice/other", b"", 0o666);
        });
        let victim = || {
            let opened = dir.open("squatted", OFlags::CREATE | OFlags::WRONLY, 0o600);
            let round = outcome(opened, |s| s.st_uid == ATTACKER.uid);
            if round == Round::Harmless {
                // It is his own; he takes it away to let the attacker try again.
                dir.unlink("squatted").expect("unlink");
            }
            round
        };
        race(world, rounds(100_000) / 5, ROOT, || attack(dir), victim);
        refused(world, "squatting", &["/squatted", "/alice/other"]);
    });
}

#[test]
fn a_squatted_file_moved_out_and_in() {
    squatting(|dir| {
        // While the victim has a file of his own there, these fail.
        let _ = dir.rename("squatted", "alice/squatted");
        let _ = dir.rename("alice/squatted", "squatted");
    });
}

#[test]
fn a_squatted_file_exchanged_with_one_outside() {
    squatting(|dir| {
        dir.rename_with("squatted", "alice/other", RenameFlags::EXCHANGE)
            .expect("exchange");
    });
}

#[test]
fn a_squatted_file_whose_sticky_name_comes_and_goes() {
    squatting(|dir| {
        let _ = dir.unlink("squatted");
        let _ = dir.link("alice/other", "squatted");
    });
}

/// The same with FIFOs, of which the attacker holds the other ends: `kinds` are those of the squatted name and of the one outside.
fn squatting_fifo(kinds: [FileType; 2], attack: fn(&Dir)) {
    on_both(|world| {
        let dir = world.mount.dir();
        as_user(ATTACKER, || dir.subdir("alice", 0o755));
        let make = |(name, kind): (&str, FileType)| {
            dir.mknod(name, kind, 0o666, 0).expect("mknod");
            dir.chmod(name, 0o666).expect("chmod");
            dir.open(name, OFlags::RDONLY | OFlags::NONBLOCK, 0).expect("his own")
        };
        let names = ["squatted", "alice/other"].into_iter();
        let _ends: Vec<_> = as_user(ATTACKER, || names.zip(kinds).map(make).collect());
        let victim = || {
            let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::NONBLOCK;
            let round = outcome(dir.open("squatted", flags, 0o600), |s| s.st_uid == ATTACKER.uid);
            if round == Round::Harmless {
                dir.unlink("squatted").expect("unlink");
            }
            round
        };
        race(world, rounds(100_000) / 5, ROOT, || attack(dir), victim);
        refused(world, "squatting", &["/squatted", "/alice/other"]);
    });
}

#[test]
fn a_squatted_fifo_moved_out_and_in() {
    squatting_fifo([FileType::Fifo; 2], |dir| {
        let _ = dir.rename("squatted", "alice/squatted");
        let _ = dir.rename("alice/squatted", "squatted");
    });
}

#[test]
fn a_squatted_fifo_exchanged_with_one_outside() {
    squatting_fifo([FileType::Fifo; 2], |dir| {
        dir.rename_with("squatted", "alice/other", RenameFlags::EXCHANGE)
            .expect("exchange");
    });
}

#[test]
fn a_squatted_fifo_exchanged_with_a_file() {
    squatting_fifo([FileType::Fifo, FileType::RegularFile], |dir| {
        dir.rename_with("squatted", "alice/other", RenameFlags::EXCHANGE)
            .expect("exchange");
    });
}
