//! Threads that were told to look at a path again.
//!
//! Who opens a file that has left a sticky directory may have found it there, in the kernel's cache. He is told ESTALE: the
//! kernel then walks the path once more, in the same system call, and asks us for every component. If the file is found
//! again, and has not departed since, he has come by a name that it has now.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::sync::{LOOKS, Mutex};
use crate::tree::Inode;
use crate::types::{Caller, Errno, Ino};

/// The threads remembered at a time. One that is forgotten is told once more.
const KEPT: u32 = 64;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// Told; nothing was found so far.
    Told,
    /// Found this, with so many departures.
    Found(Ino, u64),
}

/// What becomes of one who opens a file that has left a sticky directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// He is told to look.
    LookAgain,
    /// He has looked, and the file is where he found it.
    FoundHere,
    /// He has looked, and the file has departed since; or he can never be known again.
    Departed,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Looks {
    /// How many there are, so that a look-up need not lock to see that there are none.
    count: AtomicUsize,
    slots: Mutex<LOOKS, [Option<(u32, Look)>; KEPT as usize]>,
}

impl Default for Looks {
    fn default() -> Looks {
        Looks {
            count: AtomicUsize::new(0),
            slots: Mutex::new([None; KEPT as usize]),
        }
    }
}

fn slot(tid: u32) -> usize {
    (tid % KEPT) as usize
}

impl Looks {
    /// The caller looks a name up and finds the inode. Preconditions: the directory is locked, so the inode has the name.
    pub(super) fn found(&self, caller: Caller, inode: &Inode) {
        // Relaxed: whoever was told comes after the telling.
        if self.count.load(Ordering::Relaxed) > 0 {
            let departures = inode.meta.lock().departures;
            self.note(caller.tid, Look::Found(inode.ino, departures));
        }
    }

    fn note(&self, tid: u32, look: Look) {
        if let Some((told, noted)) = &mut self.slots.lock()[slot(tid)]
            && *told == tid
        {
            *noted = look;
        }
    }

    /// Tells the caller to look a path up again, and the next time does not. Errors: ESTALE.
    pub(super) fn once(&self, caller: Caller, ino: Ino) -> Result<(), Errno> {
        if caller.tid == 0 {
            return Ok(());
        }
        let told = matches!(self.slots.lock()[slot(caller.tid)], Some((tid, _)) if tid == caller.tid);
        match told {
            true => {
                self.done(caller);
                Ok(())
            }
            false => {
                self.take(caller, ino, 0);
                Err(Errno::ESTALE)
            }
        }
    }

    /// The caller has looked.
    pub(super) fn done(&self, caller: Caller) {
        if self.count.load(Ordering::Relaxed) == 0 {
            return;
        }
        let slot = &mut self.slots.lock()[slot(caller.tid)];
        if matches!(slot, Some((tid, _)) if *tid == caller.tid) {
            *slot = None;
            self.count.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The caller opens the file, which has so many departures and is in no sticky directory now.
    pub(super) fn take(&self, caller: Caller, ino: Ino, departures: u64) -> Outcome {
        if caller.tid == 0 {
            return Outcome::Departed;
        }
        let mut slots = self.slots.lock();
        let slot = &mut slots[slot(caller.tid)];
        let outcome = match *slot {
            Some((tid, Look::Found(found, then))) if tid == caller.tid && found == ino => match then == departures {
                true => Outcome::FoundHere,
                false => Outcome::Departed,
            },
            _ => Outcome::LookAgain,
        };
        let before = slot.is_some();
        *slot = (outcome == Outcome::LookAgain).then_some((caller.tid, Look::Told));
        match (before, slot.is_some()) {
            (false, true) => self.count.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.count.fetch_sub(1, Ordering::Relaxed),
            _ => 0,
        };
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(tid: u32) -> Caller {
        Caller { uid: 7, gid: 7, tid }
    }

    #[test]
    fn who_was_told_and_found_it_may_go_on_once() {
        let looks = Looks::default();
        let (one, file) = (caller(7), Ino(5));
        assert_eq!(looks.take(one, file, 1), Outcome::LookAgain);
        assert_eq!(looks.take(one, file, 1), Outcome::LookAgain, "he has not looked");
        looks.note(7, Look::Found(file, 1));
        assert_eq!(looks.take(one, file, 1), Outcome::FoundHere);
        assert_eq!(looks.count.load(Ordering::Relaxed), 0);
        looks.note(7, Look::Found(file, 1));
        assert_eq!(looks.take(one, file, 1), Outcome::LookAgain, "nobody told him to look");
    }

    #[test]
    fn what_departed_since_is_not_where_it_was_found() {
        let looks = Looks::default();
        let one = caller(7);
        looks.take(one, Ino(5), 1);
        looks.note(7, Look::Found(Ino(5), 1));
        assert_eq!(looks.take(one, Ino(5), 2), Outcome::Departed);
        looks.take(one, Ino(5), 2);
        looks.note(7, Look::Found(Ino(6), 2));
        assert_eq!(looks.take(one, Ino(5), 2), Outcome::LookAgain, "another file was found");
        assert_eq!(looks.take(caller(0), Ino(5), 2), Outcome::Departed);
    }

    #[test]
    fn who_is_told_once_is_not_told_again() {
        let looks = Looks::default();
        assert_eq!(looks.once(caller(7), Ino(5)), Err(Errno::ESTALE));
        assert_eq!(looks.once(caller(7), Ino(5)), Ok(()), "he has no path to look up");
        assert_eq!(looks.once(caller(7), Ino(5)), Err(Errno::ESTALE));
        looks.done(caller(7));
        assert_eq!(looks.count.load(Ordering::Relaxed), 0);
        assert_eq!(looks.once(caller(7), Ino(6)), Err(Errno::ESTALE));
        assert_eq!(looks.once(caller(0), Ino(6)), Ok(()), "he could never be known again");
    }

    #[test]
    fn threads_are_told_apart() {
        let looks = Looks::default();
        looks.take(caller(7), Ino(5), 1);
        looks.note(7 + KEPT, Look::Found(Ino(5), 1));
        assert_eq!(looks.take(caller(7), Ino(5), 1), Outcome::LookAgain);
        looks.note(7, Look::Found(Ino(5), 1));
        assert_eq!(looks.take(caller(7 + KEPT), Ino(5), 1), Outcome::LookAgain);
        assert_eq!(looks.count.load(Ordering::Relaxed), 1, "one slot for both");
    }
}
