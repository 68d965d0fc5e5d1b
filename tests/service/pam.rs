//! pam_namespace with an owltmp for each login: real logins of two users, by su and by login(1) under a terminal.

use crate::machine::run;

/// What docs/mounting.md says an administrator does. systemd makes the root shared, so here it is too.
const INSTALL: &str = r#"PREFIX=/usr OWLTMP=/build/owltmp /src/mount-scripts/install.sh; mkdir /etc/owltmp
    useradd -m -s /bin/bash alice; useradd -m -s /bin/bash bob; mkdir -m 1777 /tmp/.X11-unix
    mount --make-rshared /
    grep -v '^#' /usr/share/owltmp/namespace.conf >> /etc/security/namespace.conf
    for service in su login; do echo 'session required pam_namespace.so' >> /etc/pam.d/$service; done
    session_gone() { nothing_left; test -z "$(find /run -name 'owltmp?*')"; test -z "$(find /tmp -name 'mine*')"; }
"#;

fn logins(script: &str) {
    let needs = [
        ("su", "util-linux"),
        ("login", "login"),
        ("script", "bsdutils"),
        ("useradd", "passwd"),
    ];
    run(&needs, &format!("{INSTALL}{script}"));
}

#[test]
fn two_users_do_not_see_each_others_tmp() {
    logins(
        r#"echo shared > /tmp/old
        su - alice -c 'echo secret > /tmp/mine; until test -e /tmp/.X11-unix/end; do sleep 0.02; done; cat /tmp/mine; test ! -e /tmp/mine-too' > /alice &
        until_it pgrep -x owltmp; until_it grep -qs '/tmp fuse.owltmp' /proc/[0-9]*/mounts
        su - bob -c 'ls -A /tmp; id -un; df --output=fstype /tmp; echo > /tmp/mine-too; ls /tmp/mine' | tee /bob || true
        grep -x bob /bob; grep -x .X11-unix /bob; fails grep -E 'mine|old' /bob; grep fuse.owltmp /bob
        fails mounted /tmp; test ! -e /tmp/mine; test -e /tmp/old
        # What is shared is shared.
        su - bob -c 'touch /tmp/.X11-unix/end'
        until_it grep -x secret /alice; wait %1; session_gone"#,
    );
}

#[test]
fn login_under_a_terminal() {
    logins(
        r#"script -qec 'login -f bob' /said <<< 'stat -f -c %T /tmp; ls -Al /tmp > /tmp/mine; tty; exit 7' || true
        grep fuse /said; grep /dev/pts/ /said; session_gone
        # Root has the shared one.
        su - root -c 'touch /tmp/seen'; test -e /tmp/seen"#,
    );
}

#[test]
fn an_instance_lives_as_long_as_something_of_its_session() {
    logins(
        r#"su - alice -c 'echo kept > /tmp/mine; (until test -e /tmp/.X11-unix/end; do sleep 0.02; done; cat /tmp/mine > ~/found) > /dev/null 2>&1 &'
        sleep 0.2; pgrep -x owltmp; touch /tmp/.X11-unix/end; until_it grep kept ~alice/found; session_gone
        # However it ends; and whoever loses the instance does not find itself in the shared directory.
        rm /tmp/.X11-unix/end
        su - alice -c 'exec sleep 1000' & until_it pgrep -x sleep; pkill -9 -x sleep; wait %1 || true; session_gone
        su - alice -c 'cd; until test -e /tmp/.X11-unix/none; do test -e ~/end && break; done; ls /tmp 2> said; mktemp 2>> said' &
        until_it pgrep -x owltmp; until_it pgrep -u alice bash; pkill -9 -x owltmp; touch ~alice/end; wait %1 || true
        grep 'not connected' ~alice/said; session_gone"#,
    );
}

#[test]
fn only_directories_of_root_are_shared_and_a_failure_is_no_session() {
    logins(
        r#"mkdir /etc/secret; as bob ln -s /etc /tmp/.ICE-unix; as bob mkdir /tmp/.other; echo "SHARED='.ICE-unix .other .X11-unix'" > /etc/owltmp/session.conf
        test "$(su - alice -c 'ls -A /tmp')" = .X11-unix; session_gone
        echo OPTIONS=size=3m > /etc/owltmp/session.conf; test "$(su - alice -c 'df --output=size -BM /tmp | tail -n 1 | tr -d " "')" = 3M
        echo OPTIONS=nonsense > /etc/owltmp/session.conf; fails su - alice -c 'touch ~/ran'; fails test -e ~alice/ran
        for words in 'OPTIONS=(' 'exit 0' 'nonsense'; do
            echo "$words" > /etc/owltmp/session.conf; fails su - alice -c 'touch ~/ran'; fails test -e ~alice/ran
        done
        mv /usr/bin/owltmp /; rm /etc/owltmp/session.conf; fails su - alice -c 'touch ~/ran'; fails test -e ~alice/ran; session_gone"#,
    );
}
