//! 3.1: which files are marked, and what a mark does not touch.

use super::why::Why::{NotInProcLocks, TheKernelNow};
use super::{Place, Row, differs, same};

const MARKED: [&str; 10] = [
    "2666", "2660", "2600", "2000", "6666", "3666", "2766", "2667", "2606", "2644",
];
const UNMARKED: [&str; 8] = ["0666", "0676", "4666", "1666", "2676", "2677", "2670", "2610"];

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    for mode in MARKED {
        let script = format!(
            "file file {mode} 100; A lock W 0-10; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN
             B read :n 10@10 = 10; B write :n 10@10 = 10"
        );
        rows.push(same(&format!("{mode} is marked"), &script));
    }
    for mode in UNMARKED {
        let script = format!(
            "file file {mode} 100; A lock W 0-10; B read :n 10@0 = 10; B write :n 10@0 = 10; B read 10@0 = 10 [B10]"
        );
        rows.push(same(&format!("{mode} is not marked"), &script));
    }
    rows.extend([
        same(
            "chmod to 2666 while a lock is held: mandatory at once",
            "file file 0666 100; A lock W 0-10; B read :n 10@0 = 10; A chmod file 2666; B read :n 10@0 = EAGAIN
             B write :n 10@0 = EAGAIN; A read 10@0 = 10",
        )
        .only(Place::Full),
        same(
            "chmod to 2676 while a lock is held: advisory at once",
            "A lock W 0-10; B read :n 10@0 = EAGAIN; A chmod file 2676; B read :n 10@0 = 10; B write :n 10@0 = 10",
        ),
        same(
            "opening a locked file in any way without O_TRUNC",
            "A lock W 0-; B open :1 file r; B open :2 file w; B open :3 file rw; B open :4 file rw,creat
             B open :5 file rw,append; B open :6 file r,nb; B open :7 file rw,direct; B open :8 file path",
        ),
        same(
            "a FIFO with the bits of a mark: locked, its reads and writes go on",
            "A mkfifo pipe 2666; A open :p pipe rw; A lock :p W 0-10; B open :p pipe rw,nb; B write :p 5 = 5
             B read :p 5 = 5 [B5]; B lock :p W 0-10 = EAGAIN",
        ),
        same(
            "a directory with the bits of a mark: locked, and listed by others",
            "A mkdir d 2766; A open :d d r,dir; A lock :d R 0-10; B open :d d r,dir; B getdents :d",
        ),
        same(
            "poll of a locked file: ready to read and write",
            "A lock W 0-; B poll = 5; B poll :n = 5",
        ),
        same(
            "a file of another mark on the same mount is another file",
            "file other 2666 100; A lock W 0-; B open :o other rw,nb; B read :o 10 = 10; B write :o 10@0 = 10",
        ),
        differs(
            NotInProcLocks,
            "/proc/locks says POSIX MANDATORY",
            "A lock W 0-10; A ofd R 20-30; B read 10@0 = blocked; C locks file = 0; A unlock; B = 10",
        ),
        differs(
            TheKernelNow,
            "remount changes it",
            // There is no remount that could: `remount` is refused in `mounts.rs`; a lock stays enforced whatever is asked.
            "A lock W 0-10; B read :n 10@0 = EAGAIN",
        ),
    ]);
    rows
}
