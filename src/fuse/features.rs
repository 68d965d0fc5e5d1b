//! What a kernel can offer, what of it we use, and why: one table, read at the handshake.

use fuser::InitFlags;

/// What we do about an offer of the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Used where offered; where it is missing the reason says what becomes of us.
    Use,
    /// Used where offered, if the mount is to have passthrough.
    Passthrough,
    /// Used where offered, if the mount is to keep locks by itself.
    Locks,
    /// Never asked for.
    Refuse,
}

/// One offer.
#[derive(Clone, Copy, Debug)]
pub struct Feature {
    /// Its bit.
    pub flag: InitFlags,
    /// What we do.
    pub choice: Choice,
    /// Why.
    pub reason: &'static str,
}

const fn used(flag: InitFlags, reason: &'static str) -> Feature {
    let choice = Choice::Use;
    Feature { flag, choice, reason }
}

const fn refused(flag: InitFlags, reason: &'static str) -> Feature {
    let choice = Choice::Refuse;
    Feature { flag, choice, reason }
}

const fn locks(flag: InitFlags, reason: &'static str) -> Feature {
    let choice = Choice::Locks;
    Feature { flag, choice, reason }
}

const fn passthrough(flag: InitFlags, reason: &'static str) -> Feature {
    let choice = Choice::Passthrough;
    Feature { flag, choice, reason }
}

/// Every feature of the protocol up to 7.45, a row each.
#[rustfmt::skip]
pub const FEATURES: &[Feature] = &[
    used(InitFlags::FUSE_ASYNC_READ, "several reads of one file at a time"),
    used(InitFlags::FUSE_BIG_WRITES, "writes of more than a page"),
    used(InitFlags::FUSE_MAX_PAGES, "requests of 1 MiB; without it 128 KiB"),
    used(InitFlags::FUSE_ATOMIC_O_TRUNC, "open with O_TRUNC is one step, not an open and a truncate"),
    used(InitFlags::FUSE_EXPORT_SUPPORT, "open_by_handle_at works as on tmpfs; we find every inode by its number"),
    used(InitFlags::FUSE_DONT_MASK, "the umask must not apply where a default ACL does"),
    used(InitFlags::FUSE_DO_READDIRPLUS, "a listing brings the attributes along"),
    refused(InitFlags::FUSE_READDIRPLUS_AUTO, "with it find(1) would look up each name: it lists first and asks later"),
    refused(InitFlags::FUSE_ASYNC_DIO, "with it a direct write that meets the limit in the middle is EIO, not a short count"),
    used(InitFlags::FUSE_PARALLEL_DIROPS, "several lookups in one directory at a time; we lock by ourselves"),
    used(InitFlags::FUSE_HANDLE_KILLPRIV_V2, "set-id bits are ours to clear (semantics 5.8); without it the kernel does"),
    used(InitFlags::FUSE_POSIX_ACL, "the kernel judges by our ACLs"),
    used(InitFlags::FUSE_ABORT_ERROR, "an abort can be told from an unmount"),
    used(InitFlags::FUSE_EXPLICIT_INVAL_DATA, "we alone change files: no page need go because a size or time did"),
    used(InitFlags::FUSE_SETXATTR_EXT, "tells when an ACL ends set-group-id; without it the bit stays"),
    used(InitFlags::FUSE_HAS_EXPIRE_ONLY, "an entry can be expired without being dropped"),
    refused(InitFlags::FUSE_FILE_OPS, "attributes are found by the node alone"),
    locks(InitFlags::FUSE_POSIX_LOCKS, "record locks are ours: they bind (semantics 5), scale, and detect deadlocks"),
    locks(InitFlags::FUSE_FLOCK_LOCKS, "a marked file has many nodes, and the kernel would keep locks for each by itself"),
    refused(InitFlags::FUSE_AUTO_INVAL_DATA, "readers were seen to get wrong data with it; we alone change files"),
    refused(InitFlags::FUSE_WRITEBACK_CACHE, "a write past the limit must fail at once, not when the kernel writes back"),
    refused(InitFlags::FUSE_CACHE_SYMLINKS, "following a symlink is judged each time"),
    refused(InitFlags::FUSE_SPLICE_WRITE, "a copy from our buffer is cheaper than a pipe"),
    refused(InitFlags::FUSE_SPLICE_MOVE, "as splice"),
    refused(InitFlags::FUSE_SPLICE_READ, "as splice"),
    refused(InitFlags::FUSE_HAS_IOCTL_DIR, "no ioctl is known"),
    refused(InitFlags::FUSE_NO_OPEN_SUPPORT, "opens are counted: an unlinked file lives until the last is closed"),
    refused(InitFlags::FUSE_NO_OPENDIR_SUPPORT, "a scan remembers where it ends, so that creations do not prolong it"),
    refused(InitFlags::FUSE_HANDLE_KILLPRIV, "the second version is used"),
    refused(InitFlags::FUSE_MAP_ALIGNMENT, "only for DAX"),
    refused(InitFlags::FUSE_SUBMOUNTS, "there are none"),
    refused(InitFlags::FUSE_SECURITY_CTX, "labels come from the policy or the context= option"),
    refused(InitFlags::FUSE_HAS_INODE_DAX, "only for virtiofs"),
    refused(InitFlags::FUSE_CREATE_SUPP_GROUP, "group membership is looked up where it decides"),
    refused(InitFlags::FUSE_DIRECT_IO_ALLOW_MMAP, "a mapping of a direct file would be read without its lock owner"),
    passthrough(InitFlags::FUSE_PASSTHROUGH, "bulk data goes past us; without it through the page cache"),
    refused(InitFlags::FUSE_NO_EXPORT_SUPPORT, "file handles are supported"),
    refused(InitFlags::FUSE_HAS_RESEND, "the tree does not outlive the daemon, so there is nobody to resend to"),
    refused(InitFlags::FUSE_ALLOW_IDMAP, "with it most requests carry no uid, and the rules need one"),
    refused(InitFlags::FUSE_OVER_IO_URING, "not yet"),
    refused(InitFlags::FUSE_REQUEST_TIMEOUT, "a request may wait as long as a lock is held"),
];

/// All that the table knows.
pub fn all() -> InitFlags {
    let flags = FEATURES.iter().map(|feature| feature.flag);
    flags.fold(InitFlags::empty(), |all, flag| all | flag)
}

/// The names of features in fuse.h, in the order of the table.
pub fn names(features: InitFlags) -> Vec<String> {
    let named = FEATURES.iter().filter(|feature| features.contains(feature.flag));
    named
        .flat_map(|feature| feature.flag.iter_names().map(|(name, _)| name.to_owned()))
        .collect()
}

/// What to ask for, of what is offered.
pub fn wanted(offered: InitFlags, passthrough: bool, locks: bool) -> InitFlags {
    let used = |choice| match choice {
        Choice::Use => true,
        Choice::Passthrough => passthrough,
        Choice::Locks => locks,
        Choice::Refuse => false,
    };
    FEATURES
        .iter()
        .filter(|feature| used(feature.choice) && offered.contains(feature.flag))
        .fold(InitFlags::empty(), |all, feature| all | feature.flag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_feature_has_one_line_and_a_reason() {
        let mut seen = InitFlags::empty();
        for feature in FEATURES {
            assert!(!seen.intersects(feature.flag), "{:?} twice", feature.flag);
            assert!(!feature.reason.is_empty());
            seen |= feature.flag;
        }
        let protocol = InitFlags::FUSE_INIT_EXT | InitFlags::FUSE_INIT_RESERVED;
        assert_eq!(seen | protocol, InitFlags::all());
    }

    #[test]
    fn only_what_is_offered_is_asked_for() {
        assert_eq!(wanted(InitFlags::empty(), true, true), InitFlags::empty());
        let offered = InitFlags::FUSE_POSIX_ACL | InitFlags::FUSE_CACHE_SYMLINKS;
        assert_eq!(wanted(offered, true, true), InitFlags::FUSE_POSIX_ACL);
        for (flag, [passthrough, locks]) in [
            (InitFlags::FUSE_PASSTHROUGH, [true, false]),
            (InitFlags::FUSE_POSIX_LOCKS, [false, true]),
        ] {
            assert_eq!(wanted(flag, passthrough, locks), flag);
            assert_eq!(wanted(flag, !passthrough, !locks), InitFlags::empty());
        }
    }
}
