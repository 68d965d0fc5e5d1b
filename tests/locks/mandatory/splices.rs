//! splice(2), sendfile(2) and copy_file_range(2) from a file whose locks bind: the kernel takes pages into its cache and moves bytes from
//! there. By semantics 5.2, 5.3 they obey, and 1.1 what they move is what the file holds now.

use std::time::Duration;

use super::stage::{Cast, Scene, make_file, mount, play_all};
use crate::common::env_number;

const FILE: &str = "file file 2666 16384; file plain 0666 0; B open :p plain rw; B pipe :i :o";

const ROWS: &[(&str, &str)] = &[
    ("another page than the locked one", "A lock W 4096-4097; B splice :n :o 100@0 = 100; B splice :n :o 100@8192 = 100; B sendfile :n :p 4096@0 = 4096; B copy :n :p 4096@8192 0 = 4096"),
    ("into a locked page: what comes before", "A lock W 4096-4097; B sendfile :n :p 16384@0 = 4096|EAGAIN; B copy :n :p 16384@0 0 = 4096|EAGAIN"),
    ("a read lock stops none", "A lock R 0-; B splice :n :o 100@0 = 100; B sendfile :n :p 16384@0 = 16384"),
    ("one's own lock stops none", "B lock W 0-; B splice :n :o 100@0 = 100; B sendfile :f :p 16384@0 = 16384; B copy :n :p 100@0 0 = 100"),
    ("one's own OFD lock, by its open file and by another", "B ofd W 0-100; B splice :f :o 100@0 = 100; B splice :n :o 100@0 = EAGAIN"),
    ("interrupted", "A lock W 0-100; B splice :f :o 100@0 = blocked; signal B usr1; B = EINTR; B sendfile :f :p 100@0 = blocked; signal B usr1; B = EINTR"),
    ("killed", "A lock W 0-100; B splice :f :o 100@0 = blocked; kill B; C lock W 200-300; C write 100@200; A unlock; C read 100@0 = 100"),
    ("released by chmod", "A lock W 0-100; B splice :f :o 100@0 = blocked; A chmod file 0666; B = 100"),
    ("released by the holder's death", "A lock W 0-100; B sendfile :f :p 100@0 = blocked; kill A; B = 100"),
    ("it waits, and hinders nobody", "A lock W 0-100; B splice :f :o 100@0 = blocked; A write 100@0; A lock W 200-300; A write 100@200; A unlock 200-300; C lock W 5000-5100; C write 100@5000; C read 100@5000 = 100 [C100]
        C pipe :i :o; C splice :n :o 100@8192 = 100; C lock W 8192-8292; C chmod file 2660; C fsync; C ftruncate 20000; C rename file other; C unlink other; B still; A unlock; B = 100; B read :i 100 = 100 [A100]"),
    ("it waits on one's own node, where another thread works", "B thread T; T open :q plain r; A lock W 0-100; B splice :f :o 100@0 = blocked; T read :f 100@8192 = 100; T lock :n W 9000-9100; T unlock :n 9000-9100; B still; A unlock; B = 100"),
    ("many wait for many locks", "A lock W 0-100; A lock W 4096-4196; A lock W 8192-8292; B splice :f :o 100@0 = blocked; C pipe :i :o; C splice :f :o 100@4096 = blocked; D pipe :i :o; D splice :f :o 100@8192 = blocked
        E lock W 200-300; E unlock; A unlock 4096-4196; C = 100; E lock W 4096-4196; E unlock; A unlock 0-100; B = 100; A unlock; D = 100"),
    ("what was spliced before the lock is not spliced from the cache under it", "B splice :n :o 4096@0 = 4096; A lock W 0-4096; A write 4096@0; B splice :n :o 10@0 = EAGAIN; B splice :n :o 10@4090 = EAGAIN; A unlock; B read :i 4096 = 4096 [.4096]; B splice :n :o 10@0 = 10; B read :i 10 = 10 [A10]"),
];

/// Each on a mount of either kind.
#[test]
fn they_obey() {
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        let scene = |(name, script): &(&str, &str)| Scene {
            name: (*name).to_owned(),
            script: format!("{FILE}; {script}"),
        };
        play_all(&mount(options), &ROWS.iter().map(scene).collect::<Vec<_>>());
    }
}

/// What was written under a lock is spliced, at once, thousands of times; and what was written to an ordinary file.
#[test]
fn what_is_spliced_is_what_was_written() {
    let rounds = env_number("OWLTMP_LOCK_SPLICES", 3000);
    for (options, mode, how) in [
        ("mode=0777,mand=marked", 0o2666, "write"),
        ("mode=0777,mand=full", 0o2666, "write"),
        ("mode=0777,mand=full", 0o666, "write"),
        ("mode=0777,mand=full", 0o666, "store"),
        ("mode=0777,mand=full", 0o2666, "lock"),
        ("mode=0777,mand=marked", 0o2666, "lock"),
    ] {
        let mount = mount(options);
        if how == "store" && !mount.passthrough() {
            continue;
        }
        make_file(&mount.path().join("file"), mode, 4096);
        let mut cast = Cast::new(mount.path());
        cast.start(["A"]);
        cast.send("A", &format!("splice_rounds {how} {rounds}"));
        let answer = cast.answer("A", Duration::from_secs(60)).expect("it ends");
        eprintln!(
            "{options} {mode:o} {how}: {} of {rounds} splices were up to date",
            answer.trim()
        );
        // The pages that a splice took go from the kernel's cache a moment later. Locks wait for that, and so does a write by the
        // same node; not a write by another, nor a store to a mapping.
        if how == "lock" || (how == "write" && mode == 0o666) {
            assert_eq!(answer.trim(), rounds.to_string());
        }
    }
}
