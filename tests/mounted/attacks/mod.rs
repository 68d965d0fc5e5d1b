//! The attacks that semantics section 3 ends, each carried out by real users: first on a plain tmpfs, where it must succeed,
//! then on owltmp, where it must fail with the right errno and leave an event. The kernel's own fs.protected_* are off meanwhile.
//!
//! `OWLTMP_TEST_SELF=tmpfs` leaves out the second part. `OWLTMP_ATTACK_ROUNDS` and `OWLTMP_ATTACK_CREATIONS` make it longer.

use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::common::identity::{ALICE, BOB, Identity, ROOT};
use crate::common::sysctl::{self, Guard};
use crate::common::{Errno, Kind, Mount, as_user, mount, wait_until};

mod cleaners;
mod events;
mod fifos;
mod hardlinks;
mod namespaces;
mod ops;
mod programs;
mod races;
mod readlinks;
mod recycling;
mod squatting;
mod symlinks;

/// Who attacks.
const ATTACKER: Identity = ALICE;
/// Who is attacked: root, and somebody without privileges.
const VICTIMS: [Identity; 2] = [ROOT, BOB];

/// A mount on which to attack; its root is root's, mode 1777, as /tmp is.
struct World {
    mount: Mount,
    kind: Kind,
    // After the mount, so that it is dropped last.
    _off: Guard,
}

/// What an event must say.
#[derive(Clone, Copy, Debug)]
struct Event<'a> {
    rule: &'a str,
    /// The caller's.
    uid: u32,
    object: &'a str,
    owner: u32,
    errno: &'a str,
}

/// How many rounds a race has.
fn rounds(default: u64) -> u64 {
    crate::common::env_number("OWLTMP_ATTACK_ROUNDS", default)
}

/// Attacks a tmpfs, then an owltmp.
fn on_both(attack: impl Fn(&World)) {
    on(Kind::Tmpfs, "", &attack);
    on(Kind::Owltmp, "", &attack);
}

/// Attacks that filesystem, mounted with `mode=1777` and these options.
fn on(kind: Kind, options: &str, attack: impl Fn(&World)) {
    if kind == Kind::Owltmp && mount::tmpfs_plays_owltmp() {
        return;
    }
    let off = sysctl::off();
    eprintln!("on {kind:?} {options}:");
    let options = format!("mode=1777,{options}");
    attack(&World {
        mount: mount::Setup::new(kind, options.trim_end_matches(',')).mount(),
        kind,
        _off: off,
    });
}

impl World {
    fn owltmp(&self) -> bool {
        self.kind == Kind::Owltmp
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.path().join(name)
    }

    /// The attack must have succeeded on tmpfs, and failed with this errno here.
    fn judge<T: std::fmt::Debug>(&self, what: &str, result: Result<T, Errno>, errno: Errno) {
        if self.owltmp() {
            assert_eq!(result.err(), Some(errno), "{what} on owltmp");
        } else if let Err(error) = result {
            panic!("{what} on tmpfs, where the attack should work: {error:?}");
        }
    }

    /// [`World::judge`] for a symlink followed: EACCES and an event.
    fn judge_follow<T: std::fmt::Debug>(&self, what: &str, result: Result<T, Errno>, victim: Identity, object: &str) {
        self.judge(what, result, Errno::ACCESS);
        self.event(&Event {
            rule: "symlinks",
            uid: victim.uid,
            object,
            owner: ATTACKER.uid,
            errno: "EACCES",
        });
    }

    /// Waits for an event on owltmp; elsewhere there is none.
    fn event(&self, event: &Event) {
        self.event_of(std::slice::from_ref(event));
    }

    /// Waits for any of these.
    fn event_of(&self, events: &[Event]) {
        let told = || {
            let stderr = self.mount.stderr();
            stderr.lines().any(|line| events.iter().any(|e| e.is_told_by(line)))
        };
        if self.owltmp() {
            wait_until(&format!("any of {events:?}"), Duration::from_secs(10), told);
        }
    }

    /// How many events that caller has caused: all of them, as a last one, made here, is waited for.
    fn events_of(&self, caller: Identity) -> usize {
        if !self.owltmp() {
            return 0;
        }
        self.last_event();
        let by = [
            format!("uid={} pid=", caller.uid),
            format!("events of uid {}", caller.uid),
        ];
        let stderr = self.mount.stderr();
        stderr
            .lines()
            .filter(|line| by.iter().any(|it| line.contains(it)))
            .count()
    }

    /// Makes an event that is no part of any attack and waits for it: those before it have been told then.
    fn last_event(&self) {
        const NOBODY: Identity = Identity {
            uid: 60_099,
            gid: 60_099,
            groups: &[],
        };
        let number = self
            .mount
            .dir()
            .names()
            .iter()
            .filter(|n| n.starts_with("last-"))
            .count();
        let name = format!("last-{number}");
        self.mount.dir().file(&name, b"", 0o600);
        let refused = as_user(NOBODY, || self.mount.dir().link(&name, "linked"));
        assert_eq!(refused, Err(Errno::PERM), "a hard link to a file of root's");
        self.event(&Event {
            rule: "hardlinks",
            uid: NOBODY.uid,
            object: &format!("/{name}"),
            owner: 0,
            errno: "EPERM",
        });
    }

    /// The attacker makes a symlink.
    fn plant(&self, target: impl AsRef<Path> + Sync, name: &str) {
        as_user(ATTACKER, || symlink(target.as_ref(), &self.path(name)));
    }
}

impl Event<'_> {
    fn is_told_by(&self, line: &str) -> bool {
        let start = format!("refused {}: uid={} pid=", self.rule, self.uid);
        let object = format!(" object=\"{}\" kind=", self.object);
        let end = format!(" owner={} errno={}", self.owner, self.errno);
        let told = line.find(&start).map(|at| &line[at + start.len()..]);
        told.is_some_and(|rest| {
            rest.starts_with(|c: char| c.is_ascii_digit())
                && rest.contains(" comm=\"")
                && rest.contains(&object)
                && rest.contains(" inode=")
                && rest.ends_with(&end)
        })
    }
}

/// symlink(2), which must work.
fn symlink(target: &Path, name: &Path) {
    std::os::unix::fs::symlink(target, name).expect("symlink");
}

/// The errno of a failure.
fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).expect("a system call's error")
}
