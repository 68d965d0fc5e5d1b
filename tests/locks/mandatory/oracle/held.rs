//! 3.2 and 3.3: a lock is held, and others read, write and queue.

use super::{Row, same};

/// 3.2: A holds a read lock of [0,10).
pub fn read_locks() -> Vec<Row> {
    vec![
        same("B reads", "A lock R 0-10; B read :n 10@0 = 10; B read 10@0 = 10"),
        same(
            "B reads across it",
            "A lock R 0-10; B read :n 100@0 = 100; B read 100@0 = 100",
        ),
        same(
            "B writes, non-blocking",
            "A lock R 0-10; B write :n 10@0 = EAGAIN; B write :n 1@9 = EAGAIN; B write :n 10@10 = 10
             A read 20@0 = 20 [.10 B10]",
        ),
        same(
            "B writes, blocking",
            "A lock R 0-10; B write 10@0 = blocked; A unlock 0-10; B = 10; A read 10@0 = 10 [B10]",
        ),
        same(
            "two holders: until both have unlocked",
            "A lock R 0-10; C lock R 0-10; B write 10@0 = blocked; A unlock 0-10; B still; C unlock 0-10; B = 10",
        ),
        same(
            "both hold one; one writes, non-blocking",
            "A lock R 0-10; B lock R 0-10; B write :n 10@0 = EAGAIN; A write :n 10@0 = EAGAIN",
        ),
        same(
            "both hold one; one writes, blocking",
            "A lock R 0-10; B lock R 0-10; B write 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "both hold one and both write: the second gets EDEADLK",
            "A lock R 0-10; B lock R 0-10; A write 10@0 = blocked; B write 10@0 = EDEADLK; A still; B unlock; A = 10",
        ),
        same(
            "A alone holds one and writes",
            "A lock R 0-10; A write 10@0 = 10; A write :n 10@0 = 10",
        ),
        same(
            "who may only read stops root's write",
            "file file 2644 100; A become 1000 1000; A open :r file r; A lock :r R 0-10; B write :n 10@0 = EAGAIN
             B write 10@0 = blocked; A unlock :r; B = 10",
        ),
        same(
            "C queues for a write lock; readers pass it",
            "A lock R 0-10; C lockw W 0-10 = blocked; B read :n 10@0 = 10; B read 10@0 = 10; B lock R 0-10
             A unlock; C still; B unlock; C = 0",
        ),
        same(
            "C waits in a write; readers pass it",
            "A lock R 0-10; C write 10@0 = blocked; B read :n 10@0 = 10; B read 10@0 = 10; B lock R 0-10
             A unlock; C still; B unlock; C = 10",
        ),
    ]
}

/// 3.3: A holds a write lock of [0,10).
pub fn write_locks() -> Vec<Row> {
    let mut rows = plain();
    rows.extend(queues());
    rows.extend(holders());
    rows
}

fn plain() -> Vec<Row> {
    vec![
        same(
            "B reads, non-blocking",
            "A lock W 0-10; B read :n 10@0 = EAGAIN; B read :n 90@10 = 90",
        ),
        same(
            "B writes, non-blocking",
            "A lock W 0-10; B write :n 10@0 = EAGAIN; B write :n 90@10 = 90",
        ),
        same(
            "B reads, blocking: sees what A wrote",
            "A lock W 0-10; B read 10@0 = blocked; A write 10@0; A unlock 0-10; B = 10 [A10]",
        ),
        same(
            "B writes, blocking",
            "A lock W 0-10; B write 10@0 = blocked; A write 10@0; A read 10@0 = 10 [A10]; A unlock 0-10; B = 10
             A read 20@0 = 20 [B10 .10]",
        ),
        same(
            "root against a user's lock",
            "A become 1000 1000; A lock W 0-10; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN
             B truncate file 5 = EAGAIN; B ftruncate :n 5 = EAGAIN",
        ),
        same(
            "a user against root's lock",
            "A lock W 0-10; B become 1000 1000; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN
             B truncate file 5 = EAGAIN",
        ),
        same(
            "A downgrades: readers go on, writers wait",
            "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; A lock R 0-10; B = 10; C still; A unlock; C = 10",
        ),
        same(
            "A unlocks a part: who waits for it alone goes on",
            "A lock W 0-20; B read 10@0 = blocked; C read 20@0 = blocked; A unlock 0-10; B = 10; C still; A unlock; C = 20",
        ),
        same(
            "A unlocks what nobody waits for",
            "A lock W 0-10; A lock W 50-60; B read 10@0 = blocked; A unlock 50-60; B still; A unlock 0-10; B = 10",
        ),
        same(
            "B waits for A and C: until both are gone",
            "A lock W 0-10; C lock W 10-20; B read 20@0 = blocked; A unlock; B still; C unlock; B = 20",
        ),
        same(
            "the other way round",
            "A lock W 0-10; C lock W 10-20; B write 20@0 = blocked; C unlock; B still; A unlock; B = 20",
        ),
        same(
            "O_NONBLOCK by F_SETFL before the call",
            "A lock W 0-10; B setfl rw,nb; B read 10@0 = EAGAIN; B setfl rw; B read 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "O_NONBLOCK by F_SETFL while it waits: no effect",
            "A lock W 0-10; B fsize; B fork D; B read 10@0 = blocked; D setfl rw,nb; B still; A unlock; B = 10",
        ),
        same(
            "A truncates to 5 and unlocks: the read is short",
            "A lock W 0-10; B read 10@0 = blocked; A ftruncate 5; A unlock; B = 5 [.5]",
        ),
    ]
}

fn queues() -> Vec<Row> {
    vec![
        same(
            "who waits in a write holds up no lock, and is not seen",
            "A lock W 0-10; B write 100@0 = blocked; C lock W 50-60; C getlk W 20-50 = U; A getlk W 20-50 = U
             A unlock; B still; C unlock; B = 100",
        ),
        same(
            "who waits in a read holds up no lock",
            "A lock W 0-10; B read 100@0 = blocked; C lock W 50-60; C getlk W 60-100 = U; A unlock; B still; C unlock; B = 100",
        ),
        same(
            "F_SETLKW first, then a read: the lock, then the read",
            "A lock W 0-10; C lockw W 0-10 = blocked; B read 10@0 = blocked; A unlock; C = 0; B still; C write 10@0 = 10
             C unlock; B = 10 [C10]",
        ),
        same(
            "F_SETLKW first, then a write: the lock, then the write",
            "A lock W 0-10; C lockw W 0-10 = blocked; B write 10@0 = blocked; A unlock; C = 0; B still; C unlock; B = 10",
        ),
        same(
            "a read first, then F_SETLKW",
            "A lock W 0-10; B read 10@0 = blocked; C lockw W 0-10 = blocked; A unlock; B = 10; C = 0",
        ),
        same(
            "a write first, then F_SETLKW",
            "A lock W 0-10; B write 10@0 = blocked; C lockw W 0-10 = blocked; A unlock; B = 10; C = 0; C read 10@0 = 10 [B10]",
        ),
        same(
            "a read first, then F_SETLKW; the read is interrupted",
            "A lock W 0-10; B read 10@0 = blocked; C lockw W 0-10 = blocked; signal B usr1; B = EINTR; C still; A unlock; C = 0",
        ),
        same(
            "two writers wait: both finish",
            "A lock W 0-10; B write 10@0 = blocked; C write 10@0 = blocked; A unlock; B = 10; C = 10",
        ),
        same(
            "two readers wait: both finish",
            "A lock W 0-10; B read 10@0 = blocked; C read 10@0 = blocked; A unlock; B = 10; C = 10",
        ),
        same(
            "a reader and a writer of other parts wait",
            "A lock W 0-100; B read 10@0 = blocked; C write 10@50 = blocked; A unlock 50-60; C = 10; B still; A unlock; B = 10",
        ),
    ]
}

fn holders() -> Vec<Row> {
    let again = "A unlock; A lock W 0-10; ".repeat(200);
    vec![
        same(
            "the holder reads and writes while others wait",
            "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; A write 10@0 = 10; A read 10@0 = 10 [A10]
             A write :n 10@0 = 10; B still; C still; A unlock; B = 10; C = 10",
        ),
        same(
            "the holder reads and writes while somebody waits for the lock",
            "A lock W 0-10; C lockw W 0-10 = blocked; A write 10@0 = 10; A read 10@0 = 10 [A10]; A unlock; C = 0",
        ),
        // 5.10: the waiter stays, now and then it slips in. Either is right; the holder is never refused, and nothing is lost.
        same(
            "unlock and lock again, 200 times: the holder is never refused",
            &format!("A lock W 0-10; B read 10@0 = blocked; {again}; A unlock; B = 10"),
        ),
    ]
}
