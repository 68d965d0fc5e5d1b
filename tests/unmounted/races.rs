//! Many threads at the operations at once: exactly one wins each creation (semantics 2.1), and what all of them did leaves
//! a tree whose counts are right.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier};
use std::thread;

use crate::direct::Direct;
use owltmp::ops::Filesystem;
use owltmp::ops::create::NewNode;
use owltmp::ops::io::Privileges;
use owltmp::ops::names::Move;
use owltmp::types::{Errno, FileType, NodeId, OpenFlags, RenameMode};
use proptest::prelude::Rng as _;
use proptest::test_runner::{RngAlgorithm, TestRng};

use crate::entries::{ROOT, settings, touch};

const RACERS: usize = 16;
const ROUNDS: usize = 1500;

fn creation(fs: &Filesystem, kind: usize, racer: usize, source: NodeId) -> Result<(), Errno> {
    let name = b"prize";
    let own = format!("own{racer}");
    let make = |file_type, target| {
        let new = NewNode {
            file_type,
            target,
            ..NewNode::regular(0o600, 0)
        };
        fs.make(ROOT, NodeId::ROOT, name, new).map(drop)
    };
    match kind {
        0 => {
            let flags = OpenFlags((libc::O_CREAT | libc::O_EXCL).cast_unsigned());
            let (_, opened) = fs.create(ROOT, NodeId::ROOT, name, NewNode::regular(0o600, 0), flags)?;
            fs.release(opened.fh)
        }
        1 => make(FileType::Directory, b""),
        2 => make(FileType::Symlink, b"/nowhere"),
        3 => make(FileType::Fifo, b""),
        4 => fs.link(ROOT, source, NodeId::ROOT, name).map(drop),
        _ => {
            let (from, to) = (NodeId::ROOT, NodeId::ROOT);
            let (old, new) = (own.as_bytes(), &name[..]);
            let mode = RenameMode::NoReplace;
            fs.rename(
                ROOT,
                &Move {
                    from,
                    old,
                    to,
                    new,
                    mode,
                    whiteout: false,
                },
            )
        }
    }
}

/// semantics 2.1: of any number of racers exactly one succeeds, the others get EEXIST.
#[test]
fn exactly_one_wins() {
    let fs = Filesystem::new(&settings()).unwrap();
    let source = touch(&fs, "source").unwrap();
    let (start, end) = (Barrier::new(RACERS + 1), Barrier::new(RACERS + 1));
    let won = AtomicUsize::new(0);
    thread::scope(|scope| {
        for racer in 0..RACERS {
            let (fs, start, end, won) = (&fs, &start, &end, &won);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let kind = round % 6;
                    if kind == 5 {
                        touch(fs, &format!("own{racer}")).unwrap();
                    }
                    start.wait();
                    match creation(fs, kind, racer, source) {
                        Ok(()) => drop(won.fetch_add(1, Ordering::Relaxed)),
                        Err(errno) => assert_eq!(errno, Errno::EEXIST),
                    }
                    end.wait();
                    if kind == 5 {
                        let _won = fs.unlink(NodeId::ROOT, format!("own{racer}").as_bytes());
                    }
                }
            });
        }
        for round in 0..ROUNDS {
            start.wait();
            end.wait();
            assert_eq!(won.swap(0, Ordering::Relaxed), 1, "round {round}");
            let gone = match round % 6 {
                1 => fs.rmdir(NodeId::ROOT, b"prize"),
                _ => fs.unlink(NodeId::ROOT, b"prize"),
            };
            gone.unwrap();
        }
    });
}

/// One random operation on a small tree of directories `d0`..`d3`, which move into each other.
fn stir(fs: &Filesystem, rng: &mut TestRng, directories: &[NodeId]) {
    let mut pick = |below: u32| rng.next_u32() % below;
    let directory = |number: u32| directories[number as usize];
    let (from, to) = (directory(pick(5)), directory(pick(5)));
    let (old, new) = (format!("n{}", pick(6)), format!("n{}", pick(6)));
    let _whether_it_worked = match pick(9) {
        0 => touch_in(fs, from, &old),
        1 => fs.unlink(from, old.as_bytes()),
        2 => {
            let new = NewNode {
                file_type: FileType::Directory,
                ..NewNode::regular(0o700, 0)
            };
            fs.make(ROOT, from, old.as_bytes(), new)
                .map(|entry| fs.forget(entry.node, 1))
        }
        3 => fs.rmdir(from, old.as_bytes()),
        4 => match fs.lookup(ROOT, from, old.as_bytes()) {
            Ok(Some(entry)) => {
                let linked = fs.link(ROOT, entry.node, to, new.as_bytes());
                fs.forget(entry.node, 1 + u64::from(linked.is_ok()));
                Ok(())
            }
            _ => Ok(()),
        },
        5 => fs.lookup(ROOT, from, old.as_bytes()).map(|found| {
            if let Some(entry) = found {
                let _written = fs.write_now(entry.node, 0, &[7; 5000], Privileges::KeepSetId);
                fs.forget(entry.node, 1);
            }
        }),
        kind => {
            let modes = [RenameMode::Replace, RenameMode::NoReplace, RenameMode::Exchange];
            let mode = modes[kind as usize - 6];
            let whiteout = pick(8) == 0 && mode != RenameMode::Exchange;
            let (old, new) = (old.as_bytes(), new.as_bytes());
            fs.rename(
                ROOT,
                &Move {
                    from,
                    old,
                    to,
                    new,
                    mode,
                    whiteout,
                },
            )
        }
    };
}

fn touch_in(fs: &Filesystem, parent: NodeId, name: &str) -> Result<(), Errno> {
    let entry = fs.make(ROOT, parent, name.as_bytes(), NewNode::regular(0o600, 0))?;
    fs.forget(entry.node, 1);
    Ok(())
}

/// Removes everything below a directory; returns how many entries there were.
fn clear(fs: &Filesystem, directory: NodeId) -> usize {
    let mut count = 0;
    for number in 0..6 {
        for name in [format!("n{number}"), format!("d{number}")] {
            let Some(entry) = fs.lookup(ROOT, directory, name.as_bytes()).unwrap() else {
                continue;
            };
            count += 1;
            if entry.attr.file_type == FileType::Directory {
                count += clear(fs, entry.node);
                fs.rmdir(directory, name.as_bytes()).unwrap();
            } else {
                fs.unlink(directory, name.as_bytes()).unwrap();
            }
            fs.forget(entry.node, 1);
        }
    }
    assert_eq!(fs.getattr(directory).unwrap().size, 40, "nothing is left in it");
    count
}

/// semantics 6.1: whatever happens at once, no deadlock, no lost inode, and every count right in the end.
#[test]
fn a_tree_stirred_by_many_threads_is_whole() {
    const STEPS: usize = 60_000;
    let fs = Arc::new(Filesystem::new(&settings()).unwrap());
    let mut directories = vec![NodeId::ROOT];
    for number in 0..4 {
        let new = NewNode {
            file_type: FileType::Directory,
            ..NewNode::regular(0o700, 0)
        };
        let entry = fs
            .make(ROOT, NodeId::ROOT, format!("d{number}").as_bytes(), new)
            .unwrap();
        directories.push(entry.node);
    }
    thread::scope(|scope| {
        for seed in 0..8u8 {
            let (fs, directories) = (&fs, &directories);
            scope.spawn(move || {
                let mut rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
                for _ in 0..STEPS {
                    stir(fs, &mut rng, directories);
                }
            });
        }
    });
    for &directory in &directories {
        fs.forget(directory, 1);
    }
    clear(&fs, NodeId::ROOT);
    assert_eq!(fs.inode_count(), 1);
    let usage = fs.statfs(ROOT);
    assert_eq!((usage.free_blocks, fs.getattr(NodeId::ROOT).unwrap().nlink), (0, 2));
}

/// semantics 1.3: a node that is forgotten while it is looked up by a file handle. Each look-up of a marked file makes one.
#[test]
fn what_is_forgotten_while_it_is_found_is_gone() {
    const ROUNDS: u64 = 200_000;
    let fs = Filesystem::new(&settings()).unwrap();
    let new = NewNode::regular(0o2660, 0);
    let made = fs.make(ROOT, NodeId::ROOT, b"marked", new).unwrap();
    let (newest, over) = (AtomicU64::new(made.node.0), AtomicBool::new(false));
    let found = thread::scope(|scope| {
        let finder = scope.spawn(|| {
            let mut found = 0;
            while !over.load(Ordering::Relaxed) {
                let node = NodeId(newest.load(Ordering::Relaxed));
                if let Ok(Some(entry)) = fs.lookup(ROOT, node, b".") {
                    assert!(fs.getattr(entry.node).is_ok(), "what the kernel was told of is there");
                    fs.forget(entry.node, 1);
                    found += 1;
                }
            }
            found
        });
        for _ in 0..ROUNDS {
            let node = fs.lookup(ROOT, NodeId::ROOT, b"marked").unwrap().unwrap().node;
            newest.store(node.0, Ordering::Relaxed);
            fs.forget(node, 1);
        }
        over.store(true, Ordering::Relaxed);
        finder.join().unwrap()
    });
    println!("found {found} times");
    fs.unlink(NodeId::ROOT, b"marked").unwrap();
    fs.forget(made.node, 1);
    assert_eq!(fs.inode_count(), 1);
}
