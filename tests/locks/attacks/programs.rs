//! ETXTBSY: the kernel keeps the rule for each of its inodes, and a marked file has many.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use rustix::fs::{OFlags, fchmod};

use super::part::Part;
use crate::common::dir::write_all;
use crate::common::{Dir, Errno, Kind, Mode, Mount, each, env_number, wait_until};

const OPTIONS: [&str; 3] = ["mode=0777", "mode=0777,mand=all", "mode=0777,mand=full"];

fn program(dir: &Dir, name: &str, path: &str, mode: u32) {
    let flags = OFlags::CREATE | OFlags::WRONLY | OFlags::TRUNC;
    let fd = dir.open(name, flags, 0o755).unwrap();
    fchmod(&fd, Mode::from_raw_mode(mode)).unwrap();
    write_all(&fd, &std::fs::read(path).unwrap());
}

/// A program that runs until dropped.
struct Running(Child);

impl Running {
    fn start(path: &Path) -> Running {
        let child = Command::new(path).arg("1000").stdin(Stdio::null()).spawn().unwrap();
        let exe = format!("/proc/{}/exe", child.id());
        wait_until("it runs", super::PATIENCE, || {
            std::fs::read_link(&exe).is_ok_and(|exe| exe.file_name() == path.file_name())
        });
        Running(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// None of these may change the program, nor be let in.
fn attempts(dir: &Dir) -> Vec<Option<Errno>> {
    let open = |flags| dir.open("sleep", flags, 0).err();
    let mut found: Vec<_> = [
        OFlags::WRONLY,
        OFlags::RDWR,
        OFlags::WRONLY | OFlags::TRUNC,
        OFlags::RDONLY | OFlags::TRUNC,
        OFlags::WRONLY | OFlags::APPEND | OFlags::CREATE,
    ]
    .map(open)
    .into();
    found.push(dir.truncate("sleep", 0).err());
    found.push(dir.truncate("sleep", 1 << 20).err());
    found
}

/// As on tmpfs nobody writes what is executed, whether it is marked then, before or after; and whoever is refused has changed nothing.
#[test]
fn what_is_executed_is_not_written() {
    let size = std::fs::metadata("/bin/sleep").unwrap().len() as i64;
    for options in OPTIONS {
        for [first, then] in [[0o2745, 0o2745], [0o2745, 0o755], [0o755, 0o2745], [0o755, 0o755]] {
            each(options, |mount| {
                let dir = mount.dir();
                program(dir, "sleep", "/bin/sleep", first);
                let running = Running::start(&dir.path("sleep"));
                dir.chmod("sleep", then).unwrap();
                for _ in 0..2 {
                    let busy = vec![Some(Errno::TXTBSY); 7];
                    assert_eq!(attempts(dir), busy, "{options}, {first:o}, {then:o}");
                    assert_eq!(dir.stat("sleep").unwrap().st_size, size);
                    // By now the kernel knows of the mark.
                    std::thread::sleep(std::time::Duration::from_millis(20));
                }
                drop(running);
                assert_eq!(dir.truncate("sleep", 0), Ok(()));
            });
        }
    }
}

/// The other way round.
#[test]
fn what_is_written_is_not_executed() {
    for options in OPTIONS {
        for [first, then] in [[0o2745, 0o2745], [0o2745, 0o755], [0o755, 0o2745]] {
            each(options, |mount| {
                let dir = mount.dir();
                program(dir, "true", "/bin/true", first);
                let writer = dir.open("true", OFlags::WRONLY, 0).unwrap();
                dir.chmod("true", then).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
                let run = || Command::new(dir.path("true")).status();
                let refused = run().unwrap_err().raw_os_error();
                assert_eq!(refused, Some(nix::libc::ETXTBSY), "{options}, {first:o}, {then:o}");
                drop(writer);
                assert!(run().unwrap().success());
            });
        }
    }
}

/// A part: writes a program, executes it, writes it again, so many times.
pub fn part(arguments: &[&str]) {
    let dir = Dir::open_root(Path::new("."), Kind::Owltmp).unwrap();
    let (name, rounds): (_, u64) = (arguments[0], arguments[1].parse().unwrap());
    for round in 0..rounds {
        program(&dir, name, "/bin/true", 0o755);
        let status = Command::new(format!("./{name}")).status();
        assert!(status.is_ok_and(|status| status.success()), "round {round}");
        assert_eq!(dir.truncate(name, 7), Ok(()), "round {round}");
    }
}

/// close(2) and wait(2) return before the server hears of it: nobody is refused because of what is over.
#[test]
fn what_was_written_runs_at_once_and_what_ran_is_written() {
    let rounds = env_number("OWLTMP_LOCK_ROUNDS", 600).to_string();
    let mount = Mount::owltmp("mode=0777,mand=all");
    let names = ["true0", "true1", "true2"];
    let parts = names.map(|name| Part::start("program", &[name, &rounds], mount.path()));
    parts.into_iter().for_each(Part::join);
}
