//! 3.12: F_GETLK, and how ranges of one owner merge and split. The same whether the file is marked or not; by semantics 4.1.

use super::why::Why::FirstByOffset;
use super::{Row, differs, same};

/// The cases, each on a marked file and on another.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    for (mode, what) in [("2666", "marked"), ("0666", "unmarked")] {
        for row in found().into_iter().chain(ranges()).chain(errors()) {
            rows.push(Row {
                name: format!("{}, {what}", row.name),
                script: format!("file file {mode} 100; {}", row.script),
                ..row
            });
        }
    }
    rows
}

fn found() -> Vec<Row> {
    vec![
        same(
            "a conflict",
            "A lock W 10-20; B getlk W 0- = W 10-20 A; B getlk R 15-16 = W 10-20 A; B getlk R 20-30 = U",
        ),
        same(
            "a read lock",
            "A lock R 10-20; B getlk W 0- = R 10-20 A; B getlk R 0- = U",
        ),
        same("one's own lock", "A lock W 10-20; A getlk W 0- = U"),
        same(
            "to the end",
            "A lock W 10-; B getlk W 0- = W 10- A; B getlk W 5000-5001 = W 10- A",
        ),
        differs(
            FirstByOffset,
            "of an OFD lock",
            "A ofd W 10-20; B getlk W 0- = W 10-20 0; B ofdgetlk W 0- = W 10-20 -1; A ofdgetlk W 0- = U",
        ),
        differs(
            FirstByOffset,
            "one's own OFD lock",
            "A ofd W 10-20; A getlk W 0- = W 10-20 0",
        ),
        differs(
            FirstByOffset,
            "of several the lowest",
            "A lock R 50-60; C lock R 10-20; B getlk W 0- = R 10-20 C; B getlk W 20- = R 50-60 A",
        ),
    ]
}

fn ranges() -> Vec<Row> {
    let held = |rest: &str| format!("A lock R 0-100; A lock W 40-60; {rest}");
    vec![
        same(
            "an upgrade in the middle makes three",
            &held(
                "B getlk W 0-40 = R 0-40 A; B getlk R 0-100 = W 40-60 A; B getlk W 60-100 = R 60-100 A; B lock R 0-40; B lock R 60-100; B lock R 40-41 = EAGAIN",
            ),
        ),
        same("a downgrade merges", &held("A lock R 40-60; B getlk W 0- = R 0-100 A")),
        same(
            "an unlock splits",
            "A lock W 0-100; A unlock 40-60; B getlk W 0- = W 0-40 A; B getlk W 40- = W 60-100 A; B lock W 40-60",
        ),
        same(
            "locking the hole again merges",
            "A lock W 0-100; A unlock 40-60; A lock W 40-60; B getlk W 50-51 = W 0-100 A",
        ),
        same(
            "neighbours of one kind merge, of two kinds don't",
            "A lock W 0-10; A lock W 10-20; A lock R 20-30; B getlk R 5-6 = W 0-20 A; B getlk W 25-26 = R 20-30 A",
        ),
        same(
            "an upgrade beside another reader: EAGAIN, the old lock stays",
            "A lock R 0-10; B lock R 0-10; A lock W 0-10 = EAGAIN; C getlk W 0-10 = R 0-10 A|R 0-10 B; B unlock; C lock W 0-10 = EAGAIN; A lock W 0-10",
        ),
        same(
            "SEEK_CUR, SEEK_END, negative lengths",
            "A lseek :f set 30; A plain lock W cur -10 5; B getlk W 0- = W 20-25 A; A unlock; A plain lock W end -10 0; B getlk W 0- = W 90- A; A unlock; A plain lock W set 50 -10; B getlk W 0- = W 40-50 A",
        ),
    ]
}

fn errors() -> Vec<Row> {
    vec![
        same(
            "EINVAL",
            "A plain lock W set -1 10 = EINVAL; A plain lock W set 5 -10 = EINVAL; A plain lock W 7 0 10 = EINVAL; A plain lock 9 set 0 10 = EINVAL",
        ),
        same(
            "EOVERFLOW, and the last byte there is",
            "A plain lock W set 0x7fffffffffffffff 2 = EOVERFLOW; A plain lock W set 0x7fffffffffffffff 1; B getlk W 0x7ffffffffffffffe- = W 9223372036854775807- A",
        ),
        same(
            "EBADF",
            "A open :r file r; A lock :r W 0-10 = EBADF; A open :w file w; A lock :w R 0-10 = EBADF; A open :p file path; A lock :p W 0-10 = EBADF; A lock :x W 0-10 = EBADF; A getlk :r W 0-10 = U",
        ),
        same("F_GETLK of F_UNLCK", "A plain getlk U set 0 10 = EINVAL"),
    ]
}
