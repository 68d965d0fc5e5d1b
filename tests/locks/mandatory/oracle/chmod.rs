//! 3.10: the mark goes, the holder goes, the name goes. By semantics 5.7, 5.8.

use super::why::Why::{ChmodReleases, JudgedAnew};
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = marks();
    rows.extend(releases());
    rows.extend(names());
    rows
}

fn marks() -> Vec<Row> {
    vec![
        differs(
            ChmodReleases,
            "chmod while B waits in a read",
            "A lock W 0-10; B read 10@0 = blocked; A chmod file 0666; B = 10; C read :n 10@0 = 10",
        ),
        differs(
            ChmodReleases,
            "chmod while B waits in a write",
            "A lock W 0-10; B write 10@0 = blocked; C chmod file 0666; B = 10; A read 10@0 = 10 [B10]",
        ),
        differs(
            ChmodReleases,
            "chmod while B waits in ftruncate",
            "A lock W 0-10; B ftruncate 0 = blocked; C chmod file 0666; B = 0; A size file = 0",
        ),
        differs(
            ChmodReleases,
            "fchmod by the holder",
            "A lock W 0-10; B read 10@0 = blocked; A fchmod 2676; B = 10",
        ),
        differs(
            JudgedAnew,
            "chmod with a second holder on the rest of B's range",
            "A lock W 0-10; C lock W 10-20; B write 20@0 = blocked; A chmod file 0666; B = 20; A unlock",
        ),
        differs(
            JudgedAnew,
            "the mark off and on again with a second holder: who comes then waits for both",
            "A lock W 0-10; C lock W 10-20; A chmod file 0666; A chmod file 2666; B write 20@0 = blocked; A unlock; B still; C unlock; B = 20",
        ),
        differs(
            ChmodReleases,
            "the mark off and on again",
            "A lock W 0-10; B read 10@0 = blocked; A chmod file 0666; B = 10; A chmod file 2666; B read :n 10@0 = EAGAIN",
        ),
        differs(
            ChmodReleases,
            "chmod and a signal with SA_RESTART",
            "A lock W 0-10; B read 10@0 = blocked; signal B usr2; B = EINTR; B read 10@0 = blocked; A chmod file 0666; B = 10; B caught = 1",
        ),
        same(
            "chmod with one that waits in F_SETLKW",
            "A lock W 0-10; B lockw W 0-10 = blocked; C chmod file 0666; B still; A unlock; B = 0",
        ),
        same(
            "chmod that keeps the mark",
            "A lock W 0-10; B read 10@0 = blocked; A chmod file 2660; B still; A unlock; B = 10",
        ),
    ]
}

fn releases() -> Vec<Row> {
    vec![
        same(
            "the holder closes the descriptor",
            "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; A close :f; B = 10; C = 10",
        ),
        same(
            "the holder closes another descriptor",
            "A lock W 0-10; A fsize :n; B write 10@0 = blocked; A close :n; B = 10",
        ),
        same(
            "the holder exits",
            "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; A exit; B = 10; C = 10",
        ),
        same(
            "the holder is killed",
            "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; kill A; B = 10; C = 10",
        ),
        same(
            "the holder of an OFD lock is killed",
            "A ofd W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; kill A; B = 10; C = 10",
        ),
        same(
            "the holder is stopped",
            "A lock W 0-10; B read 10@0 = blocked; stop A; B still; cont A; A unlock; B = 10",
        ),
        same(
            "the holder is killed: ftruncate goes on",
            "A lock W 0-10; B ftruncate 0 = blocked; kill A; B = 0",
        ),
        same(
            "the holder is killed while it waits itself",
            "A lock W 0-10; C lock W 20-30; A write 10@20 = blocked; B read 10@0 = blocked; kill A; B = 10; C unlock; C read 10@20 = 10 [.10]",
        ),
    ]
}

fn names() -> Vec<Row> {
    vec![
        same(
            "stat, chmod, chown, utimes, link, unlink, rename of a locked file",
            "A lock W 0-; B stat file; B chmod file 2660; B chown file 1000 77; B utimes file; B link file other; B unlink other; B setxattr file
             B rename file moved; B rename moved file; B fsync",
        ),
        same("rename over a locked file", "A lock W 0-; file other 0666 5; B rename other file; B size file = 5; A fsize = 100; B read :n 5 = 5"),
        same("rename of a locked file over another", "A lock W 0-; file other 0666 5; B rename file other; B size other = 100"),
        same("another name is the same file", "A lock W 0-10; B link file other; B open :o other rw,nb; B read :o 10@0 = EAGAIN; B write :o 10@0 = EAGAIN; C open :o other rw,nb; C read :o 10@0 = EAGAIN; C read :o 10@10 = 10"),
        same("an open descriptor after unlink", "A lock W 0-10; B fsize :n; C unlink file; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN; A unlock; B read :n 10@0 = 10"),
        same("unlink releases nobody", "A lock W 0-10; B read 10@0 = blocked; C unlink file; B still; A unlock; B = 10"),
        same("a name made again is another file", "A lock W 0-; C unlink file; file file2 2666 10; C rename file2 file; B read :n 10 = 10; B write :n 10@0 = 10; A fsize = 100"),
        same("rename releases nobody, and the new name is locked", "A lock W 0-10; B read 10@0 = blocked; C rename file other; B still; C open :o other rw,nb; C read :o 10@0 = EAGAIN; A unlock; B = 10"),
    ]
}
