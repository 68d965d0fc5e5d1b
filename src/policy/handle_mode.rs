//! How the kernel is to serve an open file: decided when it is opened, kept for its life, as nothing can revoke it.
//!
//! | mode | reads and writes | shared mappings |
//! |---|---|---|
//! | [`Mode::Fast`] | the kernel, on the backing file | the kernel, on the backing file |
//! | [`Mode::Cached`] | the kernel, through its page cache | its page cache |
//! | [`Mode::Enforced`] | come to us, with their lock owner | none (ENODEV, semantics 5.5) |
//! | [`Mode::Checked`] | come to us, with their lock owner | the kernel, on the backing file, unseen |

use crate::types::Mandatory;

/// How one open file is served.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Passthrough.
    Fast,
    /// The kernel's page cache.
    Cached,
    /// Direct I/O.
    Enforced,
    /// Passthrough and direct I/O.
    Checked,
}

/// What decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Whether it is a regular file: locks are enforced on no other.
    pub regular: bool,
    /// Whether the file is marked (S_ISGID without S_IXGRP).
    pub marked: bool,
    /// The mount's setting.
    pub mandatory: Mandatory,
    /// Whether this mount has passthrough.
    pub passthrough: bool,
    /// Whether the file is open [`Mode::Fast`] or [`Mode::Checked`] by the same node.
    pub beside_passthrough: bool,
    /// Whether the page cache of the node must not be used: others have the file open [`Mode::Enforced`], or may open it by another
    /// node, whose page cache is another.
    pub uncached: bool,
}

/// How a file is to be opened.
///
/// Threat: a handle that the kernel serves by itself reads and writes past every lock, and stays as it is when the file is
/// marked later (semantics 5.3, 5.6).
pub fn decide(facts: Facts) -> Mode {
    if !facts.regular {
        return Mode::Cached;
    }
    let counts_as_marked = match facts.mandatory {
        Mandatory::Off => false,
        Mandatory::Marked | Mandatory::Full => facts.marked,
        Mandatory::All => true,
    };
    match (counts_as_marked, facts.mandatory) {
        // Enforced, unless the kernel would refuse it; what is open beside it keeps locks from being granted (5.6).
        (true, _) if facts.beside_passthrough => Mode::Checked,
        (true, _) => Mode::Enforced,
        // Not marked now. It may be later, and then this handle must obey as well.
        (false, Mandatory::Full) if facts.passthrough => Mode::Checked,
        (false, Mandatory::Full) => Mode::Enforced,
        // Nobody's locks will ever matter to this handle.
        (false, _) if facts.passthrough => Mode::Fast,
        // The file was marked a moment ago, and somebody still has it open so.
        (false, _) if facts.uncached => Mode::Enforced,
        (false, _) => Mode::Cached,
    }
}

impl Mode {
    /// Whether the kernel is given the backing file.
    pub fn is_passthrough(self) -> bool {
        matches!(self, Mode::Fast | Mode::Checked)
    }

    /// Whether reads and writes come to us.
    pub fn is_direct(self) -> bool {
        matches!(self, Mode::Enforced | Mode::Checked)
    }

    /// Whether reads and writes never come to us, or without their lock owner.
    pub fn is_unseen(self) -> bool {
        !self.is_direct()
    }
}

/// Whether the kernel lets a file be opened so while it is open `beside`, for the same backing file where both have one:
/// otherwise open(2) fails with EIO (`fuse_file_io_open` of fs/fuse/iomode.c).
pub fn kernel_allows(new: Mode, beside: Mode) -> bool {
    match (beside, new) {
        // While it is open with passthrough every further open must be.
        (Mode::Fast | Mode::Checked, new) => new.is_passthrough(),
        // The page cache excludes the backing file: bytes would be in two places.
        (Mode::Cached, new) => !new.is_passthrough(),
        // Without a cache there is nothing to disagree with.
        (Mode::Enforced, _) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [Mandatory; 4] = [Mandatory::Off, Mandatory::Marked, Mandatory::Full, Mandatory::All];
    const MODES: [Mode; 4] = [Mode::Fast, Mode::Cached, Mode::Enforced, Mode::Checked];

    fn file(mandatory: Mandatory, marked: bool, passthrough: bool) -> Facts {
        Facts {
            regular: true,
            marked,
            mandatory,
            passthrough,
            beside_passthrough: false,
            uncached: false,
        }
    }

    #[test]
    fn each_file_is_opened_as_its_locks_need() {
        use Mandatory::{All, Full, Marked, Off};
        let rows = [
            (Off, [Mode::Fast, Mode::Fast], [Mode::Cached, Mode::Cached]),
            (Marked, [Mode::Fast, Mode::Enforced], [Mode::Cached, Mode::Enforced]),
            (Full, [Mode::Checked, Mode::Enforced], [Mode::Enforced, Mode::Enforced]),
            (All, [Mode::Enforced, Mode::Enforced], [Mode::Enforced, Mode::Enforced]),
        ];
        for (mandatory, with, without) in rows {
            let decided = |passthrough| [false, true].map(|marked| decide(file(mandatory, marked, passthrough)));
            assert_eq!(decided(true), with, "{mandatory:?}");
            assert_eq!(decided(false), without, "{mandatory:?}");
        }
        let other = Facts {
            regular: false,
            ..file(All, true, true)
        };
        assert_eq!(decide(other), Mode::Cached);
    }

    #[test]
    fn what_stands_beside_a_fast_handle_is_passthrough_too() {
        for mandatory in SETTINGS {
            let facts = Facts {
                beside_passthrough: true,
                ..file(mandatory, true, true)
            };
            let expected = if mandatory == Mandatory::Off {
                Mode::Fast
            } else {
                Mode::Checked
            };
            assert_eq!(decide(facts), expected);
        }
    }

    #[test]
    fn the_rule_of_the_kernel() {
        let allowed = |beside| MODES.map(|new| kernel_allows(new, beside));
        assert_eq!(allowed(Mode::Fast), [true, false, false, true]);
        assert_eq!(allowed(Mode::Checked), [true, false, false, true]);
        assert_eq!(allowed(Mode::Cached), [false, true, true, false]);
        assert_eq!(allowed(Mode::Enforced), [true; 4]);
    }

    /// Every course of four opens, with the file marked or not at each: the kernel refuses none of them, and with mandatory
    /// locks no handle to a marked file passes us by.
    #[test]
    fn no_open_is_ever_refused() {
        for (mandatory, passthrough) in SETTINGS.iter().flat_map(|&it| [(it, false), (it, true)]) {
            for course in 0..1_u32 << 4 {
                let mut open: Vec<Mode> = Vec::new();
                for step in 0..4 {
                    let facts = Facts {
                        beside_passthrough: open.iter().any(|mode| mode.is_passthrough()),
                        uncached: open.contains(&Mode::Enforced),
                        ..file(mandatory, course >> step & 1 == 1, passthrough)
                    };
                    let mode = decide(facts);
                    assert!(
                        open.iter().all(|&beside| kernel_allows(mode, beside)),
                        "{facts:?} beside {open:?}"
                    );
                    assert!(passthrough || !mode.is_passthrough());
                    assert!(mandatory == Mandatory::Off || !facts.marked || mode.is_direct());
                    open.push(mode);
                }
            }
        }
    }
}
