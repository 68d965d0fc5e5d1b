//! docs/mounting.md by its own commands, from a fresh checkout: each way does its job, does not mind a client that is killed,
//! unmounts, and leaves nothing. And what docs/troubleshooting.md says that is said, and does about it.

use crate::machine::boot;
use crate::shell::Need;

const DOCUMENTS: &str = concat!(
    include_str!("../../docs/mounting.md"),
    include_str!("../../docs/troubleshooting.md")
);

/// The commands of the block that is marked with this name.
fn block(name: &str) -> &'static str {
    let begin = format!("\n```sh {name}\n");
    let (_, rest) = DOCUMENTS
        .split_once(&begin)
        .unwrap_or_else(|| panic!("no block {name}"));
    assert!(!rest.contains(&begin), "two blocks {name}");
    rest.split_once("\n```").unwrap().0
}

/// What git has, and a cargo that takes the program that is tested for the one it would build.
const CHECKOUT: &str = r#"
mkdir /checkout; cd /src; git -c safe.directory='*' ls-files -z --cached --others --exclude-standard | tar -cf - --null -T - | tar -xf - -C /checkout
cat > /usr/local/bin/cargo << 'END'
#!/bin/sh
set -eu
[ "$*" = 'build --release' ]
mkdir -p target/release
cp /build/owltmp target/release/
END
chmod 755 /usr/local/bin/cargo; cd /checkout
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
useradd -m -s /bin/bash alice; useradd -m -s /bin/bash bob
# works DIRECTORY: it does what a temporary directory must, and follows no link of another; a client that is killed is no matter.
works() {
    (cd "$1"; as bob ln -s /etc/passwd trap; fails cat trap; as bob cat trap > /run/said; test "$(stat -c %a .)" = 1777
    sh -c 'exec 9> held; exec sleep 1000' & client=$!; until_it test -e held; kill -9 $client; wait $client || true
    as alice mktemp -p .; echo it > file; cat file; rm trap)
}
"#;

const NEEDS: [Need; 4] = [
    ("crun", "crun"),
    ("jq", "jq"),
    ("bwrap", "bubblewrap"),
    ("strip", "binutils"),
];

/// Runs blocks of commands and what is to be seen after them.
fn follows(steps: &[&str]) {
    boot(&NEEDS, "", &[&[CHECKOUT], steps].concat().join("\n"));
}

/// Everything is removed, and was.
const REMOVED: &str = "nothing_left; no_socket; cd /checkout; mount-scripts/install.sh --uninstall
    test -z \"$(find /usr/local /etc /run -xdev -name '*owltmp*' ! -path '/run/systemd/*' ! -path /run/owltmp)\"";

#[test]
fn over_tmp_by_systemd() {
    follows(&[
        block("install"),
        block("service"),
        r#"mounted /tmp; mounted /var/tmp; test "$(size_of /tmp)" = 2048M; test "$(size_of /var/tmp)" = 4096M; works /tmp; works /var/tmp"#,
        block("service-end"),
        "fails mounted /tmp; fails mounted /var/tmp; rm -r /etc/owltmp",
        REMOVED,
    ]);
}

#[test]
fn over_tmp_by_fstab_and_the_package() {
    follows(&[
        block("package"),
        block("fstab"),
        r#"mounted /tmp; test "$(size_of /tmp)" = 2048M; works /tmp; install /bin/true /tmp; fails /tmp/true"#,
        block("fstab-end"),
        "fails mounted /tmp; nothing_left; dpkg --purge owltmp; test -z \"$(find /usr /etc -xdev -name '*owltmp*')\"",
    ]);
}

#[test]
fn for_each_login() {
    follows(&[
        ": > /etc/pam.d/sshd; rm /etc/pam.d/sshd",
        block("install"),
        block("login"),
        r#"su - alice -c 'df --output=fstype,size -BM /tmp; echo > /tmp/of-alice; exec sleep 1000' > /run/alice &
        until_it grep 'fuse.owltmp  *1024M' /run/alice; until_it test -e "/proc/$(pgrep -u alice -x sleep)/root/tmp/of-alice"
        test "$(su - bob -c 'echo $(ls -A /tmp)')" = '.ICE-unix .X11-unix'; fails test -e /tmp/of-alice
        su - bob -c 'sleep 1000 > /tmp/held & kill -9 $!; wait; mktemp'
        pkill -9 -u alice -x sleep; wait %1 || true"#,
        block("login-end"),
        "nothing_left; su - bob -c 'touch /tmp/shared'; test -e /tmp/shared; rmdir /etc/owltmp",
        REMOVED,
    ]);
}

#[test]
fn for_each_container() {
    follows(&[
        r#"mkdir -p /srv/bundle; cd /srv/bundle; mkdir -p rootfs/tmp rootfs/usr rootfs/lib rootfs/lib64; crun spec
        jq 'def bind(path): .mounts += [{destination: path, source: path, type: "bind", options: ["rbind"]}];
            .process.terminal = false | del(.process.rlimits, .linux.resources) | bind("/usr") | bind("/lib") | bind("/lib64")
            | .process.args = ["/usr/bin/sh", "-euc", "/usr/bin/grep \" /tmp fuse.owltmp\" /proc/mounts; echo it > /tmp/file; /usr/bin/sh -c \"exec 9> /tmp/held; kill -9 \\$\\$\" || true; /usr/bin/cat /tmp/file"]' \
            config.json > new; mv new config.json; cd /checkout"#,
        block("install"),
        "crun() { command crun \"$@\" | tee /run/said; }",
        block("container"),
        "grep -x it /run/said; test -z \"$(ls /srv/bundle/rootfs/tmp)\"; until_it rmdir /run/owltmp-containers; nothing_left",
        block("podman"),
        "test -x \"$(jq -er .hook.path /usr/share/containers/oci/hooks.d/owltmp.json)\"",
        block("bind"),
        "works /srv/scratch; test -e /srv/scratch/made-in-there; test ! -e /tmp/made-in-there",
        block("bind-end"),
        REMOVED,
    ]);
}

/// `owltmp` in the text are commands that exist.
#[test]
fn a_dead_mount_and_a_stuck_one() {
    follows(&[
        block("package"),
        block("fstab"),
        "echo > /tmp/x; pkill -9 -x owltmp; fails ls /tmp",
        block("dead"),
        "mounted /tmp; fails test -e /tmp/x; mount -t fusectl none /sys/fs/fuse/connections || true
        pkill -STOP -x owltmp; touch /tmp/waits & sleep 0.2",
        block("stuck"),
        "wait %1 || true; fails mounted /tmp; pkill -CONT -x owltmp || true; nothing_left",
    ]);
}

/// The words in code of the first column, where owltmp itself says them.
#[test]
fn what_is_said_to_be_said_is_said() {
    let sources: String = [
        "mount/error.rs",
        "mount/helper.rs",
        "mount/serve.rs",
        "mount/warnings.rs",
        "mount/options/error.rs",
        "mount/options/remount.rs",
        "events.rs",
    ]
    .map(|name| std::fs::read_to_string(format!("{}/src/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap())
    .concat();
    let by_others = [
        "unknown filesystem type",
        "wrong fs type",
        "user has no write access",
        "cannot open session",
        "Permission denied",
    ];
    let said = DOCUMENTS
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split('`').next())
        .filter(|it| it.contains(": ") || it.contains(' '));
    let mut looked_at = 0;
    for text in said.filter(|text| !by_others.iter().any(|it| text.contains(it))) {
        for part in text
            .split(['"', ':'])
            .flat_map(|it| it.split("..."))
            .map(str::trim)
            .filter(|it| it.len() > 8 && it.contains(' ') && !it.starts_with("fs."))
        {
            assert!(sources.contains(part), "nobody says {part:?} of {text:?}");
            looked_at += 1;
        }
    }
    assert!(looked_at > 12, "{looked_at}");
}

#[test]
fn every_block_is_run_by_a_test() {
    let this = include_str!("docs.rs");
    let named = DOCUMENTS.lines().filter_map(|line| line.strip_prefix("```sh "));
    for name in named {
        assert!(
            this.contains(&format!("block(\"{name}\")")),
            "no test runs the block {name}"
        );
    }
}
