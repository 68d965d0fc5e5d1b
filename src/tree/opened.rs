//! The open files of one regular file, counted by what of them comes to us.

use crate::policy::handle_mode::Mode;
use crate::policy::mandatory::OpenFiles;
use crate::types::{OpenFlags, Timestamp};

/// How many open files of each kind there are of a regular file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Opened {
    /// Those whose reads and writes never come to us.
    pub unseen: u32,
    /// Those whose mappings never come to us.
    pub checked: u32,
    /// Those of which everything comes to us.
    pub enforced: u32,
    /// Those that may write.
    pub writing: u32,
    /// Those by which a program is executed.
    pub executing: u32,
    /// Of the first two kinds, those of which a descriptor was closed and that were not used since.
    pub(super) closing: u32,
    /// When one was last closed by which the kernel may have read pages of its own, in seconds since the epoch.
    read_until: u32,
    /// There was one of which everything comes to us, and since then none that goes through the kernel's page cache.
    bypassed: bool,
}

impl Opened {
    fn counters(&mut self, mode: Mode, flags: OpenFlags) -> [Option<&mut u32>; 3] {
        let kind = match mode {
            Mode::Fast | Mode::Cached => &mut self.unseen,
            Mode::Checked => &mut self.checked,
            Mode::Enforced => &mut self.enforced,
        };
        let writing = flags.writes().then_some(&mut self.writing);
        let executing = flags.executes().then_some(&mut self.executing);
        [Some(kind), writing, executing]
    }

    /// One more is opened.
    pub(super) fn add(&mut self, mode: Mode, flags: OpenFlags) {
        self.bypassed |= mode == Mode::Enforced;
        for count in self.counters(mode, flags).into_iter().flatten() {
            *count += 1;
        }
    }

    /// One of them is closed.
    pub fn remove(&mut self, mode: Mode, flags: OpenFlags) {
        for count in self.counters(mode, flags).into_iter().flatten() {
            *count = count.saturating_sub(1);
        }
    }

    /// A descriptor of one is being closed, perhaps its last.
    pub(super) fn begin_closing(&mut self, mode: Mode) {
        if mode != Mode::Enforced {
            self.closing += 1;
        }
    }

    /// It was not, or the open file is gone.
    pub(super) fn end_closing(&mut self, mode: Mode) {
        if mode != Mode::Enforced {
            self.closing = self.closing.saturating_sub(1);
        }
    }

    /// Whether there are any.
    pub(super) fn are_any(self) -> bool {
        self.unseen + self.checked + self.enforced > 0
    }

    /// One is about to be closed by which the kernel may have read pages of its own, unseen here.
    pub fn note_unseen_reads(&mut self, now: Timestamp) {
        self.read_until = u32::try_from(now.secs).unwrap_or(0);
    }

    /// The last moment at which the contents may have been read unseen.
    pub(super) fn read_until(self) -> Timestamp {
        Timestamp {
            secs: i64::from(self.read_until),
            nanos: 0,
        }
    }

    /// Whether there are any that can keep locks from being granted.
    pub fn are_any_past_locks(self) -> bool {
        self.unseen + self.checked > 0
    }

    /// Whether all that keep locks from being granted are perhaps closed.
    pub fn are_closing(self) -> bool {
        self.closing == self.unseen + self.checked
    }

    /// Whether pages that the kernel has of the file may be old. Asked by who makes it drop them.
    pub fn take_bypassed(&mut self) -> bool {
        std::mem::take(&mut self.bypassed)
    }

    /// As the rule for granting locks wants to know it.
    pub fn for_lock(self) -> OpenFiles {
        OpenFiles {
            unseen: self.unseen,
            checked: self.checked,
        }
    }
}
