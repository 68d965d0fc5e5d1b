//! Mappings. By semantics 5.5 a marked file is never mapped shared, under `all` no file is, and under `full` the shared mappings of
//! ordinary files agree with what is read and written otherwise.

use super::stage::{Scene, mount, play_all};

fn scenes(rows: &[(&str, &str)]) -> Vec<Scene> {
    let scene = |(name, script): &(&str, &str)| Scene {
        name: (*name).to_owned(),
        script: (*script).to_owned(),
    };
    rows.iter().map(scene).collect()
}

const MARKED: &[(&str, &str)] = &[
    (
        "shared",
        "A mmap m shared rw 100 = ENODEV; A mmap m shared r 100 = ENODEV; A mmap m validate r 100 = ENODEV; A mmap :n m shared none 100 = ENODEV",
    ),
    (
        "private",
        "A mmap m private rw 100; A peek m 5 = 0 [.1]; A poke m 5; A peek m 5 = 0 [A1]; A read 10@0 = 10 [.10]",
    ),
    (
        "private, of what another writes before",
        "A mmap m private r 100; B write 10@0; A munmap m; A mmap m private r 100; A peek m 5 = 0 [B1]",
    ),
    (
        "private, of what is locked",
        "B lock W 0-; B write 10@0; A mmap m private r 100; A peek m 5 = 0 [B1]; A read :n 10@0 = EAGAIN",
    ),
    (
        "a program",
        "A program prog 2705; A run prog = 0; A open :p prog r; A mmap :p m shared r 10 = ENODEV; A mmap :p m private r 10",
    ),
    (
        "after chmod off the mark, and on again",
        "A chmod file 0666; A open :2 file rw; A mmap :2 m shared rw 100 = ok|ENODEV; A chmod file 2666; A open :3 file rw; A mmap :3 k shared rw 100 = ENODEV",
    ),
];

/// With `marked` and with `full` alike.
#[test]
fn a_marked_file_is_not_mapped_shared() {
    for options in ["mode=0777,mand=marked", "mode=0777,mand=full", "mode=0777,mand=all"] {
        // The last case maps what is not marked.
        let count = if options.contains("all") {
            MARKED.len() - 1
        } else {
            MARKED.len()
        };
        play_all(&mount(options), &scenes(&MARKED[..count]));
    }
}

const ALL: &[(&str, &str)] = &[
    (
        "no file is mapped shared",
        "file plain 0644 100; A open :p plain rw; A mmap :p m shared rw 100 = ENODEV; A mmap :p m shared r 100 = ENODEV; A mmap :p m private rw 100; A peek m 5 = 0 [.1]",
    ),
    (
        "every file is enforced",
        "file plain 0644 100; A open :p plain rw; A lock :p W 0-10; B open :p plain rw,nb; B read :p 10@0 = EAGAIN; B write :p 10@0 = EAGAIN; B read :p 10@50 = 10; B truncate plain 5 = EAGAIN; B open :t plain rw,trunc = EAGAIN; A unlock :p; B read :p 10@0 = 10",
    ),
    (
        "g+x or not",
        "file plain 2675 100; A open :p plain rw; A lock :p W 0-10; B open :p plain rw,nb; B read :p 10@0 = EAGAIN",
    ),
    (
        "chmod lets nobody go",
        "file plain 0644 100; A open :p plain rw; A lock :p W 0-10; B open :p plain rw; B read :p 10@0 = blocked; C chmod plain 0755; B still; A unlock :p; B = 10",
    ),
    (
        "a file that is made",
        "A open :p made rw,creat 644; A write :p 10@0; A lock :p W 0-5; B open :p made rw,nb; B read :p 5@0 = EAGAIN; B read :p 5@5 = 5 [A5]",
    ),
    (
        "a program runs",
        "A program prog 755; A run prog = 0; A open :w prog rw; B run prog = ETXTBSY",
    ),
    (
        "a FIFO is none",
        "A mkfifo pipe 0666; A open :p pipe rw; A lock :p W 0-; B open :p pipe rw,nb; B write :p 5 = 5; B read :p 5 = 5 [B5]",
    ),
];

/// With `all` every regular file counts as marked.
#[test]
fn under_all_every_file_counts() {
    play_all(&mount("mode=0777,mand=all"), &scenes(ALL));
}

const COHERENT: &[(&str, &str)] = &[
    (
        "what is stored is read",
        "A mmap m shared rw 4096; A poke m 100; B read 3@99 = 3 [.1 A1 .1]",
    ),
    (
        "what is written is seen",
        "A mmap m shared rw 4096; B write 10@0; A peek m 5 = 0 [B1]; C write :n 1@5; A peek m 5 = 0 [C1]",
    ),
    (
        "two mappings",
        "A mmap m shared rw 4096; B mmap m shared rw 4096; A poke m 7; B peek m 7 = 0 [A1]; B poke m 7; A peek m 7 = 0 [B1]; C read 1@7 = 1 [B1]",
    ),
    (
        "truncated and extended",
        "A mmap m shared rw 4096; A poke m 4000; B ftruncate 100; B ftruncate 4096; A peek m 4000 = 0 [0x1]; A peek m 50 = 0 [.1]",
    ),
    (
        "copies of what is stored",
        "file copy 0666 0; A mmap m shared rw 4096; B open :c copy rw; B copy :f :c 10@0 0 = 10; B read :c 10@0 = 10 [.10]; pause 20; A poke m 5; B copy :f :c 10@0 0 = 10; B read :c 10@0 = 10 [.5 A1 .4]",
    ),
    (
        "splices of what is stored",
        "B pipe :i :o; A mmap m shared rw 4096; B splice :f :o 10@0 = 10; B read :i 10 = 10 [.10]; pause 20; A poke m 5; B splice :f :o 10@0 = 10; B read :i 10 = 10 [.5 A1 .4]",
    ),
    (
        "splices of what is written",
        "B pipe :i :o; B splice :f :o 10@0 = 10; B read :i 10 = 10 [.10]; A write 10@0; B splice :f :o 10@0 = 10; B read :i 10 = 10 [A10]",
    ),
    (
        "sendfile of what was appended",
        "file copy 0666 0; B open :c copy rw; B fsize; A write 10@4096; B sendfile :f :c 20@4090 = 16; B size copy = 16",
    ),
    (
        "a program is mapped and run",
        "A program prog 755; B run prog = 0; A open :p prog r; A mmap :p m shared r 10; B run prog = 0",
    ),
];

/// With `full` reads and writes come to us, and mappings don't: the bytes are the same.
#[test]
fn under_full_ordinary_mappings_are_coherent() {
    let mount = mount("mode=0777,mand=full");
    if !mount.passthrough() {
        let refused = [(
            "no shared mapping without passthrough",
            "file plain 0644 100; A open :p plain rw; A mmap :p m shared rw 100 = ENODEV; A mmap :p m private rw 100",
        )];
        play_all(&mount, &scenes(&refused));
        return;
    }
    let all = COHERENT.iter().map(|(name, script)| Scene {
        name: (*name).to_owned(),
        script: format!("file file 0666 4096; {script}"),
    });
    play_all(&mount, &all.collect::<Vec<_>>());
}
