#!/bin/sh
# Installs or removes everything, without make:
#
#   mount-scripts/install.sh                what `cargo build --release` made, under PREFIX (/usr/local)
#   mount-scripts/install.sh --uninstall    the same files go
#
# PREFIX, DESTDIR (put before every path, for packages), HELPERS (where mount(8) looks for helpers, /sbin) and OWLTMP (the
# program, target/release/owltmp) are taken from the environment.
set -eu
PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-} HELPERS=${HELPERS:-/sbin}
case $DESTDIR in '' | /*) ;; *) DESTDIR=$PWD/$DESTDIR ;; esac
case $PREFIX$HELPERS in
    *[!-A-Za-z0-9/._+]*) echo "install.sh: PREFIX and HELPERS: letters, digits and /._+- only: $PREFIX $HELPERS" >&2; exit 2 ;;
esac
CDPATH='' cd "$(dirname "$0")/.."
OWLTMP=${OWLTMP:-target/release/owltmp}

put() { install -D -m "$1" "$2" "$DESTDIR$3"; }
# Paths of ours in other files are those of packages, with PREFIX=/usr; programs are looked for in PREFIX too.
put_text() {
    sed "s|/usr/lib/owltmp|$PREFIX/lib/owltmp|; s|/usr/share/owltmp|$PREFIX/share/owltmp|
        s|=owltmp |=$PREFIX/bin/owltmp |; s|/usr/local/sbin:|$PREFIX/bin:&|" "$2" | put "$1" /dev/stdin "$3"
}
put_completion() { "$OWLTMP" completions "$1" | put 644 /dev/stdin "$2"; }
put_link() { ln -sf "$1" "$DESTDIR$2"; }
remove() {
    for path; do :; done # the last argument
    rm -f "$DESTDIR$path"
}

# How to treat a file, a text with paths in it, a completion and a link.
each() {
    "$1" 755 "$OWLTMP" "$PREFIX/bin/owltmp"
    "$2" 755 mount-scripts/mount.owltmp "$HELPERS/mount.owltmp"
    "$4" mount.owltmp "$HELPERS/mount.fuse.owltmp"
    "$2" 755 mount-scripts/pam/session-tmp "$PREFIX/lib/owltmp/session-tmp"
    "$2" 644 mount-scripts/pam/namespace.conf "$PREFIX/share/owltmp/namespace.conf"
    "$2" 755 mount-scripts/oci/owltmp-hook "$PREFIX/lib/owltmp/owltmp-hook"
    "$2" 644 mount-scripts/oci/owltmp.json "$PREFIX/share/owltmp/owltmp.json"
    "$2" 644 mount-scripts/systemd/system/owltmp@.service "$PREFIX/lib/systemd/system/owltmp@.service"
    "$2" 644 mount-scripts/systemd/system/owltmp-private@.service "$PREFIX/lib/systemd/system/owltmp-private@.service"
    "$2" 644 mount-scripts/systemd/user/owltmp.service "$PREFIX/lib/systemd/user/owltmp.service"
    "$2" 644 mount-scripts/systemd/owltmp-private.conf "$PREFIX/share/owltmp/owltmp-private.conf"
    "$1" 644 docs/owltmp.8 "$PREFIX/share/man/man8/owltmp.8"
    "$3" bash "$PREFIX/share/bash-completion/completions/owltmp"
    "$3" zsh "$PREFIX/share/zsh/vendor-completions/_owltmp"
    "$3" fish "$PREFIX/share/fish/vendor_completions.d/owltmp.fish"
    for text in README.md docs/*.md docs/*.svg; do
        "$1" 644 "$text" "$PREFIX/share/doc/owltmp/${text##*/}"
    done
}

case ${1:-} in
    '')
        [ -x "$OWLTMP" ] || { echo "install.sh: $OWLTMP: not there: cargo build --release, or name another with OWLTMP" >&2; exit 1; }
        each put put_text put_completion put_link
        ;;
    --uninstall)
        each remove remove remove remove
        for directory in lib/owltmp share/owltmp share/doc/owltmp; do
            rmdir "$DESTDIR$PREFIX/$directory" 2> /dev/null || true
        done
        ;;
    *)
        echo "install.sh: $1: no such option: --uninstall, or none" >&2
        exit 2
        ;;
esac
if [ -z "$DESTDIR" ] && [ -d /run/systemd/system ]; then systemctl daemon-reload; fi
