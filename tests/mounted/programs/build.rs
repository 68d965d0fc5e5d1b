//! Compilers, make and package builders.

use super::on_mount;

/// semantics 1.1: gcc without -pipe keeps its assembly and objects in TMPDIR; make runs two at a time; the result runs.
#[test]
fn a_c_project_builds_and_runs() {
    let script = r#"
        mkdir src; cd src
        for i in $(seq 1 40); do
            printf '#include "all.h"\nint f%d(int x) { static char buffer[%d]; buffer[0] = 1; return x + %d * buffer[0]; }\n' \
                "$i" "$((i * 100))" "$i" > "f$i.c"
            echo "int f$i(int);" >> all.h
        done
        { echo '#include <stdio.h>'; echo '#include "all.h"'; echo 'int main(void) { int x = 0;'
          for i in $(seq 1 40); do echo "x = f$i(x);"; done; echo 'printf("sum=%d\n", x); return 0; }'; } > main.c
        cat > Makefile <<'END'
CFLAGS = -O1 -g -fPIC
all: static shared
static: main.o libf.a
	$(CC) -o $@ main.o -L. -l:libf.a
shared: main.o libf.so
	$(CC) -o $@ main.o -L. -l:libf.so -Wl,-rpath,'$$ORIGIN'
libf.a: $(patsubst %.c,%.o,$(wildcard f*.c))
	$(AR) rcs $@ $^
libf.so: $(patsubst %.c,%.o,$(wildcard f*.c))
	$(CC) -shared -flto -o $@ $^
%.o: %.c all.h
	$(CC) $(CFLAGS) -c -o $@ $<
END
        make -j2 all
        test "$(./static)" = sum=820
        test "$(./shared)" = sum=820
        # Nothing is out of date: the times that make compares are right.
        make -q all
        touch f7.c
        fails make -q all
        make -j2 all
        # gcc did use this directory, and left nothing in it.
        gcc -v -c -o f1.o f1.c 2>&1 | grep -F -e "-o $TMPDIR/cc"
        test "$(ls "$TMPDIR")" = src
        make -n all; strip static; ./static
    "#;
    on_mount(&[("gcc", "gcc"), ("make", "make"), ("ar", "binutils")], script);
}

/// semantics 1.1: programs run from the mount: ELF files, scripts, and not while they are being written.
#[test]
fn programs_run_from_it() {
    let script = r#"
        cp /bin/cat cat; echo through | ./cat | grep -x through
        printf '#!/bin/sh\necho "script $1"\n' > script; chmod +x script; test "$(./script one)" = 'script one'
        printf '#!%s/cat\nself\n' "$M" > quine; chmod +x quine; ./quine | grep -x self
        chmod -x script; fails ./script; test "$(sh script two)" = 'script two'
        # A running program can't be written, but can be replaced and removed.
        cp /bin/sleep sleeper
        ./sleeper 1000 & pid=$!
        until [ "$(readlink "/proc/$pid/exe")" = "$M/sleeper" ]; do sleep 0.01; done
        fails bash -c ': > sleeper' 2> said; grep -q 'Text file busy' said
        cp /bin/true new; mv new sleeper; ./sleeper
        kill -0 "$pid"; readlink "/proc/$pid/exe" | grep -F deleted
        kill "$pid"; fails wait "$pid"
        # Open for writing, it can't be run.
        cp /bin/true busy; exec 9>> busy; fails ./busy; exec 9>&-; ./busy
        # By another user, by mode and by ACL.
        chmod 0700 busy; fails setpriv --reuid=nobody --regid=nogroup --clear-groups sh -c ./busy
        setfacl -m u:nobody:rx busy; setpriv --reuid=nobody --regid=nogroup --clear-groups ./busy
    "#;
    on_mount(&[("setfacl", "acl"), ("setpriv", "util-linux")], script);
}

/// semantics 1.1: dpkg-deb builds in TMPDIR, and takes its package apart again with owners and modes.
#[test]
fn a_debian_package_is_built_and_unpacked() {
    let script = r#"
        mkdir -p tree/DEBIAN tree/usr/bin tree/var/lib/it
        printf 'Package: it\nVersion: 1\nArchitecture: all\nMaintainer: it <it@example.org>\nDescription: it\n' \
            > tree/DEBIAN/control
        cp /bin/ls tree/usr/bin/it; chmod 4755 tree/usr/bin/it; ln -s it tree/usr/bin/that
        ln tree/usr/bin/it tree/usr/bin/hard; chown daemon:daemon tree/var/lib/it; chmod 2750 tree/var/lib/it
        dpkg-deb --build -Zgzip tree it.deb
        dpkg-deb --extract it.deb out; dpkg-deb --control it.deb out/DEBIAN
        list() { (cd "$1"; find . -printf '%P %y %m %u:%g %n %l\n' | sort); }
        diff <(list tree) <(list out)
        cmp out/usr/bin/it /bin/ls
        test "$(ls | sort | tr '\n' ' ')" = 'it.deb out tree '
    "#;
    on_mount(&[("dpkg-deb", "dpkg")], script);
}
