//! The way out: whoever clears the mark, and the holder's end, release everybody who waits in a read or write. By semantics 5.7.

use super::stage::{Scene, mount, play_all};

/// Readers, writers and truncaters, and with them one that waits for the lock itself.
const CROWD: &str = "A lock W 0-10; B read 10@0 = blocked; C write 10@0 = blocked; E ftruncate 5 = blocked; F pread 100@0 = blocked
    G pwrite 50@5 = blocked; H writev 20@0 = blocked; I lockw W 0-10 = blocked; file plain 0666 10; J open :p plain rw; J sendfile :p :f 10@0 = blocked";
/// All of them are through.
const THROUGH: &str = "B = *; C = ok; E = 0; F = *; G = 50; H = 20; J = 10";

const CLEARED: [(&str, &str); 6] = [
    ("chmod 0666", "A chmod file 0666"),
    ("chmod g+x", "A chmod file 2676"),
    ("chmod of another to 0", "K chmod file 0000"),
    ("fchmod by one who opens it then", "K open :k file r; K fchmod :k 0666"),
    ("an ACL whose mask allows to execute", "K acl file 7"),
    ("chmod of another name", "K link file other; K chmod other 0666"),
];

const GONE: [(&str, &str); 4] = [
    ("exit", "A exit"),
    ("SIGKILL", "kill A"),
    ("close", "A close :f"),
    ("exec", "A exec"),
];

/// Clearing the mark releases all but who waits for the lock.
#[test]
fn clearing_the_mark_releases_everybody() {
    let scene = |(name, step): (&str, &str)| Scene {
        name: name.to_owned(),
        script: format!("{CROWD}; {step}; {THROUGH}; I still; A unlock; I = 0"),
    };
    let mut scenes: Vec<Scene> = CLEARED.map(scene).into();
    scenes.push(Scene {
        name: "the mark comes back, and with it the protection".to_owned(),
        script: format!("{CROWD}; A chmod file 0666; {THROUGH}; A chmod file 2666; B read :n 1@0 = EAGAIN; A ftruncate 100; B read 10@0 = blocked; A unlock; I = 0; B still; I unlock; B = 10"),
    });
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        play_all(&mount(options), &scenes);
    }
}

/// The holder's end releases them too; who waited for the lock before them and after them gets it in turn.
#[test]
fn the_holders_end_releases_everybody() {
    let scene = |(name, step): (&str, &str)| Scene {
        name: name.to_owned(),
        // I came after them but for J, who waits for I.
        script: format!("{CROWD}; {step}; B = *; C = ok; E = 0; F = *; G = 50; H = 20; I = 0; I unlock; J = 10"),
    };
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        play_all(&mount(options), &GONE.map(scene));
    }
}

/// An ACL's mask is the group's bits: it makes and clears the mark as chmod does.
#[test]
fn an_acl_makes_the_mark_and_clears_it() {
    let scenes = [
        Scene {
            name: "made".to_owned(),
            script: "file file 2676 100; A lock W 0-10; B read :n 10@0 = 10; A acl file 6; A mode file = 2666; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN".to_owned(),
        },
        Scene {
            name: "cleared".to_owned(),
            script: "A lock W 0-10; B read :n 10@0 = EAGAIN; A acl file 7; A mode file = 2676; B read :n 10@0 = 10".to_owned(),
        },
    ];
    play_all(&mount("mode=0777,mand"), &scenes);
}
