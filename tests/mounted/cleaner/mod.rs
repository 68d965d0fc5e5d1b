//! The cleaner (`max_age=`) on a real mount: the kernel sees at once that something went, and what is in use stays, in both ways
//! to keep contents.

mod attack;
mod beside;
mod command;
mod load;
mod mounts;

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::time::Duration;

use rustix::fs::{FlockOperation, flock};

use crate::common::map::Map;
use crate::common::mount::Setup;
use crate::common::{Dir, Kind, Mode, Mount, OFlags, wait_until};

/// How the contents are kept.
const IO: [&str; 2] = ["io=auto", "io=cached"];

/// How long anything may take that should take milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// Mounts with a cleaner that takes what was not touched for `age` milliseconds for old, and walks every `every`.
pub fn mount(options: &str, age: u64, every: u64) -> Mount {
    let mut setup = Setup::new(Kind::Owltmp, &format!("mode=0777,max_age=10d,{options}"));
    setup.environment = vec![
        ("OWLTMP_TEST_CLEANER", format!("{age},{every}")),
        ("OWLTMP_LOG", "info".to_owned()),
    ];
    setup.mount()
}

/// Runs a test in both ways.
fn each_io(age: u64, test: impl Fn(&Mount)) {
    for io in IO {
        eprintln!("{io}:");
        test(&mount(io, age, 20));
    }
}

#[test]
fn the_kernel_sees_at_once_that_something_went() {
    each_io(300, |mount| {
        let dir = mount.dir();
        dir.subdir("d", 0o755);
        fs::write(dir.path("d/f"), "contents").unwrap();
        dir.symlink("/etc/passwd", "d/l").unwrap();
        dir.link("d/f", "d/f2").unwrap();
        dir.file("marked", b"", 0o2644);
        let paths = ["d", "d/f", "d/l", "d/f2", "marked"].map(|name| dir.path(name));
        let root = fs::symlink_metadata(mount.path()).unwrap();
        // The kernel has it all in its caches now.
        assert!(paths.iter().all(|path| fs::symlink_metadata(path).is_ok()));
        let known = fs::File::open(mount.path()).unwrap();
        wait_until("all is gone", PATIENCE, || {
            paths.iter().all(|path| fs::symlink_metadata(path).is_err())
        });
        let after = known.metadata().unwrap();
        assert_eq!((root.nlink(), after.nlink()), (3, 2), "a directory less");
        assert_eq!(
            (root.mtime_nsec(), root.ctime_nsec()),
            (after.mtime_nsec(), after.ctime_nsec())
        );
        assert!(dir.names().is_empty());
        fs::write(&paths[0], "a file now").unwrap();
        let said = mount.stderr();
        for line in [
            "/d/f\\\" kind=file",
            "/d/f2",
            "/d/l\\\" kind=symlink",
            "/d\\\" kind=directory",
        ] {
            let line = line.replace("\\\"", "\"");
            assert!(
                said.contains("removed max_age: uid=0 ") && said.contains(&line),
                "{line} in {said}"
            );
        }
        wait_until("the walk is told of", PATIENCE, || {
            mount
                .stderr()
                .contains(" and 1 directories that nobody had touched for 300ms")
        });
    });
}

#[test]
fn what_is_used_stays_and_goes_when_it_is_not() {
    each_io(300, |mount| {
        let dir = mount.dir();
        let open = dir.create("open");
        dir.file("mapped", &[7; 4096], 0o644);
        let map = {
            let fd = dir.open("mapped", OFlags::RDWR, 0).unwrap();
            Map::shared(&fd, 4096).unwrap()
        };
        dir.subdir("locked", 0o755);
        fs::write(dir.path("locked/below"), "kept by the lock above").unwrap();
        let lock = dir.open("locked", OFlags::DIRECTORY, 0).unwrap();
        flock(&lock, FlockOperation::LockShared).unwrap();
        dir.mknod("fifo", crate::common::FileType::Fifo, 0o600, 0).unwrap();
        let fifo = dir.open("fifo", OFlags::RDWR | OFlags::NONBLOCK, 0).unwrap();
        let kept = ["open", "mapped", "locked", "locked/below", "fifo"];
        fs::write(dir.path("other"), "").unwrap();
        wait_until("what is not used is gone", PATIENCE, || dir.lstat("other").is_err());
        std::thread::sleep(Duration::from_millis(400));
        for name in kept {
            assert!(dir.lstat(name).is_ok(), "{name} is in use");
        }
        assert_eq!(map.get(0, 1), [7]);
        drop((open, map, lock, fifo));
        wait_until("all is gone", PATIENCE, || {
            kept.iter().all(|name| dir.lstat(name).is_err())
        });
    });
}

/// What is old by now has had its chance.
fn another_file_goes(dir: &Dir) {
    dir.file("other", b"", 0o644);
    wait_until("the other is gone", PATIENCE, || dir.lstat("other").is_err());
}

/// The cleaner looks at old files just when somebody opens them.
#[test]
fn what_is_mapped_while_the_cleaner_looks_stays() {
    const FILES: usize = 800;
    for io in IO {
        let mount = mount(&format!("exclude=young,{io}"), 200, 1);
        let dir = mount.dir();
        for round in 0..3 {
            dir.subdir("young", 0o755);
            (0..FILES).for_each(|number| dir.file(&format!("young/{number}"), &[1; 10], 0o644));
            another_file_goes(dir);
            let name = |number: usize| format!("old-{round}/{number}");
            dir.rename("young", &format!("old-{round}")).unwrap();
            let map = &|number| {
                let fd = dir.open(&name(number), OFlags::RDWR, 0).ok()?;
                Some((name(number), Map::shared(&fd, 10).unwrap()))
            };
            // Several at once, so that each is kept waiting between two steps now and then.
            let maps: Vec<_> = std::thread::scope(|scope| {
                let some = |thread: usize| (thread..FILES).step_by(8).filter_map(map).collect();
                let threads: Vec<_> = (0..8)
                    .map(|thread| scope.spawn(move || -> Vec<_> { some(thread) }))
                    .collect();
                threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
            });
            another_file_goes(dir);
            for (name, map) in &maps {
                assert!(dir.lstat(name).is_ok(), "{io}: {name} is mapped");
                assert_eq!(map.get(0, 1), [1]);
            }
            println!("{io}: {} of {FILES} were mapped before they were removed", maps.len());
        }
        wait_until("all is gone", PATIENCE, || dir.names().is_empty());
    }
}

#[test]
fn kinds_that_stay() {
    let mount = mount("exclude=keep*,exclude=\"{x,y}/*\"", 200, 20);
    let dir = mount.dir();
    let socket = UnixListener::bind(dir.path("socket")).unwrap();
    drop(socket);
    dir.mknod("device", crate::common::FileType::CharacterDevice, 0o600, 0)
        .unwrap();
    dir.file("sticky", b"", 0o1644);
    dir.subdir(".X11-unix", 0o1777);
    dir.subdir("keep.d", 0o755);
    fs::write(dir.path("keep.d/below"), "").unwrap();
    dir.subdir("x", 0o755);
    fs::write(dir.path("x/1"), "").unwrap();
    another_file_goes(dir);
    std::thread::sleep(Duration::from_millis(300));
    for name in ["socket", "device", "sticky", ".X11-unix", "keep.d/below", "x/1"] {
        assert!(dir.lstat(name).is_ok(), "{name} stays");
    }
    let kind = fs::symlink_metadata(dir.path("socket")).unwrap().file_type();
    assert!(kind.is_socket());
    assert_eq!(
        fs::metadata(dir.path(".X11-unix")).unwrap().permissions().mode() & 0o7777,
        0o1777
    );
}

/// A program that sits in a directory that goes keeps a directory, though one without a name, as on tmpfs after rmdir(2).
#[test]
fn who_is_in_a_directory_can_leave_it() {
    let mount = mount("", 200, 20);
    mount.dir().subdir("d", 0o755);
    let mut shell = std::process::Command::new("sh")
        .args([
            "-c",
            "cd \"$0\" && read x; ls -a . > /dev/null 2>&1; touch new 2> /dev/null && exit 1; cd .. && ls . && exit 7",
        ])
        .arg(mount.dir().path("d"))
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    wait_until("it is gone", PATIENCE, || mount.dir().lstat("d").is_err());
    drop(shell.stdin.take());
    assert_eq!(shell.wait().unwrap().code(), Some(7));
}

#[test]
fn without_the_option_nothing_goes() {
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777,exclude=a*");
    setup.environment = vec![("OWLTMP_TEST_CLEANER", "1,1".to_owned())];
    let mount = setup.mount();
    mount.dir().file("f", b"", 0o644);
    std::thread::sleep(Duration::from_millis(300));
    assert!(mount.dir().lstat("f").is_ok());
}
