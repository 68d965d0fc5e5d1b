//! Descriptors from before the mark. By semantics 5.6: with `mand=marked` no lock is promised while one is open, and the log says why; with
//! `mand=full` it obeys.

use std::time::{Duration, Instant};

use super::stage::{Cast, Scene, make_file, mount, play_all};
use crate::common::{env_number, wait_until};

/// How the old descriptor is kept, and how it is let go of.
const KEPT: [(&str, &str, &str); 12] = [
    ("open", "B open :o file rw; @", "B close :o"),
    ("open to read", "B open :o file r; @", "B close :o"),
    ("open to append", "B open :o file w,append; @", "B close :o"),
    ("a dup", "B open :o file rw; B dup :o :2; @; B close :o", "B close :2"),
    ("inherited", "B open :o file rw; B fork D; @; B close :o", "D close :o"),
    (
        "inherited by one that dies",
        "B open :o file rw; B fork D; @; B close :o",
        "kill D",
    ),
    (
        "inherited through execve",
        "B open :o file rw,stay; @; B exec",
        "B close :o",
    ),
    ("of one that dies", "B open :o file rw; @", "kill B"),
    ("of one that exits", "B open :o file rw; @", "B exit"),
    (
        "mapped to read, private",
        "B open :o file rw; B mmap :o m private r 100; @; B close :o",
        "B munmap m",
    ),
    (
        "mapped shared",
        "B open :o file rw; B mmap :o m shared rw 100; @; B close :o",
        "B munmap m",
    ),
    ("of the locker itself", "A open :o file rw; @", "A close :o"),
];

/// While it is open, F_SETLK and F_SETLKW are EAGAIN, and only they; afterwards they are granted.
#[test]
fn no_lock_is_promised_beside_them() {
    let scene = |(name, kept, let_go): (&str, &str, &str)| {
        let kept = kept.replace('@', "A chmod file 2666");
        let refused = "A lock W 0-10 = EAGAIN; A lock R 5-6 = EAGAIN; A lockw W 0-10 = EAGAIN; A lockw R 0- = EAGAIN; A ofd W 0-10 = EAGAIN
            A ofdw R 0-10 = EAGAIN; C lock W 0- = EAGAIN; A unlock; A getlk W 0- = U; A flock ex; A flock un; A read 10@0 = 10; C write 10@0 = 10";
        // Of munmap(2) the filesystem hears a moment later.
        let soon = if let_go.contains("munmap") { " = soon ok" } else { "" };
        let granted = "C lock W 50-60 SOON; C unlock; C lockw W 0-10; C read 10@0 = 10; A read :n 10@0 = EAGAIN";
        Scene {
            name: name.to_owned(),
            script: format!(
                "file file 0666 100; {kept}; {refused}; {let_go}; {}",
                granted.replace(" SOON", soon)
            ),
        }
    };
    let mount = mount("mode=0777,mand=marked");
    // Without passthrough a mapping is the page cache's, and the file is open as long as it is there too.
    play_all(&mount, &KEPT.map(scene));
}

/// What does not count: descriptors that are closed, O_PATH, and those of other files.
#[test]
fn what_is_no_old_descriptor() {
    let scenes = [
        (
            "O_PATH",
            "file file 0666 100; B open :o file path; A chmod file 2666; A lock W 0-10",
        ),
        (
            "opened after the mark",
            "A open :o file rw; B open :o file rw; A lock W 0-10; B read :n 10@0 = EAGAIN",
        ),
        (
            "of another file",
            "file other 0666 10; B open :o other rw; A lock W 0-10",
        ),
        (
            "the mark that goes and comes again",
            "A lock W 0-10; B fsize; A chmod file 0666; A chmod file 2666; B write :n 10@0 = EAGAIN; A lock W 20-30",
        ),
        (
            "opened between two marks",
            "A lock W 0-10; A chmod file 0666; B open :o file rw; A chmod file 2666; A lock W 20-30 = EAGAIN|0; A unlock 20-30; A unlock 0-10; B close :o; A lock W 20-30",
        ),
        (
            "marked when it was made",
            "A open :m made rw,creat 2666; A lock :m W 0-10; B open :m made rw,nb; B read :m 10 = EAGAIN",
        ),
        (
            "a name through which it was never opened",
            "file file 0666 100; A link file other; B open :o other rw; A chmod file 2666; A lock W 0-10 = EAGAIN; B close :o; A lock W 0-10",
        ),
        (
            "after rename and unlink",
            "file file 0666 100; B open :o file rw; A chmod file 2666; A open :2 file rw; A unlink file; A lock :2 W 0-10 = EAGAIN; B close :o; A lock :2 W 0-10",
        ),
    ];
    let scenes = scenes.map(|(name, script)| Scene {
        name: name.to_owned(),
        script: script.to_owned(),
    });
    play_all(&mount("mode=0777,mand=marked"), &scenes);
}

/// With `mand=full` all of them obey.
#[test]
fn they_obey_with_full() {
    let scene = |(name, kept, let_go): (&str, &str, &str)| {
        let kept = kept.replace('@', "A chmod file 2666");
        let script = format!(
            "file file 0666 100; {kept}; A lock W 0-10; A lockw W 10-20; C read :n 10@0 = EAGAIN; A ofd W 50-60; {let_go}; A lock W 20-30; C write :n 10@20 = *"
        );
        Scene {
            name: name.to_owned(),
            script,
        }
    };
    let mount = mount("mode=0777,mand");
    let kept = KEPT
        .iter()
        .filter(|(name, ..)| mount.passthrough() || *name != "mapped shared");
    let mut scenes: Vec<Scene> = kept.copied().map(scene).collect();
    for (name, flags, calls) in [
        ("to read", "r,nb", "B read :o 10@0 = EAGAIN; B read :o 10@10 = 10"),
        (
            "to write",
            "rw,nb",
            "B write :o 10@0 = EAGAIN; B write :o 10@10 = 10; B ftruncate :o 5 = EAGAIN",
        ),
        (
            "to append",
            "rw,nb,append",
            "B write :o 10 = 10; A lock W 110-; B write :o 10 = EAGAIN",
        ),
        ("that waits", "rw", "B read :o 10@0 = blocked; A unlock; B = 10"),
        (
            "that waits to write",
            "rw",
            "B write :o 10@0 = blocked; A write 10@0; A unlock; B = 10; A read 10@0 = 10 [B10]",
        ),
        (
            "O_DIRECT",
            "rw,nb,direct",
            "B read :o 10@0 = EAGAIN; B write :o 10@0 = EAGAIN",
        ),
        (
            "reopened by /proc",
            "rw,nb",
            "B reopen :o :2 rw,nb; B read :2 10@0 = EAGAIN; B write :2 10@0 = EAGAIN",
        ),
        (
            "spliced",
            "rw,nb",
            "B pipe :i :p; B splice :o :p 10@0 = EAGAIN; B splice :o :p 10@10 = EINVAL",
        ),
        (
            "by io_uring",
            "rw,nb",
            "B uring_read :o 10@0 = EAGAIN; B uring_write :o 10@0 = EAGAIN",
        ),
        (
            "by AIO",
            "rw,nb",
            "B aio_read :o 10@0 = EAGAIN; B aio_write :o 10@0 = EAGAIN",
        ),
    ] {
        scenes.push(Scene {
            name: format!("an old descriptor {name}"),
            script: format!("file file 0666 100; B open :o file {flags}; B read :o 1@50 = 1|EBADF; A chmod file 2666; A lock W 0-10; {calls}"),
        });
    }
    play_all(&mount, &scenes);
}

/// Directly after close(2) returned, or its process is known to have gone, the lock is granted, though RELEASE comes later.
#[test]
fn close_is_enough() {
    let rounds = env_number("OWLTMP_LOCK_ROUNDS", 1500);
    let mount = mount("mode=0777,mand=marked");
    let place = mount.path().to_owned();
    std::thread::scope(|scope| {
        for (who, how) in [("A", "close"), ("B", "dup"), ("C", "child")] {
            let place = &place;
            scope.spawn(move || {
                let mut cast = Cast::new(place);
                cast.start([who]);
                cast.send(who, &format!("close_and_lock {who} {how} {rounds}"));
                let answer = cast.answer(who, Duration::from_secs(100)).expect("it ends");
                assert_eq!(answer.trim(), rounds.to_string(), "{how}: locks that were granted");
            });
        }
    });
}

/// The log says which process holds the descriptor that stands against a lock.
#[test]
fn the_log_names_who_has_it_open() {
    let mount = mount("mode=0777,mand=marked");
    let mut cast = Cast::new(mount.path());
    make_file(&mount.path().join("file"), 0o666, 100);
    cast.start(["A", "B"]);
    let mut call = |who: &str, order: &str| {
        cast.send(who, order);
        cast.answer(who, Duration::from_secs(10)).expect("an answer")
    };
    call("B", "open :o file rw");
    let begun = Instant::now();
    call("A", "chmod file 2666");
    assert_eq!(call("A", "lock W 0-10"), "EAGAIN");
    let pid = cast.pid("B").to_string();
    wait_until("the log names the process", Duration::from_secs(5), || {
        mount.stderr().lines().any(|line| line.contains(&pid))
    });
    eprintln!("after {:?}: {}", begun.elapsed(), mount.stderr());
}
