//! Threads that were told to look at a path again.
//!
//! Who opens a file that has left a sticky directory may have found it there, in the kernel's cache. He is told ESTALE: the
//! kernel then walks the path once more, in the same system call, and asks us for every component. If the file is found
//! again, and has not departed since, he has come by a name that it has now.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashMap;

use crate::sync::{LOOKS, Mutex};
use crate::tree::Inode;
use crate::types::{Caller, Errno, Ino};

/// The most threads remembered. Beyond that the one that was told first is forgotten. Should he come back he is told once more,
/// and as the kernel looks only twice his program sees it: no crowd must be able to make that happen between his two looks.
const KEPT: usize = 4096;

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

/// The threads that were told, each once.
#[derive(Debug, Default)]
struct Told {
    /// Each with the number of its telling.
    looks: HashMap<u32, (u64, Look)>,
    /// Who was told, by that number: the oldest comes first.
    order: BTreeMap<u64, u32>,
    tellings: u64,
}

impl Told {
    /// Preconditions: he was forgotten before, if he had been told.
    fn tell(&mut self, tid: u32) {
        if self.order.len() == KEPT
            && let Some((_, oldest)) = self.order.pop_first()
        {
            self.looks.remove(&oldest);
        }
        self.tellings += 1;
        self.order.insert(self.tellings, tid);
        self.looks.insert(tid, (self.tellings, Look::Told));
    }

    fn forget(&mut self, tid: u32) -> Option<Look> {
        let (telling, look) = self.looks.remove(&tid)?;
        self.order.remove(&telling);
        Some(look)
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Looks {
    /// How many there are, so that a look-up need not lock to see that there are none.
    count: AtomicUsize,
    told: Mutex<LOOKS, Told>,
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
        if let Some((_, noted)) = self.told.lock().looks.get_mut(&tid) {
            *noted = look;
        }
    }

    fn change<R>(&self, change: impl FnOnce(&mut Told) -> R) -> R {
        let mut told = self.told.lock();
        let result = change(&mut told);
        self.count.store(told.looks.len(), Ordering::Relaxed);
        result
    }

    /// Tells the caller to look a path up again, and the next time does not. Errors: ESTALE.
    pub(super) fn once(&self, caller: Caller) -> Result<(), Errno> {
        if caller.tid == 0 {
            return Ok(());
        }
        self.change(|told| match told.forget(caller.tid) {
            Some(_) => Ok(()),
            None => {
                told.tell(caller.tid);
                Err(Errno::ESTALE)
            }
        })
    }

    /// The caller has looked.
    pub(super) fn done(&self, caller: Caller) {
        if self.count.load(Ordering::Relaxed) > 0 {
            self.change(|told| told.forget(caller.tid));
        }
    }

    /// The caller opens the file, which has so many departures and is in no sticky directory now.
    pub(super) fn take(&self, caller: Caller, ino: Ino, departures: u64) -> Outcome {
        if caller.tid == 0 {
            return Outcome::Departed;
        }
        self.change(|told| match told.forget(caller.tid) {
            Some(Look::Found(found, then)) if found == ino => match then == departures {
                true => Outcome::FoundHere,
                false => Outcome::Departed,
            },
            _ => {
                told.tell(caller.tid);
                Outcome::LookAgain
            }
        })
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
        assert_eq!(looks.once(caller(7)), Err(Errno::ESTALE));
        assert_eq!(looks.once(caller(7)), Ok(()), "he has no path to look up");
        assert_eq!(looks.once(caller(7)), Err(Errno::ESTALE));
        looks.done(caller(7));
        assert_eq!(looks.count.load(Ordering::Relaxed), 0);
        assert_eq!(looks.once(caller(7)), Err(Errno::ESTALE));
        assert_eq!(looks.once(caller(0)), Ok(()), "he could never be known again");
    }

    /// Numbers that are equal in many low bits.
    fn crowd() -> impl Iterator<Item = u32> {
        (1..).map(|at| 7 + (at << 12))
    }

    #[test]
    fn threads_are_told_apart() {
        let (looks, file) = (Looks::default(), Ino(5));
        let told: Vec<u32> = crowd().take(1000).collect();
        for &tid in &told {
            assert_eq!(looks.take(caller(tid), file, 1), Outcome::LookAgain);
        }
        looks.note(7, Look::Found(file, 1));
        assert_eq!(looks.take(caller(7), file, 1), Outcome::LookAgain);
        for &tid in &told {
            looks.note(tid, Look::Found(file, 1));
        }
        for &tid in &told {
            assert_eq!(looks.take(caller(tid), file, 1), Outcome::FoundHere);
        }
        assert_eq!(looks.count.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn of_too_many_the_one_told_first_is_forgotten() {
        let looks = Looks::default();
        let told: Vec<u32> = crowd().take(KEPT + 10).collect();
        // Who is told again is no longer the first, and takes no other place.
        for &tid in told[..KEPT].iter().chain(&told[..1]) {
            assert_eq!(looks.take(caller(tid), Ino(5), 1), Outcome::LookAgain);
        }
        for &tid in &told[KEPT..] {
            assert_eq!(looks.once(caller(tid)), Err(Errno::ESTALE));
        }
        let kept = |tid: &u32| looks.told.lock().looks.contains_key(tid);
        assert!(kept(&told[0]) && told[11..].iter().all(kept));
        assert!(!told[1..11].iter().any(kept));
        assert_eq!(looks.count.load(Ordering::Relaxed), KEPT);
        assert_eq!(looks.told.lock().order.len(), KEPT);
        told.iter().for_each(|&tid| looks.done(caller(tid)));
        assert_eq!(looks.count.load(Ordering::Relaxed), 0);
        assert!(looks.told.lock().order.is_empty());
    }
}
