//! The calls about locks. `W 0-10` is a write lock of the bytes from 0 up to 10, `W 50-` one from 50 to the end of every file.

use nix::libc;
use rustix::io::Errno;

use super::player::{Done, Order, Player, number, value};
use crate::common::mandatory::{self, Fd};

fn kind(word: &str) -> i16 {
    let kind = match word {
        "R" => libc::F_RDLCK,
        "W" => libc::F_WRLCK,
        "U" => libc::F_UNLCK,
        other => number(other) as i32,
    };
    kind as i16
}

/// `0-10` or `50-`.
fn lock(kind: i16, range: &str) -> libc::flock {
    let (start, end) = range.split_once('-').expect("a range");
    let start = number(start);
    libc::flock {
        l_type: kind,
        l_whence: 0,
        l_start: start,
        l_len: if end.is_empty() { 0 } else { number(end) - start },
        l_pid: 0,
    }
}

/// A lock as the kernel takes it: type, whence, start, length, pid.
fn plain(order: &Order<'_>) -> libc::flock {
    let whence = match order.word(2) {
        "set" => libc::SEEK_SET,
        "cur" => libc::SEEK_CUR,
        "end" => libc::SEEK_END,
        other => number(other) as i32,
    };
    libc::flock {
        l_type: kind(order.word(1)),
        l_whence: whence as i16,
        l_start: order.number(3),
        l_len: order.number(4),
        l_pid: order.find(5).map_or(0, |pid| number(pid) as i32),
    }
}

fn command(name: &str) -> Option<i32> {
    Some(match name {
        "lock" | "unlock" => libc::F_SETLK,
        "lockw" => libc::F_SETLKW,
        "ofd" | "unofd" => libc::F_OFD_SETLK,
        "ofdw" => libc::F_OFD_SETLKW,
        "getlk" => libc::F_GETLK,
        "ofdgetlk" => libc::F_OFD_GETLK,
        _ => return None,
    })
}

/// What F_GETLK found: `W 0-10 pid`, or `U`.
fn found(fd: Fd, command: i32, lock: libc::flock) -> Done {
    let it = mandatory::record_lock(fd, command, lock)?;
    assert_eq!(i32::from(it.l_whence), libc::SEEK_SET);
    let kind = match i32::from(it.l_type) {
        libc::F_RDLCK => "R",
        libc::F_WRLCK => "W",
        _ => return Ok((0, "U".to_owned())),
    };
    let end = match it.l_len {
        0 => String::new(),
        len => (it.l_start + len).to_string(),
    };
    Ok((0, format!("{kind} {}-{end} {}", it.l_start, it.l_pid)))
}

/// Makes the call if it is one of these.
pub fn perform(player: &Player, order: &Order<'_>) -> Option<Done> {
    let done = match order.name {
        "flock" => fd(player, order).and_then(|fd| flock(fd, order)),
        "lockf" => fd(player, order).and_then(|fd| lockf(fd, order)),
        "plain" => fd(player, order).and_then(|fd| {
            let command = command(order.word(0)).expect("a command");
            match command {
                libc::F_GETLK | libc::F_OFD_GETLK => found(fd, command, plain(order)),
                _ => value(mandatory::record_lock(fd, command, plain(order)).map(|_| 0)),
            }
        }),
        name => {
            let command = command(name)?;
            fd(player, order).and_then(|fd| match name {
                "getlk" | "ofdgetlk" => found(fd, command, lock(kind(order.word(0)), order.word(1))),
                "unlock" | "unofd" => {
                    let all = order.find(0).unwrap_or("0-");
                    value(mandatory::record_lock(fd, command, lock(libc::F_UNLCK as i16, all)).map(|_| 0))
                }
                _ => value(mandatory::record_lock(fd, command, lock(kind(order.word(0)), order.word(1))).map(|_| 0)),
            })
        }
    };
    Some(done)
}

fn fd(player: &Player, order: &Order<'_>) -> Result<Fd, Errno> {
    player.table.fd(order.slot(0))
}

fn flock(fd: Fd, order: &Order<'_>) -> Done {
    let word = |word| match word {
        "sh" => libc::LOCK_SH,
        "ex" => libc::LOCK_EX,
        "un" => libc::LOCK_UN,
        "nb" => libc::LOCK_NB,
        // LOCK_MAND and LOCK_READ of old Linux.
        "mand" => 32 | 64,
        other => panic!("{other}: no flag of flock"),
    };
    let operation = order.word(0).split(',').map(word).fold(0, |all, it| all | it);
    value(mandatory::flock(fd, operation))
}

fn lockf(fd: Fd, order: &Order<'_>) -> Done {
    let command = match order.word(0) {
        "lock" => libc::F_LOCK,
        "tlock" => libc::F_TLOCK,
        "test" => libc::F_TEST,
        "ulock" => libc::F_ULOCK,
        other => panic!("{other}: no command of lockf"),
    };
    rustix::fs::seek(fd, rustix::fs::SeekFrom::Start(0))?;
    value(mandatory::lockf(fd, command, order.number(1)))
}
