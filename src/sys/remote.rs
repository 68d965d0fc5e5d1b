//! What is read of a process that may not be waiting for us: that can take for ever, and somebody may want just that. So it is not
//! read by the thread that needs it.
//!
//! A page of its memory may belong to a file whose filesystem's server never answers. And while it is in execve(2), which closes
//! descriptors, the kernel holds a lock (`exec_update_lock`) that most of /proc/PID waits for: there the closing may be what waits,
//! for the server of another filesystem or for us.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

use super::process;
use crate::types::Caller;
use crate::types::attr::PAGE_SIZE;

/// The most that is read at a time, in bytes.
pub const MOST: usize = 256;

/// How long a read may take that somebody waits for. It takes some microseconds, and on a loaded machine until the thread runs.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// How long the place of a reader that took longer is kept: so whoever lets readers wait, and lets them go, and so on, has no
/// more than a small part of our time.
const PENALTY: Duration = Duration::from_secs(10);

/// The threads there may be. Where all of them wait for ever, nothing is read any more until one does not.
const READERS: usize = 8;

/// The stack of a thread that reads and does little else, in bytes.
const STACK: usize = 64 << 10;

static READING: AtomicUsize = AtomicUsize::new(0);

/// The place of one reader; given back when dropped.
struct Place;

impl Place {
    fn take() -> Option<Place> {
        READING
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |reading| {
                (reading < READERS).then_some(reading + 1)
            })
            .ok()
            .map(|_| Place)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        READING.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Runs what may take for ever; `None` where it takes too long, or where too many already do. It runs without any descriptor.
pub fn patiently<T: Send + 'static>(patience: Duration, read: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let place = Place::take()?;
    let (sender, receiver) = sync_channel(1);
    let is_late = Arc::new(AtomicBool::new(false));
    let was_late = Arc::clone(&is_late);
    let run = move || {
        // Whatever happens to this program, a thread that waits for ever must not keep the device open.
        if process::let_go_of_descriptors().is_err() {
            return;
        }
        let result = read();
        if was_late.load(Ordering::Relaxed) {
            thread::sleep(PENALTY);
        }
        drop(place);
        // Nobody may be waiting for it any more.
        let _ = sender.send(result);
    };
    let started = thread::Builder::new()
        .name("reader".to_owned())
        .stack_size(STACK)
        .spawn(run);
    let result = started
        .map_err(drop)
        .and_then(|_| receiver.recv_timeout(patience).map_err(drop));
    if result.is_err() {
        is_late.store(true, Ordering::Relaxed);
    }
    result.ok()
}

/// Copies from the caller's memory to `buf`, of [`MOST`] bytes at most; returns the bytes before the first that is not in
/// memory or cannot be read, or none where it takes too long.
pub fn read_memory(caller: Caller, address: u64, buf: &mut [u8]) -> usize {
    let wanted = buf.len();
    if wanted > MOST {
        return 0;
    }
    let read = move || {
        let mut bytes = [0; MOST];
        (read_memory_here(caller, address, &mut bytes[..wanted]), bytes)
    };
    let (count, bytes) = patiently(PATIENCE, read).unwrap_or((0, [0; MOST]));
    buf[..count].copy_from_slice(&bytes[..count]);
    count
}

/// Like [`read_memory`], for what runs [`patiently`] already.
pub fn read_memory_here(caller: Caller, address: u64, buf: &mut [u8]) -> usize {
    if caller.tid == 0 {
        return 0;
    }
    // Also that can take for ever: it waits for the lock of the memory, which somebody may hold who waits.
    let length = resident(caller, address, buf.len());
    let memory = File::open(format!("/proc/{}/mem", caller.tid));
    let count = memory.and_then(|memory| memory.read_at(&mut buf[..length], address));
    count.unwrap_or(0)
}

/// How many of the bytes lie in pages that are in memory.
fn resident(caller: Caller, address: u64, length: usize) -> usize {
    /// Of an entry of /proc/PID/pagemap: the page is there.
    const PRESENT: u64 = 1 << 63;
    let Ok(pages) = File::open(format!("/proc/{}/pagemap", caller.tid)) else {
        return 0;
    };
    let is_there = |page: u64| {
        let mut entry = [0; 8];
        let read = page.checked_mul(8).map(|at| pages.read_exact_at(&mut entry, at));
        matches!(read, Some(Ok(()))) && u64::from_ne_bytes(entry) & PRESENT != 0
    };
    let Some(end) = address.checked_add(length as u64) else {
        return 0;
    };
    let missing = (address / PAGE_SIZE..end.div_ceil(PAGE_SIZE)).find(|&page| !is_there(page));
    let until = missing.map_or(end, |page| page * PAGE_SIZE);
    usize::try_from(until.saturating_sub(address)).unwrap_or(0).min(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Caller {
        Caller {
            uid: 0,
            gid: 0,
            tid: std::process::id(),
        }
    }

    #[test]
    fn what_is_in_memory_is_read() {
        let text = Box::new(*b"some text");
        for _ in 0..10 * READERS {
            let mut buf = [0; 9];
            assert_eq!(read_memory(me(), text.as_ptr() as u64, &mut buf), 9);
            assert_eq!(buf, *b"some text");
        }
    }

    #[test]
    fn what_is_not_there_is_not() {
        let mut buf = [0; 9];
        // Nobody has touched it, so it has no pages: to read it would be to wait for one. So large that it is none of what the
        // allocator keeps from others (32 MiB at most).
        let untouched = vec![0_u8; 64 << 20];
        assert_eq!(read_memory(me(), untouched[4 << 20..].as_ptr() as u64, &mut buf), 0);
        assert_eq!(read_memory(me(), 0, &mut buf), 0);
        assert_eq!(read_memory(me(), u64::MAX - 3, &mut buf), 0);
        assert_eq!(read_memory(Caller { tid: 0, ..me() }, 4096, &mut buf), 0);
        assert_eq!(read_memory(me(), buf.as_ptr() as u64, &mut [0; MOST + 1]), 0);
    }
}
