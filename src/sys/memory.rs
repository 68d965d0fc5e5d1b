//! The heap: how much of it is in use, and giving back to the system what is not.
//!
//! The C library's allocator keeps small pieces for ever: what emptied files, removed attributes and entries were kept in
//! would be resident beside what fills the space they left, and the two together pass every limit.
#![allow(unsafe_code, reason = "an allocator, and one call of the C library's")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Less than this is not worth the work.
const FEW: usize = 4 << 20;

/// Bytes in use. Relaxed, as is the peak: exactness is of no use here.
static IN_USE: AtomicUsize = AtomicUsize::new(0);
/// The most there were since memory was last given back.
static PEAK: AtomicUsize = AtomicUsize::new(0);

/// The C library's allocator, counting.
struct Counting;

#[global_allocator]
static HEAP: Counting = Counting;

fn grew(piece: *mut u8, bytes: usize) -> *mut u8 {
    if !piece.is_null() {
        let now = IN_USE.fetch_add(bytes, Ordering::Relaxed).wrapping_add(bytes);
        if now > PEAK.load(Ordering::Relaxed) {
            PEAK.fetch_max(now, Ordering::Relaxed);
        }
    }
    piece
}

fn shrank(bytes: usize) {
    IN_USE.fetch_sub(bytes, Ordering::Relaxed);
}

// SAFETY: every call is the one of `System` with the same arguments, and what that returns is returned.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller keeps to the contract of `GlobalAlloc::alloc`, which is that of `System`.
        grew(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as in `alloc`.
        grew(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, piece: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as in `alloc`; the piece is one of `System`'s, as all are.
        let moved = grew(unsafe { System.realloc(piece, layout, size) }, size);
        if !moved.is_null() {
            shrank(layout.size());
        }
        moved
    }

    unsafe fn dealloc(&self, piece: *mut u8, layout: Layout) {
        shrank(layout.size());
        // SAFETY: as in `realloc`.
        unsafe { System.dealloc(piece, layout) }
    }
}

/// Gives the heap's free pages back to the system where less than three quarters of the peak are in use: so the work is
/// constant per byte, in the long run. Takes some ten milliseconds for a heap of a few hundred megabytes.
pub fn give_back_if_shrunk() {
    let (now, peak) = (IN_USE.load(Ordering::Relaxed), PEAK.load(Ordering::Relaxed));
    let much = now.saturating_add(now / 3).saturating_add(FEW);
    if much < peak
        && PEAK
            .compare_exchange(peak, now, Ordering::Relaxed, Ordering::Relaxed)
            .is_ok()
    {
        give_back_free_pages();
    }
}

/// From this size on, in bytes, a piece is a mapping of its own and gone when it is freed: the allocator's default, which it would
/// raise to the size of whatever is freed.
const LARGE: i32 = 128 << 10;

/// Keeps large pieces out of the heap. Freed in a thread's arena they would stay resident: malloc_trim(3) leaves the last free piece
/// of an arena as it is, up to twice the largest piece ever freed.
pub fn keep_large_pieces_apart() {
    #[cfg(target_env = "gnu")]
    // SAFETY: mallopt(3) changes a number of the allocator's.
    unsafe {
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGE);
    }
}

fn give_back_free_pages() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the allocator's own locks and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
