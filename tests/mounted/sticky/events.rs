//! What the daemon writes about refused steps (semantics 3.5): nobody can write in its name, and nobody who does not read it stops
//! the mount.

use std::io::{PipeReader, Read, pipe};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::process::{Child, Stdio};

use rustix::fs::{CWD, Mode, mkdirat, openat, symlinkat};

use super::*;
use crate::common::watchdog::{Target, Watchdog};
use crate::program::{Scratch, assert_silent_success, mounts_at, owltmp};

/// The keys and values of a line; None if anything in it is not as it should be, such as a control character.
fn fields(line: &str) -> Option<Vec<(&str, &str)>> {
    if line.chars().any(|c| c.is_control() || c == '\u{202e}') || line.len() > 20_000 {
        return None;
    }
    let (_, mut rest) = line.split_once("refused symlinks: ")?;
    let mut found = vec![];
    while !rest.is_empty() {
        let (key, after) = rest.split_once('=')?;
        let end = if after.starts_with('"') {
            quoted(after)?
        } else {
            after.find(' ').unwrap_or(after.len())
        };
        found.push((key, &after[..end]));
        rest = after[end..].strip_prefix(' ').unwrap_or(&after[end..]);
        if rest.len() == after[end..].len() && !rest.is_empty() {
            return None;
        }
    }
    Some(found)
}

/// Where the text that begins with a quote ends: behind the next quote that no backslash escapes.
fn quoted(text: &str) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return Some(at + 1),
            _ => {}
        }
    }
    None
}

const KEYS: [&str; 8] = ["uid", "pid", "comm", "object", "kind", "inode", "owner", "errno"];

fn assert_whole(line: &str) {
    let found = fields(line).unwrap_or_else(|| panic!("no proper line: {line:?}"));
    let keys: Vec<_> = found.iter().map(|(key, _)| *key).collect();
    assert_eq!(keys, KEYS, "{line:?}");
    let value = |key: &str| found.iter().find(|(it, _)| *it == key).unwrap().1;
    assert_eq!(
        (value("kind"), value("owner"), value("errno")),
        ("symlink", "60001", "EACCES"),
        "{line:?}"
    );
    for key in ["uid", "pid", "inode"] {
        assert!(value(key).parse::<u64>().is_ok(), "{line:?}");
    }
    assert!(
        value("comm").starts_with('"') && value("object").starts_with('"'),
        "{line:?}"
    );
}

/// Names with which one would like to write into a log.
fn names() -> Vec<Vec<u8>> {
    let mut names: Vec<Vec<u8>> = [
        &b"new\nline"[..],
        b"forged\" kind=symlink inode=1 owner=0 errno=EPERM\nrefused symlinks: uid=0 pid=1 comm=\"",
        b"\x1b[2J\x1b]0;title\x07",
        b"\xff\xfe\xc0\x80",
        b"quote\" uid=0 pid=1",
        b"back\\slash\\",
        b"tab\tand\rreturn\x7f\x01",
        b"backwards \xe2\x80\xae",
        b"\xc2\x9b31m",
        b"%s%n{}{0}",
        b" ",
    ]
    .map(<[u8]>::to_vec)
    .to_vec();
    names.push(vec![b'\n'; 255]);
    names.push(vec![0xff; 255]);
    names
}

/// semantics 3.5: names of links and of processes are escaped, so that one event is one line, with the fields it must have.
#[test]
fn untrusted_text_is_escaped() {
    let Some(place) = Place::new("") else { return };
    let dir = place.dir();
    let names = names();
    as_user(ALICE, || {
        names
            .iter()
            .for_each(|name| symlinkat("/", dir.fd(), name.as_slice()).unwrap())
    });
    let open = |name: &[u8]| openat(dir.fd(), name, OFlags::RDONLY, Mode::empty()).map(drop);
    for (number, name) in names.iter().enumerate() {
        as_user(BOB, || {
            let comm = [
                &b"a\"b\\\n\x1b[1m\xff"[..],
                b"refused symlinks",
                b" uid=0\n",
                b"\xff\xff",
            ][number % 4];
            std::fs::write("/proc/thread-self/comm", comm).unwrap();
            assert_eq!(open(name), Err(Errno::ACCESS));
        });
    }
    let ours = || {
        let said = place.mount.stderr();
        let lines = said.lines().filter(|line| line.contains("refused symlinks: "));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    wait_until("an event for each", Duration::from_secs(10), || {
        ours().len() >= names.len()
    });
    let lines = ours();
    assert_eq!(lines.len(), names.len(), "{lines:#?}");
    lines.iter().for_each(|line| assert_whole(line));
    let objects: std::collections::BTreeSet<_> =
        lines.iter().map(|line| fields(line).unwrap()[3].1.to_owned()).collect();
    assert_eq!(objects.len(), names.len(), "{objects:#?}");
    // Every line of all it says is printable.
    let said = place.mount.stderr();
    assert!(said.lines().all(|line| !line.chars().any(char::is_control)), "{said:?}");
}

/// semantics 3.5: neither the length of a path makes a line long without end.
#[test]
fn a_long_path_is_a_line() {
    let Some(place) = Place::new("") else { return };
    let mut at = place.dir().sub(".");
    for _ in 0..60 {
        mkdirat(at.fd(), [b'\n'; 255].as_slice(), Mode::from_raw_mode(0o777)).unwrap();
        let fd = openat(at.fd(), [b'\n'; 255].as_slice(), OFlags::DIRECTORY, Mode::empty()).unwrap();
        at = Dir::open_root(
            &PathBuf::from(format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&fd))),
            at.kind(),
        )
        .unwrap();
    }
    at.chmod(".", 0o1777).unwrap();
    as_user(ALICE, || at.symlink("/", "link").unwrap());
    assert_eq!(follow(BOB, &at, "link"), Err(Errno::ACCESS));
    assert_whole(&place.event(&["refused symlinks: ", "uid=60002 "]));
}

/// A daemon whose stderr is a pipe of one page that is ours to read or not.
struct Quiet {
    scratch: Scratch,
    daemon: Child,
    reader: Option<PipeReader>,
    _watchdog: Watchdog,
    _off: sysctl::Guard,
}

impl Quiet {
    fn new() -> Option<Self> {
        if tmpfs_plays_owltmp() {
            return None;
        }
        let off = sysctl::off();
        let scratch = Scratch::new();
        let (reader, writer) = pipe().unwrap();
        rustix::pipe::fcntl_setpipe_size(writer.as_fd(), 4096).unwrap();
        let place = scratch.mountpoint();
        let before = std::fs::metadata(&place).unwrap().dev();
        let mut command = owltmp(&["mount", "-f"], &place);
        let daemon = command.stdout(Stdio::null()).stderr(writer).spawn().unwrap();
        let device = || std::fs::metadata(&place).unwrap().dev();
        wait_until("the mount", Duration::from_secs(15), || {
            !mounts_at(&place).is_empty() && device() != before
        });
        let target = Target {
            daemon: i32::try_from(daemon.id()).ok(),
            minor: rustix::fs::minor(device()),
            mountpoint: place,
        };
        Some(Self {
            scratch,
            daemon,
            reader: Some(reader),
            _watchdog: Watchdog::start(Duration::from_secs(60), target),
            _off: off,
        })
    }

    /// Refused by far more than a pipe holds, on behalf of many; all get their answer, and so does everybody else.
    fn refuse_many(&self) {
        let place = self.scratch.mountpoint();
        let link = place.join("link");
        as_user(ALICE, || symlinkat("/", CWD, &link).unwrap());
        for uid in 61_000..61_040 {
            let who = Identity {
                uid,
                gid: uid,
                groups: &[],
            };
            as_user(who, || {
                for _ in 0..110 {
                    let found = openat(CWD, &link, OFlags::RDONLY, Mode::empty()).map(drop);
                    assert_eq!(found, Err(Errno::ACCESS));
                }
                let own = place.join(uid.to_string());
                std::fs::write(&own, "alive").unwrap();
                assert_eq!(std::fs::read_to_string(&own).unwrap(), "alive");
                std::fs::remove_file(&own).unwrap();
            });
        }
    }

    fn end(mut self) {
        assert_silent_success(&self.scratch.umount());
        let mut status = None;
        wait_until("the daemon's end", Duration::from_secs(20), || {
            status = self.daemon.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(0));
        drop(self.reader.take());
        self.scratch.expect_nothing_left();
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

/// semantics 3.5, 6.4: nobody reads what the daemon says: the mount answers; and what is read in the end are whole lines.
#[test]
fn a_reader_that_stops_stops_nobody() {
    let Some(mut quiet) = Quiet::new() else { return };
    quiet.refuse_many();
    let mut reader = quiet.reader.take().unwrap();
    let said = std::thread::spawn(move || {
        let mut text = vec![];
        reader.read_to_end(&mut text).unwrap();
        String::from_utf8(text).unwrap()
    });
    quiet.end();
    let said = said.join().unwrap();
    let lines: Vec<_> = said
        .lines()
        .filter(|line| line.contains("refused symlinks: "))
        .collect();
    assert!(lines.len() >= 20, "{said}");
    lines.iter().for_each(|line| assert_whole(line));
}

/// semantics 3.5: a daemon that nobody reads can be unmounted, and ends.
#[test]
fn a_reader_that_never_reads_keeps_no_daemon() {
    let Some(quiet) = Quiet::new() else { return };
    quiet.refuse_many();
    quiet.end();
}

/// semantics 3.5: nor does it end when nobody can read any more.
#[test]
fn a_reader_that_is_gone_ends_no_daemon() {
    let Some(mut quiet) = Quiet::new() else { return };
    drop(quiet.reader.take());
    quiet.refuse_many();
    assert!(quiet.daemon.try_wait().unwrap().is_none());
    quiet.end();
}
