//! The units of mount-scripts/systemd, in a machine of which systemd is process 1.

use crate::machine::{boot, run};
use crate::shell::Need;

const INSTALL: &str = "PREFIX=/usr OWLTMP=/build/owltmp /src/mount-scripts/install.sh; mkdir /etc/owltmp
    useradd -m alice; useradd -m bob
";

/// What scripts say about units.
const WORDS: &str = r#"
of() { systemctl show --value -p "$2" "$1"; }
pid() { of "$1" MainPID; }
inactive() { fails systemctl is-active --quiet "$1"; }
trap 'status=$?; test $status = 0 || journalctl --no-pager -o short-precise -n 80; exit $status' EXIT
in_namespace_of_1() { test "$(readlink "/proc/$1/ns/mnt")" = "$(readlink /proc/1/ns/mnt)"; }
"#;

const NEEDS: [Need; 2] = [("useradd", "passwd"), ("fusermount3", "fuse3")];

fn booted(before: &str, script: &str) -> String {
    boot(&NEEDS, &format!("{INSTALL}{before}"), &format!("{WORDS}{script}"))
}

/// How much systemd finds a unit exposed to what it could do, of 10 (the daemon mounts, looks into /proc and has to be in the
/// machine's mount namespace; a service without any of the directives has 9.6).
const EXPOSURE: &str = "46";

#[test]
fn verified_and_confined() {
    let said = run(
        &[("systemd-analyze", "systemd")],
        &format!(
            "{INSTALL}
            units='owltmp@tmp.service owltmp@var-tmp.service owltmp-private@x.service'
            systemd-analyze verify $units 2>&1 | tee /said; test ! -s /said
            for unit in $units; do systemd-analyze security --offline=true --threshold={EXPOSURE} --no-pager \"$unit\"; done
            mkdir -p /etc/systemd/system/x.service.d; ln -s /usr/share/owltmp/owltmp-private.conf /etc/systemd/system/x.service.d/
            printf '[Service]\\nExecStart=/bin/true\\nPrivateTmp=yes\\n' > /etc/systemd/system/x.service
            systemd-analyze verify x.service 2>&1 | tee /said; test ! -s /said
            XDG_RUNTIME_DIR=/run systemd-analyze --user verify owltmp.service 2>&1 | tee /said; test ! -s /said"
        ),
    );
    said.lines()
        .filter(|line| line.contains("exposure level"))
        .for_each(|line| println!("{line}"));
}

#[test]
fn over_tmp_and_var_tmp_from_early_at_boot_until_stopped() {
    booted(
        r#"echo "OPTIONS='size=64m,mand,io=passthrough,context=\"system_u:object_r:tmp_t:s0:c1,c2\"'" > /etc/owltmp/tmp.conf
        systemctl enable owltmp@tmp.service owltmp@var-tmp.service"#,
        r#"mounted /tmp; mounted /var/tmp; test "$(size_of /tmp)" = 64M
        tr '\0' '\n' < "/proc/$(pid owltmp@tmp)/cmdline" | grep -xF 'size=64m,mand,io=passthrough,context="system_u:object_r:tmp_t:s0:c1,c2"'
        for unit in owltmp@tmp owltmp@var-tmp; do
            in_namespace_of_1 "$(pid $unit)"; test "$(of $unit OOMScoreAdjust)" = -900
            test "$(of $unit ActiveEnterTimestampMonotonic)" -lt "$(of local-fs.target ActiveEnterTimestampMonotonic)"
            test "$(of $unit ActiveEnterTimestampMonotonic)" -lt "$(of systemd-tmpfiles-setup ActiveEnterTimestampMonotonic)"
        done
        test "$(of owltmp@tmp StatusText)" = 'Serving /tmp'
        test -d /tmp/.X11-unix
        # A client that is killed is no matter.
        sh -c 'exec 9> /tmp/held; exec sleep 100' & client=$!; until_it test -e /tmp/held; kill -9 $client; wait $client || true; echo > /tmp/after
        # A daemon that is killed comes again, with a new and empty filesystem.
        before=$(pid owltmp@tmp); kill -9 "$before"
        again() { mounted /tmp && stat -f /tmp && test "$(pid owltmp@tmp)" != "$before"; }
        until_it again; fails test -e /tmp/after; until_it test -d /tmp/.X11-unix; in_namespace_of_1 "$(pid owltmp@tmp)"
        test "$(grep -c ' /tmp fuse.owltmp' /proc/mounts)" = 1
        journalctl -u owltmp@tmp | fails grep 'not an owltmp mount'
        systemctl restart owltmp@tmp; mounted /tmp; test "$(grep -c ' /tmp fuse.owltmp' /proc/mounts)" = 1
        # In use: detached, so that the machine can go down.
        sleep 100 > /tmp/used & systemctl stop owltmp@tmp owltmp@var-tmp
        fails mounted /tmp; fails mounted /var/tmp; nothing_left; systemctl --failed | grep '^0 '
        # What is unmounted by hand stays so.
        systemctl start owltmp@tmp; umount /tmp; until_it inactive owltmp@tmp; fails mounted /tmp"#,
    );
}

/// semantics 3.2, 3.3, 3.4, 5.2: the rules need to look at callers, and hold under all directives.
#[test]
fn the_rules_hold_within_the_units_limits() {
    booted(
        "echo OPTIONS=io=passthrough,user_size=1m > /etc/owltmp/tmp.conf; systemctl enable owltmp@tmp.service",
        r#"mounted /tmp; cd /tmp
        as bob ln -s /etc/passwd link; readlink link; fails cat link; fails as alice sh -c 'echo x >> link'; as bob cat link
        as bob touch file; fails as alice ln file other; fails sh -c 'echo x >> file'; as bob ln file second
        until_it sh -c 'journalctl -u owltmp@tmp | grep "refused symlinks: uid=0"'; journalctl -u owltmp@tmp | grep 'refused squatting'
        fails as alice dd if=/dev/zero of=large bs=1M count=2; as bob dd if=/dev/zero of=fits bs=1k count=1000
        as alice sh -c 'for i in $(seq 300); do echo $i > f$i; done; cat f300; chmod 2600 f1'
        as alice /usr/bin/python3 -c 'import fcntl, time; f = open("f1", "r+"); fcntl.lockf(f, fcntl.LOCK_EX); print("locked", flush=True); time.sleep(60)' > /run/said &
        until_it grep locked /run/said; fails timeout 0.3 cat f1
        owltmp locks /tmp | grep f1; owltmp status /tmp | grep passthrough; as alice owltmp status /tmp; pkill python3
        until_it timeout 0.3 cat f1
        systemctl stop owltmp@tmp; cd /; nothing_left"#,
    );
}

#[test]
fn a_service_with_an_owltmp_of_its_own_in_place_of_private_tmp() {
    booted(
        r#"for name in one two; do
            mkdir -p /etc/systemd/system/$name.service.d
            ln -s /usr/share/owltmp/owltmp-private.conf /etc/systemd/system/$name.service.d/
            printf '[Service]\nUser=%s\nPrivateTmp=yes\nExecStart=sh -c "echo %s > /tmp/mine; exec sleep 1000"\n' \
                "$(test $name = one && echo alice || echo bob)" $name > /etc/systemd/system/$name.service
        done
        echo OPTIONS=size=3m > /etc/owltmp/private.conf"#,
        r#"systemctl start one two
        inside() { echo "/proc/$(pid "$1")/root"; }
        for name in one two; do
            until_it grep -qsx $name "$(inside $name)/tmp/mine"; grep -x $name "$(inside $name)/var/tmp/mine"
            grep ' /tmp fuse.owltmp' "/proc/$(pid $name)/mounts"; test "$(stat -c '%a %u' "$(inside $name)/tmp")" = '1777 0'
            in_namespace_of_1 "$(pid owltmp-private@$name)"
        done
        fails test -e /tmp/mine; fails as alice ls /run/owltmp-private/one; mountpoint /run/owltmp-private/one/tmp
        test "$(size_of /run/owltmp-private/one/tmp)" = 3M
        # The instance ends with the service; the service with its instance.
        systemctl stop one; until_it test ! -e /run/owltmp-private/one; test -e /run/owltmp-private/two
        kill -9 "$(pid owltmp-private@two)"; until_it inactive two
        until_it test ! -e /run/owltmp-private/two; nothing_left"#,
    );
}

#[test]
fn a_users_manager_has_its_own() {
    booted(
        r#"mkdir -p /etc/systemd/system/user@.service.d
        ln -s /usr/share/owltmp/owltmp-private.conf /etc/systemd/system/user@.service.d/"#,
        r#"one=$(id -u alice) two=$(id -u bob); mkdir -p /run/user
        systemctl start "user@$one" "user@$two"
        of_user() { runuser -u "$1" -- env XDG_RUNTIME_DIR="/run/user/$(id -u "$1")" systemd-run --user --wait --collect --pipe --quiet sh -c "$2"; }
        of_user alice 'echo secret > /tmp/mine; grep " /tmp fuse.owltmp" /proc/mounts; id -un' | grep alice
        of_user alice 'cat /tmp/mine' | grep secret; fails of_user bob 'ls /tmp/mine'; fails test -e /tmp/mine
        systemctl stop "user@$one" "user@$two"; nothing_left"#,
    );
}

#[test]
fn a_users_own_unit_needs_no_root() {
    booted(
        "echo OPTIONS=size=2m > /dev/null",
        r#"one=$(id -u alice); systemctl start "user@$one"
        user() { runuser -u alice -- env XDG_RUNTIME_DIR="/run/user/$one" "$@"; }
        user systemctl --user enable --now owltmp.service
        user systemd-run --user --wait --collect --pipe --quiet sh -c 'mktemp; df $TMPDIR' | grep "/run/user/$one/tmp/tmp\\."
        grep "/run/user/$one/tmp fuse.owltmp" /proc/mounts; fails ls "/run/user/$one/tmp"
        pkill -9 -x owltmp; until_it user sh -c "mktemp -p /run/user/$one/tmp"
        user systemctl --user stop owltmp.service; fails grep "/run/user/$one/tmp " /proc/mounts
        user systemctl --user show-environment | fails grep TMPDIR; nothing_left"#,
    );
}

#[test]
fn a_wrong_option_is_said_once_and_the_machine_boots() {
    booted(
        "echo OPTIONS=nonsense > /etc/owltmp/tmp.conf; systemctl enable owltmp@tmp.service",
        r#"systemctl is-failed owltmp@tmp; test "$(journalctl -o cat -u owltmp@tmp | grep -c 'unknown option "nonsense"')" = 1
        test "$(of local-fs.target ActiveState)" = active; fails mounted /tmp"#,
    );
}

#[test]
fn a_place_and_a_service_with_a_dash_and_a_space() {
    booted(
        r#"mkdir -p '/srv/a-b c' /etc/owltmp/srv; echo OPTIONS=size=3m > '/etc/owltmp/srv/a-b c.conf'
        mkdir -p '/etc/systemd/system/x\x20y@a\x2db.service.d'
        ln -s /usr/share/owltmp/owltmp-private.conf '/etc/systemd/system/x\x20y@a\x2db.service.d/'; echo OPTIONS=size=4m > '/etc/owltmp/x y@a-b.conf'
        # Not simple: that one counts as started before it is in its namespace.
        printf '[Service]\nType=exec\nExecStart=sleep 1000\n' > '/etc/systemd/system/x\x20y@a\x2db.service'"#,
        r#"unit="owltmp@$(systemd-escape --path '/srv/a-b c')"; systemctl start "$unit"; test "$(size_of '/srv/a-b c')" = 3M; systemctl stop "$unit"
        systemctl start 'x\x20y@a\x2db'; nsenter -t "$(pid 'x\x20y@a\x2db')" -m df --output=size -BM /tmp | grep ' 4M'; systemctl stop 'x\x20y@a\x2db'; nothing_left"#,
    );
}

#[test]
fn a_line_of_fstab_is_a_unit() {
    // With nofail the boot does not wait for it.
    booted(
        "mkdir /srv/m; echo 'owltmp /srv/m owltmp size=2m,nofail,x-systemd.mount-timeout=10s 0 0' >> /etc/fstab",
        r#"systemctl start srv-m.mount; mounted /srv/m; test "$(size_of /srv/m)" = 2M; test "$(of srv-m.mount ActiveState)" = active; pgrep -x owltmp; echo > /srv/m/x
        systemctl daemon-reload; mount -o remount,ro /srv/m; fails touch /srv/m/x; mount -o remount,rw /srv/m; touch /srv/m/x
        systemctl reload srv-m.mount; test -e /srv/m/x; systemctl stop srv-m.mount; fails mounted /srv/m; nothing_left; systemctl --failed | grep '^0 '"#,
    );
}

/// sd_notify(3) where the daemon is not what was started: it is named, and what is waited for is its mount.
#[test]
fn a_daemon_that_goes_into_the_background_is_known() {
    booted(
        r#"mkdir /srv/m; printf '[Service]\nType=notify\nExecStart=owltmp mount /srv/m\n' > /etc/systemd/system/m.service"#,
        r#"systemctl start m; mounted /srv/m; test "$(cat "/proc/$(pid m)/comm")" = owltmp; test "$(of m StatusText)" = 'Serving /srv/m'
        systemctl stop m; fails mounted /srv/m; nothing_left; systemctl --failed | grep '^0 '"#,
    );
}
