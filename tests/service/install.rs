//! `install.sh` and the Debian package: installed, used and removed.

use crate::machine::run;

/// What of everything is used here; the rest is in the lists.
const USE: &str = "
    owltmp --version | grep '^owltmp '
    mount -t owltmp owltmp /tmp -o size=2m; mounted /tmp; mount -o remount,ro /tmp; umount /tmp; nothing_left
    bash -c '. \"$(ls -d /usr/local/share/bash-completion/completions/owltmp /usr/share/bash-completion/completions/owltmp 2> /dev/null)\"; complete -p owltmp'
";

#[test]
fn a_prefix_is_filled_and_emptied() {
    let script = format!(
        "cd /; everything() {{ find / -xdev -newer /stamp ! -type d \\( -path '/usr/*' -o -path '/etc/*' -o -path '/sbin/*' \\); }}
        touch /stamp; sleep 0.01
        OWLTMP=/build/owltmp /src/mount-scripts/install.sh
        export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
        everything | sort | tee /tmp/list
        for path in bin/owltmp lib/systemd/system/owltmp@.service lib/systemd/user/owltmp.service share/man/man8/owltmp.8 \\
            share/zsh/vendor-completions/_owltmp share/doc/owltmp/mounting.md; do grep -x /usr/local/$path /tmp/list; done
        grep -x /usr/sbin/mount.owltmp /tmp/list; cp /tmp/list /list
        fails grep -r /usr/lib/owltmp /usr/local/lib/owltmp /usr/local/share/owltmp
        {USE}
        /src/mount-scripts/install.sh --uninstall
        for path in $(cat /list); do fails test -e $path -o -L $path; done
        test -z \"$(find /usr/local -name '*owltmp*')\"
        status=0; /src/mount-scripts/install.sh --nonsense || status=$?; test $status = 2
        status=0; OWLTMP=/absent /src/mount-scripts/install.sh || status=$?; test $status = 1
        status=0; PREFIX='/srv/o w' OWLTMP=/build/owltmp /src/mount-scripts/install.sh || status=$?; test $status = 2; fails test -e '/srv/o w'
        mkdir -p /elsewhere/mount-scripts; cd /src
        CDPATH=/elsewhere DESTDIR=/tmp/found OWLTMP=/build/owltmp sh mount-scripts/install.sh; test -x /tmp/found/usr/local/bin/owltmp"
    );
    run(&[("install", "coreutils")], &script);
}

#[test]
fn a_staged_tree_has_nothing_of_this_machine() {
    run(
        &[],
        "DESTDIR=/tmp/stage PREFIX=/srv/owl HELPERS=/srv/owl/sbin OWLTMP=/build/owltmp /src/mount-scripts/install.sh
        test -z \"$(find /tmp/stage -type f ! -path '/tmp/stage/srv/owl/*')\"
        grep -F iscript=/srv/owl/lib/owltmp/session-tmp /tmp/stage/srv/owl/share/owltmp/namespace.conf
        test -x \"$(grep -o '/srv[^\"]*owltmp-hook' /tmp/stage/srv/owl/share/owltmp/owltmp.json | sed s,^,/tmp/stage,)\"
        DESTDIR=/tmp/stage PREFIX=/srv/owl HELPERS=/srv/owl/sbin /src/mount-scripts/install.sh --uninstall
        test -z \"$(find /tmp/stage ! -type d)\"
        cd /tmp; DESTDIR=here OWLTMP=/build/owltmp /src/mount-scripts/install.sh; test -x here/usr/local/bin/owltmp",
    );
}

#[test]
fn a_prefix_of_its_own_is_found() {
    run(
        &[("systemd-analyze", "systemd")],
        "export PREFIX=/srv/owl; OWLTMP=/build/owltmp /src/mount-scripts/install.sh
        export PATH=/usr/sbin:/usr/bin MANPATH=/srv/owl/share/man:
        mount -t owltmp owltmp /mnt -o size=2m; mounted /mnt; umount /mnt; nothing_left
        systemd-analyze verify $PREFIX/lib/systemd/system/owltmp@.service 2>&1 | fails grep 'not executable'
        for script in session-tmp owltmp-hook; do grep '^export PATH=/srv/owl/bin:' $PREFIX/lib/owltmp/$script; done",
    );
}

#[test]
fn a_debian_package_is_made_installed_used_and_removed() {
    let script = format!(
        "package=$(umask 077; OWLTMP=/build/owltmp /src/mount-scripts/deb.sh /tmp); mv \"$package\" /owltmp.deb
        dpkg-deb --info /owltmp.deb; dpkg-deb --contents /owltmp.deb
        dpkg-deb --contents /owltmp.deb | fails grep -v ' root/root '
        for path in bin/owltmp sbin/mount.owltmp sbin/mount.fuse.owltmp lib/owltmp/session-tmp lib/owltmp/owltmp-hook \\
            lib/systemd/system/owltmp@.service share/man/man8/owltmp.8.gz share/fish/vendor_completions.d/owltmp.fish; do
            dpkg-deb --contents /owltmp.deb | grep -F \" ./usr/$path\"
        done
        export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
        dpkg --install /owltmp.deb; dpkg --verify owltmp
        test \"$(command -v owltmp)\" = /usr/bin/owltmp; man -w owltmp || test -e /usr/share/man/man8/owltmp.8.gz
        {USE}
        systemctl enable owltmp@tmp.service
        dpkg --purge owltmp
        fails dpkg-query -W owltmp; fails mount -t owltmp owltmp /tmp; test -z \"$(find /usr /etc -xdev -name '*owltmp*')\"
        rm -r /etc/systemd/system; dpkg --install /owltmp.deb; dpkg --purge owltmp"
    );
    run(&[("dpkg-deb", "dpkg"), ("strip", "binutils")], &script);
}
