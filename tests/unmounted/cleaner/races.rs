//! Threads that use files at the moment when the cleaner looks at them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Instant;

use super::*;

/// How long each race lasts.
const RACE: Duration = Duration::from_millis(600);

/// What counts as old: hardly anything, so that the cleaner and the users are always at odds.
const SHORT: Duration = Duration::from_micros(300);

/// Cleans over and over what was not touched for so long, while `users` use files in a directory; returns how many went.
fn race(users: usize, age: Duration, work: impl Fn(&World, usize) + Sync) -> u64 {
    let world = World::new(&[], &[]);
    let (over, gone) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for user in 0..users {
            let (world, over, work) = (&world, &over, &work);
            scope.spawn(move || {
                while !over.load(Ordering::Relaxed) {
                    work(world, user);
                }
            });
        }
        let end = Instant::now() + RACE;
        while Instant::now() < end {
            let order = Order {
                now: Timestamp::recent(),
                age,
                stage: Stage::Remove,
                pace: Pace {
                    work: AGE,
                    rest: Duration::ZERO,
                },
            };
            let summary = world.cleaner.walk(&order, &mut |_| ControlFlow::Continue(()));
            gone.fetch_add(summary.taken(), Ordering::Relaxed);
        }
        over.store(true, Ordering::Relaxed);
    });
    gone.into_inner()
}

/// A file of one's own, made anew where it went.
fn own(world: &World, user: usize, file_type: FileType) -> NodeId {
    let name = format!("{user}");
    match world.fs.lookup(ROOT, NodeId::ROOT, name.as_bytes()).unwrap() {
        Some(entry) => entry.node,
        None => world.make(NodeId::ROOT, &name, file_type, 0o755),
    }
}

/// Whoever opens a file has it: it keeps its name until he closes it.
#[test]
fn what_is_opened_stays() {
    let gone = race(3, SHORT, |world, user| {
        let file_type = [FileType::Regular, FileType::Directory][user % 2];
        let node = own(world, user, file_type);
        thread::sleep(SHORT * 3);
        let opened = match file_type {
            FileType::Directory => world.fs.opendir(node, READ),
            _ => world
                .fs
                .open(ROOT, node, OpenFlags(libc::O_RDWR as u32), false)
                .map(|it| it.fh),
        };
        match opened {
            Ok(fh) => {
                thread::sleep(SHORT * 3);
                let there = world.fs.find(Ino::ROOT, format!("{user}").as_bytes());
                let attr = world.fs.getattr(node).unwrap();
                assert_eq!(there, Some(attr.ino), "{file_type:?}");
                world.fs.release(fh).unwrap();
            }
            Err(error) => assert_eq!(error, Errno::ESTALE),
        }
        world.fs.forget(node, 1);
    });
    assert!(gone > 10, "the cleaner found something: {gone}");
}

/// Whoever has changed a file finds it for as long as it is young.
#[test]
fn what_is_touched_stays() {
    /// More than the clock moves at a time.
    const YOUNG: Duration = Duration::from_millis(40);
    let gone = race(3, YOUNG, |world, user| {
        let types = [FileType::Regular, FileType::Directory, FileType::Symlink];
        let node = own(world, user, types[user % 3]);
        thread::sleep(YOUNG);
        let before = Instant::now();
        let touched = world.touch(node);
        thread::sleep(YOUNG / 4);
        let there = world.fs.find(Ino::ROOT, format!("{user}").as_bytes());
        match touched {
            Ok(()) if before.elapsed() < YOUNG / 2 => assert!(there.is_some(), "touched, and gone at once"),
            Ok(()) => {}
            Err(error) => assert_eq!(error, Errno::ESTALE),
        }
        world.fs.forget(node, 1);
    });
    assert!(gone > 3, "the cleaner found something: {gone}");
}

/// Names that are moved, exchanged and replaced meanwhile: what is made in an old name's place stays.
#[test]
fn what_takes_an_old_name_stays() {
    let gone = race(2, SHORT, |world, user| {
        let (old, new) = (format!("old{user}"), format!("new{user}"));
        let lookup = |name: &str| world.fs.lookup(ROOT, NodeId::ROOT, name.as_bytes()).unwrap();
        if lookup(&old).map(|entry| world.fs.forget(entry.node, 1)).is_none() {
            let node = world.file(&old);
            world.fs.forget(node, 1);
        }
        thread::sleep(SHORT * 2);
        let node = world.file(&new);
        let opened = world.fs.open(ROOT, node, READ, false);
        if let Ok(opened) = opened {
            world.rename(NodeId::ROOT, &new, NodeId::ROOT, &old);
            thread::sleep(SHORT * 2);
            let ino = world.fs.getattr(node).unwrap().ino;
            assert_eq!(world.fs.find(Ino::ROOT, old.as_bytes()), Some(ino));
            world.fs.release(opened.fh).unwrap();
        }
        world.fs.forget(node, 1);
    });
    assert!(gone > 10, "the cleaner found something: {gone}");
}
