//! The "cryogenic sleep": a victim is stopped between his lstat and his open, until the file that he has seen is gone and another
//! one has its inode number, so that his comparison of the two is worth nothing. Here a number never comes again (semantics 1.4).

use std::collections::HashSet;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat, statat, symlinkat, unlinkat};

use super::{ATTACKER, World, on};
use crate::common::call::{Attr, Call, Wire};
use crate::common::dir::Sys;
use crate::common::identity::BOB;
use crate::common::{Actor, Kind, as_user, env_number};

/// A file that comes and goes: its inode number.
fn come_and_go(dir: impl rustix::fd::AsFd + Copy, round: u64) -> Sys<u64> {
    let mode = Mode::from_raw_mode(0o644);
    match round % 8 {
        0 => openat(dir, "evil", OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC, mode).map(drop)?,
        1 => mkdirat(dir, "evil", mode)?,
        2 => symlinkat("nowhere", dir, "evil")?,
        3 => mknodat(dir, "evil", FileType::Fifo, mode, 0)?,
        _ => mknodat(dir, "evil", FileType::RegularFile, mode, 0)?,
    }
    let ino = statat(dir, "evil", AtFlags::SYMLINK_NOFOLLOW)?.st_ino;
    let flags = if round % 8 == 1 {
        AtFlags::REMOVEDIR
    } else {
        AtFlags::empty()
    };
    unlinkat(dir, "evil", flags)?;
    Ok(ino)
}

fn look(victim: &mut Actor, flags: u32) -> Attr {
    let name = "prey".to_owned();
    let answer = victim.call(&Call::Stat { name, flags });
    answer.result().expect("lstat");
    Attr::take(&mut &answer.data[..])
}

/// The victim sleeps while up to `creations` files come and go: how many it took until one had the number that he has seen, and
/// how often any number came again.
fn sleep(root: &Path, creations: u64) -> (Option<u64>, u64) {
    let mut victim = Actor::start(BOB, root);
    let dir = openat(CWD, root, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).expect("the directory");
    let prey = || {
        let made = OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        openat(&dir, "prey", made, Mode::from_raw_mode(0o644))
            .map(drop)
            .expect("a new file")
    };
    as_user(ATTACKER, || {
        prey();
        let seen = look(&mut victim, AtFlags::SYMLINK_NOFOLLOW.bits());
        unlinkat(&dir, "prey", AtFlags::empty()).expect("unlink");
        let mut numbers = HashSet::from([seen.ino]);
        let mut again = 0;
        let mut hit = None;
        for round in 0..creations {
            let ino = come_and_go(&dir, round).expect("his own file");
            again += u64::from(!numbers.insert(ino));
            if ino == seen.ino {
                hit = hit.or(Some(round + 1));
                if creations < 1000 {
                    break;
                }
            }
        }
        // He wakes up, and compares.
        prey();
        let found = look(&mut victim, 0);
        again += u64::from(!numbers.insert(found.ino));
        unlinkat(&dir, "prey", AtFlags::empty()).expect("unlink");
        (hit.or((found.ino == seen.ino).then_some(0)), again)
    })
}

/// By semantics 1.4. tmpfs itself would need four thousand million creations (its numbers have 32 bits), so the attack is shown on the
/// filesystem beside the mount, if that is of a kind which gives numbers again at once.
#[test]
fn a_number_never_comes_again() {
    const EXT: u64 = 0xef53;
    on(Kind::Tmpfs, "", |world: &World| {
        let beside = world.mount.scratch().join("beside");
        std::fs::create_dir(&beside).expect("mkdir");
        rustix::fs::chmod(&beside, Mode::from_raw_mode(0o1777)).expect("chmod");
        let kind = rustix::fs::statfs(&beside).expect("statfs").f_type as u64;
        let (hit, again) = sleep(&beside, 500);
        eprintln!(
            "beside the mount, on {kind:#x}: the victim is deceived after {hit:?} creations; {again} numbers came again"
        );
        assert!(hit.is_some() || kind != EXT, "numbers do come again there");
    });
    on(Kind::Owltmp, "", |world: &World| {
        let creations = env_number("OWLTMP_ATTACK_CREATIONS", 50_000);
        assert_eq!(sleep(world.mount.path(), creations.max(1000)), (None, 0));
    });
}
