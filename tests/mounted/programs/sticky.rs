//! The rules of sticky directories (semantics 3) are in nobody's way who does nothing wrong: programs of several users on one 1777
//! owltmp, with `fs.protected_*` all 0. Whatever is refused here is refused by owltmp, and should not be.

use std::os::unix::fs::symlink;

use crate::common::{Mount, sysctl};
use crate::shell::{self, Need};

/// `as USER command`, and what users and root have left on the mount: own files, links to their own, to each other's and nowhere.
const FUNCTIONS: &str = r#"
    as() { local user=$1; shift; setpriv --reuid="$user" --regid="$user" --clear-groups env HOME="$M" TMPDIR="$M" "$@"; }
    export -f as
    furnish() {
        for user in daemon games; do
            as "$user" bash -euc 'mkdir "of-$1"; seq 1 1000 > "of-$1/file"; ln -s "of-$1/file" "link-$1"; ln -s "of-$1" "dir-$1"
                ln -s nowhere "dangling-$1"; ln -s file "of-$1/inner"; mkfifo "fifo-$1"; ln "of-$1/file" "of-$1/hard"' - "$user"
        done
        mkdir of-root; echo text > of-root/file; ln -s of-root/file link-root; ln -s of-root dir-root
    }
"#;

const SETPRIV: Need = ("setpriv", "util-linux");

/// Runs a script on a mount of its own, and expects that nothing was refused to anybody but what `refused` says.
fn on_sticky(needs: &[Need], script: &str) -> String {
    let _off = sysctl::off();
    let mount = Mount::new("");
    let said = shell::script(
        mount.path(),
        &[needs, &[SETPRIV]].concat(),
        &format!("{FUNCTIONS}{script}"),
    );
    let refused = mount.stderr();
    assert!(!refused.contains("refused"), "{refused}");
    said
}

/// semantics 3.2: looking at links of others is no following: ls, stat, find, readlink, du, test -L; one's own and root's lead on.
#[test]
fn listing_and_reading_links_of_others() {
    let script = r#"
        furnish
        for user in daemon games nobody root; do
            group=$(id -gn "$user")
            look() { setpriv --reuid="$user" --regid="$group" --clear-groups "$@"; }
            test "$(look ls -l | grep -c -e '->')" = 8
            look ls -la --color=always > /dev/null
            look stat -c '%N %U' link-daemon link-games dangling-daemon | grep -F "'link-daemon' -> 'of-daemon/file' daemon"
            look find . -ls > /dev/null
            look find . -type l -printf '%p %l\n' | grep -x './dir-games of-games'
            test "$(look readlink link-games)" = of-games/file
            look test -L dir-games
            look du -s . > /dev/null
            look cat link-root dir-root/file | grep -c text | grep -x 2
        done
        for user in daemon games; do
            test "$(as "$user" wc -l < "of-$user/file")" = 1000
            as "$user" bash -euc 'test "$(wc -l < "link-$1")" = 1000; cd "dir-$1"; cat inner > /dev/null
                cat "../dir-$1/inner" ../link-root > /dev/null; realpath "../dir-$1/inner"; echo more >> "../link-$1"' - "$user"
        done
    "#;
    on_sticky(&[], script);
}

/// semantics 3.2, 3.3: cp -a, tar and rsync take everybody's links with them, hard links too, as root and as a user.
#[test]
fn copies_of_what_others_own() {
    let script = r#"
        furnish; rm fifo-*
        list() { (cd "$1"; find . -mindepth 1 -printf '%P %y %m %U:%G %n %l\n' | LC_ALL=C sort); }
        mkdir "$OUTSIDE/copy" "$OUTSIDE/synced" "$OUTSIDE/unpacked"
        cp -a . "$OUTSIDE/copy/"; diff <(list .) <(list "$OUTSIDE/copy")
        rsync -aH --numeric-ids ./ "$OUTSIDE/synced/"; diff <(list .) <(list "$OUTSIDE/synced")
        tar -cf "$OUTSIDE/all.tar" .; tar -C "$OUTSIDE/unpacked" -xpf "$OUTSIDE/all.tar"; diff <(list .) <(list "$OUTSIDE/unpacked")
        # And back into the sticky directory, over what is there.
        rsync -aH --numeric-ids --delete "$OUTSIDE/copy/" ./; tar -xpf "$OUTSIDE/all.tar"; cp -a "$OUTSIDE/copy" again
        diff <(list .  | grep -v '^again') <(list again)
        # A user gets copies of his own.
        as games bash -euc 'mkdir mine; cp -a of-daemon link-daemon dangling-daemon mine/; tar -cf mine.tar of-daemon link-daemon
            mkdir mine/out; tar -C mine/out -xf mine.tar; rsync -a of-daemon link-daemon mine/out/; test -L mine/out/link-daemon
            cp -al of-games linked; test "$(stat -c %h of-games/file)" = 4; sort -T . of-daemon/file | head -n 1 > /dev/null'
        as daemon bash -euc 'mv of-daemon moved; ln -sfn moved/file link-daemon; wc -l link-daemon; rm -r moved'
    "#;
    let outside = tempfile::tempdir().unwrap();
    let script = format!("OUTSIDE='{}'\n{script}", outside.path().display());
    on_sticky(&[("rsync", "rsync"), ("tar", "tar")], &script);
}

/// semantics 3.2, 3.3: git makes, clones (with hard links and through a symlink of its own) and packs, two users side by side.
#[test]
fn repositories_of_two_users() {
    let script = r#"
        work() {
            cd "$M"; mkdir "repository-$1"; cd "repository-$1"
            git init -q; git config user.name it; git config user.email it@example.org
            for i in 1 2 3 4 5; do mkdir -p "d$i"; seq 1 "$((i * 100))" > "d$i/file"; ln -s "d$i/file" "link$i"; git add -A
                git commit -q -m "$i"; done
            ln -s d1 directory; git add -A; git commit -q -m links; cat directory/file > /dev/null
            git clone -q "$M/repository-$1" "$M/clone-$1"; ln -s "clone-$1" "$M/by-link-$1"; cd "$M/by-link-$1"
            test "$(git rev-list --count HEAD)" = 6; git status --porcelain | wc -l | grep -x 0
            git gc -q; git fsck --strict; git checkout -q -b branch HEAD~2; git checkout -q -; git stash list
            git worktree add -q "$M/tree-$1" branch; cat "$M/tree-$1/link1" > /dev/null; git archive HEAD | tar -t > /dev/null
        }
        export -f work
        as daemon bash -euc 'work daemon' & pid=$!
        as games bash -euc 'work games'
        wait "$pid"
        work root
    "#;
    on_sticky(&[("git", "git")], script);
}

/// semantics 3.2, 3.4: programs that make temporary files, as users and as root: mktemp, sort, here documents, root's own links.
#[test]
fn temporary_files_of_everybody() {
    let script = r#"
        work() {
            cd "$M"; file=$(mktemp); echo text > "$file"; echo more >> "$file"; dir=$(mktemp -d); ln -s "$file" "$dir/link"; cat "$dir/link"
            ln -s "$dir" "$dir.link"; echo through > "$dir.link/new"; cat "$dir.link/new" <<< here > /dev/null; : > "$dir.link/new"
            seq 1 100000 | sort -S 1M -n | tail -n 1; python3 -c '
import tempfile, os, sys
with tempfile.NamedTemporaryFile() as file, tempfile.TemporaryDirectory() as place, tempfile.TemporaryFile():
    open(file.name, "w").close(); os.symlink(file.name, place + "/l"); open(place + "/l").close()
    os.link(file.name, place + "/hard")'
            echo again > "$file"; tee "$file" < /dev/null; gzip -k "$dir/new"; perl -i -pe 's/a/b/' "$dir/new"; rm -r "$dir" "$dir.link" "$file"
        }
        export -f work
        as daemon bash -euc work; as games bash -euc work; work
        # Root keeps what is root's: files and links in root's directory are for everybody.
        echo shared > roots; chmod 666 roots; ln -s roots link; mkfifo -m 666 pipe
        as daemon bash -euc 'echo by-daemon > roots; echo more >> link; grep more link; exec 3<> pipe; echo x > pipe; read -r line <&3'
    "#;
    on_sticky(&[("python3", "python3"), ("perl", "perl")], script);
}

/// semantics 3.2: X11's directories: 1777 and root's, with a socket of root's that users connect to, and one of a user's own.
#[test]
fn display_directories() {
    let script = r#"
        mkdir -m 1777 .X11-unix .ICE-unix .font-unix
        cat > "$OUTSIDE/serve.py" <<'END'
import os, socket, sys
server = socket.socket(socket.AF_UNIX); server.bind(sys.argv[1]); os.chmod(sys.argv[1], 0o777); server.listen(9)
open(sys.argv[2], 'w').close()
for _ in range(int(sys.argv[3])):
    peer, _ = server.accept(); peer.sendall(b'welcome'); peer.close()
END
        cat > "$OUTSIDE/connect.py" <<'END'
import socket, sys
client = socket.socket(socket.AF_UNIX); client.connect(sys.argv[1]); assert client.recv(10) == b'welcome'
END
        mkdir -m 1777 "$OUTSIDE/ready"
        python3 "$OUTSIDE/serve.py" "$M/.X11-unix/X0" "$OUTSIDE/ready/0" 4 & root=$!
        as games python3 "$OUTSIDE/serve.py" "$M/.X11-unix/X1" "$OUTSIDE/ready/1" 3 & user=$!
        until [ -e "$OUTSIDE/ready/0" ] && [ -e "$OUTSIDE/ready/1" ]; do sleep 0.01; done
        ln -s .X11-unix/X0 display
        for place in .X11-unix/X0 .X11-unix/X1; do
            for who in daemon games; do as "$who" python3 "$OUTSIDE/connect.py" "$M/$place"; done
            python3 "$OUTSIDE/connect.py" "$M/$place"
        done
        as daemon python3 "$OUTSIDE/connect.py" "$M/display"
        wait "$root" "$user"
        as games rm .X11-unix/X1; fails as daemon rm .X11-unix/X0; rm .X11-unix/X0
    "#;
    let outside = tempfile::tempdir().unwrap();
    std::fs::set_permissions(outside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let script = format!("OUTSIDE='{}'\n{script}", outside.path().display());
    on_sticky(&[("python3", "python3")], &script);
}

/// What a cleaner is to find: old things of everybody's, links among them, that go, and new ones and what they lead to, that stay.
const OLD_THINGS: &str = r#"
    furnish
    ln -s "$OUTSIDE/kept" outside; as games ln -s "$OUTSIDE" games-outside; as games ln -s / games-root
    as daemon mkdir -p nest/of/directories; as daemon touch nest/of/directories/file
    find . -mindepth 1 -depth -exec touch -h -d '2001-02-03 04:05:06' {} +
    as daemon touch new; as daemon ln -s "$OUTSIDE/kept" new-link
"#;

/// Links that leave the mount lead to these, which must stay as they are.
fn with_outside(run: impl Fn(&str)) {
    let outside = tempfile::tempdir().unwrap();
    let kept = outside.path().join("kept");
    std::fs::write(&kept, "kept").unwrap();
    symlink("kept", outside.path().join("link")).unwrap();
    std::fs::set_permissions(outside.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    run(&format!("OUTSIDE='{}'\n{OLD_THINGS}", outside.path().display()));
    assert_eq!(std::fs::read_to_string(kept).unwrap(), "kept");
    assert!(outside.path().join("link").is_symlink());
}

/// semantics 3.2: systemd-tmpfiles takes what is old, links as such, and nothing else.
#[test]
fn systemd_tmpfiles_cleans() {
    with_outside(|prepare| {
        // By a configuration of our own, with nothing in it but the mount.
        let script = r#"
            printf 'd %s 1777 root root mM:10d\nX %s/dangling-games\n' "$M" "$M" > "$OUTSIDE/it.conf"
            SYSTEMD_LOG_LEVEL=warning systemd-tmpfiles --clean --prefix="$M" "$OUTSIDE/it.conf"
            ls -lA > "$OUTSIDE/left"; cat "$OUTSIDE/left"
            test "$(ls -A | sort | tr '\n' ' ')" = 'dangling-games new new-link '
        "#;
        on_sticky(&[("systemd-tmpfiles", "systemd")], &format!("{prepare}{script}"));
    });
}

/// semantics 3.2: and so does tmpreaper.
#[test]
fn tmpreaper_cleans() {
    with_outside(|prepare| {
        // It goes by the time of access of files, and removes neither sockets nor FIFOs nor links unless told to.
        let script = r#"
            tmpreaper --symlinks --all --mtime --mtime-dir --verbose=1 10d "$M"
            ls -A > "$OUTSIDE/left"
            test "$(ls -A | sort | tr '\n' ' ')" = 'new new-link '
        "#;
        on_sticky(&[("tmpreaper", "tmpreaper")], &format!("{prepare}{script}"));
    });
}

/// semantics 3.2, 3.3, 3.4: a package is built with TMPDIR there by a user, and installed by root into a root that lies there.
#[test]
fn packages_are_built_and_installed() {
    let script = r#"
        build() {
            cd "$(mktemp -d)"; mkdir -p tree/DEBIAN tree/usr/share/it tree/etc
            printf 'Package: it\nVersion: %s\nArchitecture: all\nMaintainer: it <it@example.org>\nDescription: it\n' "$1" > tree/DEBIAN/control
            printf '#!/bin/sh\nset -e\ntmp=$(mktemp); echo done > "$tmp"; ln -s "$tmp" "$tmp.link"; cat "$tmp.link"; rm "$tmp" "$tmp.link"\n' \
                > tree/DEBIAN/postinst; chmod 755 tree/DEBIAN/postinst; echo /etc/it.conf > tree/DEBIAN/conffiles; echo conf > tree/etc/it.conf
            seq 1 5000 > tree/usr/share/it/file; ln tree/usr/share/it/file tree/usr/share/it/hard; ln -s file tree/usr/share/it/link
            ln -s /usr/share/it tree/etc/directory
            dpkg-deb --root-owner-group --build -Zxz tree "$M/it-$1.deb"
        }
        export -f build
        as games bash -euc 'build 1; build 2'
        mkdir -p root/var/lib/dpkg/info root/var/lib/dpkg/updates root/var/lib/dpkg/triggers; : > root/var/lib/dpkg/status
        install() { dpkg --root="$M/root" --force-script-chrootless --force-not-root --log="$OUTSIDE/log" "$@"; }
        install -i it-1.deb; cmp root/usr/share/it/link root/usr/share/it/hard
        install -i it-2.deb; install -s it | grep -x 'Version: 2'; install --verify it
        install --purge it; fails test -e root/usr/share/it
    "#;
    let outside = tempfile::tempdir().unwrap();
    let script = format!("OUTSIDE='{}'\n{script}", outside.path().display());
    on_sticky(&[("dpkg", "dpkg"), ("dpkg-deb", "dpkg")], &script);
}
