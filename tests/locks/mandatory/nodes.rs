//! A marked file has a node of its own for each look-up: nobody sees that, and they do not pile up. By semantics 1.4, 5.9.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::stage::{PATIENCE, Scene, make_file, mount, play_all};
use crate::common::dir::pread;
use crate::common::map::Map;
use crate::common::{OFlags, wait_until};

const ROUNDS: u32 = 500;

/// Every way to ask gives one inode number, one size, one mode and one count of links.
#[test]
fn there_is_one_inode_number() {
    let mount = mount("mode=0777,mand=marked");
    let dir = mount.dir();
    make_file(&mount.path().join("file"), 0o2666, 100);
    let open = || dir.open("file", OFlags::RDWR, 0).unwrap();
    let (one, two) = (open(), open());
    dir.link("file", "other").unwrap();
    let three = dir.open("other", OFlags::RDWR, 0).unwrap();
    rustix::io::pwrite(&two, b"more", 100).unwrap();
    let stats = [
        rustix::fs::fstat(&one).unwrap(),
        rustix::fs::fstat(&two).unwrap(),
        rustix::fs::fstat(&three).unwrap(),
        dir.stat("file").unwrap(),
        dir.lstat("other").unwrap(),
    ];
    for stat in &stats {
        assert_eq!((stat.st_ino, stat.st_size, stat.st_nlink), (stats[0].st_ino, 104, 2));
        assert_eq!(stat.st_mode & 0o7777, 0o2666);
    }
    for entry in std::fs::read_dir(mount.path()).unwrap() {
        use std::os::unix::fs::DirEntryExt;
        let entry = entry.unwrap();
        assert_eq!(entry.ino(), stats[0].st_ino, "{entry:?}");
        assert_eq!(entry.metadata().unwrap().ino(), stats[0].st_ino);
    }
    assert_eq!(pread(&one, 10, 100).unwrap(), b"more");
    dir.unlink("file").unwrap();
    assert_eq!(rustix::fs::fstat(&one).unwrap().st_nlink, 1);
    rustix::fs::ftruncate(&three, 7).unwrap();
    assert_eq!(rustix::fs::fstat(&one).unwrap().st_size, 7);
}

/// Tens of thousands of look-ups leave nothing behind, here or in the count of inodes.
#[test]
fn look_ups_do_not_pile_up() {
    let mount = mount("mode=0777,mand=marked,nr_inodes=1000");
    make_file(&mount.path().join("file"), 0o2666, 100);
    let path = mount.path().join("file");
    let look = |count: u32| (0..count).for_each(|_| assert_eq!(std::fs::metadata(&path).unwrap().len(), 100));
    look(2000);
    let before = mount.daemon_rss();
    look(30_000);
    for _ in 0..3000 {
        drop(mount.dir().open("file", OFlags::RDWR, 0).unwrap());
    }
    let after = mount.daemon_rss();
    if let (Some(before), Some(after)) = (before, after) {
        eprintln!("{} KiB more after 33,000 look-ups", after.saturating_sub(before) >> 10);
        assert!(after < before + (4 << 20), "{before} {after}");
    }
    let free = rustix::fs::statfs(mount.path()).unwrap().f_ffree;
    assert!(free >= 990, "{free} inodes are free");
    std::fs::remove_file(&path).unwrap();
    wait_until("its inode is free", PATIENCE, || {
        rustix::fs::statfs(mount.path()).unwrap().f_ffree > free
    });
}

/// With `full` one who opened the file before the mark may wait in a write; whoever opens it by its name goes on, and so does its holder.
#[test]
fn old_descriptors_that_wait_hinder_nobody_who_comes_by_name() {
    let waiting = "file file 0666 100; B fsize; A chmod file 2666; A lock W 0-10; B write 10@0 = blocked";
    let rows = [
        (
            "the holder works",
            "A write 10@0; A fsync; A open :a file rw,append; A write :a 10; A ftruncate 200; A read 10@0 = 10",
        ),
        (
            "another works",
            "C write 10@50; C fsync; C open :a file rw,append; C write :a 10; C ftruncate 200; C chmod file 2660; C chown file 1000 77; C utimes file",
        ),
        (
            "the names change",
            "C link file other; C rename file third; C unlink third; C rename other file; C setxattr file",
        ),
        (
            "more wait",
            "C write 10@0 = blocked; D read 10@0 = blocked; D still; C still; A unlock; C = 10; D = 10",
        ),
    ];
    let scenes = rows.map(|(name, rest)| Scene {
        name: name.to_owned(),
        script: format!("{waiting}; {rest}; B still; A unlock; B = 10"),
    });
    let [a, b, c, more] = scenes;
    let more = Scene {
        script: more.script.replace("; B still; A unlock; B = 10", "; B = 10"),
        ..more
    };
    let out = Scene {
        name: "the way out".to_owned(),
        script: format!("{waiting}; C chmod file 0666; B = 10"),
    };
    play_all(&mount("mode=0777,mand"), &[a, b, c, more, out]);
}

/// Attributes and bytes are the same through nodes from before the mark, of the time of the mark, and from after it.
#[test]
fn all_nodes_agree() {
    let rows = [
        (
            "the size after the mark went",
            "B fsize; A chmod file 0666; B fsize = 100; C write 10@100; B fsize = 110; B size file = 110; C size file = 110; B lseek end 0 = 110
             B write 10@110; C fsize = 120; C lseek end 0 = 120; A size file = 120",
        ),
        (
            "the size by a descriptor from before the mark",
            "file file 0666 100; D open :o file rw; D fsize :o = 100; A chmod file 2666; A write 10@100; D fsize :o = 110; D lseek :o end 0 = 110
             D write :o 10@110; A fsize = 120; D size file = 120; A ftruncate 10; D fsize :o = 10; D read :o 100@0 = 10; A ftruncate 50; D read :o 100@0 = 50",
        ),
        ("the mode", "D open :o file rw; A chmod file 0666; A chmod file 2666; A chmod file 0600; D mode file = 600; A mode file = 600"),
        (
            "the bytes after the mark went",
            "B read 10@0; A chmod file 0666; C open :x file rw; C write :x 10@0; B read 10@0 = 10 [C10]; B write 10@0; C read :x 10@0 = 10 [B10]
             B mmap m private r 100; B peek m 5 = 0 [B1]; C write :x 10@0; B munmap m; B mmap m private r 100; B peek m 5 = 0 [C1]",
        ),
        ("the size under a lock", "A lock W 0-10; A write 10@100; A fsize = 110; B fsize = 110; B ftruncate 105; A fsize = 105; B open :a file rw,append; B write :a 5; A fsize = 110"),
    ];
    let scenes = rows.map(|(name, script)| Scene {
        name: name.to_owned(),
        script: script.to_owned(),
    });
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        play_all(&mount(options), &scenes);
    }
}

/// Who has found a name when it expires, and opens the file after that, does not get the node that all others will open once the mark is gone:
/// beside passthrough it could not be mapped.
#[test]
fn opened_while_the_names_expire() {
    let mount = mount("mode=0777,mand=marked");
    let dir = mount.dir();
    let round = AtomicU32::new(0);
    let mut refused = Vec::new();
    let open = |name: &str| dir.open(name, OFlags::RDWR, 0).unwrap();
    let name_of = |round: u32| format!("file{round}");
    std::thread::scope(|scope| {
        let (sender, receiver) = std::sync::mpsc::channel();
        let round = &round;
        scope.spawn(move || {
            for now in 1..=ROUNDS {
                while round.load(Ordering::Acquire) < now {
                    std::hint::spin_loop();
                }
                // At another moment each time: it takes the thread some 100 us to tell the kernel.
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros((now % 30 * 5).into()) {}
                sender.send(open(&name_of(now))).unwrap();
            }
        });
        for now in 1..=ROUNDS {
            let path = mount.path().join(name_of(now));
            let set = |mode| std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            std::fs::write(&path, [7; 100]).unwrap();
            set(0o2666);
            round.store(now, Ordering::Release);
            let of_the_mark = receiver.recv().unwrap();
            set(0o666);
            let _beside = open(&name_of(now));
            let mapped = Map::private(&of_the_mark, 100).map(|map| map.get(0, 1));
            refused.extend((mapped != Ok(vec![7])).then_some((now, mapped)));
            std::fs::remove_file(&path).unwrap();
        }
    });
    assert_eq!(refused, []);
}

/// What the kernel does not let us do better: `docs/locking.md` says so.
#[test]
fn known_limits() {
    let rows = [
        (
            "the offset after an append is by the size that the kernel knows",
            "B open :a file rw,append; A write 10@100; B write :a 5 = 5; B lseek :a cur 0 = 105|115; A size file = 115; A read 15@100 = 15 [A10 B5]",
        ),
        (
            "a private mapping ends where the file ended when the kernel last asked",
            "file file 2666 0; B lseek :f set 0; A write 10@0; B mmap m private r 200; B peek m 5 = *; B fsize; B peek m 5 = 0 [A1]",
        ),
        (
            "a child of CLONE_FILES is the same owner for what tells its owner, and another for open(O_TRUNC) and fallocate, which do not",
            "A lock W 0-10; A share D; D write 10@0; D truncate file 50; D open :t file rw,trunc = EAGAIN|0; D fallocate :n punch 0 10 = EAGAIN|0",
        ),
        (
            "a splice or fallocate that closes a cycle is not refused where its process holds no lock on the file: a signal ends it",
            "file other 2666 100; A open :x other rw; B open :x other rw; B pipe :i :o; A lock W 0-10; B lock :x W 0-10; A write :x 10@0 = blocked
             B splice :f :o 10@0 = pending; pause 30; signal B usr1; B = EINTR|EDEADLK; B fallocate punch 0 10 = pending; pause 30; signal B usr1; B = EINTR|EDEADLK
             A still; B unlock :x; A = 10",
        ),
    ];
    let scenes = rows.map(|(name, script)| Scene {
        name: name.to_owned(),
        script: script.to_owned(),
    });
    play_all(&mount("mode=0777,mand"), &scenes);
}
