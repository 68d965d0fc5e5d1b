//! Real programs that lock, with their files on the mount (semantics 4.1, 4.2, 4.5, 2.3). A program that is not there is a failure
//! that names its Debian package: tests/setup.sh installs all of them.

use crate::common::each;
use crate::shell::{self, Need};

/// Runs a script on tmpfs first, then on owltmp: a failure is ours only if tmpfs does not share it.
fn run(needs: &[Need], script: &str) {
    each("mode=1777", |mount| drop(shell::script(mount.path(), needs, script)));
}

const PYTHON: Need = ("python3", "python3");

/// semantics 4.1, 4.2: two writers and a reader on one database, which waits by polling, in each journal mode; and what is left open or
/// killed in the middle is rolled back.
#[test]
fn sqlite_with_several_writers() {
    for mode in ["delete", "truncate", "persist", "wal"] {
        let script = r#"
            sqlite3 db 'PRAGMA journal_mode=MODE; CREATE TABLE t (id INTEGER PRIMARY KEY, who TEXT, n INTEGER, fill BLOB);
                        CREATE TABLE sum (total INTEGER); INSERT INTO sum VALUES (0);' | grep -ix MODE
            writer() {
                for n in $(seq 1 60); do
                    echo "BEGIN IMMEDIATE; INSERT INTO t (who, n, fill) VALUES ('$1', $n, randomblob(1000));"
                    echo "UPDATE sum SET total = total + $n; COMMIT;"
                done | sqlite3 -bail -cmd '.timeout 120000' -cmd 'PRAGMA synchronous=OFF' db
            }
            writer a & first=$!
            writer b & second=$!
            for i in $(seq 1 5); do
                test "$(sqlite3 -cmd '.timeout 120000' db 'SELECT (SELECT total FROM sum) = (SELECT coalesce(sum(n), 0) FROM t)')" = 1
            done
            wait "$first"; wait "$second"
            test "$(sqlite3 db 'SELECT total, (SELECT count(*) FROM t) FROM sum')" = '3660|120'
            # Whoever holds it keeps others out at once.
            mkfifo orders; sqlite3 db < orders & holder=$!
            exec 7> orders; echo 'BEGIN EXCLUSIVE; UPDATE sum SET total = 0;' >&7; echo '.shell touch held' >&7
            until test -e held; do sleep 0.01; done
            fails sqlite3 db 'BEGIN IMMEDIATE' 2> said; grep -q locked said
            kill -KILL "$holder"; wait "$holder" || true; exec 7>&-
            test "$(sqlite3 db 'SELECT total FROM sum; PRAGMA integrity_check' | tr '\n' ' ')" = '3660 ok '
        "#;
        run(&[("sqlite3", "sqlite3")], &script.replace("MODE", mode));
    }
}

/// semantics 4.5, 4.2: flock(1): exclusive and shared, at once and with a time limit, on files, directories and descriptors.
#[test]
fn flock_program() {
    let script = r#"
        mkdir d; : > f
        for what in f d; do
            flock "$what" sh -c 'touch held; until test -e go; do sleep 0.01; done' & holder=$!
            until test -e held; do sleep 0.01; done
            fails flock -n "$what" true; fails flock -s -n "$what" true
            start=$(date +%s%N); fails flock -w 0.2 "$what" true
            test $(($(date +%s%N) - start)) -gt 150000000
            flock "$what" touch after & waiter=$!
            touch go; wait "$holder"; wait "$waiter"; rm held go after
            flock -s "$what" flock -s -n "$what" true
            fails flock -s "$what" flock -n "$what" true
            # A killed holder, and what it started, which has the descriptor unless told otherwise.
            flock "$what" sh -c 'echo $$ > child; exec sleep 1000' & holder=$!
            until test -s child; do sleep 0.01; done
            kill -KILL "$holder"; wait "$holder" || true
            fails flock -n "$what" true
            kill -KILL "$(cat child)"; rm child
            flock -w 20 "$what" true
            flock -o "$what" sh -c 'echo $$ > child; exec sleep 1000' & holder=$!
            until test -s child; do sleep 0.01; done
            kill -KILL "$holder"; wait "$holder" || true
            flock -n "$what" true
            kill -KILL "$(cat child)"; rm child
        done
        exec 9> f; flock -n 9; fails flock -n f true
        (flock -u 9); flock -n f true
        flock -n 9; exec 8>&9 9>&-; fails flock -n f true; exec 8>&-; flock -n f true
        echo 0 > number
        add() { for i in $(seq 1 50); do flock f sh -c 'read -r n < number; echo $((n + 1)) > number'; done; }
        set +x; for p in 1 2 3 4; do add & pids="${pids-} $!"; done; for pid in $pids; do wait "$pid"; done; set -x
        test "$(cat number)" = 200
    "#;
    run(&[("flock", "util-linux")], script);
}

/// semantics 2.3: lockfile(1) of procmail and the programs of lockfile-progs, which link(2) a file of their own to the lock's name.
#[test]
fn programs_that_lock_with_files() {
    let script = r#"
        lockfile -r 0 a.lock; fails lockfile -r 0 a.lock; rm -f a.lock; lockfile -r 0 a.lock b.lock
        fails lockfile -r 0 c.lock a.lock; test ! -e c.lock; rm -f a.lock b.lock
        lockfile-create -r 0 -l x.lock; fails lockfile-create -r 0 -l x.lock; fails lockfile-create -r 0 x
        lockfile-check -l x.lock; lockfile-touch -o -l x.lock
        test "$(stat -c %h x.lock)" = 1; lockfile-remove -l x.lock; fails lockfile-check -l x.lock
        lockfile-create -r 0 x; test -e x.lock; lockfile-remove x
        echo 0 > number
        add() { for i in $(seq 1 25); do
            until lockfile-create -r 0 -q number; do sleep 0.002; done
            read -r n < number; echo $((n + 1)) > number; lockfile-remove number; done; }
        set +x; for p in 1 2 3; do add & pids="${pids-} $!"; done; for pid in $pids; do wait "$pid"; done; set -x
        test "$(cat number)" = 75; test -z "$(find . -name '*lock*')"
    "#;
    run(
        &[("lockfile", "procmail"), ("lockfile-create", "lockfile-progs")],
        script,
    );
}

/// semantics 2.3: dot-locking by hand: a file of one's own, link(2), and st_nlink == 2 whatever link(2) says.
#[test]
fn dotlocks() {
    let script = r#"
        cat > dot.py <<'END'
import os, sys, time
def lock():
    own = f'.lock.{os.getpid()}'
    os.close(os.open(own, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    while True:
        try: os.link(own, 'number.lock')
        except FileExistsError: pass
        if os.stat(own).st_nlink == 2: break
        time.sleep(0.0005)
    os.unlink(own)
for i in range(100):
    lock()
    n = int(open('number').read()); open('number', 'w').write(str(n + 1))
    os.unlink('number.lock')
END
        echo 0 > number
        for p in 1 2 3 4; do /usr/bin/python3 dot.py & pids="${pids-} $!"; done; for pid in $pids; do wait "$pid"; done
        test "$(cat number)" = 400; test -z "$(find . -name '*lock*')"
    "#;
    run(&[PYTHON], script);
}

/// semantics 4.1, 4.2, 4.5: Python's own tests of the module that has all three kinds of locks, and of mailboxes, which use all.
#[test]
fn python_tests() {
    let script = "/usr/bin/python3 -c 'import test.test_fcntl' || { echo 'the Debian package libpython3.N-testsuite is missing'; exit 1; }
        mkdir scratch; cd scratch; /usr/bin/python3 -m test --tempdir \"$M/scratch\" --timeout 100 test_fcntl test_mailbox";
    run(&[PYTHON], script);
}

/// semantics 4.1, 4.2, 4.5: eight Python processes add to a number, each kind of lock by turns, some killed while they wait.
#[test]
fn python_counts() {
    let script = r#"
        cat > count.py <<'END'
import fcntl, os, struct, sys
fd = os.open('number', os.O_RDWR)
def record(kind): return struct.pack('hhqqi4x', kind, 0, 0, 0, 0)
def change(how, on):
    if how == 'flock': fcntl.flock(fd, fcntl.LOCK_EX if on else fcntl.LOCK_UN)
    elif how == 'lockf': fcntl.lockf(fd, fcntl.LOCK_EX if on else fcntl.LOCK_UN)
    else: fcntl.fcntl(fd, fcntl.F_OFD_SETLKW, record(fcntl.F_WRLCK if on else fcntl.F_UNLCK))
for i in range(300):
    change(sys.argv[1], True)
    n = int(os.pread(fd, 20, 0)); os.pwrite(fd, b'%d\n' % (n + 1), 0)
    change(sys.argv[1], False)
END
        for how in flock lockf ofd; do
            printf '0\n' > number; pids=
            # Who waits with SIGSTOP or dies waiting must not count: it holds the lock that the victims wait for.
            /usr/bin/python3 -c 'import fcntl, os, subprocess, time
how = "'$how'"
fd = os.open("number", os.O_RDWR)
fcntl.flock(fd, fcntl.LOCK_EX) if how == "flock" else fcntl.lockf(fd, fcntl.LOCK_EX)
victims = [subprocess.Popen(["/usr/bin/python3", "count.py", how]) for i in range(3)]
time.sleep(0.3)
for it in victims: it.kill(); it.wait()'
            test "$(cat number)" = 0
            for p in 1 2 3 4 5 6 7 8; do /usr/bin/python3 count.py $how & pids="$pids $!"; done
            for pid in $pids; do wait "$pid"; done
            test "$(cat number)" = 2400
        done
    "#;
    run(&[PYTHON], script);
}

/// semantics 4.1, 4.2: tdb of Samba, whose files are locked byte by byte and mapped by all: what its own torture test does, in which
/// processes store, fetch, delete and walk, with transactions and without.
#[test]
fn tdb_under_torture() {
    let script = r#"
        /usr/bin/python3 -c 'import tdb' || { echo 'the Debian package python3-tdb is missing; tests/setup.sh installs it'; exit 1; }
        cat > torture.py <<'END'
import os, random, sys, tdb
me = int(sys.argv[1]); rng = random.Random(me)
db = tdb.Tdb('torture.tdb', 64, tdb.CLEAR_IF_FIRST * 0, os.O_RDWR | os.O_CREAT, 0o600)
mine = {}
for i in range(400):
    key = b'%d:%d' % (me, rng.randrange(40)); what = rng.randrange(10)
    if what < 5:
        mine[key] = os.urandom(rng.randrange(1, 300)); db.store(key, mine[key])
    elif what == 5 and key in mine:
        db.delete(key); del mine[key]
    elif what == 6:
        db.lock_all(); assert sum(1 for _ in db.keys()) >= len(mine); db.unlock_all()
    elif what == 7:
        db.transaction_start()
        db.store(b'sum', b'%d' % (int(db.get(b'sum') or 0) + 1)); db.store(key, b'gone')
        if rng.randrange(3) == 0: db.transaction_cancel()
        else: mine[key] = b'gone'; db.transaction_commit(); open(f'sum.{me}', 'a').write('x')
    assert db.get(key) == mine.get(key), (key, i)
END
        for p in 1 2 3 4; do /usr/bin/python3 torture.py $p & pids="${pids-} $!"; done; for pid in $pids; do wait "$pid"; done
        tdbbackup.tdbtools -v torture.tdb
        test "$(tdbdump -k sum torture.tdb)" = "$(cat sum.* | wc -c)"
    "#;
    run(&[PYTHON, ("tdbdump", "tdb-tools")], script);
}
