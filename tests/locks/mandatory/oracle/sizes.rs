//! 3.8: truncate and ftruncate, judged by the bytes they remove or add. By semantics 5.4.

use super::why::Why::{JudgedAnew, NothingMoves, SignalsEndTransfers};
use super::{Row, differs, same};

/// The cases. A holds a write lock of [50,60) and the file has 100 bytes, where not said otherwise.
pub fn rows() -> Vec<Row> {
    let mut rows = vec![];
    for (size, result) in [
        (0, "EAGAIN"),
        (55, "EAGAIN"),
        (59, "EAGAIN"),
        (60, "ok"),
        (100, "ok"),
        (200, "ok"),
    ] {
        let left = if result == "ok" { size } else { 100 };
        let script = format!("A lock W 50-60; B truncate file {size} = {result}; A size file = {left}");
        rows.push(same(&format!("truncate to {size}"), &script));
        let script = format!("A lock W 50-60; B ftruncate :n {size} = {result}; A size file = {left}");
        rows.push(same(&format!("ftruncate to {size}, non-blocking"), &script));
    }
    rows.extend(edges());
    rows.extend(waiting());
    rows
}

fn edges() -> Vec<Row> {
    vec![
        same(
            "a read lock of the head",
            "A lock R 0-10; B truncate file 0 = EAGAIN; B truncate file 9 = EAGAIN; B truncate file 10; A size file = 10",
        ),
        same(
            "a lock behind the end",
            "A lock W 150-160; B truncate file 200 = EAGAIN; B truncate file 151 = EAGAIN; B truncate file 150; A size file = 150",
        ),
        differs(
            NothingMoves,
            "the same size, a lock across the end",
            "A lock W 90-110; B truncate file 100; B ftruncate :n 100; A size file = 100",
        ),
        same(
            "the same size, a lock from the end on",
            "A lock W 100-110; B truncate file 100",
        ),
        same(
            "the same size, a lock up to the end",
            "A lock W 90-100; B truncate file 100",
        ),
        same(
            "the whole file locked",
            "A lock W 0-; B truncate file 0 = EAGAIN; B truncate file 99 = EAGAIN; B truncate file 101 = EAGAIN",
        ),
        differs(
            NothingMoves,
            "the whole file locked, the same size",
            "A lock W 0-; B truncate file 100; B ftruncate 100",
        ),
        same(
            "an empty file locked",
            "file file 2666 0; A lock W 0-; B truncate file 0; B truncate file 10 = EAGAIN",
        ),
    ]
}

fn waiting() -> Vec<Row> {
    vec![
        same("ftruncate, blocking", "A lock W 50-60; B ftruncate 0 = blocked; A size file = 100; A unlock; B = 0; A size file = 0"),
        same("ftruncate that extends, blocking", "A lock W 150-160; B ftruncate 200 = blocked; A size file = 100; A unlock; B = 0; A size file = 200"),
        same(
            "ftruncate and a signal: EINTR, the size stays",
            "A lock W 50-60; B ftruncate 0 = blocked; signal B usr1; B = interrupted; A size file = 100",
        ),
        differs(
            SignalsEndTransfers,
            "ftruncate and a signal with SA_RESTART: EINTR",
            "A lock W 50-60; B ftruncate 0 = blocked; signal B usr2; B = EINTR; A size file = 100; A unlock; B ftruncate 0; A size file = 0",
        ),
        same(
            "two ftruncates that wait for each other: the second gets EDEADLK",
            "A lock W 10-20; B lock W 60-70; A ftruncate 50 = blocked; B ftruncate 5 = EDEADLK; A still; B unlock; A = 0; A size file = 50",
        ),
        // 5.10 fixes the range when the call begins, and goes on through C's lock.
        differs(
            JudgedAnew,
            "the file grows and gets another lock while ftruncate waits",
            "A lock W 0-10; B ftruncate 5 = blocked; C write 200@100 = 200; C lock W 200-210; A unlock; B still; A size file = 300
             C unlock; B = 0; A size file = 5",
        ),
        same(
            "the file shrinks by its holder while ftruncate waits",
            "A lock W 0-10; B ftruncate 5 = blocked; A ftruncate 5; A unlock; B = 0; A size file = 5",
        ),
    ]
}
