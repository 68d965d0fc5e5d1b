//! Editors, sort, perl, and other heavy users of temporary files.

use super::{on_both, on_mount, value};

/// semantics 1.1, 1.3: an external merge sort whose runs go to the mount and are removed again.
#[test]
fn sort_with_large_temporary_files() {
    let script = r#"
        seq 1 700000 | awk '{ print (($1 * 7919) % 700001) " line " $1 }' > input
        sort -n -S 1M -T "$M" --parallel=2 --batch-size=4 input > output
        sort -n -c output; test "$(wc -l < output)" = 700000
        sort -S 1M -T "$M" --compress-program=gzip -u input | wc -l | grep -x 700000
        sort -n -r -S 1M -T "$M" -o input input; tac input | cmp - output
        split -n 7 input part.; cat part.* | cmp - input; rm part.*
        gzip -k input; zcat input.gz | cmp - input; xz -0 -T2 -k output; xz -t output.xz
        test "$(ls | sort | tr '\n' ' ')" = 'input input.gz output output.xz '
    "#;
    on_mount(
        &[
            ("sort", "coreutils"),
            ("awk", "mawk"),
            ("xz", "xz-utils"),
            ("gzip", "gzip"),
        ],
        script,
    );
}

/// semantics 1.1: editors keep swap, backup and temporary files, and replace the original in their own ways.
#[test]
fn editors_save_files() {
    let script = r#"
        seq 1 5000 > file; chmod 0640 file; ln file other
        printf '%s\n' ',s/^4/four/' w q | ed -s file
        test "$(grep -c ^four file)" = 1111; cmp file other
        vim -e -s -u NONE -n --cmd 'set nocompatible' -c 'set directory=. backup backupskip= backupdir=. writebackup' -c '%s/^3/three/' -c wq file
        test "$(grep -c ^three file)" = 1111; test "$(grep -c ^3 file~)" = 1111; test "$(stat -c %a file)" = 640
        vim -e -s -u NONE --cmd 'set nocompatible' -c 'set directory=. updatecount=1' -c 'normal ihello' -c preserve \
            -c 'let s = glob(".*.sw?", 0, 1)' -c 'call writefile(s, "swaps")' -c 'q!' file
        test "$(cat swaps)" = .file.swp; fails test -e .file.swp
        sed -i.bak 's/^5/five/' file; test "$(grep -c ^five file)" = 112; fails test file -ef other
        diff -u file.bak file > change || test $? = 1
        patch -R -s file < change; cmp file file.bak; patch -s -b file < change; cmp file.orig file.bak
        perl -pi -e 's/^five/5/' file; cmp file file.bak
        printf 'a\nb\n' > a; printf 'a\nc\n' > b; printf 'd\nb\n' > c; diff3 -m a c b > /dev/null || test $? = 1
        install -m 0755 -o daemon -g daemon -D a deep/er/a; test "$(stat -c '%a %U' deep/er/a)" = '755 daemon'
    "#;
    on_mount(
        &[
            ("ed", "ed"),
            ("vim", "vim"),
            ("patch", "patch"),
            ("perl", "perl"),
            ("sed", "sed"),
        ],
        script,
    );
}

/// semantics 1.1, 1.3: perl's File::Temp, with thousands of files and handles without a name.
#[test]
fn perl_makes_many_temporary_files() {
    let script = r#"
        cat > it.pl <<'END'
use strict; use warnings; use File::Temp qw(tempfile tempdir); use File::Path qw(remove_tree); use Fcntl qw(:flock SEEK_SET);
my $dir = tempdir(CLEANUP => 1); my %seen;
for my $n (1 .. 3000) {
    my ($handle, $name) = tempfile(DIR => $dir, UNLINK => 0); die "twice: $name" if $seen{$name}++;
    flock($handle, LOCK_EX | LOCK_NB) or die; print $handle "x" x $n; close $handle or die; die unless -s $name == $n;
}
my @entries = glob("$dir/*"); die scalar @entries unless @entries == 3000;
for my $n (1 .. 200) {
    my $handle = tempfile(); print $handle $n; seek($handle, 0, SEEK_SET); my $line = <$handle>; die unless $line == $n;
    open(my $nameless, '+>', undef) or die; print $nameless $n; seek($nameless, 0, SEEK_SET); die unless <$nameless> == $n;
}
END
        perl it.pl; rm it.pl
        echo "left=$(ls -A | wc -l)"
    "#;
    assert_eq!(value(&on_both(&[("perl", "perl")], script), "left"), "0");
}

/// semantics 1.1: a file shared by processes through maps, appends and O_DIRECT.
#[test]
fn writers_share_a_file() {
    let script = r#"
        for p in 1 2 3 4; do (for i in $(seq 1 500); do echo "$p $i" >> log; done) & done; wait
        test "$(sort -u log | wc -l)" = 2000; test "$(wc -l < log)" = 2000
        dd if=/dev/urandom of=data bs=1M count=20 status=none
        dd if=data of=direct bs=64K iflag=direct oflag=direct status=none; cmp data direct
        dd if=data of=sync bs=1M oflag=sync conv=fsync status=none; cmp data sync
        /usr/bin/python3 - <<'END'
import mmap, os
fd = os.open('map', os.O_RDWR | os.O_CREAT); os.ftruncate(fd, 1 << 20)
shared = mmap.mmap(fd, 1 << 20); go, gone = os.pipe()
if os.fork() == 0:
    again = mmap.mmap(os.open('map', os.O_RDWR), 1 << 20)
    for at in range(0, 1 << 20, 4096): again[at:at + 5] = b'child'
    os.write(gone, b'1'); os._exit(0)
os.read(go, 1); os.wait()
assert all(shared[at:at + 5] == b'child' for at in range(0, 1 << 20, 4096))
assert os.pread(fd, 5, 4096) == b'child'
os.pwrite(fd, b'write', 8192); assert shared[8192:8197] == b'write'
os.unlink('map'); shared.flush(); shared.close()
END
    "#;
    on_mount(&[("dd", "coreutils"), ("python3", "python3")], script);
}
