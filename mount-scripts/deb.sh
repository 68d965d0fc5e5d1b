#!/bin/sh
# Makes a Debian package of what `cargo build --release` made, and prints its name: mount-scripts/deb.sh [DIRECTORY]
# OWLTMP names another program. The files are those of install.sh.
set -eu
umask 022
output=$(realpath "${1:-target}")
CDPATH='' cd "$(dirname "$0")/.."
OWLTMP=${OWLTMP:-target/release/owltmp}
version=$("$OWLTMP" --version | cut -d ' ' -f 2)
architecture=$(dpkg --print-architecture)
package=$output/owltmp_${version}_$architecture.deb
stage=$(mktemp -d)
trap 'rm -rf "$stage"' EXIT
chmod 755 "$stage"

DESTDIR=$stage PREFIX=/usr HELPERS=/usr/sbin OWLTMP=$OWLTMP mount-scripts/install.sh
strip --strip-unneeded "$stage/usr/bin/owltmp"
gzip -9n "$stage/usr/share/man/man8/owltmp.8"
echo 'License: MIT or Apache-2.0, as you like' > "$stage/usr/share/doc/owltmp/copyright"
mkdir "$stage/DEBIAN"
(cd "$stage" && find usr -type f -exec md5sum {} + > DEBIAN/md5sums)
cat > "$stage/DEBIAN/control" << END
Package: owltmp
Version: $version
Architecture: $architecture
Maintainer: The owltmp authors <owltmp@example.org>
Installed-Size: $(du -sk --exclude=DEBIAN "$stage" | cut -f 1)
Depends: libc6 (>= $(dpkg-query -W -f '${Version}' libc6 | cut -d - -f 1)), libgcc-s1
Recommends: fuse3
Suggests: jq, libpam-modules
Section: admin
Priority: optional
Description: safe temporary filesystem, mounted in place of /tmp
 A FUSE filesystem that does what tmpfs does and keeps promises that no kernel setting keeps: in sticky directories links and
 files of others are not taken for one's own, inode numbers are never used twice, and record locks can be mandatory.
END
# New units are known at once. Nothing is started, stopped or enabled: what is mounted stays, also when the package goes.
for script in postinst postrm; do
    cat > "$stage/DEBIAN/$script" << 'END'
#!/bin/sh
set -e
if [ -d /run/systemd/system ]; then systemctl daemon-reload || true; fi
END
    chmod 755 "$stage/DEBIAN/$script"
done
# Units that are no more are not enabled either.
cat >> "$stage/DEBIAN/postrm" << 'END'
if [ "$1" = purge ] && [ -d /etc/systemd/system ]; then find /etc/systemd/system -path '*.wants/owltmp@*' -xtype l -delete; fi
END
dpkg-deb --root-owner-group --build "$stage" "$package" > /dev/null
echo "$package"
