//! `owltmp top` on a mount that something happens on: as text, and on a terminal, which it gives back however it ends.

use std::os::fd::AsRawFd;
use std::process::{Command, Output, Stdio};

use crate::common::lock::{Record, set};
use crate::common::{Mount, OFlags, identity::ALICE};
use crate::program::{OWLTMP, Scratch, assert_one_line, copy_for_users};

fn once(mount: &Mount, arguments: &[&str]) -> String {
    let output = Command::new(OWLTMP)
        .args(["top", "--once", "--width", "140"])
        .args(arguments)
        .arg(mount.path())
        .output()
        .unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_screen_shows_what_happens() {
    let mount = Mount::new("mode=1777,size=1g,user_size=100m");
    let dir = mount.dir();
    let fd = dir.create("a\u{1b}[31mb");
    dir.chown("a\u{1b}[31mb", Some(ALICE.uid), None).unwrap();
    rustix::io::write(&fd, &[1; 1 << 20]).unwrap();
    set(
        fd.as_raw_fd(),
        libc::F_OFD_SETLK,
        Record::new(libc::F_WRLCK as i16, 10, 10),
    )
    .unwrap();
    let other = dir.open("a\u{1b}[31mb", OFlags::RDWR, 0).unwrap();
    let waiting = std::thread::spawn(move || {
        set(
            other.as_raw_fd(),
            libc::F_OFD_SETLKW,
            Record::new(libc::F_RDLCK as i16, 0, 100),
        )
        .unwrap();
    });
    dir.symlink("/etc/passwd", "planted").unwrap();
    dir.chown("planted", Some(ALICE.uid), None).unwrap();
    assert!(std::fs::read(dir.path("planted")).is_err(), "refused");
    crate::common::wait_until("somebody waits", std::time::Duration::from_secs(20), || {
        once(&mount, &[]).contains("waits behind")
    });
    let text = once(&mount, &[]);
    for wanted in [
        " owltmp top ",
        "of 1.0 GiB",
        "60001",
        "LOOKUP",
        "ofd write",
        "10-19",
        "0-99",
        "/a\\x1b[31mb",
        "refused symlinks",
        "1 waiting  symlinks 1",
    ] {
        assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
    }
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    assert!(text.lines().all(|line| line.chars().count() <= 140));
    assert!(once(&mount, &["--color"]).contains("\u{1b}[0;30;46m owltmp top "));
    drop(fd);
    waiting.join().unwrap();
}

/// Runs `owltmp top` on a terminal of 24 lines and 80 columns, does something, and tells how it ended and what the terminal was
/// left with.
const ON_A_TERMINAL: &str = "
import fcntl, os, pty, select, signal, struct, sys, termios, time
program, mount, how = sys.argv[1:4]
main, side = pty.openpty()
fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
before = termios.tcgetattr(side)
pid = os.fork()
if pid == 0:
    os.setsid()
    fcntl.ioctl(side, termios.TIOCSCTTY, 0)
    for fd in (0, 1, 2):
        os.dup2(side, fd)
    os.execv(program, [program, 'top', '-d', '0.1', mount])
seen = b''
def read_until(what):
    global seen
    end = time.time() + 30
    while what not in seen:
        assert time.time() < end, (what, seen[-500:])
        if select.select([main], [], [], 0.1)[0]:
            seen += os.read(main, 65536)
read_until(b'owltmp top')
read_until(b'q ends')
if how == 'resize':
    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack('HHHH', 40, 50, 0, 0))
    os.kill(pid, signal.SIGWINCH)
    seen = b''
    read_until(b'q ends')
    os.write(main, b'+- q')
elif how == 'ctrl-c':
    os.write(main, b'\\x03')
elif how == 'q':
    os.write(main, b'q')
else:
    os.kill(pid, getattr(signal, how))
read_until(b'\\x1b[?1049l')
_, status = os.waitpid(pid, 0)
assert termios.tcgetattr(side) == before, 'the terminal is as it was'
print(os.waitstatus_to_exitcode(status))
";

fn on_a_terminal(mount: &Mount, how: &str) -> Output {
    Command::new("python3")
        .args(["-c", ON_A_TERMINAL, OWLTMP])
        .arg(mount.path())
        .arg(how)
        .output()
        .unwrap()
}

#[test]
fn the_terminal_is_given_back() {
    let mount = Mount::new("");
    for (how, code) in [
        ("q", "0"),
        ("ctrl-c", "0"),
        ("resize", "0"),
        ("SIGTERM", "143"),
        ("SIGHUP", "129"),
        ("SIGINT", "130"),
    ] {
        let output = on_a_terminal(&mount, how);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.trim(), code, "{how}: {output:?}");
    }
}

#[test]
fn what_cannot_be_is_told_in_one_line() {
    let mount = Mount::new("");
    let top = |arguments: &[&str]| {
        let mut command = Command::new(OWLTMP);
        command.arg("top").args(arguments).stdin(Stdio::null());
        command.output().unwrap()
    };
    let at = mount.path().to_str().unwrap();
    assert_one_line(&top(&[at]), 1, "standard input or output is no terminal");
    assert_one_line(&top(&["--once", "/etc"]), 1, "/etc");
    assert_one_line(&top(&["-d", "0", at]), 2, "want seconds, from 0.1 to 3600");
}

/// Others than root and the mount's owner see what is theirs, and nothing of the requests of all.
#[test]
fn others_see_what_is_theirs() {
    use std::os::unix::process::CommandExt;
    let mount = Mount::new("mode=1777");
    mount.dir().file("of-root", &[1; 5000], 0o644);
    let scratch = Scratch::new();
    let program = copy_for_users(&scratch);
    let output = Command::new(program)
        .args(["top", "--once"])
        .arg(mount.path())
        .uid(ALICE.uid)
        .gid(ALICE.gid)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("owltmp top") && !text.contains("LOOKUP"), "{text}");
    assert!(!text.contains("root "), "{text}");
}
