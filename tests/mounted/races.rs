//! Semantics section 2: of many callers that create the same name at once exactly one wins, whoever they are; and nobody ever
//! sees a name whose inode is not finished. 64 racers: threads in 8 processes, held back and started together by a lock.

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, RenameFlags, fstat, linkat, mkdirat, mknodat, openat, symlinkat,
};
use rustix::fs::{FlockOperation, flock, renameat_with, unlinkat};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::common::identity::{ALICE, BOB, CAROL, Identity, ROOT, own_umask};
use crate::common::{Errno, Mount, as_user, env_number};

const PROCESSES: usize = 8;
const THREADS: usize = 8;
/// A lock outside the mount: whoever orders a race holds it, and all racers start when it is let go.
const GO: &str = "../go";
const PART: &str = "OWLTMP_RACER";

/// The ways to create a name.
const KINDS: [&str; 9] = [
    "open",
    "mkdir",
    "mknod",
    "fifo",
    "symlink",
    "link",
    "rename",
    "tmpfile",
    "open-over-dangling-symlink",
];

/// Tries to create `name`; `own` is a file of this racer alone, ready to be linked or renamed.
fn create(kind: &str, own: &str, name: &str) -> Result<(), Errno> {
    let mode = Mode::from_raw_mode(0o640);
    let excl = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    match kind {
        "open" | "open-over-dangling-symlink" => openat(CWD, name, excl, mode).map(drop),
        "mkdir" => mkdirat(CWD, name, mode),
        "mknod" => mknodat(CWD, name, FileType::RegularFile, mode, 0),
        "fifo" => mknodat(CWD, name, FileType::Fifo, mode, 0),
        "symlink" => symlinkat(own, CWD, name),
        "link" => linkat(CWD, own, CWD, name, AtFlags::empty()),
        "rename" => renameat_with(CWD, own, CWD, name, RenameFlags::NOREPLACE),
        "tmpfile" => {
            let fd = openat(CWD, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode)?;
            let path = format!("/proc/thread-self/fd/{}", fd.as_raw_fd());
            linkat(CWD, path, CWD, name, AtFlags::SYMLINK_FOLLOW)
        }
        other => panic!("{other}"),
    }
}

/// One round of one thread: it makes ready, waits for the start and tries once.
fn round(kind: &str, number: u64, part: usize, barrier: &Barrier, thread: usize) -> Result<(), Errno> {
    let own = format!("own-{part}-{thread}");
    if matches!(kind, "link" | "rename") {
        let made = openat(
            CWD,
            &own,
            OFlags::CREATE | OFlags::RDWR | OFlags::CLOEXEC,
            Mode::RUSR | Mode::WUSR,
        );
        made.map(drop).expect("a file of one's own");
    }
    let go = openat(CWD, GO, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).expect("beside the mount");
    if barrier.wait().is_leader() {
        eprintln!("ready");
    }
    flock(&go, FlockOperation::LockShared).expect("flock");
    create(kind, &own, &format!("name-{number}"))
}

/// A racing process; does nothing when it runs as one of the tests. Reads "KIND NUMBER" and answers "WON LOST OTHERS".
#[test]
fn racing_process() {
    let Ok(part) = std::env::var(PART) else { return };
    let part: usize = part.parse().unwrap();
    let who = [ROOT, ALICE, BOB, CAROL][part % 4];
    let (start, ready, done) = (
        Barrier::new(THREADS + 1),
        Barrier::new(THREADS),
        Barrier::new(THREADS + 1),
    );
    let order = std::sync::Mutex::new((String::new(), 0));
    let results = std::sync::Mutex::new(vec![]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (start, ready, done, order, results) = (&start, &ready, &done, &order, &results);
            scope.spawn(move || {
                own_umask(0o022);
                who.assume();
                loop {
                    start.wait();
                    let (kind, number) = order.lock().unwrap().clone();
                    let result = round(&kind, number, part, ready, thread);
                    results.lock().unwrap().push(result);
                    done.wait();
                }
            });
        }
        for line in std::io::stdin().lines() {
            let line = line.unwrap();
            let (kind, number) = line.split_once(' ').unwrap();
            *order.lock().unwrap() = (kind.to_owned(), number.parse().unwrap());
            start.wait();
            done.wait();
            let results = std::mem::take(&mut *results.lock().unwrap());
            let won = results.iter().filter(|r| r.is_ok()).count();
            let lost = results.iter().filter(|r| **r == Err(Errno::EXIST)).count();
            let other: Vec<_> = results
                .iter()
                .filter(|r| r.is_err() && **r != Err(Errno::EXIST))
                .collect();
            eprintln!("{won} {lost} {other:?}");
        }
        std::process::exit(0);
    });
}

/// Racing processes, killed in Drop.
struct Racers(Vec<(Child, BufReader<std::process::ChildStderr>)>);

impl Racers {
    fn start(root: &Path) -> Self {
        let entry = format!("{}::racing_process", module_path!().split_once("::").unwrap().1);
        let start = |part: usize| {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
                .env(PART, part.to_string())
                .current_dir(root)
                .stdin(Stdio::piped())
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap();
            let answers = BufReader::new(child.stderr.take().unwrap());
            (child, answers)
        };
        Self((0..PROCESSES).map(start).collect())
    }

    fn order(&mut self, kind: &str, number: u64) {
        for (child, _) in &mut self.0 {
            writeln!(child.stdin.as_mut().unwrap(), "{kind} {number}").unwrap();
        }
    }

    /// Waits until all stand at the start.
    fn ready(&mut self) {
        for (_, answers) in &mut self.0 {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            assert_eq!(line, "ready\n");
        }
    }

    /// Winners, losers.
    fn results(&mut self) -> (usize, usize) {
        let mut sum = (0, 0);
        for (_, answers) in &mut self.0 {
            let mut line = String::new();
            answers.read_line(&mut line).unwrap();
            let mut words = line.trim().splitn(3, ' ');
            sum.0 += words
                .next()
                .unwrap()
                .parse::<usize>()
                .unwrap_or_else(|_| panic!("a racer: {line}"));
            sum.1 += words.next().unwrap().parse::<usize>().unwrap();
            assert_eq!(words.next(), Some("[]"), "only EEXIST may come to those who lose");
        }
        sum
    }
}

impl Drop for Racers {
    fn drop(&mut self) {
        for (child, _) in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// By semantics 2.1: exactly one of 64 wins, each of thousands of times, with every kind of creation.
#[test]
fn exactly_one_wins() {
    let mount = Mount::owltmp("mode=0777");
    let dir = mount.dir();
    let rounds = env_number("OWLTMP_RACE_ROUNDS", 2000);
    let go = std::fs::File::create(mount.scratch().join("go")).unwrap();
    flock(&go, FlockOperation::LockExclusive).unwrap();
    let mut racers = Racers::start(mount.mountpoint());
    for number in 0..rounds {
        let kind = KINDS[(number % KINDS.len() as u64) as usize];
        let name = format!("name-{number}");
        let dangling = kind == "open-over-dangling-symlink";
        if dangling {
            dir.symlink("nowhere", &name).unwrap();
        }
        racers.order(kind, number);
        racers.ready();
        flock(&go, FlockOperation::Unlock).unwrap();
        let (won, lost) = racers.results();
        flock(&go, FlockOperation::LockExclusive).unwrap();
        let winners = usize::from(!dangling);
        assert_eq!(
            (won, lost),
            (winners, PROCESSES * THREADS - winners),
            "{kind}, round {number}"
        );
        let stat = dir.lstat(&name).unwrap();
        assert_eq!(
            stat.st_nlink,
            if kind == "link" || kind == "mkdir" { 2 } else { 1 },
            "{kind}"
        );
        let removed = if kind == "mkdir" {
            dir.rmdir(&name)
        } else {
            dir.unlink(&name)
        };
        removed.unwrap();
        assert_eq!(dir.lstat("nowhere").unwrap_err(), Errno::NOENT);
    }
    drop(racers);
    for name in dir.names() {
        assert!(name.starts_with("own-"), "{name} is left");
    }
}

fn expect_finished(name: &str, attr: &rustix::fs::Stat, who: Identity) {
    let mode = match name {
        "f" => 0o100_600,
        "d" => 0o042_750,
        "p" => 0o010_640,
        "l" => 0o120_777,
        _ => 0o100_604,
    };
    let got = (attr.st_mode, attr.st_uid, attr.st_gid);
    assert_eq!(got, (mode, who.uid, BOB.gid), "{name} was seen unfinished");
}

/// By semantics 2.2: whoever looks at a new name sees its final owner, group and mode: umask, default ACL and the group of a
/// set-group-id directory applied.
#[test]
fn never_seen_unfinished() {
    use crate::common::xattr::{self, DEFAULT, Entry, acl};
    let mount = Mount::owltmp("mode=0777");
    let dir = mount.dir().subdir("s", 0o777);
    mount.dir().chown("s", None, Some(BOB.gid)).unwrap();
    mount.dir().chmod("s", 0o2777).unwrap();
    let inherited = [Entry::UserObj(7), Entry::GroupObj(7), Entry::Other(7)];
    let with_list = mount.dir().subdir("a", 0o777);
    xattr::set(&mount.dir().path("a"), DEFAULT, &acl(&inherited)).unwrap();
    let stop = AtomicBool::new(false);
    let rounds = env_number("OWLTMP_RACE_ROUNDS", 2000);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    for name in ["f", "d", "p", "l", "t"] {
                        if let Ok(attr) = dir.lstat(name) {
                            expect_finished(name, &attr, ALICE);
                        }
                    }
                    if let Ok(attr) = with_list.lstat("f") {
                        assert_eq!(
                            (attr.st_mode, attr.st_uid),
                            (0o100_666, ALICE.uid),
                            "the default ACL comes late"
                        );
                    }
                    if let Ok(fd) = dir.open("f", OFlags::RDONLY, 0) {
                        expect_finished("f", &fstat(&fd).unwrap(), ALICE);
                    }
                }
            });
        }
        let created = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            as_user(ALICE, || {
                rustix::process::umask(Mode::from_raw_mode(0o027));
                for _ in 0..rounds {
                    drop(
                        dir.open("f", OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o624)
                            .unwrap(),
                    );
                    dir.mkdir("d", 0o777).unwrap();
                    dir.mknod("p", FileType::Fifo, 0o666, 0).unwrap();
                    dir.symlink("x", "l").unwrap();
                    let nameless = dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o600).unwrap();
                    rustix::fs::fchmod(&nameless, Mode::from_raw_mode(0o604)).unwrap();
                    dir.link_fd(&nameless, "t").unwrap();
                    drop(
                        with_list
                            .open("f", OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY, 0o666)
                            .unwrap(),
                    );
                    for name in ["f", "p", "l", "t"] {
                        unlinkat(dir.fd(), name, AtFlags::empty()).unwrap();
                    }
                    dir.rmdir("d").unwrap();
                    with_list.unlink("f").unwrap();
                }
            });
        }));
        stop.store(true, Ordering::Relaxed);
        created.unwrap();
    });
}

/// By semantics 2.3: link(2) and st_nlink == 2, the old way to lock over a network, has one holder at a time.
#[test]
fn link_count_lock() {
    let mount = Mount::owltmp("mode=0777");
    let dir = mount.dir();
    let holders = std::sync::atomic::AtomicU32::new(0);
    let rounds = env_number("OWLTMP_RACE_ROUNDS", 2000) / 8;
    std::thread::scope(|scope| {
        for racer in 0..8 {
            let holders = &holders;
            scope.spawn(move || {
                let own = format!("own-{racer}");
                let fd = dir.create(&own);
                for _ in 0..rounds {
                    while dir.link(&own, "lock").is_err() {
                        std::thread::yield_now();
                    }
                    assert_eq!(fstat(&fd).unwrap().st_nlink, 2);
                    assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0, "two hold the lock");
                    holders.fetch_sub(1, Ordering::SeqCst);
                    dir.unlink("lock").unwrap();
                }
            });
        }
    });
}
