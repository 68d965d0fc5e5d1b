//! How many requests of each kind there were, and how long the workers were at them. Every worker counts for itself, so that
//! counting costs nobody a cache line of another.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::decode::Operation;

/// The classes of time that are told apart.
pub const CLASSES: usize = 24;

/// The first class ends before two to the power of this, in nanoseconds; each further one before twice as much. The last has
/// no end.
const FIRST: u32 = 10;

/// The end of a class, in nanoseconds; `None` of the last.
pub fn end_of_class(class: usize) -> Option<u64> {
    (class + 1 < CLASSES).then(|| 1 << (FIRST as usize + class))
}

fn class_of(nanos: u64) -> usize {
    let digits = (u64::BITS - (nanos >> FIRST).leading_zeros()) as usize;
    digits.min(CLASSES - 1)
}

macro_rules! kinds {
    ($($operation:pat => $kind:ident $name:literal,)*) => {
        /// The kinds of requests that are told apart.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[allow(missing_docs, reason = "the variants are the requests of fuse.h")]
        pub enum Kind {
            $($kind,)*
        }

        impl Kind {
            /// All of them.
            pub const ALL: &[Kind] = &[$(Kind::$kind,)*];

            /// Its name in fuse.h.
            pub fn name(self) -> &'static str {
                match self {
                    $(Kind::$kind => $name,)*
                }
            }

            pub(super) fn of(operation: &Operation<'_>) -> Kind {
                match operation {
                    $($operation => Kind::$kind,)*
                }
            }
        }
    };
}

kinds! {
    Operation::Lookup { .. } => Lookup "LOOKUP",
    Operation::Forget(_) => Forget "FORGET",
    Operation::BatchForget(_) => BatchForget "BATCH_FORGET",
    Operation::GetAttr(_) => GetAttr "GETATTR",
    Operation::StatX(_) => StatX "STATX",
    Operation::SetAttr(_) => SetAttr "SETATTR",
    Operation::ReadLink => ReadLink "READLINK",
    Operation::Symlink { .. } => Symlink "SYMLINK",
    Operation::MkNod { .. } => MkNod "MKNOD",
    Operation::MkDir { .. } => MkDir "MKDIR",
    Operation::Unlink { .. } => Unlink "UNLINK",
    Operation::RmDir { .. } => RmDir "RMDIR",
    Operation::Rename { .. } => Rename "RENAME",
    Operation::Link { .. } => Link "LINK",
    Operation::Open(_) => Open "OPEN",
    Operation::OpenDir(_) => OpenDir "OPENDIR",
    Operation::Create { .. } => Create "CREATE",
    Operation::TmpFile(_) => TmpFile "TMPFILE",
    Operation::Read(_) => Read "READ",
    Operation::Write { .. } => Write "WRITE",
    Operation::Release(_) => Release "RELEASE",
    Operation::ReleaseDir(_) => ReleaseDir "RELEASEDIR",
    Operation::Flush(_) => Flush "FLUSH",
    Operation::Fsync(_) => Fsync "FSYNC",
    Operation::FsyncDir(_) => FsyncDir "FSYNCDIR",
    Operation::SyncFs(_) => SyncFs "SYNCFS",
    Operation::ReadDir(_) => ReadDir "READDIR",
    Operation::ReadDirPlus(_) => ReadDirPlus "READDIRPLUS",
    Operation::SetXattr { .. } => SetXattr "SETXATTR",
    Operation::GetXattr { .. } => GetXattr "GETXATTR",
    Operation::ListXattr(_) => ListXattr "LISTXATTR",
    Operation::RemoveXattr { .. } => RemoveXattr "REMOVEXATTR",
    Operation::GetLk(_) => GetLk "GETLK",
    Operation::SetLk(_) => SetLk "SETLK",
    Operation::SetLkW(_) => SetLkW "SETLKW",
    Operation::StatFs => StatFs "STATFS",
    Operation::Access(_) => Access "ACCESS",
    Operation::Interrupt(_) => Interrupt "INTERRUPT",
    Operation::FAllocate(_) => FAllocate "FALLOCATE",
    Operation::LSeek(_) => LSeek "LSEEK",
    Operation::CopyFileRange { .. } => CopyFileRange "COPY_FILE_RANGE",
    Operation::Ioctl { .. } => Ioctl "IOCTL",
    Operation::Poll(_) => Poll "POLL",
    Operation::Destroy => Destroy "DESTROY",
    Operation::NotifyReply => NotifyReply "NOTIFY_REPLY",
    Operation::Unsupported { .. } => Unsupported "OTHER",
}

/// What one worker has counted of one kind.
#[derive(Debug, Default)]
struct Counters {
    nanos: AtomicU64,
    classes: [AtomicU64; CLASSES],
}

/// Adds to a counter that one thread alone writes. Relaxed: it orders nothing but itself.
fn add(counter: &AtomicU64, amount: u64) {
    counter.store(counter.load(Ordering::Relaxed).wrapping_add(amount), Ordering::Relaxed);
}

/// What one worker counts. Aligned so that no other worker's counters share a cache line with it, nor the one fetched with it.
#[derive(Debug)]
#[repr(align(128))]
pub(super) struct OfWorker(Box<[Counters]>);

impl OfWorker {
    /// A request was handled. Called by the one worker whose counters these are.
    pub(super) fn count(&self, kind: Kind, took: Duration) {
        let nanos = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        let counters = &self.0[kind as usize];
        add(&counters.nanos, nanos);
        add(&counters.classes[class_of(nanos)], 1);
    }
}

/// What was counted of one kind, by all workers together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OfKind {
    /// Which.
    pub kind: Kind,
    /// How many requests.
    pub count: u64,
    /// How long the workers were at them, in nanoseconds.
    pub nanos: u64,
    /// How many of them took how long.
    pub classes: [u64; CLASSES],
}

/// The counters of all workers of a session.
#[derive(Debug)]
pub struct Statistics(Box<[OfWorker]>);

impl Statistics {
    pub(super) fn new(workers: NonZeroUsize) -> Arc<Statistics> {
        let counters = || Kind::ALL.iter().map(|_| Counters::default()).collect();
        Arc::new(Statistics((0..workers.get()).map(|_| OfWorker(counters())).collect()))
    }

    pub(super) fn of_worker(&self, number: usize) -> &OfWorker {
        &self.0[number]
    }

    /// How many workers there are.
    pub fn workers(&self) -> usize {
        self.0.len()
    }

    /// What each worker has done: how many requests, and how long it was at them, in nanoseconds.
    pub fn by_worker(&self) -> Vec<(u64, u64)> {
        let of_worker = |worker: &OfWorker| {
            let of_kind = worker
                .0
                .iter()
                .map(|counters| (sum(&counters.classes), read(&counters.nanos)));
            of_kind.fold((0, 0), |(count, nanos), (more, longer)| (count + more, nanos + longer))
        };
        self.0.iter().map(of_worker).collect()
    }

    /// What there was of each kind; those of which there was none are left out.
    pub fn by_kind(&self) -> Vec<OfKind> {
        let of_kind = |kind: &Kind| {
            let mut all = OfKind {
                kind: *kind,
                count: 0,
                nanos: 0,
                classes: [0; CLASSES],
            };
            for OfWorker(counters) in &self.0 {
                let counters = &counters[*kind as usize];
                all.nanos += read(&counters.nanos);
                for (class, counter) in all.classes.iter_mut().zip(&counters.classes) {
                    *class += read(counter);
                }
            }
            all.count = all.classes.iter().sum();
            all
        };
        Kind::ALL.iter().map(of_kind).filter(|it| it.count > 0).collect()
    }
}

fn read(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

fn sum(counters: &[AtomicU64]) -> u64 {
    counters.iter().map(read).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_in_the_class_whose_ends_are_around_it() {
        for nanos in [0, 1, 1023, 1024, 1025, 2047, 2048, 1_000_000, u64::MAX >> 20, u64::MAX] {
            let class = class_of(nanos);
            assert!(end_of_class(class).is_none_or(|end| nanos < end), "{nanos}");
            assert!(
                class == 0 || end_of_class(class - 1).is_some_and(|end| nanos >= end),
                "{nanos}"
            );
        }
        assert_eq!((end_of_class(0), end_of_class(CLASSES - 1)), (Some(1024), None));
    }

    #[test]
    fn workers_are_counted_apart_and_summed() {
        let statistics = Statistics::new(NonZeroUsize::new(2).unwrap());
        statistics.of_worker(0).count(Kind::Lookup, Duration::from_nanos(500));
        statistics.of_worker(1).count(Kind::Lookup, Duration::from_micros(3));
        statistics.of_worker(1).count(Kind::Read, Duration::from_nanos(1500));
        assert_eq!(statistics.by_worker(), [(1, 500), (2, 4500)]);
        let kinds = statistics.by_kind();
        let told: Vec<_> = kinds.iter().map(|it| (it.kind.name(), it.count, it.nanos)).collect();
        assert_eq!(told, [("LOOKUP", 2, 3500), ("READ", 1, 1500)]);
        assert_eq!(kinds[0].classes.iter().position(|&count| count > 0), Some(0));
    }

    #[test]
    fn every_kind_has_a_name_of_its_own() {
        for (at, kind) in Kind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, at);
            assert!(Kind::ALL[..at].iter().all(|other| other.name() != kind.name()));
        }
    }
}
