//! Whose memory it is, and that all of it comes back: cgroups, descriptors, registered backing files, the daemon's death.

use rustix::fs::{OFlags, fstat, statfs};
use rustix::io::{Errno, pwrite};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{PATIENCE, Where, descriptors};
use crate::common::dir::pread;
use crate::common::map::Map;
use crate::common::mount::{Setup, tmpfs_plays_owltmp};
use crate::common::{Dir, Kind, Mount, env_number, wait_until};

const MIB: u64 = 1 << 20;

/// A cgroup that memory is charged to, gone when dropped.
struct Group {
    path: PathBuf,
    usage: PathBuf,
}

impl Group {
    /// `None` where no memory controller is mounted.
    fn new(name: &str) -> Option<Group> {
        let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
        let mounted = |wanted: &dyn Fn(&str) -> bool| {
            let line = table.lines().find(|line| wanted(line.rsplit(" - ").next().unwrap()))?;
            line.split(' ').nth(4).map(PathBuf::from)
        };
        let first = mounted(&|tail| tail.starts_with("cgroup ") && tail.split([' ', ',']).any(|word| word == "memory"));
        let (root, file) = match first {
            Some(root) => (root, "memory.usage_in_bytes"),
            None => (mounted(&|tail| tail.starts_with("cgroup2 "))?, "memory.current"),
        };
        let path = root.join(format!("owltmp-test-{}-{name}", std::process::id()));
        fs::create_dir(&path).ok()?;
        let usage = path.join(file);
        let group = Group { path, usage };
        group.usage.exists().then_some(group)
    }

    fn usage(&self) -> u64 {
        fs::read_to_string(&self.usage).unwrap().trim().parse().unwrap()
    }

    fn add(&self, pid: i32) {
        fs::write(self.path.join("cgroup.procs"), pid.to_string()).unwrap();
    }

    /// Runs a shell script inside.
    fn run(&self, cwd: &Path, script: &str) {
        let script = format!("echo $$ > {}/cgroup.procs && {script}", self.path.display());
        let status = Command::new("sh")
            .args(["-c", &script])
            .current_dir(cwd)
            .status()
            .unwrap();
        assert!(status.success(), "{script}");
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Whoever was in it may need a moment to be gone.
        wait_until("the group is empty", PATIENCE, || fs::remove_dir(&self.path).is_ok());
    }
}

fn groups() -> Option<(Group, Group)> {
    let groups = Group::new("writer").zip(Group::new("daemon"));
    if groups.is_none() {
        println!("skipped: no memory controller is mounted");
    }
    groups
}

/// By semantics 1.3: pages are charged to whoever writes them, not to the daemon, and given back with the last name.
#[test]
fn is_charged_to_the_writer() {
    let Some((writer, daemon)) = groups() else { return };
    for place in [Where::Tmpfs, Where::Passthrough] {
        let mount = place.mount("mode=0777,size=256m");
        if let Some(pid) = mount.daemon_pid() {
            daemon.add(pid);
        }
        let (before, of_daemon) = (writer.usage(), daemon.usage());
        writer.run(&mount.dir().path(""), "head -c 64M /dev/zero > f");
        let (held, of_daemon_then) = (writer.usage() - before, daemon.usage());
        println!("the writer's group: {held} bytes more; the daemon's: {of_daemon}, then {of_daemon_then}");
        assert!((60 * MIB..80 * MIB).contains(&held), "{held}");
        assert!(of_daemon_then < of_daemon + 8 * MIB);
        mount.dir().unlink("f").unwrap();
        wait_until("it is given back", PATIENCE, || writer.usage() < before + 8 * MIB);
    }
}

/// What a daemon that was killed leaves: files that are open go on, and with the dead mount all memory is gone.
fn killed(mount: &mut Mount, writer: &Group, end: impl FnOnce(&mut Mount)) {
    let before = writer.usage();
    writer.run(
        &mount.dir().path(""),
        "head -c 32M /dev/zero > open; head -c 32M /dev/zero > closed",
    );
    assert!(writer.usage() >= before + 60 * MIB);
    let fd = mount.dir().open("open", OFlags::RDWR, 0).unwrap();
    let map = Map::shared(&fd, 8192).unwrap();
    mount.expect_death();
    end(mount);
    assert!(mount.daemon_exit(PATIENCE).is_some());
    assert_eq!(pwrite(&fd, b"still here", 5), Ok(10));
    assert_eq!(pread(&fd, 10, 5).unwrap(), b"still here");
    map.put(0, b"M");
    assert_eq!(map.get(0, 6), b"M\0\0\0\0s");
    let error = mount.dir().open("closed", OFlags::RDONLY, 0).unwrap_err();
    assert!(matches!(error, Errno::NOTCONN | Errno::CONNABORTED), "{error:?}");
    println!("with the dead mount: {} bytes", writer.usage() - before);
    drop((fd, map));
    mount.close_root();
    wait_until("it is unmounted", PATIENCE, || {
        !mount.is_mounted() || rustix::mount::unmount(mount.path(), rustix::mount::UnmountFlags::empty()).is_ok()
    });
    wait_until("it is given back", PATIENCE, || writer.usage() < before + 8 * MIB);
}

/// By semantics 1.3: a killed daemon and an aborted connection leave no memory behind once the dead mount is taken away.
#[test]
fn is_gone_with_the_daemon() {
    let Some((writer, _daemon)) = groups() else { return };
    if tmpfs_plays_owltmp() {
        return;
    }
    let mut mount = Where::Passthrough.mount("mode=0777,size=256m");
    killed(&mut mount, &writer, |mount| {
        let pid = rustix::process::Pid::from_raw(mount.daemon_pid().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    });
    let mut mount = Where::Passthrough.mount("mode=0777,size=256m");
    killed(&mut mount, &writer, |mount| {
        let control = mount.scratch().join("control");
        fs::create_dir(&control).unwrap();
        let none = nix::mount::MsFlags::empty();
        nix::mount::mount(Some("fusectl"), &control, Some("fusectl"), none, None::<&str>).unwrap();
        let minor = rustix::fs::minor(fs_device(mount.dir()));
        fs::write(control.join(format!("{minor}/abort")), "1").unwrap();
        nix::mount::umount(&control).unwrap();
    });
}

fn fs_device(dir: &Dir) -> u64 {
    fstat(dir.fd()).unwrap().st_dev
}

/// By semantics 6.3: written files do not hold descriptors of the daemon for ever.
#[test]
fn of_descriptors() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let files = env_number("OWLTMP_FAST_FILES", 20_000);
    for limit in [None, Some(1024)] {
        let mut setup = Setup::new(Kind::Owltmp, "mode=0777,nr_inodes=0,io=passthrough");
        setup.open_files = limit;
        let mount = setup.mount();
        let before = descriptors(&mount);
        for i in 0..files {
            mount.dir().file(&format!("f{i}"), b"written", 0o644);
        }
        let now = descriptors(&mount);
        println!("{files} written files, limit {limit:?}: {now} descriptors, {before} before");
        assert!(now < before + limit.map_or(4300, |limit| limit as usize - 100));
        for i in 0..files {
            mount.dir().unlink(&format!("f{i}")).unwrap();
        }
        wait_until("all but spare files are closed", PATIENCE, || {
            descriptors(&mount) <= before + 128
        });
    }
}

/// By semantics 6.3: more files open at once than the daemon may have descriptors: the one too many is ENFILE, the others work,
/// and when they are closed there is room again, also while many threads ask.
#[test]
fn of_too_many_open_files() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777,io=passthrough");
    setup.open_files = Some(256);
    let mount = setup.mount();
    let dir = mount.dir();
    for round in 0..3 {
        let mut open = vec![];
        let error = loop {
            let name = format!("r{round}-{}", open.len());
            match dir.open(&name, OFlags::CREATE | OFlags::RDWR, 0o644) {
                Ok(fd) => open.push(fd),
                Err(error) => break error,
            }
            assert!(open.len() < 1000);
        };
        assert_eq!(error, Errno::NFILE);
        assert!(open.len() > 100, "{}", open.len());
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let open = &open;
                scope.spawn(move || {
                    for step in 0..300 {
                        let refused = dir.open(&format!("t{thread}-{step}"), OFlags::CREATE | OFlags::RDWR, 0o644);
                        assert!(refused.is_ok() || refused.unwrap_err() == Errno::NFILE);
                        let fd = &open[step % open.len()];
                        assert_eq!(pwrite(fd, b"works", 0), Ok(5));
                        assert_eq!(fstat(fd).unwrap().st_size, 5);
                    }
                });
            }
        });
        drop(open);
        wait_until("there is room again", PATIENCE, || {
            dir.open("after", OFlags::CREATE | OFlags::RDWR, 0o644).is_ok()
        });
        for name in dir.names() {
            dir.unlink(&name).unwrap();
        }
    }
}

fn open_files() -> u64 {
    let text = fs::read_to_string("/proc/sys/fs/file-nr").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}

/// By semantics 6.3: a backing file that stayed registered with the kernel would keep its pages and count as an open file of the
/// machine, though nobody had a descriptor of it.
#[test]
fn of_registered_files() {
    let rounds = env_number("OWLTMP_FAST_FILES", 20_000) * 5 / 2;
    let mount = Where::Passthrough.mount("mode=0777,size=64m");
    let dir = mount.dir();
    let free = || statfs(dir.path("")).unwrap().f_bfree;
    let (room, files) = (free(), open_files());
    let fds = mount.daemon_pid().map(|_| descriptors(&mount));
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                for round in 0..rounds / 2 {
                    let name = format!("f{thread}-{}", round % 100);
                    let fd = dir.open(&name, OFlags::CREATE | OFlags::RDWR, 0o644).unwrap();
                    if round % 3 > 0 {
                        assert_eq!(pwrite(&fd, b"a page", 0), Ok(6));
                    }
                    if round % 7 == 0 {
                        drop(dir.open(&name, OFlags::RDONLY, 0).unwrap());
                    }
                    dir.unlink(&name).unwrap();
                }
            });
        }
    });
    wait_until("all pages are free", PATIENCE, || free() == room);
    let now = open_files();
    println!("{rounds} files came and went; open files of the machine: {files}, then {now}");
    assert!(now < files + rounds / 4, "{files}, then {now}");
    if let Some(before) = fds {
        wait_until("no descriptor is left", PATIENCE, || {
            descriptors(&mount) <= before + 128
        });
    }
}

/// One file, opened and closed more often than files are kept at hand, stays at hand: what is put away has a name in the store.
#[test]
fn is_kept_at_hand_while_in_use() {
    let mount = Mount::owltmp("mode=0777");
    if !mount.passthrough() {
        return;
    }
    mount.dir().file("f", b"contents", 0o644);
    for _ in 0..10_000 {
        drop(mount.dir().open("f", OFlags::RDONLY, 0).unwrap());
    }
    let _open = mount.dir().open("f", OFlags::RDONLY, 0).unwrap();
    let named = |path: &Path| {
        let text = path.to_string_lossy();
        text.len() > 1 && text[1..].bytes().all(|byte| byte.is_ascii_digit())
    };
    let descriptors = fs::read_dir(format!("/proc/{}/fd", mount.daemon_pid().unwrap())).unwrap();
    let links: Vec<PathBuf> = descriptors
        .flatten()
        .flat_map(|entry| fs::read_link(entry.path()))
        .collect();
    assert!(
        links.iter().any(|path| path.to_string_lossy().starts_with("/#")),
        "{links:?}"
    );
    assert!(!links.iter().any(|path| named(path)), "{links:?}");
}
