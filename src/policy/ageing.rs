//! What the cleaner may take away (`max_age=`): what nobody has touched for long and nobody uses. Follows systemd-tmpfiles
//! where that judges by age; it knows less of who uses a file.

use crate::types::attr::S_ISVTX;
use crate::types::{FileType, Timestamp};

/// What is known of an inode, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Facts {
    /// Its type.
    pub file_type: FileType,
    /// Its permission bits.
    pub perm: u32,
    /// Its owner.
    pub owner: u32,
    /// The latest of its access, its change of contents and its change of anything.
    pub touched: Timestamp,
    /// Somebody has it open or mapped, holds a lock on it or waits for one.
    pub in_use: bool,
    /// The kernel has it in memory.
    pub known: bool,
}

/// Why something stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Spared {
    /// It was touched.
    Young,
    /// It is open, mapped or locked; or it is a FIFO that somebody may have open.
    InUse,
    /// A pattern names it, or something above it.
    Excluded,
    /// Something is mounted on it, or it is mounted elsewhere.
    Mounted,
    /// It is of a kind that stays: a socket, a device, a marked file, a shared directory of root's.
    Kind,
    /// It is a directory with entries.
    NotEmpty,
    /// The name names something else by now, or nothing.
    Moved,
}

impl Spared {
    /// All of them.
    pub const ALL: [Spared; 7] = [
        Spared::Young,
        Spared::InUse,
        Spared::Excluded,
        Spared::Mounted,
        Spared::Kind,
        Spared::NotEmpty,
        Spared::Moved,
    ];
}

/// Whether it may go, where all that was touched before `cut_off` is old.
///
/// Not a socket: whether a process still listens cannot be seen. Not a device. Not what has the sticky bit and is no directory:
/// so its owner asks for it to be kept (XDG base directory specification). Not a sticky directory of root's: `.X11-unix` and its like
/// are shared, and only root could make them again.
pub fn judge(facts: Facts, cut_off: Timestamp) -> Result<(), Spared> {
    let sticky = facts.perm & S_ISVTX != 0;
    let stays = match facts.file_type {
        FileType::Socket | FileType::CharDevice | FileType::BlockDevice => true,
        FileType::Directory => sticky && facts.owner == 0,
        FileType::Regular | FileType::Symlink | FileType::Fifo => sticky,
    };
    if stays {
        return Err(Spared::Kind);
    }
    if facts.touched >= cut_off {
        return Err(Spared::Young);
    }
    // A FIFO is opened without our being asked; but then the kernel has it in memory.
    let may_be_open = facts.file_type == FileType::Fifo && facts.known;
    match facts.in_use || may_be_open {
        true => Err(Spared::InUse),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const CUT_OFF: Timestamp = Timestamp { secs: 1000, nanos: 5 };

    fn old(file_type: FileType, perm: u32) -> Facts {
        Facts {
            file_type,
            perm,
            owner: 1000,
            touched: Timestamp { secs: 1000, nanos: 4 },
            in_use: false,
            known: true,
        }
    }

    #[test]
    fn old_files_symlinks_and_directories_go() {
        for file_type in [FileType::Regular, FileType::Symlink, FileType::Directory] {
            assert_eq!(judge(old(file_type, 0o777), CUT_OFF), Ok(()));
        }
        assert_eq!(judge(old(FileType::Directory, 0o1777), CUT_OFF), Ok(()), "a user's");
    }

    #[test]
    fn what_was_touched_at_the_moment_itself_is_young() {
        let facts = Facts {
            touched: CUT_OFF,
            ..old(FileType::Regular, 0o644)
        };
        assert_eq!(judge(facts, CUT_OFF), Err(Spared::Young));
    }

    #[test]
    fn kinds_that_stay() {
        for file_type in [FileType::Socket, FileType::CharDevice, FileType::BlockDevice] {
            assert_eq!(judge(old(file_type, 0o777), CUT_OFF), Err(Spared::Kind));
        }
        assert_eq!(judge(old(FileType::Regular, 0o1644), CUT_OFF), Err(Spared::Kind));
        let shared = Facts {
            owner: 0,
            ..old(FileType::Directory, 0o1777)
        };
        assert_eq!(judge(shared, CUT_OFF), Err(Spared::Kind));
    }

    #[test]
    fn a_fifo_goes_only_when_the_kernel_does_not_know_it() {
        let fifo = old(FileType::Fifo, 0o600);
        assert_eq!(judge(fifo, CUT_OFF), Err(Spared::InUse));
        assert_eq!(judge(Facts { known: false, ..fifo }, CUT_OFF), Ok(()));
    }

    fn types() -> impl Strategy<Value = FileType> {
        prop::sample::select(vec![
            FileType::Regular,
            FileType::Directory,
            FileType::Symlink,
            FileType::Fifo,
            FileType::Socket,
            FileType::CharDevice,
            FileType::BlockDevice,
        ])
    }

    proptest! {
        #[test]
        fn nothing_young_and_nothing_in_use_goes(
            file_type in types(),
            perm in 0..=0o7777_u32,
            owner in 0..3_u32,
            secs in 995..1005_i64,
            nanos in 0..10_u32,
            (in_use, known) in any::<(bool, bool)>(),
        ) {
            let touched = Timestamp { secs, nanos };
            let facts = Facts { file_type, perm, owner, touched, in_use, known };
            if judge(facts, CUT_OFF).is_ok() {
                prop_assert!(touched < CUT_OFF && !in_use);
                prop_assert!(file_type != FileType::Socket);
                prop_assert!(file_type == FileType::Directory || perm & S_ISVTX == 0);
            }
        }
    }
}
