//! Random calls over few names, few open files and few sizes, so that they meet often.

use rustix::fs::{AtFlags, OFlags, RenameFlags, UTIME_NOW, UTIME_OMIT};

use crate::common::call::Call;
use crate::common::identity::{ALICE, BOB, CAROL, SHARED};
use crate::common::rng::Rng;
use crate::common::xattr::{self, Entry};

/// Open files of each actor.
pub const SLOTS: u64 = 5;
const FILES: [&str; 4] = ["a", "b", "c", "l"];
const FOLDERS: [&str; 3] = ["d", "e", "f"];
const PARENTS: [&str; 8] = ["", "", "", "d/", "e/", "d/e/", "d/d/", "c/"];
const MODES: [u32; 16] = [
    0o777, 0o777, 0o777, 0o666, 0o666, 0o755, 0o700, 0o750, 0o644, 0o600, 0o640, 0, 0o444, 0o4755, 0o4777, 0o6777,
];
const UIDS: [u32; 5] = [u32::MAX, 0, ALICE.uid, BOB.uid, CAROL.uid];
const GIDS: [u32; 5] = [u32::MAX, 0, ALICE.gid, SHARED, CAROL.gid];
const KEYS: [&str; 6] = ["user.a", "user.b", "trusted.t", "security.s", "user.long", "odd.name"];
const SIZES: [i64; 12] = [0, 1, 7, 100, 4095, 4096, 4097, 8192, 12_000, 65_536, 100_000, 150_000];

/// Mostly a name that stands for a file.
fn file(rng: &mut Rng) -> String {
    let leaf = if rng.one_in(12) {
        rng.pick(&FOLDERS)
    } else {
        rng.pick(&FILES)
    };
    format!("{}{leaf}", rng.pick(&PARENTS))
}

/// A name that mostly stands for a directory.
fn folder_name(rng: &mut Rng) -> String {
    let leaf = if rng.one_in(12) {
        rng.pick(&FILES)
    } else {
        rng.pick(&FOLDERS)
    };
    format!("{}{leaf}", rng.pick(&PARENTS))
}

fn name(rng: &mut Rng) -> String {
    if rng.one_in(4) { folder_name(rng) } else { file(rng) }
}

/// A name that is often free.
fn free(rng: &mut Rng) -> String {
    format!("{}{}", rng.pick(&PARENTS), rng.pick(&["l", "m", "n", "f", "a"]))
}

/// A name that is often a symlink.
fn link(rng: &mut Rng) -> String {
    format!("{}{}", rng.pick(&PARENTS), rng.pick(&["l", "m"]))
}

/// Two names, mostly of the same sort.
fn two(rng: &mut Rng) -> (String, String) {
    match rng.below(8) {
        0 | 1 => (file(rng), file(rng)),
        2..=4 => (file(rng), free(rng)),
        5 | 6 => (folder_name(rng), folder_name(rng)),
        _ => (name(rng), name(rng)),
    }
}

fn folder(rng: &mut Rng) -> String {
    rng.pick(&[".", "d", "e", "d/e", "d/d", "c"]).to_owned()
}

fn slot(rng: &mut Rng) -> u8 {
    rng.below(SLOTS) as u8
}

fn size(rng: &mut Rng) -> i64 {
    rng.pick(&SIZES)
}

fn data(rng: &mut Rng) -> Vec<u8> {
    let len = rng.pick(&[0, 1, 5, 100, 4096, 5000, 20_000]);
    rng.bytes(len)
}

fn open(rng: &mut Rng) -> Call {
    let access = rng.pick(&[OFlags::RDONLY, OFlags::WRONLY, OFlags::RDWR, OFlags::RDWR]);
    let (slot, mode) = (
        slot(rng),
        rng.pick(&[0o666, 0o666, 0o666, 0o777, 0o644, 0o600, 0, 0o4777]),
    );
    if rng.one_in(8) {
        let flags = OFlags::TMPFILE | access | if rng.one_in(4) { OFlags::EXCL } else { OFlags::empty() };
        return Call::Open {
            slot,
            name: folder(rng),
            flags: flags.bits(),
            mode,
        };
    }
    if rng.one_in(4) {
        let flags = OFlags::DIRECTORY | if rng.one_in(8) { access } else { OFlags::RDONLY };
        return Call::Open {
            slot,
            name: folder(rng),
            flags: flags.bits(),
            mode,
        };
    }
    let mut flags = access;
    for (flag, n) in [
        (OFlags::CREATE, 2),
        (OFlags::EXCL, 8),
        (OFlags::TRUNC, 8),
        (OFlags::APPEND, 5),
        (OFlags::NOFOLLOW, 8),
        (OFlags::DIRECT, 12),
        (OFlags::PATH, 20),
        (OFlags::NOATIME, 20),
        (OFlags::DIRECTORY, 30),
    ] {
        if rng.one_in(n) {
            flags |= flag;
        }
    }
    // O_CREAT with O_DIRECTORY is EINVAL or a directory by version and filesystem; O_EXCL alone is undefined.
    if !flags.contains(OFlags::CREATE) {
        flags -= OFlags::EXCL;
    } else {
        flags -= OFlags::DIRECTORY;
    }
    Call::Open {
        slot,
        name: file(rng),
        flags: flags.bits(),
        mode,
    }
}

fn names(rng: &mut Rng) -> Call {
    match rng.below(12) {
        0 | 1 => Call::Mkdir {
            name: if rng.one_in(2) { free(rng) } else { folder_name(rng) },
            mode: rng.pick(&[0o777, 0o755, 0o700, 0o2775, 0o750]),
        },
        2 => Call::Rmdir { name: folder_name(rng) },
        3 => Call::Unlink { name: file(rng) },
        5 => {
            let kind = rng.pick(&[0o010_000, 0o140_000, 0o100_000, 0o020_000, 0o060_000, 0o040_000, 0]);
            Call::Mknod {
                name: free(rng),
                mode: kind | rng.pick(&[0o666, 0o600]),
                dev: 0x103,
            }
        }
        6 => {
            let target = if rng.one_in(4) {
                "../a".to_owned()
            } else {
                rng.pick(&["a", "b", "d", "nowhere"]).to_owned()
            };
            Call::Symlink {
                target,
                name: free(rng),
            }
        }
        7 => {
            let flags = if rng.one_in(3) {
                AtFlags::SYMLINK_FOLLOW
            } else {
                AtFlags::empty()
            };
            {
                let (old, new) = (file(rng), free(rng));
                Call::Link {
                    old,
                    new,
                    flags: flags.bits(),
                }
            }
        }
        8 => Call::LinkFd {
            slot: slot(rng),
            new: free(rng),
        },
        4 | 9 | 10 => {
            let flags = rng.pick(&[
                RenameFlags::empty(),
                RenameFlags::empty(),
                RenameFlags::NOREPLACE,
                RenameFlags::EXCHANGE,
                RenameFlags::WHITEOUT,
            ]);
            {
                let (old, new) = two(rng);
                Call::Rename {
                    old,
                    new,
                    flags: flags.bits(),
                }
            }
        }
        _ => Call::Readlink { name: link(rng) },
    }
}

fn contents(rng: &mut Rng) -> Call {
    let slot = slot(rng);
    match rng.below(16) {
        0 => Call::Truncate {
            name: file(rng),
            len: size(rng),
        },
        1 => Call::Ftruncate { slot, len: size(rng) },
        2 => Call::Fallocate {
            slot,
            mode: rng.pick(&[0, 0, 1, 3, 3, 2, 32, 8, 64]),
            offset: size(rng),
            len: size(rng),
        },
        3 | 4 => Call::Seek {
            slot,
            offset: size(rng),
            whence: rng.below(5) as u32,
        },
        5 | 6 => Call::Read {
            slot,
            len: size(rng) as u32,
        },
        7 => Call::Pread {
            slot,
            len: size(rng) as u32,
            offset: size(rng) as u64,
        },
        8 | 9 => Call::Write { slot, bytes: data(rng) },
        10 | 11 => Call::Pwrite {
            slot,
            bytes: data(rng),
            offset: size(rng) as u64,
        },
        12 => Call::CopyRange {
            from: slot,
            from_offset: size(rng) as u64,
            to: rng.below(SLOTS) as u8,
            to_offset: size(rng) as u64,
            len: size(rng) as u64,
        },
        13 => Call::MapWrite {
            slot,
            bytes: data(rng),
            offset: size(rng) as u64,
        },
        14 => Call::MapRead {
            slot,
            len: size(rng) as u32,
            offset: size(rng) as u64,
        },
        _ => Call::Fsync { slot },
    }
}

fn list(rng: &mut Rng) -> Vec<u8> {
    let mut bits = || rng.pick(&[0_u16, 4, 5, 6, 7]);
    let (user, group, other, named, mask) = (bits(), bits(), bits(), bits(), bits());
    match rng.below(4) {
        0 => xattr::acl(&[Entry::UserObj(user), Entry::GroupObj(group), Entry::Other(other)]),
        1 => xattr::acl(&[Entry::UserObj(user), Entry::Other(other)]),
        _ => xattr::acl(&[
            Entry::UserObj(user),
            Entry::User(rng.pick(&[ALICE.uid, CAROL.uid]), named),
            Entry::GroupObj(group),
            Entry::Group(SHARED, named),
            Entry::Mask(mask),
            Entry::Other(other),
        ]),
    }
}

fn set_list(rng: &mut Rng) -> Call {
    let key = rng.pick(&[xattr::ACCESS, xattr::DEFAULT, xattr::DEFAULT]).to_owned();
    let (name, value) = (name(rng), list(rng));
    Call::Setxattr {
        name,
        key,
        value,
        flags: 0,
    }
}

fn attributes(rng: &mut Rng) -> Call {
    let slot = slot(rng);
    match rng.below(16) {
        0..=2 => Call::Chmod {
            name: name(rng),
            mode: if rng.one_in(9) { 0o2775 } else { rng.pick(&MODES) },
        },
        3 => Call::Fchmod {
            slot,
            mode: rng.pick(&MODES[..11]),
        },
        4 | 5 => {
            let flags = rng.pick(&[AtFlags::SYMLINK_NOFOLLOW, AtFlags::empty()]).bits();
            Call::Chown {
                name: name(rng),
                uid: rng.pick(&UIDS),
                gid: rng.pick(&GIDS),
                flags,
            }
        }
        6 => Call::Fchown {
            slot,
            uid: rng.pick(&UIDS),
            gid: rng.pick(&GIDS),
        },
        7 => {
            let ns = [0, 1, 999_999_999, UTIME_NOW, UTIME_OMIT, 1_000_000_000];
            let (atime_ns, mtime_ns) = (rng.pick(&ns), rng.pick(&ns));
            Call::Utimens {
                name: name(rng),
                atime: 5,
                atime_ns,
                mtime: 1 << 33,
                mtime_ns,
            }
        }
        8 | 9 => {
            let len = rng.pick(&[0, 5, 300, 5000]);
            let (value, flags) = (rng.bytes(len), rng.pick(&[0, 0, 1, 2]));
            Call::Setxattr {
                name: name(rng),
                key: rng.pick(&KEYS).to_owned(),
                value,
                flags,
            }
        }
        10 | 11 => set_list(rng),
        12 => Call::Getxattr {
            name: name(rng),
            key: rng.pick(&KEYS).to_owned(),
        },
        13 => {
            let key = rng
                .pick(&[KEYS[0], KEYS[1], KEYS[2], xattr::ACCESS, xattr::DEFAULT])
                .to_owned();
            Call::Removexattr { name: name(rng), key }
        }
        14 => Call::Listxattr { name: name(rng) },
        _ => Call::Access {
            name: name(rng),
            mode: rng.below(8) as u32,
        },
    }
}

/// The next call.
pub fn call(rng: &mut Rng) -> Call {
    match rng.below(20) {
        0..=3 => open(rng),
        4..=7 => names(rng),
        8..=12 => contents(rng),
        13..=15 => attributes(rng),
        16 => Call::Fstat { slot: slot(rng) },
        17 => Call::ReadDir { slot: slot(rng) },
        18 => match rng.below(4) {
            0 => Call::Close { slot: slot(rng) },
            1 => Call::Umask {
                mask: rng.pick(&[0o022, 0o077, 0, 0o027]),
            },
            2 => Call::Flock {
                slot: slot(rng),
                operation: rng.below(3) as u32 + 1,
            },
            _ => Call::Lock {
                slot: slot(rng),
                kind: rng.below(3) as u32,
                start: size(rng),
                len: size(rng),
            },
        },
        _ => {
            let flags = rng.pick(&[AtFlags::SYMLINK_NOFOLLOW, AtFlags::empty()]).bits();
            Call::Stat { name: name(rng), flags }
        }
    }
}

/// The names whose attributes the call may change: those it has, and their directories.
pub fn touched(call: &Call) -> Vec<String> {
    let named: &[&String] = match call {
        Call::Open { name, .. }
        | Call::Mkdir { name, .. }
        | Call::Rmdir { name }
        | Call::Unlink { name }
        | Call::Mknod { name, .. }
        | Call::Symlink { name, .. }
        | Call::Readlink { name }
        | Call::Truncate { name, .. }
        | Call::Chmod { name, .. }
        | Call::Chown { name, .. }
        | Call::Utimens { name, .. }
        | Call::Setxattr { name, .. }
        | Call::Removexattr { name, .. }
        | Call::Stat { name, .. } => &[name],
        Call::Link { old, new, .. } | Call::Rename { old, new, .. } => &[old, new],
        Call::LinkFd { new, .. } => &[new],
        _ => &[],
    };
    let parent = |name: &str| name.rsplit_once('/').map_or(".", |(parent, _)| parent).to_owned();
    named.iter().flat_map(|name| [(*name).clone(), parent(name)]).collect()
}

/// The open files it uses.
pub fn used_slot(call: &Call) -> Option<u8> {
    match *call {
        Call::Ftruncate { slot, .. }
        | Call::Fallocate { slot, .. }
        | Call::Read { slot, .. }
        | Call::Pread { slot, .. }
        | Call::Write { slot, .. }
        | Call::Pwrite { slot, .. }
        | Call::Fchmod { slot, .. }
        | Call::Fchown { slot, .. }
        | Call::LinkFd { slot, .. }
        | Call::ReadDir { slot } => Some(slot),
        Call::CopyRange { to, .. } => Some(to),
        _ => None,
    }
}
