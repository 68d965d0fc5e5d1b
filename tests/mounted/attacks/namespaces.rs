//! In a user namespace of one's own one has every capability, over one's own things: hard links from there are no other case
//! (semantics 3.3). CAP_FOWNER there says nothing here, not even over files whose owners are mapped.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::hardlinks::{furnish, told};
use super::{ATTACKER, World, on_both};
use crate::common::as_user;
use crate::common::identity::{BOB, Identity, ROOT};

/// A user namespace, kept by a process that waits in it; both end in Drop.
struct Namespace(Child);

impl Namespace {
    /// Root maps a range of uids into it, as newuidmap(1) does for the ranges of subuid(5).
    fn of_range(owner: Identity, first: u32, count: u32) -> Self {
        let start = || {
            Command::new("unshare")
                .args(["--user", "sh", "-c", "echo ready; read -r _"])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .expect("unshare")
        };
        let mut namespace = Self(as_user(owner, start));
        let mut line = String::new();
        let stdout = namespace.0.stdout.take().expect("it is piped");
        BufReader::new(stdout).read_line(&mut line).expect("it answers");
        assert_eq!(line, "ready\n", "a user namespace");
        for map in ["uid_map", "gid_map"] {
            let file = format!("/proc/{}/{map}", namespace.0.id());
            std::fs::write(file, format!("0 {first} {count}")).expect("a map");
        }
        namespace
    }

    /// A command as root in there.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--user", "--setuid=0", "--setgid=0", "--target"]);
        command.args([&self.0.id().to_string(), program]);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What ln(1) said, and whether it succeeded.
fn run(world: &World, mut command: Command) -> (bool, String) {
    let output = command.current_dir(world.mount.path()).env("LC_ALL", "C").output();
    let output = output.expect("it starts");
    (
        output.status.success(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

fn judge(world: &World, what: &str, command: Command) {
    let (succeeded, said) = run(world, command);
    assert_eq!(succeeded, !world.owltmp(), "{what}: {said}");
    assert!(succeeded || said.contains("Operation not permitted"), "{what}: {said}");
}

/// All capabilities are there, to be sure that the test is one.
fn is_almighty(world: &World, mut command: Command) {
    command.args(["-c", "grep CapEff /proc/self/status"]);
    let output = command.current_dir(world.mount.path()).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    let all = said.split_whitespace().nth(1).unwrap_or("0");
    let all = u64::from_str_radix(all, 16).expect("a mask");
    assert_ne!(all & 1 << 3, 0, "CAP_FOWNER in {said}");
}

/// The attacker is root in a namespace in which only he himself exists.
#[test]
fn as_root_that_is_oneself() {
    on_both(|world| {
        furnish(world, BOB);
        let own_root = |program: &str| {
            let mut command = Command::new("unshare");
            command.args(["--user", "--map-root-user", program]);
            command.uid(ATTACKER.uid).gid(ATTACKER.gid);
            command
        };
        is_almighty(world, own_root("sh"));
        for object in ["private", "setuid", "fifo", "symlink"] {
            let mut command = own_root("ln");
            command.args(["-P", object, &format!("got-{object}")]);
            judge(world, object, command);
            told(world, ATTACKER.uid, object, BOB.uid);
        }
        as_user(ATTACKER, || world.mount.dir().file("own", b"", 0o600));
        let mut command = own_root("ln");
        command.args(["own", "own-too"]);
        assert!(run(world, command).0, "his own");
    });
}

/// The attacker is root in a namespace with a range of uids, as in a container without privileges, and so is another uid outside.
#[test]
fn as_root_that_is_another_uid() {
    const FIRST: u32 = 100_000;
    let inside = Identity {
        uid: FIRST + 5,
        gid: FIRST + 5,
        groups: &[],
    };
    on_both(|world| {
        let namespace = Namespace::of_range(ATTACKER, FIRST, 65_536);
        is_almighty(world, namespace.command("sh"));
        for owner in [BOB, ROOT, inside] {
            furnish(world, owner);
            for object in ["private", "setuid", "fifo", "symlink"] {
                let mut command = namespace.command("ln");
                command.args(["-P", object, &format!("got-{object}-{}", owner.uid)]);
                judge(world, &format!("{object} of {}", owner.uid), command);
                told(world, FIRST, object, owner.uid);
            }
            for object in ["private", "readable", "setuid", "fifo", "socket", "symlink"] {
                world.mount.dir().unlink(object).expect("unlink");
            }
        }
        let mut command = namespace.command("sh");
        command.args(["-c", ": > own && ln own own-too"]);
        assert!(run(world, command).0, "its own");
        assert_eq!(world.mount.dir().lstat("own-too").expect("lstat").st_uid, FIRST);
    });
}
