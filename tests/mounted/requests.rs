//! What does not reach the daemon at all: the kernel answers it from what it was told before. Requests are counted, as the
//! system calls with which the daemon reads them.

use std::process::Command;
use std::time::{Duration, Instant};

use rustix::fs::{OFlags, XattrFlags, fstat, setxattr};

use crate::common::handle::Handle;
use crate::common::identity::{ALICE, ROOT};
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::{Mount, as_user};

/// How often the daemon has read something.
fn reads(mount: &Mount) -> u64 {
    let pid = mount.daemon_pid().unwrap();
    let io = std::fs::read_to_string(format!("/proc/{pid}/io")).unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("syscr: ")).unwrap();
    line.parse().unwrap()
}

/// Few: the daemon has a life of its own.
const FEW: u64 = 50;

fn walk(mount: &Mount, times: usize) {
    let path = mount.dir().path("file");
    as_user(ALICE, || {
        for _ in 0..times {
            rustix::fs::stat(&path).unwrap();
        }
    });
}

#[test]
fn who_does_not_own_the_root_walks_through_it_without_a_request() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mount = Mount::new("");
    mount.dir().file("file", b"", 0o644);
    // Two users, an ACL that must be looked at, and one that is none.
    let acl = [
        &2_u32.to_le_bytes()[..],
        &[1, 0, 7, 0, 255, 255, 255, 255],
        &[2, 0, 7, 0, 7, 0, 0, 0],
        &[4, 0, 7, 0, 255, 255, 255, 255],
        &[16, 0, 7, 0, 255, 255, 255, 255],
        &[32, 0, 7, 0, 255, 255, 255, 255],
    ]
    .concat();
    for with_acl in [false, true] {
        if with_acl {
            setxattr(mount.path(), "system.posix_acl_access", &acl, XattrFlags::empty()).unwrap();
        }
        walk(&mount, 10);
        let before = reads(&mount);
        walk(&mount, 1000);
        let asked = reads(&mount) - before;
        assert!(asked < FEW, "{asked} requests for 1000 walks, ACL: {with_acl}");
    }
}

#[test]
fn the_root_is_reached_from_below_and_by_handles() {
    let mount = Mount::new("");
    let root = fstat(mount.dir().fd()).unwrap();
    let deep = mount.dir().subdir("a", 0o777).subdir("b", 0o777);
    for (dir, up) in [(mount.dir().sub("a"), ".."), (deep, "../..")] {
        let above = dir.stat(up).unwrap();
        assert_eq!((above.st_dev, above.st_ino), (root.st_dev, root.st_ino), "{up}");
    }
    let handles = ["a/b", "a", "."].map(|name| (name, Handle::of(mount.dir().fd(), name).unwrap()));
    as_user(ROOT, || std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap());
    for (name, handle) in &handles {
        let open = handle
            .open(mount.dir().fd(), OFlags::RDONLY | OFlags::DIRECTORY)
            .unwrap();
        let (found, wanted) = (fstat(&open).unwrap(), mount.dir().stat(name).unwrap());
        assert_eq!((found.st_dev, found.st_ino), (wanted.st_dev, wanted.st_ino), "{name}");
    }
    // What was found by a handle is where it was.
    mount.dir().rename("a/b", "c").unwrap();
    mount.dir().rename("c", "a/c").unwrap();
    assert_eq!(mount.dir().sub("a").names().into_iter().collect::<Vec<_>>(), ["c"]);
}

/// The CPU time of the daemon, in ticks of 10 ms.
fn ticks(mount: &Mount) -> u64 {
    let pid = mount.daemon_pid().unwrap();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}

#[test]
fn who_is_not_asked_uses_no_cpu() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mount = Mount::new("");
    for _ in 0..2000 {
        mount.dir().file("file", b"", 0o644);
        mount.dir().unlink("file").unwrap();
    }
    // What the last close left to do.
    std::thread::sleep(Duration::from_millis(50));
    let before = ticks(&mount);
    std::thread::sleep(Duration::from_secs(1));
    let used = ticks(&mount) - before;
    assert!(used <= 1, "{used} ticks in a second without a request");
}

/// Workers that went last beside one caller (`src/fuse/near.rs`) are there for others who come when the CPUs are taken: none
/// waits for the programs that compute, however many.
#[test]
fn programs_that_compute_hold_up_nobody() {
    let mount = Mount::new("");
    let cpus = std::thread::available_parallelism().unwrap().get();
    mount.dir().file("file", b"", 0o644);
    let cycle = || {
        mount.dir().file("new", b"", 0o644);
        mount.dir().unlink("new").unwrap();
    };
    (0..3000).for_each(|_| cycle());
    let hogs: Vec<_> = (0..cpus * 2)
        .map(|_| Command::new("sh").args(["-c", "while :; do :; done"]).spawn().unwrap())
        .collect();
    let start = Instant::now();
    (0..500).for_each(|_| cycle());
    let took = start.elapsed();
    for mut hog in hogs {
        hog.kill().unwrap();
        hog.wait().unwrap();
    }
    println!("500 cycles beside {} programs that compute: {took:?}", cpus * 2);
    // Going last all the time they would take several times that.
    assert!(took < Duration::from_secs(10), "{took:?}");
}

/// A listing brings along what is asked for afterwards, however late (find(1) lists thousands of names before it asks for the
/// first), and the next one costs nothing that is known already: `ls -l` asks for ACLs.
#[test]
fn a_listing_brings_the_attributes_along() {
    const FILES: usize = 3000;
    if tmpfs_plays_owltmp() {
        return;
    }
    let mount = Mount::new("mode=0777");
    let dir = mount.dir().subdir("d", 0o777);
    for i in 0..FILES {
        dir.file(&format!("f{i}"), b"", 0o644);
    }
    let list_and_ask = |acls: bool| {
        let before = reads(&mount);
        let listed: Vec<_> = std::fs::read_dir(dir.path(""))
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        assert_eq!(listed.len(), FILES);
        for path in &listed {
            assert!(rustix::fs::lstat(path).is_ok());
            if acls {
                let none = rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0_u8; 0]);
                assert_eq!(none, Err(rustix::io::Errno::NODATA));
            }
        }
        reads(&mount) - before
    };
    as_user(ROOT, || std::fs::write("/proc/sys/vm/drop_caches", "2").unwrap());
    let cold = list_and_ask(false);
    assert!(cold < FILES as u64 / 4, "{cold} requests for {FILES} files");
    let _first = list_and_ask(true);
    let warm = list_and_ask(true);
    assert!(
        warm < FILES as u64 / 4,
        "{warm} requests for {FILES} files and their ACLs"
    );
}
