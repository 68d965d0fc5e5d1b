//! The heap.
#![allow(unsafe_code, reason = "one call of the C library's allocator")]

/// Gives the heap's free pages back to the system. Takes some ten milliseconds for a heap of a few hundred megabytes.
pub fn give_back_free_pages() {
    #[cfg(target_env = "gnu")]
    // SAFETY: malloc_trim(3) takes the allocator's own locks and touches only memory that is free.
    unsafe {
        libc::malloc_trim(0);
    }
}
