//! 3.11: cycles of waiters, and signals. By semantics 4.2, 4.3, 5.9.

use super::why::Why::SignalsEndTransfers;
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = cycles();
    rows.extend(signals());
    rows
}

fn cycles() -> Vec<Row> {
    let two = |name: &str, rest: &str| same(name, &format!("A lock W 0-10; B lock W 10-20; {rest}"));
    vec![
        two("A waits in a write, B writes", "A write 10@10 = blocked; B write 10@0 = EDEADLK; A still; B unlock; A = 10"),
        two("A waits in a write, B reads", "A write 10@10 = blocked; B read 10@0 = EDEADLK; A still; B unlock; A = 10"),
        two("A waits in a read, B reads", "A read 10@10 = blocked; B read 10@0 = EDEADLK; A still; B unlock; A = 10"),
        two("A waits in a read, B writes", "A read 10@10 = blocked; B write 10@0 = EDEADLK; A still; B unlock; A = 10"),
        two("F_SETLKW, then a write", "A lockw W 10-20 = blocked; B write 10@0 = EDEADLK; A still; B unlock; A = 0"),
        two("F_SETLKW, then a read", "A lockw W 10-20 = blocked; B read 10@0 = EDEADLK; A still; B unlock; A = 0"),
        two("a write, then F_SETLKW", "A write 10@10 = blocked; B lockw W 0-10 = EDEADLK; A still; B unlock; A = 10"),
        two("a read, then F_SETLKW", "A read 10@10 = blocked; B lockw W 0-10 = EDEADLK; A still; B unlock; A = 10"),
        two("F_SETLKW, then F_SETLKW", "A lockw W 10-20 = blocked; B lockw W 0-10 = EDEADLK; A still; B unlock; A = 0"),
        two("ftruncate, then a write", "A ftruncate 15 = blocked; B write 10@0 = EDEADLK; A still; B unlock; A = 0"),
        two("a write, then ftruncate", "A write 10@10 = blocked; B ftruncate 0 = EDEADLK; A still; B unlock; A = 10"),
        two("B does not wait: EAGAIN", "A write 10@10 = blocked; B write :n 10@0 = EAGAIN; B read :n 10@0 = EAGAIN; A still; B unlock; A = 10"),
        two("after EDEADLK all goes on", "A write 10@10 = blocked; B write 10@0 = EDEADLK; B unlock; A = 10; A unlock; B write 10@0 = 10"),
        two("the cycle is broken by a signal", "A write 10@10 = blocked; signal A usr1; A = interrupted; B write 10@0 = blocked; A unlock; B = 10"),
        same(
            "two files, reads and writes",
            "file other 2666 100; A open :o other rw; B open :o other rw; A lock W 0-10; B lock :o W 0-10; A write :o 10@0 = blocked
             B read 10@0 = EDEADLK; A still; B unlock :o; A = 10",
        ),
        same(
            "two files, F_SETLKW and a write",
            "file other 2666 100; A open :o other rw; B open :o other rw; A lock W 0-10; B lock :o W 0-10; A lockw :o W 0-10 = blocked
             B write 10@0 = EDEADLK; A still; B unlock :o; A = 0",
        ),
        same(
            "three processes",
            "A lock W 0-10; B lock W 10-20; C lock W 20-30; A write 10@10 = blocked; B read 10@20 = blocked; C write 10@0 = EDEADLK
             A still; B still; C unlock; B = 10; B unlock; A = 10",
        ),
        same(
            "three processes, three files, each another call",
            "file f2 2666 100; file f3 2666 100; A open :2 f2 rw; B open :2 f2 rw; B open :3 f3 rw; C open :3 f3 rw; A lock W 0-10
             B lock :2 W 0-10; C lock :3 W 0-10; A lockw :2 R 0-10 = blocked; B ftruncate :3 0 = blocked; C read 10@0 = EDEADLK; A still; B still
             C unlock :3; B = 0; B unlock :2; A = 0",
        ),
        same(
            "a thread of A waits, its main thread is free: still EDEADLK",
            "A lock W 0-10; B lock W 10-20; A thread T; T write 10@10 = blocked; B write 10@0 = EDEADLK; A read :n 10@0 = 10; T still; B unlock; T = 10",
        ),
        same(
            "a long chain without a cycle",
            "A lock W 0-10; B lock W 10-20; C lock W 20-30; C read 10@10 = blocked; B read 10@0 = blocked; A unlock; B = 10; B unlock; C = 10",
        ),
    ]
}

const CALLS: [(&str, &str, &str); 6] = [
    ("read", "read 10@0", "10"),
    ("write", "write 10@0", "10"),
    ("ftruncate", "ftruncate 0", "0"),
    ("pread", "pread 10@0", "10"),
    ("F_SETLKW", "lockw W 0-10", "0"),
    ("F_OFD_SETLKW", "ofdw W 0-10", "0"),
];

fn signals() -> Vec<Row> {
    let mut rows = vec![];
    for (name, call, result) in CALLS {
        let held = format!("A lock W 0-10; B {call} = blocked");
        let script = format!("{held}; signal B usr1; B = interrupted; B caught = 1; A read 100@0 = 100 [.100]");
        rows.push(same(&format!("{name} and a signal without SA_RESTART"), &script));
        let script = format!("{held}; kill B; A read 100@0 = 100 [.100]; A unlock; C lock W 0-10");
        rows.push(same(&format!("{name} and SIGKILL"), &script));
        let (restarted, stopped) = (
            format!("{name} and signals with SA_RESTART"),
            format!("{name}, SIGSTOP and SIGCONT"),
        );
        if call.contains("ofdw") || call.contains("lockw") {
            let script =
                format!("{held}; signal B usr2; B still; signal B usr2; B still; A unlock; B = {result}; B caught = 2");
            rows.push(same(&restarted, &script));
            rows.push(same(
                &stopped,
                &format!("{held}; stop B; pause 20; cont B; B still; A unlock; B = {result}"),
            ));
        } else {
            let script = format!(
                "{held}; signal B usr2; B = EINTR; B caught = 1; A read 100@0 = 100 [.100]; A unlock; B {call} = {result}"
            );
            rows.push(differs(SignalsEndTransfers, &restarted, &script));
            rows.push(differs(
                SignalsEndTransfers,
                &stopped,
                &format!("{held}; stop B; pause 20; cont B; B = EINTR; A unlock; B {call} = {result}"),
            ));
        }
    }
    rows
}
