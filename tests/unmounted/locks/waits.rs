//! Random waits against the naive model: who is let in, in which order, who is refused, and that nobody is forgotten
//! (semantics 4.2, 4.3, 4.6, 5.6, 5.7, 5.9).

use owltmp::lock::{Access, Kind, Lock, Own, Owner, Range, Request, Ticket};
use owltmp::types::Errno;

use super::bytes::Bytes;
use super::files::Files;
use super::model::{Model, Waiter, Want};
use crate::rng::Rng;

const FILES: usize = 3;
const PROCESSES: usize = 5;
const OPEN_FILES: usize = 3;
const BYTES: usize = 6;
/// Then everybody goes, and another world begins.
const STEPS: usize = 200;

struct World {
    files: Files,
    model: Model,
    rng: Rng,
    /// Whether a process waits in one place at most.
    single: bool,
    /// By number of the wait: where it is, and its ticket.
    waits: Vec<(usize, Ticket, Waiter)>,
    waited: usize,
    refused: usize,
    refused_late: usize,
}

impl World {
    fn new(seed: u64, single: bool) -> World {
        World {
            files: Files::new(FILES),
            model: Model::new(FILES, PROCESSES as u64, OPEN_FILES as u64, BYTES as u64),
            rng: Rng(seed),
            single,
            waits: Vec::new(),
            waited: 0,
            refused: 0,
            refused_late: 0,
        }
    }

    fn below(&mut self, limit: usize) -> usize {
        usize::try_from(self.rng.below(limit as u64)).unwrap()
    }

    fn range(pieces: &std::ops::Range<usize>) -> Range {
        Range::new(pieces.start as u64, pieces.end as u64).unwrap()
    }

    fn is_waiting(&self, owner: Owner) -> bool {
        let mut all = self.model.files.iter().flat_map(|it| &it.waiters);
        all.any(|waiter| match &waiter.want {
            Want::Lock(it) => self.model.owners[*it] == owner,
            Want::Access(own) => own.has(owner),
        })
    }

    /// An owner that may do something now.
    fn owner(&mut self) -> usize {
        let mut owner = self.below(PROCESSES + OPEN_FILES);
        for _ in 0..PROCESSES {
            if !self.single || owner >= PROCESSES || !self.is_waiting(self.model.owners[owner]) {
                return owner;
            }
            owner = (owner + 1) % PROCESSES;
        }
        PROCESSES
    }

    fn waiter(&mut self, want: Want) -> Waiter {
        let start = self.below(BYTES);
        let end = start + 1 + self.below((BYTES - start).min(3));
        let kinds = [Kind::Read, Kind::Write, Kind::Write];
        Waiter {
            id: self.waits.len(),
            want,
            kind: self.rng.pick(&kinds),
            pieces: start..end,
            admitted: false,
        }
    }

    /// Takes note of a wait that began, in both.
    fn compare(
        &mut self,
        file: usize,
        waiter: Waiter,
        found: Result<Option<Ticket>, Errno>,
        wanted: Result<bool, Errno>,
    ) {
        assert_eq!(found.map(|ticket| ticket.is_none()), wanted, "{waiter:?}");
        self.refused += usize::from(wanted == Err(Errno::EDEADLK));
        if let Ok(Some(ticket)) = found {
            self.waits.push((file, ticket, waiter));
            self.waited += 1;
        }
    }

    fn lock(&mut self, file: usize) {
        let owner = self.owner();
        let mut waiter = self.waiter(Want::Lock(owner));
        let may_wait = !self.rng.one_in(5);
        let whole = owner >= PROCESSES && self.rng.one_in(4);
        if whole {
            waiter.pieces = 0..BYTES;
        }
        let request = Request {
            owner: self.model.owners[owner],
            pid: Bytes::pid(owner),
            kind: waiter.kind,
            range: World::range(&waiter.pieces),
        };
        let wait = may_wait.then_some(waiter.id);
        let (found, wanted) = if whole {
            let found = self.files.convert(file, request, wait);
            (found, self.model.convert(file, waiter.clone(), may_wait))
        } else {
            let found = self.files.lock(file, request, wait);
            (found, self.model.lock(file, waiter.clone(), may_wait))
        };
        self.compare(file, waiter, found, wanted);
    }

    fn access(&mut self, file: usize) {
        let owner = self.owner();
        let open_file = PROCESSES + self.below(OPEN_FILES);
        let own = Own {
            process: (owner < PROCESSES)
                .then(|| self.model.owners[owner].own().process)
                .flatten(),
            file: self.model.owners[open_file].own().file,
        };
        let waiter = self.waiter(Want::Access(own));
        let access = Access {
            own,
            kind: waiter.kind,
            range: World::range(&waiter.pieces),
        };
        let found = self.files.access(file, access, waiter.id);
        let wanted = self.model.access(file, waiter.clone());
        self.compare(file, waiter, found, wanted);
    }

    fn unlock(&mut self, file: usize) {
        let owner = self.owner();
        let pieces = self.waiter(Want::Lock(owner)).pieces;
        if self.rng.one_in(4) {
            self.files.release(file, self.model.owners[owner]);
            self.model.unlock(file, owner, 0..BYTES);
        } else {
            self.files.unlock(file, self.model.owners[owner], World::range(&pieces));
            self.model.unlock(file, owner, pieces);
        }
    }

    /// Performs an access that was admitted, or whose wait was given up after it was.
    fn perform(&mut self, id: usize, obeys: bool) {
        let (file, ticket, waiter) = self.waits[id].clone();
        if self.model.files[file]
            .waiters
            .iter()
            .any(|it| it.id == id && !it.admitted)
        {
            return;
        }
        let range = World::range(&waiter.pieces);
        let found = self.files.perform(file, id, ticket, waiter.kind, range, obeys);
        assert_eq!(found, self.model.perform(file, id, obeys));
    }

    fn cancel(&mut self, id: usize) {
        let (file, ticket, _) = self.waits[id].clone();
        assert_eq!(self.files.cancel(file, ticket), self.model.cancel(file, id));
    }

    /// Most often one that still waits.
    fn some_wait(&mut self) -> Option<usize> {
        let all: Vec<usize> = self
            .model
            .files
            .iter()
            .flat_map(|it| &it.waiters)
            .map(|it| it.id)
            .collect();
        if all.is_empty() || self.rng.one_in(20) {
            let recent = self.below(20);
            return self.waits.len().checked_sub(recent + 1);
        }
        Some(self.rng.pick(&all))
    }

    fn step(&mut self) {
        let file = self.below(FILES);
        match self.below(20) {
            0..8 => self.lock(file),
            8..10 => self.access(file),
            10..14 => self.unlock(file),
            14..17 => {
                let obeys = !self.rng.one_in(10);
                if let Some(id) = self.some_wait() {
                    self.perform(id, obeys);
                }
            }
            17 => {
                if let Some(id) = self.some_wait() {
                    self.cancel(id);
                }
            }
            18 => {
                let may_grant = if self.rng.one_in(8) { Err(Errno::EAGAIN) } else { Ok(()) };
                (self.files.may_grant, self.model.may_grant) = (may_grant, may_grant);
                let locks = &self.files.files[file];
                locks.reconsider(&self.files.waits, &|| may_grant).run();
                self.model.reconsider(file);
            }
            _ => {
                if self.rng.one_in(5) {
                    self.files.files[file].release_accesses(&self.files.waits).run();
                    self.model.release_accesses(file);
                }
            }
        }
        self.assert_same();
    }

    fn assert_same(&mut self) {
        let told = std::mem::take(&mut self.model.told);
        assert_eq!(self.files.told(), told);
        self.refused_late += told.iter().filter(|(_, it)| *it == Err(Errno::EDEADLK)).count();
        for (locks, file) in self.files.files.iter().zip(&self.model.files) {
            assert_eq!(locks.waiting(), file.waiters.len());
            let mut held: Vec<Lock> = locks.locks();
            held.sort_unstable_by_key(|lock| (lock.owner, lock.range));
            assert_eq!(held, file.bytes.locks());
        }
        assert_eq!(self.files.waits.len(), self.model.waits_of_processes());
        assert!(!self.model.has_circle());
    }

    /// Everybody goes: whoever waits must get what he waits for.
    fn end(&mut self) {
        (self.files.may_grant, self.model.may_grant) = (Ok(()), Ok(()));
        while self.model.files.iter().any(|it| !it.waiters.is_empty()) {
            for (file, owner) in (0..FILES).flat_map(|file| (0..PROCESSES + OPEN_FILES).map(move |it| (file, it))) {
                self.files.release(file, self.model.owners[owner]);
                self.model.unlock(file, owner, 0..BYTES);
                self.assert_same();
            }
            let all = self.model.files.iter().flat_map(|it| &it.waiters);
            for id in all.map(|it| it.id).collect::<Vec<usize>>() {
                self.perform(id, true);
                self.assert_same();
            }
        }
        for (file, owner) in (0..FILES).flat_map(|file| (0..PROCESSES + OPEN_FILES).map(move |it| (file, it))) {
            self.files.release(file, self.model.owners[owner]);
        }
        assert!(self.files.files.iter().all(|it| it.is_idle()));
        assert!(self.files.waits.is_empty());
        assert_eq!(self.files.purse.held(), 0);
    }
}

/// How many waits, in all.
fn wanted() -> usize {
    let asked = std::env::var("OWLTMP_LOCK_WAITS").ok();
    asked.map_or(200_000, |it| it.parse().expect("OWLTMP_LOCK_WAITS is a number"))
}

fn explore(single: bool) {
    let (mut waited, mut refused, mut late) = (0, 0, 0);
    let mut seed = 0;
    while waited < wanted() {
        seed += 1;
        let mut world = World::new(seed, single);
        for _ in 0..STEPS {
            world.step();
        }
        world.end();
        waited += world.waited;
        refused += world.refused;
        late += world.refused_late;
    }
    println!("{waited} waits, {refused} refused as deadlocks, {late} of those that waited already");
    assert!(refused > 0 && late > 0);
}

#[test]
fn processes_with_one_thread() {
    explore(true);
}

#[test]
fn processes_with_many_threads() {
    explore(false);
}
