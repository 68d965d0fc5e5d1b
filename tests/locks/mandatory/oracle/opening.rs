//! 3.5: open with O_TRUNC, and creat. By semantics 5.4.

use super::{Row, same};

const WAYS: [(&str, &str); 6] = [
    ("O_RDWR", "open :t file rw,trunc"),
    ("O_WRONLY", "open :t file w,trunc"),
    ("O_RDONLY", "open :t file r,trunc"),
    ("O_NONBLOCK", "open :t file rw,trunc,nb"),
    ("O_CREAT", "open :t file w,creat,trunc"),
    ("creat", "creat :t file"),
];

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    for (name, call) in WAYS {
        for kind in ["W", "R"] {
            let script = format!(
                "A lock {kind} 0-10; B {call} = EAGAIN; A size file = 100; A unlock; B {call}; A size file = 0"
            );
            rows.push(same(&format!("{name} against a lock {kind}"), &script));
        }
    }
    rows.extend([
        same("a lock behind the end", "A lock W 200-210; B open :t file rw,trunc = EAGAIN; A size file = 100"),
        same("an empty file", "file file 2666 0; A lock W 0-10; B open :t file rw,trunc = EAGAIN; B creat :t file = EAGAIN"),
        same("EEXIST comes first", "A lock W 0-10; B open :t file rw,creat,excl,trunc = EEXIST"),
        same(
            "EACCES comes first",
            "file file 2644 100; A lock W 0-10; B become 1000 1000; B open :t file rw,trunc = EACCES; B open :t file w,trunc = EACCES",
        ),
        same(
            "one's own lock: it works, and the lock stays",
            "A lock W 0-10; A open :t file rw,trunc; A size file = 0; B lock W 0-10 = EAGAIN; B read :n 10@0 = EAGAIN",
        ),
        same("one's own read lock and another's", "A lock R 0-10; B lock R 0-10; A open :t file rw,trunc = EAGAIN; A size file = 100"),
        same("one's own OFD lock, and a new open", "A ofd W 0-10; A open :t file rw,trunc = EAGAIN; A size file = 100"),
        same("another's OFD lock", "A ofd R 0-10; B open :t file rw,trunc = EAGAIN; A size file = 100"),
        same("flock only", "A flock ex; B open :t file rw,trunc; A size file = 0"),
        same("a file without the mark", "file file 0666 100; A lock W 0-10; B open :t file rw,trunc; A size file = 0"),
        same("after the lock is gone", "A lock W 0-10; B open :t file rw,trunc = EAGAIN; A unlock; B open :t file rw,trunc; A size file = 0"),
    ]);
    rows
}
