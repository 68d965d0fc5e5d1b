//! `mount.owltmp`, the helper of mount(8): every way in which mount(8) and fstab(5) come to it.

use crate::machine::run;

const INSTALL: &str = "
    install /build/owltmp /usr/bin/owltmp; install /src/mount-scripts/mount.owltmp /sbin/mount.owltmp; ln -s mount.owltmp /sbin/mount.fuse.owltmp
    mkdir /mnt/m
    options() { findmnt -n -o OPTIONS --mountpoint \"$1\"; }
";

fn with_helper(script: &str) -> String {
    run(
        &[("mount", "mount"), ("findmnt", "util-linux")],
        &format!("{INSTALL}{script}"),
    )
}

#[test]
fn by_either_type_with_our_options_and_those_of_the_kernel() {
    with_helper(
        "mount -t owltmp owltmp /tmp -o size=2m,mand,mode=1770,noexec
        mounted /tmp; test \"$(stat -c %a /tmp)\" = 1770; test \"$(df --output=size -B1M /tmp | tail -n 1)\" -eq 2
        options /tmp | grep -w nosuid | grep -w nodev | grep -w noexec
        echo it > /tmp/f; chmod 2660 /tmp/f
        umount /tmp; nothing_left
        mount -t fuse.owltmp owltmp /tmp -o ro,noatime -v | grep -F 'mount.owltmp: owltmp mount -o'
        options /tmp | grep -w ro | grep -w noatime; fails touch /tmp/x
        umount /tmp; nothing_left
        mount -r -t owltmp anything /tmp; options /tmp | grep -w ro; umount /tmp; nothing_left",
    );
}

#[test]
fn a_line_of_fstab() {
    with_helper(
        "echo 'owltmp /mnt/m owltmp size=2m,mand,noauto,nofail,_netdev,x-systemd.automount,X-a=b,comment=it,user 0 0' >> /etc/fstab
        echo 'owltmp /tmp fuse.owltmp size=3m 0 0' >> /etc/fstab
        mount -a -t owltmp,fuse.owltmp
        mounted /tmp; fails mounted /mnt/m; options /tmp | grep -w nosuid | grep -w nodev
        mount /mnt/m; options /mnt/m | grep -w noexec | grep -w nosuid | grep -w nodev
        mount -o remount,ro /mnt/m; options /mnt/m | grep -w ro | grep -w nosuid; fails touch /mnt/m/x
        mount -o remount /tmp; mount -o remount,noexec /tmp; options /tmp | grep -w noexec
        fails mount -o remount,size=4m /tmp 2>&1 | grep '^owltmp: option \"size=4m\" is refused'
        sed -i 's/size=3m/size=3072k/' /etc/fstab; mount -o remount,exec /tmp
        sed -i 's/size=3072k/size=4m/' /etc/fstab; fails mount -o remount,ro /tmp 2>&1 | grep '^owltmp: option \"size=4m\" is refused'; touch /tmp/x
        umount /mnt/m; umount -a -t fuse.owltmp; nothing_left",
    );
}

#[test]
fn what_is_mounted_is_not_mounted_again_by_mount_a() {
    with_helper(
        "mkdir '/mnt/a b'; echo 'owltmp /mnt/m owltmp size=2m 0 0' > /etc/fstab; echo 'none /mnt/a\\040b fuse.owltmp size=2m 0 0' >> /etc/fstab
        mount -a; echo > /mnt/m/x; echo > '/mnt/a b/x'
        mount -a; mount -v --all; mount -av -t owltmp; test -e /mnt/m/x; test -e '/mnt/a b/x'; test \"$(grep -c fuse.owltmp /proc/mounts)\" = 2
        # A dead one is said; who asks for a second one by name has it.
        pkill -9 -f 'owltmp mount .*/mnt/m'; until_it fails ls /mnt/m; fails mount -a 2>&1 | grep 'daemon has ended'; owltmp umount /mnt/m; mount -a; mounted /mnt/m
        mount -t owltmp owltmp /mnt/m -o noatime; test \"$(grep -c '/mnt/m fuse.owltmp' /proc/mounts)\" = 2
        umount /mnt/m /mnt/m '/mnt/a b'; nothing_left",
    );
}

#[test]
fn a_remount_changes_what_is_the_kernels_and_names_what_is_not() {
    with_helper(
        "mount -t owltmp owltmp /mnt/m -o size=2m; echo it > /mnt/m/f
        mount -o remount,ro /mnt/m; fails touch /mnt/m/x; cat /mnt/m/f
        options /mnt/m | grep -w nosuid | grep -w nodev
        mount -o remount,rw,noexec,sync,lazytime /mnt/m; touch /mnt/m/x
        options /mnt/m | grep -w noexec | grep -w sync
        mount -o remount,exec,async,nolazytime /mnt/m; options /mnt/m | fails grep -wE 'noexec|sync'
        mount -t owltmp -o remount,ro owltmp /mnt/m; options /mnt/m | grep -w ro; mount -o remount,rw /mnt/m
        mount -f -o remount,ro /mnt/m; touch /mnt/m/x
        for option in size=3m nr_inodes=7 user_size=1m mode=700 uid=3 mand mand=off io=cached symlinks=off noatime dirsync workers=3; do
            status=0; mount -o remount,ro,$option /mnt/m 2> /tmp/said || status=$?
            test $status = 1; test \"$(wc -l < /tmp/said)\" = 1; grep -F \"\\\"$option\\\" is refused\" /tmp/said
            touch /mnt/m/x
        done
        umount /mnt/m; unusual='exclude=\"{a,b}-*\",exclude=c\\d,exclude=it\'\\\'\'s,size=2m'; mount -t owltmp owltmp /mnt/m -o \"$unusual\"
        mount -o \"remount,ro,$unusual\" /mnt/m; fails touch /mnt/m/x; mount -o \"remount,rw,$unusual\" /mnt/m; owltmp status /mnt/m | grep -F 'exclude=\"{a,b}-*\"'
        mount --bind /mnt/m /srv; mount -o remount,bind,ro /srv; fails touch /srv/x; touch /mnt/m/x; umount /srv
        mount --make-shared /mnt/m; mkdir /mnt/n; mount --move /mnt/m /mnt/n
        umount /mnt/n; nothing_left",
    );
}

#[test]
fn odd_characters_are_characters() {
    with_helper(
        r#"cd /tmp; export W=witness; touch $W
        mkdir '/mnt/a b$(rm $W)' /mnt/-o '/mnt/*' $'/mnt/new\nline'
        for place in '/mnt/a b$(rm $W)' /mnt/-o '/mnt/*' $'/mnt/new\nline'; do
            mount -t owltmp owltmp "$place" -o 'x-a=$(rm $W)`rm $W`;rm $W,comment=a "b" '"'*',x-b= -v"
            touch "$place/made"; umount "$place"; fails test -e "$place/made"
        done
        status=0; mount -t owltmp owltmp /mnt/m -o 'size=$(rm $W) *' 2> /tmp/said || status=$?
        test $status = 1; grep -F 'size=$(rm $W) *' /tmp/said; test -e $W
        /sbin/mount.owltmp owltmp /mnt/m -o size=1m -o 'context="a:b:c:s0:c1,c2"'; mounted /mnt/m; umount /mnt/m
        nothing_left"#,
    );
}

/// mount(8), EXTERNAL HELPERS and EXIT STATUS.
#[test]
fn flags_and_exit_status() {
    with_helper(
        "is() { local wanted=$1 status=0; shift; \"$@\" || status=$?; test $status = $wanted; }
        is 1 mount -t owltmp owltmp /mnt/m -o size=nonsense
        is 1 /sbin/mount.owltmp; is 1 /sbin/mount.owltmp owltmp; is 1 /sbin/mount.owltmp owltmp /mnt/m -q; is 1 /sbin/mount.owltmp owltmp /mnt/m more
        is 32 /sbin/mount.owltmp owltmp /mnt/absent; is 32 /sbin/mount.owltmp owltmp /etc/passwd
        mv /usr/bin/owltmp /; is 2 env PATH=/usr/bin:/bin /sbin/mount.owltmp owltmp /mnt/m; mv /owltmp /usr/bin
        is 1 mount -t owltmp owltmp /mnt/m -o nonsense
        mount -s -t owltmp owltmp /mnt/m -o nonsense,ro; options /mnt/m | grep -w ro; umount /mnt/m
        is 1 mount -s -t owltmp owltmp /mnt/m -o size=nonsense
        mount -f -t owltmp owltmp /mnt/m; fails mounted /mnt/m; is 1 mount -f -t owltmp owltmp /mnt/m -o nonsense
        mount -n -t owltmp owltmp /mnt/m; umount /mnt/m
        unshare --mount --propagation private sleep 100 & other=$!
        until_it sh -c \"test $(readlink /proc/self/ns/mnt) != \\$(readlink /proc/$other/ns/mnt)\"
        mount -N $other -t owltmp owltmp /mnt/m; fails mounted /mnt/m; grep '/mnt/m fuse.owltmp' /proc/$other/mounts
        mount -N /proc/$other/ns/mnt -o remount,ro /mnt/m; grep '/mnt/m fuse.owltmp ro' /proc/$other/mounts
        kill -9 $other; nothing_left",
    );
}

#[test]
fn an_ordinary_user_mounts_by_fstab_what_is_theirs() {
    with_helper(
        "echo 'owltmp /mnt/m owltmp size=2m,noauto,user 0 0' >> /etc/fstab; chown nobody /mnt/m
        setpriv --reuid=nobody --regid=nogroup --clear-groups sh -euxc 'mount /mnt/m; touch /mnt/m/x; ls -l /mnt/m; umount /mnt/m'
        fails mounted /mnt/m; nothing_left",
    );
}

#[test]
fn a_daemon_logs_to_whatever_syslog_there_is_by_now() {
    with_helper(
        "listen() { rm -f /dev/log; /usr/bin/python3 -c 'if 1:
            import socket; s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM); s.bind(\"/dev/log\")
            while True: print(s.recv(4096), flush=True)' > \"$1\" & until_it test -S /dev/log; }
        refused() { ln -s /etc/passwd /mnt/m/$1; chown -h nobody /mnt/m/$1; fails cat /mnt/m/$1; }
        mount -t owltmp owltmp /mnt/m; refused unheard
        listen /first; refused one; until_it grep 'refused symlinks.*/one' /first
        kill -9 $!; wait $! || true; listen /second; refused two; until_it grep 'refused symlinks.*/two' /second
        kill $!; umount /mnt/m; nothing_left",
    );
}
