//! A write that waits hinders nobody but who asks for the same bytes. By semantics 5.9: the lock's holder, and whoever opened the file by
//! its name, go on at once; and what ends the wait, ends it.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, ftruncate};
use rustix::io::pwrite;
use rustix::thread::gettid;

use super::stage::{PATIENCE, Scene, make_file, mount, play_all};
use crate::common::identity::{ALICE, BOB};
use crate::common::lock::{F_OFD_SETLK, NONE, Record, WRITE, set};
use crate::common::{Errno, Identity, Mount, OFlags, as_user, wait_until};

/// What waits, and what it gives in the end.
const WAITING: [(&str, &str, &str); 4] = [
    ("a write", "write 10@0", "10"),
    ("an append", "write :a 10", "10"),
    ("an ftruncate", "ftruncate 0", "0"),
    ("a read", "read 10@0", "10"),
];

/// What the holder does meanwhile; none of it ends the wait.
const HOLDER: [(&str, &str); 8] = [
    ("writes into its range", "A write 10@0 = 10"),
    ("writes by another descriptor", "A write :n 10@0 = 10"),
    ("appends", "A open :2 file rw,append; A write :2 10 = 10"),
    ("syncs", "A fsync; A fdatasync"),
    ("reads", "A read 10@0 = 10"),
    ("locks more", "A lock W 200-210; A unlock 200-210"),
    ("truncates to more", "A ftruncate 300; A truncate file 200"),
    ("allocates", "A fallocate plain 0 100"),
];

/// What the holder does to end it.
const ENDS: [(&str, &str); 5] = [
    ("unlocks", "A unlock"),
    ("closes", "A close :f"),
    ("exits", "A exit"),
    ("is killed", "kill A"),
    ("clears the mark", "A chmod file 0666"),
];

/// What another does meanwhile, who opens the file by its name.
const OTHERS: [(&str, &str); 27] = [
    ("opens it", "C open :2 file rw; C close :2"),
    ("opens it with O_TRUNC", "C open :2 file rw,trunc = EAGAIN"),
    ("reads elsewhere", "C read 10@50 = 10"),
    ("reads there without waiting", "C read :n 10@0 = EAGAIN"),
    ("writes elsewhere", "C write 10@50 = 10"),
    ("writes past the end", "C write 10@500 = 10"),
    ("stats it", "C stat file; C fsize = 100"),
    ("changes its mode", "C chmod file 2660; C chmod file 2666"),
    ("changes its mode by the descriptor", "C fchmod 2660"),
    ("changes its owner", "C chown file 1000 77"),
    (
        "truncates elsewhere",
        "C truncate file 90; C ftruncate 80; C ftruncate 95",
    ),
    (
        "truncates there",
        "C truncate file 5 = EAGAIN; C ftruncate :n 5 = EAGAIN",
    ),
    ("renames it", "C rename file other; C rename other file"),
    ("renames over it", "file other 0666 5; C rename other file"),
    ("removes it", "C unlink file"),
    ("sets its times", "C utimes file"),
    ("sets an attribute", "C setxattr file; C getxattr file"),
    ("sets an ACL that keeps the mark", "C acl file 6"),
    ("links it", "C link file other; C open :o other r; C read :o 10@50 = 10"),
    ("runs it", "C chmod file 2705; C run file = ETXTBSY"),
    ("locks it with flock", "C flock ex; C flock un"),
    ("locks elsewhere", "C lock W 50-60; C lockw W 60-70; C unlock"),
    ("asks for locks", "C getlk W 50-100 = U; C getlk W 0-10 = W 0-10 A"),
    ("syncs it", "C fsync; C fdatasync; C sync_file_range"),
    (
        "allocates elsewhere",
        "C fallocate plain 50 20; C fallocate punch 20 10",
    ),
    ("maps it", "C mmap m private r 100; C peek m 50 = 0 [.1]; C munmap m"),
    (
        "copies elsewhere",
        "file plain 0666 100; C open :p plain rw; C copy :p :f 10@0 50 = 10; C lseek :f set 70; C sendfile :p :f 10@0 = 10",
    ),
];

fn before(call: &str) -> String {
    format!("B open :a file rw,append; A lock W 0-10; A lock W 100-110; B {call} = blocked")
}

fn scenes() -> Vec<Scene> {
    let mut scenes = vec![];
    let mut add = |name: String, script: String| scenes.push(Scene { name, script });
    for (waiting, call, result) in WAITING {
        for (what, rest) in HOLDER {
            let script = format!(
                "{}; {rest}; B still; A unlock; B = {result}; C lock W 0-; C read 1@0 = *",
                before(call)
            );
            add(format!("{waiting} waits; the holder {what}"), script);
        }
        for (what, rest) in ENDS {
            let script = format!("{}; {rest}; B = {result}; C lock :n W 0- = *", before(call));
            add(format!("{waiting} waits; the holder {what}"), script);
        }
        for (what, rest) in OTHERS {
            // Some make the file another, whose end an append no longer meets; then it may go on.
            let still = if waiting == "an append" { "" } else { "B still;" };
            let rest = match waiting {
                "a read" => rest.replace("ETXTBSY", "*"),
                _ => rest.to_owned(),
            };
            let script = format!(
                "{}; {rest}; {still} A unlock; B = {result}; A lock :n W 0- = *; C statfs .",
                before(call)
            );
            add(format!("{waiting} waits; another {what}"), script);
        }
    }
    scenes
}

/// Everything goes on at once while something waits; and afterwards too.
#[test]
fn goes_on_beside_what_waits() {
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        play_all(&mount(options), &scenes());
    }
}

type Deed = fn(&OwnedFd) -> Result<(), Errno>;

/// What waits with the inode's lock.
const DEEDS: [(&str, Deed); 3] = [
    ("a write", |fd| pwrite(fd, &[1; 26], 5).map(drop)),
    ("an ftruncate", |fd| ftruncate(fd, 5)),
    ("an allocation", |fd| fallocate(fd, FallocateFlags::empty(), 0, 500)),
];

/// Who gives the file a name by a descriptor with which somebody waits stops the directory for nobody: the wait ends. Another user's
/// goes on.
#[test]
fn a_link_of_what_waits_stops_no_directory() {
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        let mount = mount(options);
        let others = Waits::begin(&mount, BOB, "other", DEEDS[0].1);
        for (what, deed) in DEEDS {
            let waits = Waits::begin(&mount, ALICE, what, deed);
            let (dir, fd) = (mount.dir(), &waits.fd);
            let linked = std::thread::scope(|scope| {
                let (sender, receiver) = channel();
                scope.spawn(move || {
                    as_user(ALICE, || {
                        sender.send(dir.link_fd(fd, &format!("{what} linked"))).unwrap()
                    })
                });
                let linked = receiver.recv_timeout(PATIENCE);
                if linked.is_err() {
                    waits.unlock();
                }
                linked
            });
            assert_eq!(linked, Ok(Ok(())), "{what}");
            dir.file(&format!("after {what}"), b"", 0o644);
            assert_eq!(waits.end(), Err(Errno::INTR), "{what}");
        }
        assert!(others.result.try_recv().is_err(), "it still waits");
        others.unlock();
        assert_eq!(others.end(), Ok(()));
    }
}

/// A thread that waits with a descriptor, of a file that is locked by another.
struct Waits {
    fd: Arc<OwnedFd>,
    lock: OwnedFd,
    result: Receiver<Result<(), Errno>>,
}

impl Waits {
    fn begin(mount: &Mount, who: Identity, name: &str, deed: Deed) -> Waits {
        as_user(who, || make_file(&mount.path().join(name), 0o2666, 10));
        let open = || mount.dir().open(name, OFlags::RDWR, 0).unwrap();
        let (fd, lock) = (Arc::new(open()), open());
        set(lock.as_raw_fd(), F_OFD_SETLK, Record::all(WRITE)).unwrap();
        let ((told, result), (told_thread, thread)) = (channel(), channel());
        let mine = Arc::clone(&fd);
        std::thread::spawn(move || {
            as_user(who, || {
                told_thread.send(gettid()).unwrap();
                // Nobody listens where the test has failed.
                let _ = told.send(deed(&mine));
            });
        });
        let state = format!("/proc/self/task/{}/stat", thread.recv().unwrap());
        let asleep = || std::fs::read_to_string(&state).is_ok_and(|stat| stat.contains(") S "));
        wait_until("it waits", PATIENCE, || {
            asleep() && {
                std::thread::sleep(Duration::from_millis(20));
                asleep()
            }
        });
        Waits { fd, lock, result }
    }

    fn unlock(&self) {
        set(self.lock.as_raw_fd(), F_OFD_SETLK, Record::all(NONE)).unwrap();
    }

    fn end(&self) -> Result<(), Errno> {
        self.result.recv_timeout(PATIENCE).expect("it ends")
    }
}
