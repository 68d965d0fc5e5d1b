//! The rules of sticky directories (semantics 3) on a mounted owltmp: options, umask=, links of several names, events.
//! Who may do what to what is in `sticky_matrix.rs`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::common::identity::{ALICE, BOB, CAROL, SHARED};
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::{Dir, Errno, Identity, Mount, OFlags, as_user, sysctl, wait_until};

mod events;
mod files;
mod flood;
mod links;
mod moves;
mod options;
mod readlink;
mod umask;

/// An owltmp on which nothing but owltmp refuses: all of `fs.protected_*` are 0 while it is mounted.
struct Place {
    mount: Mount,
    _off: sysctl::Guard,
}

impl Place {
    /// None where tmpfs plays owltmp, which has neither these options nor these rules.
    fn new(options: &str) -> Option<Self> {
        if tmpfs_plays_owltmp() {
            return None;
        }
        let off = sysctl::off();
        let mount = Mount::owltmp(options);
        Some(Self { mount, _off: off })
    }

    fn dir(&self) -> &Dir {
        self.mount.dir()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir().path(name)
    }

    /// Waits for a line of the daemon's with all these texts in it.
    fn event(&self, texts: &[&str]) -> String {
        let find = || {
            let said = self.mount.stderr();
            let line = said.lines().find(|line| texts.iter().all(|text| line.contains(text)));
            line.map(str::to_owned)
        };
        wait_until(&format!("an event with {texts:?}"), Duration::from_secs(10), || {
            find().is_some()
        });
        find().unwrap()
    }

    /// The lines about events of a rule; those to come before `later`, which must come, have come.
    fn events_until(&self, rule: &str, later: &[&str]) -> Vec<String> {
        self.event(later);
        let said = self.mount.stderr();
        let rule = format!(" {rule}: ");
        said.lines()
            .filter(|line| line.contains(&rule))
            .map(str::to_owned)
            .collect()
    }
}

/// What following a name says.
fn follow(who: Identity, dir: &Dir, name: &str) -> Result<(), Errno> {
    as_user(who, || dir.open(name, OFlags::RDONLY, 0).map(drop))
}

/// What readlink(2) of a name says.
fn readlink(who: Identity, dir: &Dir, name: &str) -> Result<Vec<u8>, Errno> {
    as_user(who, || dir.readlink(name))
}

/// A command as one of our users, with a place to be and nothing in its environment but PATH.
fn command_of(who: Identity, program: &str) -> Command {
    let mut command = Command::new("setpriv");
    let (uid, gid) = (who.uid.to_string(), who.gid.to_string());
    command.args(["--reuid", &uid, "--regid", &gid, "--clear-groups", "--", program]);
    command.env_clear().env("PATH", "/usr/bin:/bin:/usr/sbin:/sbin");
    command.current_dir("/");
    command
}
