//! Many threads at the same locks. What each believes to hold it writes down where all can see it: that two believe what
//! cannot be, that bytes move under a lock, or that a wait never ends, is found (semantics 5.3, 4.2).

use std::ops::Range as Pieces;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use owltmp::lock::{
    Access, FileLocks, Kind, Locked, Own, Owner, Performed, Purse, Purses, Queued, Range, Request, Stops, Ticket,
    Waits, Wake,
};
use owltmp::types::{Errno, Fh, LockOwner};

use crate::rng::Rng;

const THREADS: u64 = 6;
const STEPS: usize = 150_000;
const FILES: usize = 2;
const BYTES: usize = 12;

/// How a writer counts, where a reader counts 1.
const WRITER: i64 = -1_000_000;

/// Longer than any wait may last.
const FOREVER: Duration = Duration::from_secs(60);

struct File {
    locks: Arc<FileLocks>,
    /// Of each byte: the sum of its holders.
    held: [AtomicI64; BYTES],
    /// Of each byte: the sum of the transfers under way.
    moving: [AtomicI64; BYTES],
}

struct Shared {
    files: [File; FILES],
    waits: Waits,
    purse: Purse,
    counts: [AtomicUsize; Count::All as usize],
}

#[derive(Clone, Copy)]
enum Count {
    Granted,
    Waited,
    Refused,
    Cancelled,
    Moved,
    MovedLate,
    All,
}

type Answer = Result<(), Errno>;

struct Signal(Sender<Answer>);

impl Wake for Signal {
    fn wake(self: Box<Self>, result: Result<(), Errno>) {
        self.0.send(result).unwrap();
    }
}

fn weight(kind: Option<Kind>) -> i64 {
    match kind {
        None => 0,
        Some(Kind::Read) => 1,
        Some(Kind::Write) => WRITER,
    }
}

/// Who the threads are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cast {
    /// Processes.
    Single,
    /// Processes with a thread for each file.
    Pairs,
    /// Processes and open files; they give waits up.
    Mixed,
}

/// One owner, or what he does on one file, with a thread of its own.
struct Actor<'a> {
    shared: &'a Shared,
    owner: Owner,
    own: Own,
    rng: Rng,
    cast: Cast,
    /// The one file he works on.
    only: Option<usize>,
    held: [[Option<Kind>; BYTES]; FILES],
}

impl Actor<'_> {
    fn count(&self, count: Count) {
        self.shared.counts[count as usize].fetch_add(1, Ordering::Relaxed);
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).unwrap()
    }

    fn pieces(&mut self) -> (Pieces<usize>, Range) {
        let start = self.below(BYTES);
        let end = start + 1 + self.below((BYTES - start).min(4));
        (start..end, Range::new(start as u64, end as u64).unwrap())
    }

    /// Writes down what he holds of a byte now. What he held before and what others hold must go together.
    fn note(&mut self, file: usize, byte: usize, kind: Option<Kind>) {
        let before = weight(self.held[file][byte]);
        let place = &self.shared.files[file].held[byte];
        let others = place.fetch_add(weight(kind) - before, Ordering::SeqCst) - before;
        self.held[file][byte] = kind;
        match kind {
            None => {}
            Some(Kind::Read) => assert!(others >= 0, "read beside a writer: {others}"),
            Some(Kind::Write) => assert_eq!(others, 0, "not alone"),
        }
        let moving = self.shared.files[file].moving[byte].load(Ordering::SeqCst);
        match kind {
            None => {}
            Some(Kind::Read) => assert!(moving >= 0, "a write moves under a read lock"),
            Some(Kind::Write) => assert_eq!(moving, 0, "bytes move under a write lock"),
        }
    }

    fn lock(&mut self, file: usize) {
        let (pieces, range) = self.pieces();
        let kind = self.rng.pick(&[Kind::Read, Kind::Write]);
        // A downgrade is written down before others can profit of it.
        let before = self.held[file];
        for byte in pieces.clone() {
            if kind == Kind::Read && before[byte] == Some(Kind::Write) {
                self.note(file, byte, Some(Kind::Read));
            }
        }
        let result = self.wait_for_lock(file, kind, range);
        if result.is_ok() {
            self.count(Count::Granted);
        }
        for byte in pieces {
            if result.is_ok() {
                self.note(file, byte, Some(kind));
            } else if self.held[file][byte] != before[byte] {
                self.note(file, byte, before[byte]);
            }
        }
    }

    fn wait_for_lock(&mut self, file: usize, kind: Kind, range: Range) -> Result<(), Errno> {
        let Shared {
            files, waits, purse, ..
        } = self.shared;
        let request = Request {
            owner: self.owner,
            pid: 1,
            kind,
            range,
        };
        let (sender, receiver) = channel();
        let mut ticket = None;
        let mut park = |it| {
            ticket = Some(it);
            Ok(Box::new(Signal(sender.clone())) as Box<dyn Wake>)
        };
        let wait: Option<owltmp::lock::Park<'_>> = if self.rng.one_in(4) { None } else { Some(&mut park) };
        let locked = files[file].locks.lock(waits, purse, request, &|| Ok(()), wait);
        match locked {
            Err(errno) => {
                assert!(matches!(errno, Errno::EAGAIN | Errno::EDEADLK), "{errno:?}");
                self.count(Count::Refused);
                return Err(errno);
            }
            Ok(Locked::Granted(woken)) => {
                woken.run();
                return Ok(());
            }
            Ok(Locked::Waiting) => {}
        }
        let ticket = ticket.unwrap();
        match self.told(file, ticket, &receiver) {
            Some((_, result)) => result,
            None => Err(Errno::EINTR),
        }
    }

    /// What the end of a wait is, and whether it was given up too late; `None` where it was given up.
    fn told(&mut self, file: usize, ticket: Ticket, receiver: &Receiver<Answer>) -> Option<(bool, Answer)> {
        self.count(Count::Waited);
        let mut late = false;
        if self.cast == Cast::Mixed {
            let patience = Duration::from_micros(self.rng.below(200));
            if let Ok(result) = receiver.recv_timeout(patience) {
                return Some((false, result));
            }
            let Shared { files, waits, .. } = self.shared;
            if let Some((_, woken)) = files[file].locks.cancel(waits, ticket, &|| Ok(())) {
                woken.run();
                self.count(Count::Cancelled);
                return None;
            }
            late = true;
        }
        let result = receiver.recv_timeout(FOREVER).expect("no wait is forgotten");
        if result.is_err() {
            assert_eq!(result, Err(Errno::EDEADLK));
            self.count(Count::Refused);
        }
        Some((late, result))
    }

    fn unlock(&mut self, file: usize) {
        let (pieces, range) = self.pieces();
        let whole = self.rng.one_in(3);
        for byte in if whole { 0..BYTES } else { pieces } {
            self.note(file, byte, None);
        }
        let Shared { files, waits, .. } = self.shared;
        if whole {
            files[file].locks.release(waits, self.owner, &|| Ok(())).run();
        } else {
            let woken = files[file].locks.unlock(waits, self.owner, range, &|| Ok(()));
            woken.unwrap().run();
        }
    }

    /// Bytes move.
    fn transfer(&self, file: usize, pieces: &Pieces<usize>, kind: Kind) {
        let file = (&self.shared.files[file], &self.held[file]);
        for byte in pieces.clone() {
            file.0.moving[byte].fetch_add(weight(Some(kind)), Ordering::SeqCst);
            let others = file.0.held[byte].load(Ordering::SeqCst) - weight(file.1[byte]);
            match kind {
                Kind::Read => assert!(others >= 0, "a read of what others may write"),
                Kind::Write => assert_eq!(others, 0, "a write of what others hold"),
            }
        }
        for byte in pieces.clone() {
            file.0.moving[byte].fetch_sub(weight(Some(kind)), Ordering::SeqCst);
        }
    }

    fn access(&mut self, file: usize) {
        let (pieces, range) = self.pieces();
        let kind = self.rng.pick(&[Kind::Read, Kind::Write]);
        let Shared { files, waits, .. } = self.shared;
        let access = Access {
            own: self.own,
            kind,
            range,
        };
        let locks = &files[file].locks;
        loop {
            if let Ok(_guard) = locks.access(&access) {
                self.transfer(file, &pieces, kind);
                self.count(Count::Moved);
                return;
            }
            let (sender, receiver) = channel();
            let mut ticket = None;
            let queued = locks.wait(waits, access, &mut |it| {
                ticket = Some(it);
                Ok(Box::new(Signal(sender.clone())))
            });
            match queued {
                Ok(Queued::Free) => continue,
                Ok(Queued::Waiting) => self.perform(file, &pieces, access, ticket.unwrap(), (&sender, &receiver)),
                Err(errno) => {
                    assert_eq!(errno, Errno::EDEADLK);
                    self.count(Count::Refused);
                }
            }
            return;
        }
    }

    fn perform(
        &mut self,
        file: usize,
        pieces: &Pieces<usize>,
        access: Access,
        ticket: Ticket,
        (sender, receiver): (&Sender<Answer>, &Receiver<Answer>),
    ) {
        let Shared { files, waits, .. } = self.shared;
        while let Some((late, Ok(()))) = self.told(file, ticket, receiver) {
            let job = Box::new(Signal(sender.clone()));
            let transfer = |job, _, stops: Stops<'_>| match stops(&access) {
                Some(_) => Err((job, access)),
                None => {
                    self.transfer(file, pieces, access.kind);
                    Ok(())
                }
            };
            match files[file].locks.perform(waits, ticket, &|| Ok(()), job, transfer) {
                Performed::Done((), woken) => {
                    assert!(!late);
                    woken.run();
                    return self.count(Count::MovedLate);
                }
                Performed::Blocked(woken) => woken.run(),
                Performed::Gone(_) => {
                    assert!(late);
                    return;
                }
            }
        }
    }

    fn run(mut self) {
        for _ in 0..STEPS {
            let any = self.below(FILES);
            let file = self.only.unwrap_or(any);
            // Others should find what is held.
            if self.rng.one_in(10) {
                std::thread::yield_now();
            }
            match self.below(10) {
                0..3 => self.lock(file),
                3..7 => self.unlock(file),
                _ => self.access(file),
            }
        }
        for file in self.only.map_or(0..FILES, |only| only..only + 1) {
            for byte in 0..BYTES {
                self.note(file, byte, None);
            }
            let Shared { files, waits, .. } = self.shared;
            files[file].locks.release(waits, self.owner, &|| Ok(())).run();
        }
    }
}

/// The actors of a cast.
fn actors(shared: &Shared, cast: Cast) -> impl Iterator<Item = Actor<'_>> {
    (0..THREADS).map(move |number| {
        let (one, only) = match cast {
            Cast::Single | Cast::Mixed => (number, None),
            Cast::Pairs => (number / 2, Some(usize::from(number % 2 == 1))),
        };
        let owner = if cast == Cast::Mixed && one % 2 == 1 {
            Owner::OpenFile(Fh(one))
        } else {
            Owner::Process(LockOwner(one))
        };
        Actor {
            shared,
            owner,
            own: Own {
                process: Some(LockOwner(one)),
                file: Some(Fh(one)),
            },
            rng: Rng(number),
            cast,
            only,
            held: Default::default(),
        }
    })
}

fn explore(cast: Cast) {
    let purses = Purses::new();
    let file = || File {
        locks: Arc::new(FileLocks::new()),
        held: Default::default(),
        moving: Default::default(),
    };
    let shared = Shared {
        files: [file(), file()],
        waits: Waits::new(),
        purse: purses.of(1),
        counts: Default::default(),
    };
    std::thread::scope(|scope| {
        for actor in actors(&shared, cast) {
            scope.spawn(move || actor.run());
        }
    });
    assert!(shared.files.iter().all(|it| it.locks.is_idle()));
    assert!(shared.waits.is_empty());
    assert_eq!(shared.purse.held(), 0);
    let [granted, waited, refused, cancelled, moved, late] = &shared.counts;
    println!(
        "{granted:?} locks, {waited:?} waits, {refused:?} refused, {cancelled:?} given up, {moved:?} transfers at once, {late:?} later"
    );
}

#[test]
fn processes() {
    explore(Cast::Single);
}

#[test]
fn processes_with_two_threads() {
    explore(Cast::Pairs);
}

#[test]
fn processes_and_open_files_that_give_up() {
    explore(Cast::Mixed);
}
