//! What `mand=` chooses, that nothing changes it later, and what there is without. By semantics 5.1, 5.8.

use std::process::Command;

use super::stage::{Cast, PATIENCE, Scene, make_file, mount, play_all};
use crate::common::Mount;
use crate::common::mount::{Kind, Setup, tmpfs_plays_owltmp};

fn one(name: &str, script: &str) -> [Scene; 1] {
    [Scene {
        name: name.to_owned(),
        script: script.to_owned(),
    }]
}

const BINDS: &str = "A lock W 0-10; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN; B read :n 10@50 = 10";
const ADVISES: &str = "A lock W 0-10; B read :n 10@0 = 10; B write :n 10@0 = 10; B truncate file 5; B open :t file rw,trunc; B lock W 0-10 = EAGAIN";
const OLD_ONES_OBEY: &str = "file file 0666 100; B fsize :n; A chmod file 2666; A lock W 0-10; B read :n 10@0 = EAGAIN";
const OLD_ONES_KEEP_LOCKS_AWAY: &str =
    "file file 0666 100; B fsize :n; A chmod file 2666; A lock W 0-10 = EAGAIN; B read :n 10@0 = 10";
const ALL_FILES: &str = "file file 0644 100; A lock W 0-10; B read :n 10@0 = EAGAIN";
const NOT_ALL_FILES: &str = "file file 0644 100; A lock W 0-10; B read :n 10@0 = 10";

/// The values, `mand` and `nomand` for short, and the default.
#[test]
fn the_option_chooses() {
    for (option, scripts) in [
        ("", [BINDS, OLD_ONES_KEEP_LOCKS_AWAY, NOT_ALL_FILES]),
        (",mand=marked", [BINDS, OLD_ONES_KEEP_LOCKS_AWAY, NOT_ALL_FILES]),
        (",mand", [BINDS, OLD_ONES_OBEY, NOT_ALL_FILES]),
        (",mand=full", [BINDS, OLD_ONES_OBEY, NOT_ALL_FILES]),
        (",mand=all", [BINDS, OLD_ONES_OBEY, ALL_FILES]),
        (",mand=off", [ADVISES, NOT_ALL_FILES, NOT_ALL_FILES]),
        (",nomand", [ADVISES, NOT_ALL_FILES, NOT_ALL_FILES]),
        (",mand,nomand", [ADVISES, NOT_ALL_FILES, NOT_ALL_FILES]),
        (",nomand,mand=marked", [BINDS, OLD_ONES_KEEP_LOCKS_AWAY, NOT_ALL_FILES]),
    ] {
        let mount = mount(&format!("mode=0777{option}"));
        let scenes = scripts.map(|script| one(&format!("with {option:?}"), script));
        play_all(&mount, &scenes.concat());
    }
}

/// A remount, and a bind mount, change nothing.
#[test]
fn a_remount_changes_nothing() {
    if tmpfs_plays_owltmp() {
        return;
    }
    for (option, asked, script) in [
        ("mand", "nomand", BINDS),
        ("mand=off", "mand", ADVISES),
        ("mand=marked", "mand", BINDS),
    ] {
        let mount = mount(&format!("mode=0777,{option}"));
        for flags in [&["-o"][..], &["-i", "-o"]] {
            let _ = Command::new("mount")
                .args(flags)
                .arg(format!("remount,{asked}"))
                .arg(mount.path())
                .stderr(std::process::Stdio::null())
                .status();
        }
        play_all(&mount, &one(&format!("{option}, remounted {asked}"), script));
        assert!(mount.is_mounted());
    }
}

struct Bound<'a>(&'a std::path::Path);

impl Drop for Bound<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn call(cast: &mut Cast, who: &str, order: &str) -> String {
    cast.send(who, order);
    let answer = cast.answer(who, PATIENCE);
    answer
        .unwrap_or_else(|| panic!("{who} {order}: no answer"))
        .trim()
        .to_owned()
}

/// Through a bind mount it is the same file.
#[test]
fn a_bind_mount_is_the_same_filesystem() {
    let mount = mount("mode=0777,mand");
    let place = mount.scratch().join("bound");
    std::fs::create_dir(&place).unwrap();
    rustix::mount::mount_bind(mount.path(), &place).unwrap();
    let _bound = Bound(&place);
    make_file(&mount.path().join("file"), 0o2666, 100);
    let (mut here, mut there) = (Cast::new(mount.path()), Cast::new(&place));
    here.start(["A"]);
    there.start(["B"]);
    assert_eq!(call(&mut here, "A", "lock W 0-10"), "0");
    assert_eq!(call(&mut there, "B", "read :n 10@0"), "EAGAIN");
    assert_eq!(call(&mut there, "B", "write :n 10@0"), "EAGAIN");
    assert_eq!(call(&mut here, "A", "unlock"), "0");
    assert_eq!(call(&mut there, "B", "lock W 0-10"), "0");
    assert_eq!(call(&mut here, "A", "read :n 10@0"), "EAGAIN");
}

const CHANGES: [&str; 7] = [
    "write 10@0",
    "pwrite 10@0",
    "ftruncate 50",
    "truncate file 50",
    "open :t file rw,trunc",
    "fallocate plain 0 200",
    "chown file -1 78",
];

/// What the mode is after each change by each of these.
fn modes(mount: &Mount) -> Vec<String> {
    let mut found = vec![];
    for (number, (mode, who)) in ["2666", "2676", "6666"]
        .into_iter()
        .flat_map(|mode| ["0 0", "1000 77", "1001 77", "1000 1000 78", "1001 1001"].map(|who| (mode, who)))
        .enumerate()
    {
        for (change, order) in CHANGES.iter().enumerate() {
            let place = mount.path().join(format!("{number}-{change}"));
            std::fs::create_dir(&place).unwrap();
            rustix::fs::chmod(&place, rustix::fs::Mode::from_raw_mode(0o777)).unwrap();
            make_file(&place.join("file"), 0o666, 100);
            let mut cast = Cast::new(&place);
            cast.start(["A", "B"]);
            call(&mut cast, "A", "chown file 1000 77");
            call(&mut cast, "A", &format!("chmod file {mode}"));
            call(&mut cast, "B", &format!("become {who}"));
            let answer = call(&mut cast, "B", order);
            found.push(format!(
                "{mode} {order} by {who}: {answer} {}",
                call(&mut cast, "A", "mode file")
            ));
        }
    }
    found
}

/// With `mand=off` the set-id bits go when they go on tmpfs, the mark among them.
#[test]
fn without_locks_the_mark_goes_as_on_tmpfs() {
    let [tmpfs, owltmp] = [(Kind::Tmpfs, "mode=0777"), (Kind::Owltmp, "mode=0777,mand=off")].map(|(kind, options)| {
        let mount = Setup::new(kind, options).mount();
        modes(&mount)
    });
    for (tmpfs, owltmp) in tmpfs.iter().zip(&owltmp) {
        assert_eq!(tmpfs, owltmp);
    }
}

/// With any other value the mark stays whatever is done, and the other bits go as on tmpfs.
#[test]
fn the_mark_stays() {
    let mount = mount("mode=0777,mand=marked");
    for line in modes(&mount) {
        let marked = line.starts_with("2666") || line.starts_with("6666");
        let after = line.rsplit(' ').next().unwrap();
        assert_eq!(marked, ["2666", "6666"].contains(&after), "{line}");
    }
}

/// The mark of a file that somebody outside its group writes while another holds a lock: the lock stays mandatory.
#[test]
fn protection_does_not_vanish_silently() {
    let mount = mount("mode=0777,mand=marked");
    let script = "A chown file 1000 77; A chmod file 2666; C lock W 0-10; B become 1001 1001; B write 10@50; B truncate file 90; B fallocate plain 50 10; A mode file = 2666
        B read :n 10@0 = EAGAIN; A read :n 10@0 = EAGAIN; B open :t file rw,trunc = EAGAIN; A mode file = 2666; C unlock; B open :t file rw,trunc; A mode file = 2666";
    play_all(&mount, &one("written by an outsider", script));
}
