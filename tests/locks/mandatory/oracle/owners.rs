//! 3.6 and 3.7: whose a lock is. A process holds POSIX locks, an open file holds OFD locks.

use super::why::Why::BothAreOnesOwn;
use super::{Row, differs, same};

/// 3.6: self, dup, threads, fork, exec.
pub fn processes() -> Vec<Row> {
    let mut rows = own();
    rows.extend(forked());
    rows
}

fn own() -> Vec<Row> {
    let own = |name: &str, rest: &str| same(name, &format!("A lock W 0-50; {rest}"));
    vec![
        own("own: the same descriptor", "A read 50@0 = 50; A write 50@0 = 50"),
        own("own: another descriptor", "A read :n 50@0 = 50; A write :n 50@0 = 50; A open :2 file rw; A write :2 50@0 = 50"),
        own("own: a dup", "A dup :f :2; A read :2 50@0 = 50; A write :2 50@0 = 50"),
        own("own: another thread", "A thread T; T read 50@0 = 50; T write :n 50@0 = 50; T open :2 file rw; T read :2 50@0 = 50"),
        own("own: truncate", "A truncate file 10; A size file = 10; A truncate file 100; A size file = 100"),
        own("own: ftruncate", "A ftruncate 10; A ftruncate :n 100; A size file = 100"),
        own("own: O_TRUNC", "A open :t file rw,trunc; A size file = 0"),
        own("a thread's lock is the process's", "A thread T; T lock W 60-70; A read 100@0 = 100; B read :n 10@60 = EAGAIN; A unlock 60-70; B read :n 10@60 = 10"),
        own(
            "closing a dup drops the locks",
            "A dup :f :2; B read 10@0 = blocked; A close :2; B = 10; B lock W 0-10",
        ),
        own(
            "closing any descriptor of the file drops the locks",
            "A open :2 file r; B read 10@0 = blocked; A close :2; B = 10; B lock W 0-10",
        ),
        own(
            "closing a descriptor of another file keeps them",
            "file other 2666 10; A open :2 other rw; A close :2; B read :n 10@0 = EAGAIN",
        ),
        same(
            "a thread waits; the process reads, writes and locks on",
            "B lock W 0-10; A thread T; A open :2 file rw; T read 10@0 = blocked; A read :2 10@20 = 10; A write :2 10@20 = 10
             A lock :2 W 30-40; A unlock :2 30-40; T still; B unlock; T = 10",
        ),
        same(
            "a thread waits in a write; the process writes through a descriptor of its own",
            "B lock W 0-10; A thread T; A open :2 file rw; T write 10@0 = blocked; A write :2 10@20 = 10; A lock :2 W 30-40
             T still; B unlock; T = 10",
        ),
        same(
            "the descriptor is closed under a waiting read",
            "A lock W 0-10; B thread T; B fsize; T read 10@0 = blocked; B close :f; T still; A unlock; T = 10",
        ),
    ]
}

fn forked() -> Vec<Row> {
    vec![
        same("a child is another owner", "A lock W 0-10; A fork D; D read :n 10@0 = EAGAIN; D write :n 10@0 = EAGAIN"),
        same(
            "a child is another owner through the inherited descriptor too",
            "A lock :n W 0-10; A fork D; D read :n 10@0 = EAGAIN; D write :n 10@0 = EAGAIN; A read :n 10@0 = 10",
        ),
        same(
            "a child waits",
            "A lock W 0-10; A fork D; D read 10@0 = blocked; A unlock; D = 10; D lock W 0-10; A read :n 10@0 = EAGAIN",
        ),
        same(
            "a child waits in a write through the inherited descriptor",
            "A lock W 0-10; A fork D; D write 10@0 = blocked; A unlock; D = 10; A read 10@0 = 10 [D10]",
        ),
        same(
            "a child's close keeps the parent's lock",
            "A lock W 0-10; A fork D; D close :f; B read :n 10@0 = EAGAIN; B lock W 0-10 = EAGAIN",
        ),
        same(
            "a child's exit keeps the parent's lock",
            "A lock W 0-10; A fork D; D read :n 10@0 = EAGAIN; D exit; B read :n 10@0 = EAGAIN; B getlk W 0-10 = W 0-10 A",
        ),
        same(
            "a child of CLONE_FILES is the same owner; after unshare it is another",
            "A lock W 0-10; A share D; D read 10@0 = 10; D write 10@0 = 10; D getlk W 0-10 = U; D unshare; D read :n 10@0 = EAGAIN
             D getlk W 0-10 = W 0-10 A",
        ),
        same(
            "execve keeps the lock",
            "A open :k file rw,stay; A lock :k W 0-10; A exec; B getlk W 0-10 = W 0-10 A; B read :n 10@0 = EAGAIN; A read :k 10@0 = 10",
        ),
        same(
            "execve closes another descriptor of the file: the lock goes",
            "A open :k file rw,stay; A open :2 file rw; A lock :k W 0-10; A exec; B getlk W 0-10 = U; B read :n 10@0 = 10",
        ),
    ]
}

/// 3.7: OFD locks, flock, lockf.
pub fn open_files() -> Vec<Row> {
    let mut rows = ofd();
    rows.extend(ofd_and_more());
    rows.extend(flocks());
    rows
}

fn ofd() -> Vec<Row> {
    vec![
        same(
            "OFD: the same open file, its dup, a thread, a child with it",
            "A ofd W 0-10; A read 10@0 = 10; A write 10@0 = 10; A dup :f :2; A write :2 10@0 = 10; A thread T; T read 10@0 = 10
             A ofd :n W 20-30; A fork D; D read 10@0 = 10; D write 10@0 = 10; D read :n 10@20 = 10",
        ),
        same(
            "OFD: another open of the same process, non-blocking",
            "A ofd W 0-10; A read :n 10@0 = EAGAIN; A write :n 10@0 = EAGAIN",
        ),
        same(
            "OFD: a thread with another open",
            "A ofd W 0-10; A thread T; T open :2 file rw,nb; T read :2 10@0 = EAGAIN",
        ),
        same("OFD: another process", "A ofd W 0-10; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN; B read 10@0 = blocked; A unofd; B = 10"),
        same(
            "OFD: another open of the same process, blocking: stuck until a signal",
            "A fsize; A ofd W 0-10; A open :2 file rw; A read :2 10@0 = blocked; signal A usr1; A = interrupted
             A write :2 10@0 = blocked; signal A usr1; A = interrupted",
        ),
        same(
            "OFD: another open of the same process, blocking: a thread unlocks",
            "A ofd W 0-10; A thread T; A open :2 file rw; A read :2 10@0 = blocked; T unofd; A = 10",
        ),
        same("OFD: a read lock", "A ofd R 0-10; A read :n 10@0 = 10; A write :n 10@0 = EAGAIN; B read :n 10@0 = 10; B write :n 10@0 = EAGAIN"),
        same("OFD: a POSIX lock over one's own OFD lock", "A ofd W 0-10; A lock W 0-10 = EAGAIN; A lock R 5-6 = EAGAIN"),
        same("OFD: an OFD lock over one's own POSIX lock", "A lock W 0-10; A ofd W 0-10 = EAGAIN; A ofd R 5-6 = EAGAIN"),
        same("OFD and POSIX: reads of one or the other", "A ofd W 0-10; A lock W 20-30; A read 10@0 = 10; A read 10@20 = 10"),
        differs(BothAreOnesOwn, "OFD and POSIX: one read over both, non-blocking", "A ofd :n W 0-10; A lock :n W 20-30; A read :n 40@0 = 40"),
        differs(BothAreOnesOwn, "OFD and POSIX: one read over both, blocking", "A ofd W 0-10; A lock W 20-30; A read 40@0 = 40; A write 40@0 = 40"),
        same(
            "OFD: truncate by the holder's process",
            "A ofd W 50-60; A fsize :n; A truncate file 0 = EAGAIN; A ftruncate :n 0 = EAGAIN; A ftruncate 0; A size file = 0",
        ),
        same("OFD: closing another descriptor keeps it", "A ofd W 0-10; A fsize :n; A close :n; B read :n 10@0 = EAGAIN"),
        same(
            "OFD: closing one of two dups keeps it, the last close ends it",
            "A ofd W 0-10; A dup :f :2; A close :f; B read :n 10@0 = EAGAIN; B read 10@0 = blocked; A close :2; B = 10; B lock W 0-10",
        ),
        same(
            "OFD: a child unlocks for everybody",
            "A ofd W 0-10; A fork D; B read 10@0 = blocked; D unofd; B = 10; B lock W 0-10",
        ),
        same(
            "OFD: the child keeps it when the parent closes",
            "A ofd W 0-10; A fork D; A close :f; B read :n 10@0 = EAGAIN; D close :f; B read 10@0 = 10; B lock W 0-10",
        ),
    ]
}

fn ofd_and_more() -> Vec<Row> {
    vec![
        same(
            "OFD: two that wait for each other in writes: both until a signal",
            "A ofd W 0-10; B ofd W 20-30; A write 10@20 = blocked; B write 10@0 = blocked; signal A usr1; A = interrupted; B still
             signal B usr1; B = interrupted",
        ),
        same(
            "OFD: two that wait for each other in F_OFD_SETLKW: both until a signal",
            "A ofd W 0-10; B ofd W 20-30; A ofdw W 20-30 = blocked; B ofdw W 0-10 = blocked; signal B usr1; B = interrupted; A still
             signal A usr1; A = interrupted",
        ),
        same(
            "OFD: l_pid must be 0",
            "A plain ofd W set 0 10 5 = EINVAL; A plain ofdgetlk W set 0 10 5 = EINVAL; A plain ofd W set 0 10 0",
        ),
        same("OFD: a lock on an inherited descriptor is not the process's", "A ofd W 0-10; A fork D; D lock W 0-10 = EAGAIN; D getlk W 20-30 = U"),
    ]
}

fn flocks() -> Vec<Row> {
    vec![
        same(
            "flock is never mandatory",
            "A flock ex; B read :n 10@0 = 10; B write :n 10@0 = 10; B ftruncate :n 50; B truncate file 60; B open :t file rw,trunc
             B flock ex,nb = EAGAIN",
        ),
        same("flock and record locks are independent", "A flock ex; B lock W 0-; A lock W 0- = EAGAIN; B flock sh,nb = EAGAIN; A flock un; B flock sh,nb"),
        same("flock(LOCK_MAND|LOCK_READ): no effect", "A flock mand; B read :n 10@0 = 10; B write :n 10@0 = 10"),
        same(
            "lockf F_LOCK is mandatory",
            "A lockf lock 10; B read :n 10@0 = EAGAIN; B lockf :n tlock 10 = EAGAIN; B lockf :n test 10 = EACCES; A lockf ulock 10
             B lockf :n test 10 = 0; B read :n 10@0 = 10",
        ),
    ]
}
