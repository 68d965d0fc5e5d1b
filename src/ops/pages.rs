//! What pages of an obedient file are read for, where the kernel names no lock owner.

use crate::policy::purpose;
use crate::sys::proc::{self, KernelStack};
use crate::sys::remote::{self, PATIENCE, patiently};
use crate::types::Caller;

/// What a read of pages is for, where the kernel does not say for whom it reads.
pub(super) struct Pages {
    /// For a mapping, not for splice(2), sendfile(2), copy_file_range(2) or what reads ahead for them.
    pub(super) is_fault: bool,
    /// The caller does not wait for them yet.
    pub(super) is_ahead: bool,
    /// Where and how many bytes the caller's splice(2) or the like means, as far as he tells: his memory and the position of his open
    /// file may have changed since he asked. `None` where it cannot be seen: an overlayfs copies in open(2), for example.
    pub(super) meant: Option<(u64, u64)>,
}

impl Pages {
    /// What cannot be seen is not for a mapping. The caller perhaps does not wait for the pages.
    pub(super) fn of(caller: Caller) -> Pages {
        patiently(PATIENCE, move || Pages::seen(caller)).unwrap_or(Pages {
            is_fault: false,
            is_ahead: false,
            meant: None,
        })
    }

    fn seen(caller: Caller) -> Pages {
        let stack = KernelStack::of(caller);
        let is_fault = match &stack {
            Some(stack) => stack.has("filemap_fault"),
            None => proc::system_call(caller).is_some_and(|call| !purpose::may_splice(call)),
        };
        let is_ahead = stack.is_some_and(|stack| !stack.has("filemap_read_folio"));
        Pages {
            is_fault,
            is_ahead: !is_fault && is_ahead,
            meant: if is_fault { None } else { meant_by_splice(caller) },
        }
    }
}

fn meant_by_splice(caller: Caller) -> Option<(u64, u64)> {
    let splice = purpose::splice_of(proc::system_call(caller)?)?;
    let offset = match splice.offset_at {
        0 => proc::position(caller, splice.descriptor)?,
        address => {
            let mut bytes = [0; 8];
            let read = remote::read_memory_here(caller, address, &mut bytes);
            (read == bytes.len()).then(|| u64::from_ne_bytes(bytes))?
        }
    };
    Some((offset, splice.len))
}
