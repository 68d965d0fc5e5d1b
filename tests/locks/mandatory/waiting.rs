//! What waits: real alarms, crowds, the bound of what is kept, and what is in the file afterwards. By semantics 5.9, 4.2, 6.3.

use std::time::{Duration, Instant};

use super::stage::{Cast, PATIENCE, Scene, mount, play_all};
use crate::common::{Mount, wait_until};

/// A real alarm: its handler runs at once; without SA_RESTART the call ends.
#[test]
fn an_alarm_is_heard() {
    let scene = |(name, call): (&str, &str)| Scene {
        name: name.to_owned(),
        script: format!(
            "A lock W 0-10; B fork D; D alarm 1; D {call} 10@0 = blocked; D = EINTR; D caught = 1; A read 10@0 = 10 [.10]; A unlock; B {call} 10@0 = 10"
        ),
    };
    let scenes = [
        ("a read", "read"),
        ("a write", "write"),
        ("an append by pwrite", "pwrite"),
    ]
    .map(scene);
    play_all(&mount("mode=0777,mand"), &scenes);
}

struct Crowd {
    // First: the mount is busy until they are gone.
    cast: Cast,
    mount: Mount,
}

impl Crowd {
    /// A file of that many bytes that A has locked, and what B's threads do.
    fn begin(options: &str, count: usize, size: usize) -> Self {
        let mount = mount(options);
        super::stage::make_file(&mount.path().join("file"), 0o2666, 0);
        let mut cast = Cast::new(mount.path());
        cast.start(["A", "B", "C"]);
        let mut crowd = Self { cast, mount };
        crowd.call("A", &format!("truncate file {}", count * size));
        crowd.call("A", "lock W 0-");
        crowd.cast.send("B", &format!("crowd {count} {size}"));
        crowd
    }

    fn call(&mut self, who: &str, order: &str) -> String {
        self.cast.send(who, order);
        self.cast
            .answer(who, PATIENCE)
            .unwrap_or_else(|| panic!("{who} {order}: no answer, {:?}", self.cast.state(who)))
    }

    /// How many threads of B wait in a write.
    fn waiting(&mut self) -> usize {
        let pid = self.cast.pid("B");
        let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
            return 0;
        };
        let writes = format!("{} ", nix::libc::SYS_pwrite64);
        let waits = |path: std::path::PathBuf| {
            std::fs::read_to_string(path.join("syscall")).is_ok_and(|call| call.starts_with(&writes))
                && std::fs::read_to_string(path.join("stat")).is_ok_and(|stat| stat.contains(") S "))
        };
        threads
            .filter(|it| it.as_ref().is_ok_and(|it| waits(it.path())))
            .count()
    }

    /// How many threads B has, those of the crowd that are done not counted.
    fn threads(&mut self) -> usize {
        let pid = self.cast.pid("B");
        std::fs::read_dir(format!("/proc/{pid}/task")).map_or(0, Iterator::count)
    }

    fn finish(&mut self) -> String {
        self.call("A", "unlock");
        self.cast.answer("B", PATIENCE * 2).expect("the crowd ends")
    }
}

/// A thousand writes wait, each by a descriptor of its own, and others work on; then all of them are in the file.
#[test]
fn a_thousand_writes_wait() {
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        let mut crowd = Crowd::begin(options, 1000, 4096);
        wait_until("a thousand wait", PATIENCE, || crowd.waiting() == 1000);
        let begun = Instant::now();
        for round in 0..50 {
            for order in [
                "fsize",
                "write :x 100@0",
                "read :x 100@0",
                "read :n 10@0",
                "size file",
                "getlk W 0-10",
                "setxattr file",
            ] {
                if round == 0 && order == "fsize" {
                    crowd.call("C", "open :x other rw,creat 2666");
                }
                let answer = crowd.call("C", order);
                assert_eq!(answer == "EAGAIN", order.contains(":n"), "{order}: {answer}");
            }
            assert_eq!(crowd.call("A", "write 10@0 .").trim(), "10");
        }
        eprintln!("400 calls beside a thousand that wait: {:?}", begun.elapsed());
        assert_eq!(crowd.call("A", "fallocate punch 0 4096").trim(), "0");
        assert_eq!(crowd.waiting(), 1000);
        assert_eq!(crowd.finish(), "1000 0 refused, 0 otherwise");
        assert_eq!(crowd.call("C", "crowd_verify 1000 4096"), "1000 0 empty, 0 torn");
    }
}

/// What waits is kept in bounded memory: beyond 16 MiB of one user a write gets EAGAIN, and the log says so. What was kept is written.
#[test]
fn what_is_kept_is_bounded() {
    let size = 256 << 10;
    let mut crowd = Crowd::begin("mode=0777,mand,size=1g", 200, size);
    // It is so for a moment too while they are being started.
    let mut looks = 0;
    wait_until("as many wait as may", PATIENCE, || {
        std::thread::sleep(Duration::from_millis(20));
        looks = if crowd.waiting() == 64 && crowd.threads() < 70 {
            looks + 1
        } else {
            0
        };
        looks == 10
    });
    let (log, rss) = (crowd.mount.stderr(), crowd.mount.daemon_rss());
    let answer = crowd.finish();
    assert_eq!(answer, "64 136 refused, 0 otherwise");
    assert_eq!(
        crowd.call("C", &format!("crowd_verify 200 {size}")),
        "64 136 empty, 0 torn"
    );
    let line = log
        .lines()
        .find(|line| line.contains("too much data"))
        .expect("an event");
    assert!(line.contains("errno=EAGAIN"), "{line}");
    assert!(rss.is_none_or(|rss| rss < 160 << 20), "{rss:?} bytes resident");
    // All of it is given back: as many may wait again.
    crowd.call("A", "lock W 0-");
    crowd.cast.send("B", &format!("crowd 64 {size}"));
    wait_until("as many wait again", PATIENCE, || crowd.waiting() == 64);
    assert_eq!(crowd.finish(), "64 0 refused, 0 otherwise");
}

/// A process with hundreds of writes that wait is killed: it goes at once, and nothing of it is written.
#[test]
fn a_crowd_is_killed() {
    let mut crowd = Crowd::begin("mode=0777,mand", 300, 4096);
    wait_until("all wait", PATIENCE, || crowd.waiting() == 300);
    let begun = Instant::now();
    crowd.cast.signal_process("B", rustix::process::Signal::KILL);
    assert!(crowd.cast.gone("B", PATIENCE), "it lives on");
    eprintln!(
        "a process with 300 writes that wait was gone after {:?}",
        begun.elapsed()
    );
    assert_eq!(crowd.call("A", "unlock").trim(), "0");
    assert_eq!(crowd.call("C", "crowd_verify 300 4096"), "0 300 empty, 0 torn");
    assert_eq!(crowd.call("C", "lock W 0-").trim(), "0");
}

/// The holder dies while hundreds wait: all go on.
#[test]
fn the_holder_of_a_crowd_dies() {
    let mut crowd = Crowd::begin("mode=0777,mand", 300, 4096);
    wait_until("all wait", PATIENCE, || crowd.waiting() == 300);
    crowd.cast.signal_process("A", rustix::process::Signal::KILL);
    assert!(crowd.cast.gone("A", PATIENCE));
    let answer = crowd.cast.answer("B", Duration::from_secs(30)).expect("the crowd ends");
    assert_eq!(answer, "300 0 refused, 0 otherwise");
    assert_eq!(crowd.call("C", "crowd_verify 300 4096"), "300 0 empty, 0 torn");
}
