//! Where owltmp differs from 5.10 on purpose, each with its reason.

/// A difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Why {
    /// O_APPEND.
    AppendAtTheEnd,
    /// Reads and writes of no bytes, truncation to the size that is.
    NothingMoves,
    /// chmod off the mark.
    ChmodReleases,
    /// Several holders, or a file that changed while somebody waited.
    JudgedAnew,
    /// S_ISGID.
    MarkStays,
    /// fallocate(2).
    FallocateIsAWrite,
    /// MAP_SHARED.
    NeverMappedShared,
    /// One's own two kinds of lock.
    BothAreOnesOwn,
    /// Large transfers.
    SplitByTheKernel,
    /// F_GETLK.
    FirstByOffset,
    /// Ways not to wait other than O_NONBLOCK.
    AsFuseLetsUsSee,
    /// splice, sendfile and copy_file_range.
    NotSplicedFrom,
    /// Signals that end no call.
    SignalsEndTransfers,
    /// FICLONERANGE and FIDEDUPERANGE.
    NoSharedExtents,
    /// /proc/locks.
    NotInProcLocks,
    /// What depends on the kernel that runs now.
    TheKernelNow,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 16] = [
        Self::AppendAtTheEnd,
        Self::NothingMoves,
        Self::ChmodReleases,
        Self::JudgedAnew,
        Self::MarkStays,
        Self::FallocateIsAWrite,
        Self::NeverMappedShared,
        Self::BothAreOnesOwn,
        Self::SplitByTheKernel,
        Self::FirstByOffset,
        Self::AsFuseLetsUsSee,
        Self::NotSplicedFrom,
        Self::SignalsEndTransfers,
        Self::NoSharedExtents,
        Self::NotInProcLocks,
        Self::TheKernelNow,
    ];

    /// What each does, and why.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::AppendAtTheEnd => {
                "5.10 judges an append at the descriptor's offset; here it is judged where the bytes go, at the end of the \
                 file: a lock on the tail must stop appends"
            }
            Self::NothingMoves => {
                "on 5.10 a transfer of no bytes inside a lock conflicts, and truncation to the size that is may; here neither \
                 does: no byte moves"
            }
            Self::ChmodReleases => {
                "on 5.10 who waits goes on waiting after chmod off the mark; here he is released (5.7)"
            }
            Self::JudgedAnew => {
                "on 5.10 a wait that was judged once is not judged again in full; here every wake-up judges anew (5.3)"
            }
            Self::MarkStays => "5.10 drops the mark when somebody outside the group writes; here it stays (5.8)",
            Self::FallocateIsAWrite => {
                "on 5.10 fallocate passes by locks; here it is a write of its range: contents change"
            }
            Self::NeverMappedShared => {
                "5.10 refuses MAP_SHARED while others hold locks, and locks while it is mapped; here a marked file is never \
                 mapped shared (ENODEV) and no lock or unlock is refused for a mapping (5.5)"
            }
            Self::BothAreOnesOwn => {
                "on 5.10 one read over one's own OFD and POSIX locks waits for itself for ever; here both are one's own"
            }
            Self::SplitByTheKernel => {
                "on 5.10 a transfer is one check whatever its size; here one per request of at most 1 MiB, and a later one that \
                 meets a lock gives a short count"
            }
            Self::FirstByOffset => {
                "F_GETLK on 5.10 says -1 for the pid of an OFD lock, and of several locks names the one whose owner locked first; \
                 here the pid is as FUSE carries it, and the lowest offset is named"
            }
            Self::AsFuseLetsUsSee => {
                "on 5.10 RWF_NOWAIT, SPLICE_F_NONBLOCK and io_submit wait on a blocking descriptor; here they do as the kernel's \
                 FUSE code makes them, and a signal ends every wait"
            }
            Self::NotSplicedFrom => {
                "splice, sendfile and copy_file_range get EINVAL, as from what cannot be spliced, for bytes on a page on which others \
                 are locked: the kernel takes whole pages, and which bytes it means it does not say; else they obey as on 5.10"
            }
            Self::SignalsEndTransfers => {
                "on 5.10 SA_RESTART restarts a read, write or ftruncate that waited, and stopping it ends nothing; here they get \
                 EINTR: FUSE knows no other answer (F_SETLKW does restart)"
            }
            Self::NoSharedExtents => "FICLONERANGE and FIDEDUPERANGE: EOPNOTSUPP, as on tmpfs",
            Self::NotInProcLocks => "/proc/locks does not list the locks of a FUSE filesystem",
            Self::TheKernelNow => {
                "the kernel that runs now decides before the filesystem is asked, and otherwise than 5.10"
            }
        }
    }
}
