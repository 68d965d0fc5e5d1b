//! Containers: an owltmp bound into them, one for each by an OCI hook, user namespaces with mapped ids, rootless ones; and the
//! rules between the machine's users and theirs.

use crate::machine::run;
use crate::shell::Need;

const NEEDS: [Need; 4] = [
    ("crun", "crun"),
    ("jq", "jq"),
    ("bwrap", "bubblewrap"),
    ("newuidmap", "uidmap"),
];

/// A bundle is the machine's own programs around a directory of its own; `crun` does without control groups, whose devices take
/// a right that root of some machines lacks.
const WORDS: &str = r#"
PREFIX=/usr OWLTMP=/build/owltmp /src/mount-scripts/install.sh
useradd -m -s /bin/bash alice; useradd -m -s /bin/bash bob; mkdir /srv/m
# bundle NAME COMMAND [FILTER...]: makes /b/NAME, with the mounts and hooks that the filters of jq add.
bundle() {
    local name=$1 command=$2 filter all='.'; shift 2
    mkdir -p "/b/$name/rootfs/tmp" "/b/$name/rootfs/usr" "/b/$name/rootfs/lib" "/b/$name/rootfs/lib64" "/b/$name/rootfs/etc" \
        "/b/$name/rootfs/proc" "/b/$name/rootfs/dev" "/b/$name/rootfs/sys"
    for filter; do all="$all | $filter"; done
    (cd "/b/$name" && rm -f config.json && crun spec && jq --arg command "$command" '
        def bind(from; to): .mounts += [{destination: to, source: from, type: "bind", options: ["rbind"]}];
        .process.terminal = false | .root.readonly = false | .process.args = ["/usr/bin/sh", "-euc", $command]
        | .process.env = ["PATH=/usr/bin:/usr/sbin"] | del(.process.rlimits, .linux.resources)
        | bind("/usr"; "/usr") | bind("/lib"; "/lib") | bind("/lib64"; "/lib64") | bind("/etc"; "/etc") | '"$all" config.json > new && mv new config.json)
}
start() { (cd "/b/$1" && crun --cgroup-manager=disabled run "$1"); }
MAPPED='.linux.namespaces += [{type: "user"}] | .linux.uidMappings = [{containerID: 0, hostID: 100000, size: 65536}]
    | .linux.gidMappings = .linux.uidMappings'
HOOKED='.hooks = ({path: "/usr/lib/owltmp/owltmp-hook", args: ["owltmp-hook", "size=5m"]} | {createRuntime: [.], poststop: [.]})'
BOUND='bind("/srv/m"; "/tmp")'
"#;

fn contained(script: &str) {
    run(&NEEDS, &format!("{WORDS}{script}"));
}

#[test]
fn a_hook_makes_one_for_each_container() {
    contained(
        r#"look='grep " /tmp fuse.owltmp" /proc/mounts; stat -c %a:%u:%g /tmp; df --output=size -BM /tmp; ls -A /tmp; echo > /tmp/mine'
        bundle one "$look; until test -e /tmp/end; do sleep 0.02; done" "$HOOKED"; bundle two "$look" "$HOOKED"
        bundle mapped "$look; touch /tmp/x; stat -c %u /tmp/x" "$HOOKED" "$MAPPED"
        start one > /one & until_it grep ' 5M' /one
        test -e /run/owltmp-containers/one; fails mounted /b/one/rootfs/tmp; test -z "$(ls -A /b/one/rootfs/tmp)"
        start two | tee /two; grep 1777:0:0 /two; grep ' 5M' /two; fails grep mine /two
        start mapped | tee /mapped; grep 1777:0:0 /mapped; grep -x 0 /mapped
        until_it pgrep -x owltmp; test "$(pgrep -cx owltmp)" = 1
        crun kill one KILL || true; wait %1 || true; crun delete -f one || true
        nothing_left; until_it test -z "$(ls /run/owltmp-containers)""#,
    );
}

#[test]
fn a_hook_that_cannot_starts_no_container() {
    contained(
        r#"bundle link 'touch /ran' "$HOOKED"; rmdir /b/link/rootfs/tmp; ln -s /etc /b/link/rootfs/tmp
        fails start link; test ! -e /b/link/rootfs/ran
        for state in '{}' null '{"id":"x","status":"created","bundle":"/b/link"}' ''; do
            (echo "$state" | fails /usr/lib/owltmp/owltmp-hook) 2>&1 | grep 'owltmp-hook: no \..* in the state'
        done
        # One that comes while the hook is at work.
        bundle race 'touch /ran' "$HOOKED"
        mv /usr/bin/owltmp /owltmp; printf '#!/bin/sh\nrmdir /b/race/rootfs/tmp; ln -s ../../../etc /b/race/rootfs/tmp; exec /owltmp "$@"\n' > /usr/bin/owltmp
        chmod 755 /usr/bin/owltmp; fails start race; test ! -e /b/race/rootfs/ran; fails mounted /etc; mv /owltmp /usr/bin/owltmp; until_it no_daemon
        bundle bad 'touch /ran' "$HOOKED" '.hooks.createRuntime[0].args[1] = "size=nonsense"'; fails start bad; test ! -e /b/bad/rootfs/ran
        # A namespace that somebody keeps does not keep the daemon for longer than the container.
        bundle kept 'echo up > /tmp/up; exec sleep 1000' "$HOOKED"; (cd /b/kept; crun --cgroup-manager=disabled run --detach kept)
        pid=$(crun state kept | jq .pid); until_it test -e "/proc/$pid/root/tmp/up"
        nsenter --mount="/proc/$pid/ns/mnt" --root="/proc/$pid/root" /usr/bin/sleep 1000 &
        # Nor does the end of a container whose process had the number before.
        unshare --mount --propagation private sleep 1000 & until_it sh -c "test $(readlink /proc/self/ns/mnt) != \$(readlink /proc/$!/ns/mnt)"
        echo "/proc/$!/ns/mnt" > "/run/owltmp-containers/of old"; echo "/proc/$pid/ns/mnt" > /run/owltmp-containers/other
        state() { jq -n --arg id "$1" --argjson pid "$2" --arg status "$3" '{id: $id, pid: $pid, status: $status, bundle: "/b/kept"}'; }
        state reused $! created | /usr/lib/owltmp/owltmp-hook; test ! -e '/run/owltmp-containers/of old'; test -e /run/owltmp-containers/other
        state 'of old' 0 stopped | /usr/lib/owltmp/owltmp-hook; pgrep -f "owltmp mount -N /proc/$!/ns/mnt"; kill $!; rm /run/owltmp-containers/other
        crun delete -f kept; until_it no_daemon; kill %1; nothing_left"#,
    );
}

/// semantics 3.2, 3.3, 3.4: between users of the machine and of a container, whose root is nobody's root out here.
#[test]
fn the_rules_hold_between_a_container_and_the_machine() {
    contained(
        r#"owltmp mount -o size=5m /srv/m; cd /srv/m
        as bob ln -s /etc/passwd of-bob; as bob touch file-of-bob; touch file-of-root
        cat > /usr/bin/inside << 'END'
        cd /tmp; id -u; test "$(stat -c %a .)" = 1777
        must_fail() { if "$@" 2> /dev/null; then echo "did not fail: $*"; exit 1; fi; }
        readlink of-bob; must_fail cat of-bob; must_fail sh -c 'echo x >> file-of-bob'; must_fail ln file-of-root hard; must_fail rm file-of-bob
        ln -s /etc/passwd of-container; cat of-container > /dev/null; echo mine > file-of-container; ln file-of-container second; must_fail mknod device c 1 3
END
        bundle mapped '. /usr/bin/inside' "$MAPPED" "$BOUND"; start mapped
        test "$(stat -c %u file-of-container)" = 100000
        fails cat of-container; fails as alice cat of-container; fails sh -c 'echo x >> file-of-container'; fails as bob ln file-of-container hard
        cat file-of-container; rm of-container file-of-container second
        # The same without a user namespace, where the container's root is the machine's: it may remove, and follows no more than that one.
        bundle same 'cd /tmp; for try in "cat of-bob" "echo x >> file-of-bob"; do if sh -c "$try"; then exit 1; fi; done; rm of-bob' "$BOUND"; start same
        fails ls of-bob
        cd /; umount /srv/m; nothing_left"#,
    );
}

/// semantics 5.2: a lock binds across containers.
#[test]
fn a_mandatory_lock_binds_across_containers() {
    contained(
        r#"owltmp mount /srv/m; echo it > /srv/m/f; chown 100000:100000 /srv/m/f; chmod 2666 /srv/m/f; chmod g-x /srv/m/f
        lock='import fcntl, time; f = open("/tmp/f", "r+"); fcntl.lockf(f, fcntl.LOCK_EX); open("/tmp/held", "w"); time.sleep(1000)'
        bundle holder "exec /usr/bin/python3 -c '$lock'" "$MAPPED" "$BOUND"; start holder & until_it test -e /srv/m/held
        fails timeout 0.3 cat /srv/m/f; bundle reader 'if timeout 0.3 cat /tmp/f; then exit 1; fi' "$BOUND"; start reader
        crun kill holder KILL; wait %1 || true; cat /srv/m/f; umount /srv/m; nothing_left"#,
    );
}

#[test]
fn bubblewrap_and_rootless() {
    contained(
        r#"owltmp mount /srv/m; mkdir -m 1777 /srv/m/sub
        # Of the machine's mount, as root and as a user in a namespace of their own.
        for who in root alice; do
            as $who bwrap --dev-bind / / --bind /srv/m/sub /tmp --unshare-user --unshare-pid --die-with-parent \
                sh -euc 'echo in > /tmp/'$who'; ln -s /etc/passwd /tmp/link-'$who'; cat /tmp/link-'$who' > /dev/null; mktemp'
            test "$(stat -c %U /srv/m/sub/$who)" = $who
        done
        fails cat /srv/m/sub/link-alice; fails as bob bwrap --dev-bind / / --bind /srv/m/sub /tmp cat /tmp/link-alice
        umount /srv/m
        # A user's own mount, into their own container, without root anywhere.
        install -d -o alice /srv/own /b/mine; install -d -o alice -m 700 /run/alice
        bundle mine 'id -u; echo in > /tmp/file; ln -s file /tmp/link; cat /tmp/link; grep " /tmp fuse.owltmp" /proc/mounts' 'bind("/srv/own"; "/tmp")' \
            '.linux.namespaces = [{type: "pid"}, {type: "mount"}, {type: "user"}]' 'del(.hostname)' \
            ".linux.uidMappings = [{containerID: 0, hostID: $(id -u alice), size: 1}] | .linux.gidMappings = [{containerID: 0, hostID: $(id -g alice), size: 1}]" \
            '.mounts |= map(select(.type == "bind")) | bind("/proc"; "/proc") | bind("/dev"; "/dev")' '.linux.maskedPaths = [] | .linux.readonlyPaths = []'
        chown -R alice /b/mine
        runuser -u alice -- owltmp mount /srv/own
        runuser -u alice -- env XDG_RUNTIME_DIR=/run/alice sh -c 'cd /b/mine && crun --cgroup-manager=disabled run mine' | tee /said
        grep -x 0 /said; test "$(runuser -u alice -- stat -c %U /srv/own/file)" = alice
        runuser -u alice -- owltmp umount /srv/own; nothing_left"#,
    );
}

/// Idmapped mounts need FUSE_ALLOW_IDMAP, with which requests say nothing about their callers.
#[test]
fn idmapped_mounts_are_refused_by_the_kernel() {
    contained(
        r#"owltmp mount /srv/m
        unshare --user sleep 1000 & until_it test "$(readlink /proc/self/ns/user)" != x
        sleep 0.2; echo '0 100000 65536' > /proc/$!/uid_map; echo '0 100000 65536' > /proc/$!/gid_map
        /usr/bin/python3 - "/proc/$!/ns/user" << 'END'
import ctypes, errno, os, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
def idmapped(path):
    tree = libc.syscall(428, -100, path.encode(), 1)  # open_tree, OPEN_TREE_CLONE
    assert tree >= 0, ctypes.get_errno()
    attributes = struct.pack("QQQQ", 0x100000, 0, 0, os.open(sys.argv[1], os.O_RDONLY))  # MOUNT_ATTR_IDMAP
    result = libc.syscall(442, tree, b"", 0x1000, attributes, len(attributes))  # mount_setattr, AT_EMPTY_PATH
    return 0 if result == 0 else ctypes.get_errno()
assert idmapped("/run") == 0, "the oracle, tmpfs"
assert idmapped("/srv/m") == errno.EINVAL, idmapped("/srv/m")
END
        kill %1; umount /srv/m; nothing_left"#,
    );
}
