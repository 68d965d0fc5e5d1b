//! The old ways to lock with a file and to make a temporary one (semantics 2.3).

use super::{on_both, on_mount};

/// Adds one to a number in a file, many times from several processes at once, each time under the lock of `$lock` and
/// `$unlock`. If the lock lets two in, an addition is lost.
const CONTENDERS: &str = r#"
    echo 0 > number
    contend() { for i in $(seq 1 "$rounds"); do
        lock; read -r n < number; echo $((n + 1)) > number; unlock; done; }
    set +x
    pids=
    for p in 1 2 3 4 5 6; do contend & pids="$pids $!"; done
    for pid in $pids; do wait "$pid"; done
    set -x
    test "$(cat number)" = $((6 * rounds))
"#;

fn contend(needs: &[(&'static str, &'static str)], functions: &str) {
    on_mount(needs, &format!("{functions}\n{CONTENDERS}"));
}

/// semantics 2.1, 2.3: procmail's lockfile(1), which makes a unique file and links it.
#[test]
fn lockfile_excludes() {
    let functions = "rounds=8; lock() { lockfile -1 -r-1 the.lock 2> /dev/null; }; unlock() { rm -f the.lock; }";
    contend(&[("lockfile", "procmail")], functions);
}

/// semantics 2.3: flock(1).
#[test]
fn flock_excludes() {
    contend(
        &[("flock", "util-linux")],
        "rounds=60; lock() { exec 9> the.lock; flock 9; }; unlock() { exec 9>&-; }",
    );
}

/// semantics 2.1, 2.3: mkdir(1) and rmdir(1).
#[test]
fn mkdir_excludes() {
    let functions =
        "rounds=40; lock() { until mkdir the.lock 2> /dev/null; do sleep 0.002; done; }; unlock() { rmdir the.lock; }";
    contend(&[("mkdir", "coreutils")], functions);
}

/// semantics 2.1, 2.3: the shell's noclobber, which is O_EXCL.
#[test]
fn noclobber_excludes() {
    let functions = "rounds=60; lock() { until (set -C; : > the.lock) 2> /dev/null; do sleep 0.002; done; }\n\
                     unlock() { rm the.lock; }";
    contend(&[("bash", "bash")], functions);
}

/// semantics 2.1, 2.3: ln(1) of a file of one's own, and of a symlink that tells the holder.
#[test]
fn links_exclude() {
    let hard = "rounds=40; lock() { me=$BASHPID; : > $me; until ln $me the.lock 2> /dev/null; do sleep 0.002; done\n\
                test $(stat -c %h $me) = 2; }; unlock() { rm the.lock $me; }";
    contend(&[("ln", "coreutils")], hard);
    let soft = "rounds=40; lock() { me=$BASHPID; until ln -s $me the.lock 2> /dev/null; do sleep 0.002; done; }\n\
                unlock() { test $(readlink the.lock) = $me; rm the.lock; }";
    contend(&[("ln", "coreutils")], soft);
}

/// semantics 2.3, 3.4: creat with mode 0 locks out every other caller; root too, as the file is not his.
#[test]
fn creation_with_mode_zero_excludes() {
    let script = r#"
        cat > try.py <<'END'
import os, sys
os.close(os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0))
END
        as_nobody="setpriv --reuid=nobody --regid=nogroup --clear-groups"
        $as_nobody python3 try.py the.lock
        fails $as_nobody python3 try.py the.lock 2> said; grep -q PermissionError said
        fails python3 try.py the.lock 2> said; grep -q PermissionError said
        cat the.lock
        $as_nobody rm -f the.lock; $as_nobody python3 try.py the.lock
    "#;
    on_mount(&[("python3", "python3"), ("setpriv", "util-linux")], script);
}

/// semantics 2.2, 2.3: mktemp(1), and mkstemp, mkostemps, mkdtemp, tmpfile and tmpnam of the C library, which uses /tmp itself.
#[test]
fn temporary_names_are_private() {
    let script = r#"
        for i in $(seq 1 100); do mktemp; done | sort -u > names; test "$(wc -l < names)" = 100
        test "$(xargs stat -c '%a %u' < names | sort -u)" = '600 0'; xargs rm < names; rm names
        test "$(stat -c %a "$(mktemp -d -t XXXXXX.dir)")" = 700
        mkdir made; cat > made/it.c <<'END'
#define _GNU_SOURCE
#include <assert.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
int main(void) {
    struct stat st;
    char one[] = "/tmp/one.XXXXXX", two[] = "/tmp/two.XXXXXX.c", dir[] = "/tmp/dir.XXXXXX", line[10] = "";
    int a = mkstemp(one), b = mkostemps(two, 2, O_APPEND | O_CLOEXEC);
    assert(a >= 0 && b >= 0 && !fstat(a, &st) && st.st_mode == (S_IFREG | 0600) && st.st_nlink == 1);
    assert(mkdtemp(dir) && !stat(dir, &st) && st.st_mode == (S_IFDIR | 0700));
    assert(write(b, "one", 3) == 3 && !lseek(b, 0, SEEK_SET) && write(b, "two", 3) == 3);
    assert(!fstat(b, &st) && st.st_size == 6);
    FILE *file = tmpfile();
    assert(file && !fstat(fileno(file), &st) && st.st_nlink == 0 && st.st_mode == (S_IFREG | 0600));
    assert(fputs("hello", file) >= 0 && (rewind(file), fgets(line, 10, file)) && !strcmp(line, "hello"));
    assert(!fclose(file) && !unlink(one) && !unlink(two) && !rmdir(dir));
    return 0;
}
END
        gcc -o made/it made/it.c
        unshare -m --propagation private env TMPDIR=/tmp sh -euxc 'mount --bind "$M" /tmp; /tmp/made/it; cd /tmp; mktemp'
        test "$(find "$M" -maxdepth 1 -name 'tmp.*' | wc -l)" = 1
    "#;
    on_both(
        &[("gcc", "gcc"), ("mktemp", "coreutils"), ("unshare", "util-linux")],
        script,
    );
}
