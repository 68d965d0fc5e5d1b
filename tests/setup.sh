#!/usr/bin/env bash
# Installs what the tests need on Debian, as root or through sudo. Fast when nothing is to do; safe to run again.
#
#   tests/setup.sh         everything the tests need
#   tests/setup.sh fuse    only what owltmp itself needs
set -eu
cd "$(dirname "$0")/.."

FUSE_PACKAGES=(fuse3)
TEST_PACKAGES=(
    acl attr binutils bubblewrap coreutils cpio crun dbus dpkg e2fsprogs ed findutils gcc git gzip jq kmod libacl1-dev libc6-dev
    libpam-modules libpam-systemd lockfile-progs login make mawk mount patch perl procmail procps python3 python3-tdb rsync sed shellcheck
    sqlite3 systemd tar tdb-tools tmpreaper uidmap util-linux vim xz-utils
)
TOOLS=(pjdfstest@0.2.2 fsx@0.3.2)

as_root() {
    if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2> /dev/null)" = installed ]
}

install_packages() {
    local missing=() package
    if ! command -v apt-get > /dev/null; then
        echo "setup: no apt-get here; these Debian packages, or the like, are needed: $*" >&2
        return
    fi
    for package in "$@"; do
        installed "$package" || missing+=("$package")
    done
    [ "${#missing[@]}" = 0 ] && return
    echo "setup: installing ${missing[*]}"
    as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}"
}

# udev makes /dev/fuse and gives it to everybody; where there is no udev, so do we.
open_device() {
    if [ ! -e /dev/fuse ]; then
        as_root modprobe fuse || true
        [ -e /dev/fuse ] || as_root mknod /dev/fuse c 10 229
    fi
    [ "$(stat -c %a /dev/fuse)" = 666 ] || as_root chmod 0666 /dev/fuse
}

# By this a connection can be ended. systemd mounts it; where there is none, we do.
mount_control() {
    mountpoint -q /sys/fs/fuse/connections || as_root mount -t fusectl fusectl /sys/fs/fuse/connections ||
        echo "setup: no fusectl at /sys/fs/fuse/connections: a test is left out" >&2
}

# Tests look for these on PATH and in target/tools/bin.
build_tools() {
    local tool name
    for tool in "$@"; do
        name=${tool%@*}
        command -v "$name" > /dev/null && continue
        [ -x "target/tools/bin/$name" ] && continue
        echo "setup: building $tool"
        # Its own target directory, so that no other build's settings or locks matter.
        CARGO_TARGET_DIR=target/tools/build cargo install --quiet --locked --root target/tools "$tool"
    done
}

# Python's own tests come with a version in their name: that of Debian's interpreter, whatever else is on PATH.
python_tests() {
    /usr/bin/python3 -c 'import sys; print("libpython%d.%d-testsuite" % sys.version_info[:2])'
}

install_packages "${FUSE_PACKAGES[@]}"
open_device
mount_control
if [ "${1:-all}" = all ]; then
    install_packages "${TEST_PACKAGES[@]}"
    install_packages "$(python_tests)"
    build_tools "${TOOLS[@]}"
fi
