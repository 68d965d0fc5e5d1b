//! The classic victims of planted symlinks, as they are: an editor that saves into DEADJOE, a shell script with `/tmp/x$$`
//! (semantics 3.2, 3.4).

use std::io::Write;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::ops::End;
use super::symlinks::Home;
use super::{ATTACKER, Event, World, on_both};
use crate::common::as_user;
use crate::common::identity::{Identity, ROOT};

/// A shell as root, in the directory, which waits for a line before it goes on; killed in Drop.
struct Shell(Child);

impl Shell {
    fn start(place: &Path, script: &str) -> Self {
        let child = Command::new("sh")
            .args(["-c", &format!("read -r _; {script}")])
            .current_dir(place)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("a shell"))
    }

    /// Lets it go on, and says whether it succeeded.
    fn succeeds(mut self) -> bool {
        writeln!(self.0.stdin.as_mut().expect("it is piped")).expect("it reads");
        self.0.wait().expect("wait").success()
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn planted(name: impl Fn(u32) -> String, script: &str, target: &str) {
    on_both(|world| {
        let home = Home::furnish(world, "home", End::File, ROOT);
        let shell = Shell::start(world.mount.path(), script);
        let name = name(shell.0.id());
        world.plant(home.path.join(target), &name);
        let before = home.fingerprint();
        assert_eq!(shell.succeeds(), !world.owltmp(), "{script}");
        assert_eq!(
            home.fingerprint() != before,
            !world.owltmp(),
            "root's directory has changed"
        );
        told(world, "symlinks", &name, ATTACKER);
    });
}

fn told(world: &World, rule: &str, name: &str, owner: Identity) {
    world.event(&Event {
        rule,
        uid: 0,
        object: &format!("/{name}"),
        owner: owner.uid,
        errno: "EACCES",
    });
    let comm = format!("comm=\"sh\" object=\"/{name}\"");
    assert!(
        !world.owltmp() || world.mount.stderr().contains(&comm),
        "the program's name"
    );
}

#[test]
fn deadjoe() {
    planted(|_| "DEADJOE".to_owned(), "echo unsaved text >> DEADJOE", "file");
}

#[test]
fn deadjoe_that_leads_to_nothing_yet() {
    planted(|_| "DEADJOE".to_owned(), "echo unsaved text > DEADJOE", "new");
}

#[test]
fn a_name_made_of_the_process_id() {
    planted(|pid| format!("x{pid}"), "echo secret > \"$PWD/x$$\"", "file");
}

#[test]
fn a_directory_made_of_the_process_id() {
    planted(|pid| format!("d{pid}"), "cd \"$PWD/d$$\" && echo secret > file", "");
}

/// By semantics 3.4: the attacker's own file is there before, and he reads what root writes into it.
#[test]
fn a_squatted_name_made_of_the_process_id() {
    on_both(|world| {
        let shell = Shell::start(world.mount.path(), "echo secret > \"$PWD/x$$\"");
        let name = format!("x{}", shell.0.id());
        as_user(ATTACKER, || world.mount.dir().file(&name, b"", 0o666));
        assert_eq!(shell.succeeds(), !world.owltmp());
        let read = as_user(ATTACKER, || world.mount.dir().read(&name));
        let expected: &[u8] = if world.owltmp() { b"" } else { b"secret\n" };
        assert_eq!(read.expect("his own"), expected);
        told(world, "squatting", &name, ATTACKER);
    });
}
