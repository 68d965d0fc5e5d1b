//! 3.9: mappings. The file has 4096 bytes. By semantics 5.5 a marked file is never mapped shared, and so no lock is refused for a
//! mapping; one from before the mark is immune.

use super::why::Why::{NeverMappedShared, TheKernelNow};
use super::{Place, Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = refused();
    rows.extend(from_before());
    rows
}

fn refused() -> Vec<Row> {
    let row = |name: &str, rest: &str| differs(NeverMappedShared, name, &format!("file file 2666 8192; {rest}"));
    vec![
        row(
            "others' write lock: every kind of MAP_SHARED",
            "A lock W 0-10; B mmap m shared rw 4096 = ENODEV; B mmap m shared r 4096 = ENODEV; B mmap m shared none 4096 = ENODEV
             B mmap :n m shared rw 4096 = ENODEV; B mmap m validate r 4096 = ENODEV; B open :r file r; B mmap :r m shared r 4096 = ENODEV",
        ),
        row("others' read lock", "A lock R 0-10; B mmap m shared rw 4096 = ENODEV; B open :r file r; B mmap :r m shared r 4096 = ENODEV"),
        row("others' lock of another page", "A lock W 4096-4097; B mmap m shared r 4096 = ENODEV"),
        row("one's own lock only", "A lock W 0-10; A mmap m shared rw 4096 = ENODEV; A mmap m shared r 4096 = ENODEV"),
        row("one's own read lock and others'", "A lock R 0-10; B lock R 0-10; A mmap m shared r 4096 = ENODEV"),
        row("no lock at all", "A mmap m shared rw 4096 = ENODEV; A mmap m shared r 4096 = ENODEV"),
        row("the OFD lock's descriptor, another, another process", "A ofd W 0-10; A mmap m shared r 4096 = ENODEV; A mmap :n m shared r 4096 = ENODEV; B mmap m shared r 4096 = ENODEV"),
        same(
            "MAP_PRIVATE with others' lock reads what is locked",
            "file file 2666 4096; A lock W 0-10; A write 10@0; B mmap m private rw 4096; B peek m 5 = 0 [A1]; B poke m 5; B peek m 5 = 0 [B1]
             A read 10@0 = 10 [A10]",
        ),
        same("MAP_PRIVATE of a descriptor to read", "file file 2666 4096; A lock W 0-10; B open :r file r; B mmap :r m private r 4096; B peek m 0 = 0 [.1]"),
        same(
            "locks beside a MAP_PRIVATE mapping",
            "file file 2666 4096; B mmap m private rw 4096; B poke m 0; A lock W 0-10; A unlock; A lock R 0-; A unlock; B lockw W 0-10; B ofd W 20-30",
        ),
        same("PROT_WRITE on a descriptor to read", "file file 2666 4096; A lock W 0-10; B open :r file r; B mmap :r m shared rw 4096 = EACCES"),
        differs(
            TheKernelNow,
            "PROT_READ on a descriptor to write",
            "file file 2666 4096; A lock W 0-10; B open :w file w; B mmap :w m shared r 4096 = EACCES",
        ),
        same("flock and F_GETLK beside a refused mapping", "file file 2666 4096; A mmap m shared r 4096 = *; A flock ex; B getlk W 0- = U; B lock W 0-"),
        differs(
            NeverMappedShared,
            "C waits in F_SETLKW, the holder tries to map, then closes: C gets it",
            "file file 2666 4096; A lock W 0-10; C lockw W 0-10 = blocked; A mmap m shared rw 4096 = ENODEV; A close :f; C = 0",
        ),
    ]
}

/// A mapping that was made before the mark. Only `mand=full` grants locks beside it.
fn from_before() -> Vec<Row> {
    let row = |name: &str, rest: &str| {
        let script = format!("file file 0666 4096; B mmap m shared rw 4096; B poke m 100; {rest}");
        differs(NeverMappedShared, name, &script).only(Place::Mapped)
    };
    vec![
        row(
            "a mapping from before the mark: immune, and no lock is refused",
            "A chmod file 2666; A lock W 0-10; B peek m 5 = 0 [.1]; B poke m 5; A read 10@0 = 10 [.5 B1 .4]; B read :n 10@0 = EAGAIN
             A unlock; A lock R 0-10; A unlock; B lock W 0-10; B unlock; B lockw R 0-10; B unlock; B ofd W 0-10",
        ),
        row("a mapping through a descriptor to read", "B open :r file r; B mmap :r r shared r 4096; A chmod file 2666; A lock W 0-10; B peek r 5 = 0 [.1]"),
        row(
            "a mapping that outlives its descriptors",
            "B close :f; A chmod file 2666; A lock W 0-10; B poke m 5; A read 10@0 = 10 [.5 B1 .4]; A unlock; C lock W 0-; C unlock",
        ),
        row("a mapping that a child inherits", "B fork D; B munmap m; A chmod file 2666; A lock W 0-10; D poke m 5; A read 10@0 = 10 [.5 D1 .4]; A unlock"),
        row(
            "mapped and locked, then marked: unlocked and locked as ever",
            "A lock W 0-10; A chmod file 2666; B read :n 10@0 = EAGAIN; B peek m 5 = 0 [.1]; A unlock 0-10; B read :n 10@0 = 10; A lock W 0-10
             B read :n 10@0 = EAGAIN; A chmod file 0666; B read :n 10@0 = 10",
        ),
        row(
            "the holder itself maps it, is marked, unlocks",
            "A mmap m shared rw 4096; A lock W 0-10; A chmod file 2666; A poke m 3; A unlock 0-10; B read :n 4@0 = 4 [.3 A1]; A lock W 0-10; B read :n 4@0 = EAGAIN
             A munmap m; A unlock",
        ),
        row("msync and MADV_REMOVE of a mapping from before", "A chmod file 2666; A lock W 0-10; B msync m; B remove m 4096; A read 10@0 = 10 [0x10]"),
    ]
}
