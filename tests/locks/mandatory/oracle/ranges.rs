//! 3.4: which bytes a read or write is judged by. A holds a write lock of [50,60); B does not wait, where not said otherwise.

use super::why::Why::NothingMoves;
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = overlaps();
    rows.extend(nothing());
    rows
}

fn row(name: &str, rest: &str) -> Row {
    same(name, &format!("A lock W 50-60; {rest}"))
}

fn overlaps() -> Vec<Row> {
    vec![
        row("read [0,50)", "B read :n 50@0 = 50"),
        row("read [60,100)", "B read :n 40@60 = 40"),
        row("read [0,51)", "B read :n 51@0 = EAGAIN"),
        row("read [0,100)", "B read :n 100@0 = EAGAIN"),
        row("read [40,90)", "B read :n 50@40 = EAGAIN"),
        row("read [59,60)", "B read :n 1@59 = EAGAIN"),
        row("read [50,51)", "B read :n 1@50 = EAGAIN"),
        row("read [49,50)", "B read :n 1@49 = 1"),
        row("read [60,61)", "B read :n 1@60 = 1"),
        row(
            "write [0,51): nothing is written, the offset stays",
            "B write :n 51@0 = EAGAIN; B lseek :n cur 0 = 0; A read 100@0 = 100 [.100]",
        ),
        row(
            "write [59,70): nothing is written, the offset stays",
            "B write :n 11@59 = EAGAIN; B lseek :n cur 0 = 59; A read 100@0 = 100 [.100]",
        ),
        row(
            "write [0,50) and [60,100)",
            "B write :n 50@0 = 50; B write :n 40@60 = 40; A read 100@0 = 100 [B50 .10 B40]",
        ),
        row("read [0,100), blocking", "B read 100@0 = blocked; A unlock; B = 100"),
        row(
            "write [0,100), blocking: no byte is written before",
            "B write 100@0 = blocked; C read :n 50@0 = 50 [.50]; C read :n 40@60 = 40 [.40]; A unlock; B = 100
             A read 100@0 = 100 [B100]",
        ),
        row(
            "the offset moves on when a blocked read is done",
            "B read 100@0 = blocked; A unlock; B = 100; B lseek cur 0 = 100",
        ),
        row(
            "lseek",
            "B lseek :n set 55 = 55; B lseek :n end 0 = 100; B lseek :n data 50 = 50; B lseek :n hole 50 = 100",
        ),
        row(
            "one lock in many",
            "C lock W 10-11; C lock W 13-14; B read :n 3@11 = EAGAIN; B read :n 2@11 = 2; B read :n 1@13 = EAGAIN",
        ),
    ]
}

/// Transfers of no bytes.
fn nothing() -> Vec<Row> {
    let mut rows = vec![];
    for at in [49, 50, 60, 61] {
        let script =
            format!("B read :n 0@{at} = 0; B write :n 0@{at} = 0; B pread :n 0@{at} = 0; B pwrite :n 0@{at} = 0");
        rows.push(row(&format!("no bytes at {at}"), &script));
    }
    for at in [51, 55, 59] {
        let script = format!(
            "A lock W 50-60; B read :n 0@{at} = 0; B write :n 0@{at} = 0; B pread :n 0@{at} = 0; B pwrite :n 0@{at} = 0"
        );
        rows.push(differs(NothingMoves, &format!("no bytes at {at}"), &script));
    }
    rows.extend([
        differs(NothingMoves, "no bytes, blocking", "A lock W 50-60; B read 0@55 = 0; B write 0@55 = 0"),
        differs(NothingMoves, "no bytes in a read lock", "A lock R 50-60; B read :n 0@55 = 0; B write :n 0@55 = 0"),
        same("no bytes at 0 of a locked file", "A lock W 0-; B read :n 0@0 = 0; B write :n 0@0 = 0"),
        differs(
            NothingMoves,
            "no bytes elsewhere in a locked file",
            "A lock W 0-; B read :n 0@1 = 0; B read :n 0@100 = 0; B read :n 0@500 = 0; B write :n 0@1 = 0; B write :n 0@500 = 0
             A size file = 100",
        ),
        row("no bytes by readv and writev", "B readv :n 0@55 = 0; B writev :n 0@55 = 0"),
    ]);
    rows
}
