//! poll(2) and epoll(7). A file is always ready; who was refused because of a lock, by a descriptor that does not wait, hears when that
//! may be otherwise. So waits the runtime of Go. By semantics 5.2.

use std::process::Command;

use super::stage::{Cast, PATIENCE, Scene, make_file, mount, play_all};

/// POLLIN and POLLOUT.
const READY: i64 = 5;

const OPTIONS: [&str; 4] = [
    "mode=0777,io=auto",
    "mode=0777,io=cached",
    "mode=0777,mand=full",
    "mode=0777,mand=all",
];

/// B is told that the file is ready, is refused all the same, and waits for a change.
fn refused(call: &str) -> String {
    format!("B epoll :n :e; B event :e = {READY}; B {call} = EAGAIN; B event :e = blocked")
}

fn told(name: &str, lock: &str, call: &str, step: &str) -> Scene {
    Scene {
        name: name.to_owned(),
        script: format!("{lock}; {}; {step}; B = {READY}; B {call} = 10", refused(call)),
    }
}

#[test]
fn who_polls_hears_when_a_lock_goes() {
    let (write, read) = ("write :n 10@0", "read :n 10@0");
    let lock = "A lock W 0-10";
    let all = [
        told("unlock", lock, write, "A unlock"),
        told("unlock of a part", "A lock W 0-20", write, "A unlock 0-10"),
        told("a read lock in its place", lock, read, "A lock R 0-10"),
        told("close", lock, write, "A close :f"),
        told("exit", lock, write, "A exit"),
        told("SIGKILL", lock, write, "kill A"),
        told("an open file unlocks", "A ofd W 0-10", write, "A unofd"),
        told("an open file is closed", "A ofd W 0-10", write, "A close :f"),
        told(
            "a second descriptor of it",
            &format!("B dup :n :d; {lock}"),
            "write :d 10@0",
            "A unlock",
        ),
        told(
            "a lock that was waited for, of one who holds another",
            "C lock W 10-20; A lock W 0-10; A thread T; T lockw R 0-20 = blocked",
            read,
            "C unlock; T = 0",
        ),
    ];
    for options in OPTIONS {
        play_all(&mount(options), &all);
    }
}

#[test]
fn who_polls_hears_when_the_mark_goes() {
    let scene = |step| told(step, "A lock W 0-10", "write :n 10@0", step);
    let all = ["A chmod file 0666", "A fchmod 0666", "K acl file 7"].map(scene);
    for options in &OPTIONS[..3] {
        play_all(&mount(options), &all);
    }
}

/// Who is told and meets the next lock waits on.
#[test]
fn he_hears_of_each() {
    let again = format!("B = {READY}; B write :n 10@0 = EAGAIN; B event :e = blocked");
    let all = [Scene {
        name: "one holder after another".to_owned(),
        script: format!(
            "A lock W 0-10; {}; C lockw W 0-10 = blocked; A unlock; C = 0; {again}; A lockw W 0-10 = blocked; C exit; A = 0; {again}; A unlock; B = {READY}; B write :n 10@0 = 10",
            refused("write :n 10@0")
        ),
    }];
    play_all(&mount("mode=0777"), &all);
}

#[test]
fn who_polls_hears_when_a_lock_is_broken() {
    let mount = mount("mode=0777");
    let file = mount.path().join("file");
    make_file(&file, 0o2666, 100);
    let mut cast = Cast::new(mount.path());
    cast.start(["A", "B"]);
    let call = |cast: &mut Cast, who: &str, order: &str| {
        cast.send(who, order);
        cast.answer(who, PATIENCE).expect("an answer")
    };
    assert_eq!(call(&mut cast, "A", "lock W 0-"), "0");
    assert_eq!(call(&mut cast, "B", "epoll :n :e"), "0");
    assert_eq!(call(&mut cast, "B", "event :e"), READY.to_string());
    assert_eq!(call(&mut cast, "B", "write :n 10@0"), "EAGAIN");
    cast.send("B", "event :e");
    cast.waits("B").unwrap();
    let unlock = Command::new(env!("CARGO_BIN_EXE_owltmp"))
        .arg("unlock")
        .arg(&file)
        .output();
    assert!(unlock.unwrap().status.success());
    assert_eq!(cast.answer("B", PATIENCE).as_deref(), Some("5"));
    assert_eq!(call(&mut cast, "B", "write :n 10@0"), "10");
}

/// Marked or not, locked or not.
#[test]
fn a_file_is_always_ready() {
    let script = format!(
        "file plain 0666 10; A open :p plain rw; A poll :p = {READY}; A epoll :p :e; A event :e = {READY}; A lock W 0-; B poll :n = {READY}; B open :r file r; B poll :r = {READY}"
    );
    let all = [Scene {
        name: "ready".to_owned(),
        script,
    }];
    for options in OPTIONS.iter().chain(&["mode=0777,mand=off"]) {
        play_all(&mount(options), &all);
    }
}
