//! Programs that mount the mount elsewhere, or mount something over it.

use crate::shell::as_user;

use super::on_mount;

/// semantics 1.1: bubblewrap with the mount as its /tmp, as root and as an ordinary user.
#[test]
fn bubblewrap_takes_it_as_tmp() {
    let script = r#"
        inside='echo inside > /tmp/new; ln /tmp/new /tmp/hard; mktemp -d -p /tmp; mv /tmp/hard /tmp/moved; cat /tmp/moved'
        mkdir -m 0777 root user
        bwrap --dev-bind / / --bind "$M/root" /tmp --unshare-pid --die-with-parent sh -euc "$inside"
        test "$(cat root/moved)" = inside
        # Where this kernel lets ordinary users make namespaces.
        if AS_USER unshare -U true; then
            AS_USER bwrap --dev-bind / / --bind "$M/user" /tmp --unshare-user --unshare-pid --die-with-parent sh -euc "$inside"
            test "$(stat -c %U user/moved)" = nobody
        else
            echo 'NOTE: no user namespaces for ordinary users here; only root was tried'
        fi
    "#;
    let said = on_mount(
        &[("bwrap", "bubblewrap"), ("unshare", "util-linux")],
        &script.replace("AS_USER", &as_user("nobody", "nogroup")),
    );
    print_notes(&said);
}

/// semantics 1.1: an overlay with its upper and work directories here: copy up, whiteouts, opaque directories, renames. Since
/// Linux 5.7 a FUSE filesystem may be the upper one if it has d_type, RENAME_WHITEOUT and trusted extended attributes.
#[test]
fn an_overlay_stands_on_it() {
    let script = r#"
        if ! grep -w overlay /proc/filesystems > /dev/null; then
            modprobe overlay || { echo 'NOTE: this kernel has no overlayfs; nothing was tried'; exit 0; }
        fi
        mkdir lower upper work merged lower/dir lower/gone
        seq 1 1000 > lower/file; echo a > lower/dir/a; echo b > lower/dir/b; chmod 4755 lower/file
        setfattr -n user.it -v kept lower/file; setfacl -m u:daemon:r lower/file
        cat > inside.sh <<'END'
set -eux
mount -t overlay overlay -o "lowerdir=$M/lower,upperdir=$M/upper,workdir=$M/work" merged
cd merged
cmp file ../lower/file
echo more >> file; test "$(tail -n 1 file)" = more; test "$(tail -n 1 ../lower/file)" = 1000
getfattr -n user.it file | grep kept; getfacl file | grep daemon
rm dir/a; rmdir gone; mkdir gone; test -z "$(ls gone)"; test "$(ls dir)" = b
mv dir/b moved; mkdir new; mv new newer; ln moved hard; ln -s hard soft; cat soft | grep -x b
mkfifo fifo; mktemp -p .; cp /bin/true true; ./true
test "$(stat -c '%t:%T' ../upper/dir/a)" = 0:0
getfattr -n trusted.overlay.opaque --only-values ../upper/gone | grep -x y
cd ..; umount merged
END
        unshare -m --propagation private bash inside.sh
        test "$(cat upper/moved)" = b; test "$(tail -n 1 upper/file)" = more; test "$(ls lower/dir | wc -l)" = 2
    "#;
    let needs = [
        ("unshare", "util-linux"),
        ("setfattr", "attr"),
        ("setfacl", "acl"),
        ("modprobe", "kmod"),
    ];
    print_notes(&on_mount(&needs, script));
}

/// semantics 3.2, 3.3, 3.4: an overlay works on what lies below it as root, whoever uses it. Its users have the use of what is
/// theirs, files of others are copied up, and links of others are still not followed.
#[test]
fn a_sticky_directory_in_an_overlay() {
    let _off = crate::common::sysctl::off();
    let script = r#"
        if ! grep -w overlay /proc/filesystems > /dev/null; then
            modprobe overlay || { echo 'NOTE: this kernel has no overlayfs; nothing was tried'; exit 0; }
        fi
        mkdir lower upper work merged lower/tmp; chmod 1777 lower/tmp
        echo old > lower/tmp/old; chown games lower/tmp/old; chmod 666 lower/tmp/old
        cat > inside.sh <<'END'
set -eux
mount -t overlay overlay -o "lowerdir=$M/lower,upperdir=$M/upper,workdir=$M/work" merged
cd merged/tmp
as() { user=$1; shift; setpriv --reuid="$user" --regid=daemon --clear-groups "$@"; }
as daemon sh -c 'echo text > own; ln -s own link; cat link; echo more >> own; cat own; mkfifo fifo; (echo it > fifo &); cat < fifo'
as daemon dd if=/dev/zero of=old bs=1 count=1 conv=notrunc,nocreat status=none
test "$(stat -c %U old)" = games; test "$(stat -c %U ../../upper/tmp/old)" = games
as daemon ln own second
fails as games cat link; fails cat link; fails as games ln own third; as games cat own
fails as games sh -c 'echo mine >> own'
cd ../..; umount merged
END
        unshare -m --propagation private bash inside.sh
    "#;
    let needs = [
        ("unshare", "util-linux"),
        ("setpriv", "util-linux"),
        ("modprobe", "kmod"),
    ];
    print_notes(&on_mount(&needs, script));
}

/// semantics 1.1: loop mounts of an image that lies on it, bind mounts over its directories.
#[test]
fn it_can_be_mounted_upon() {
    let script = r#"
        cat > inside.sh <<'END'
set -eux
mkdir a b; echo in-b > b/file; mount --bind b a; cat a/file; fails rmdir a; fails mv a c; umount a; mv a c
mount -t tmpfs inner c; echo hidden > c/file; umount c; test -z "$(ls c)"
truncate -s 32M image; mkfs.ext4 -q -F image; mkdir inner; mount -o loop image inner
cp -a /etc/services /etc/hostname inner/; sync; umount inner; e2fsck -f -n image
END
        unshare -m --propagation private bash inside.sh
    "#;
    on_mount(&[("unshare", "util-linux"), ("mkfs.ext4", "e2fsprogs")], script);
}

/// What a script could not try on this machine, and why.
fn print_notes(said: &str) {
    said.lines()
        .filter(|line| line.starts_with("NOTE"))
        .for_each(|line| println!("{line}"));
}
