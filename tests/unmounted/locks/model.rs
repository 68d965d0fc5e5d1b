//! The naive model of waiting: everybody is looked at after every step, and the graph is searched as it is written down.

use std::collections::BTreeSet;
use std::ops::Range as Pieces;

use owltmp::lock::{Kind, Own, Owner};
use owltmp::types::{Errno, Fh, LockOwner};

use super::bytes::Bytes;

/// What is wanted of one file.
#[derive(Clone, Debug)]
pub enum Want {
    /// A lock, by its place among the owners.
    Lock(usize),
    Access(Own),
}

#[derive(Clone, Debug)]
pub struct Waiter {
    pub id: usize,
    pub want: Want,
    pub kind: Kind,
    pub pieces: Pieces<usize>,
    pub admitted: bool,
}

/// Who was told what, in order.
pub type Told = Vec<(usize, Result<(), Errno>)>;

#[derive(Clone, Debug)]
pub struct File {
    pub bytes: Bytes,
    pub waiters: Vec<Waiter>,
}

/// Some files, and who waits for their locks.
#[derive(Clone, Debug)]
pub struct Model {
    pub owners: Vec<Owner>,
    pub files: Vec<File>,
    pub may_grant: Result<(), Errno>,
    /// What happened in the last step.
    pub told: Told,
    granted: Vec<usize>,
}

impl Model {
    pub fn new(files: usize, processes: u64, open_files: u64, bytes: u64) -> Model {
        let owners: Vec<Owner> = (0..processes)
            .map(|it| Owner::Process(LockOwner(it)))
            .chain((0..open_files).map(|it| Owner::OpenFile(Fh(it))))
            .collect();
        let file = File {
            bytes: Bytes::new((0..=bytes).collect(), owners.clone()),
            waiters: Vec::new(),
        };
        Model {
            owners,
            files: vec![file; files],
            may_grant: Ok(()),
            told: Vec::new(),
            granted: Vec::new(),
        }
    }

    fn own(&self, want: &Want) -> Own {
        match want {
            Want::Lock(owner) => self.owners[*owner].own(),
            Want::Access(own) => *own,
        }
    }

    /// The places of those who hold what is in the way.
    fn holders(&self, file: usize, waiter: &Waiter) -> Vec<usize> {
        let own = self.own(&waiter.want);
        let bytes = &self.files[file].bytes;
        let in_the_way = |owner: &usize| {
            let mut held = bytes.held[*owner][waiter.pieces.clone()].iter().flatten();
            !own.has(self.owners[*owner]) && held.any(|&held| held == Kind::Write || waiter.kind == Kind::Write)
        };
        (0..self.owners.len()).filter(in_the_way).collect()
    }

    pub fn is_blocked(&self, file: usize, waiter: &Waiter) -> bool {
        !self.holders(file, waiter).is_empty()
    }

    fn process(owner: Owner) -> Option<LockOwner> {
        owner.own().process
    }

    /// The processes for which one waits.
    fn leads_to(&self, file: usize, waiter: &Waiter) -> Vec<LockOwner> {
        let holders = self.holders(file, waiter).into_iter();
        holders.filter_map(|it| Model::process(self.owners[it])).collect()
    }

    /// The processes that can be reached from some.
    fn reach(&self, from: Vec<LockOwner>) -> BTreeSet<LockOwner> {
        let mut reached = BTreeSet::new();
        let mut open = from;
        while let Some(process) = open.pop() {
            if !reached.insert(process) {
                continue;
            }
            for (file, it) in self.files.iter().enumerate() {
                let waits = it.waiters.iter().filter(|it| !it.admitted);
                for waiter in waits.filter(|it| self.own(&it.want).process == Some(process)) {
                    open.extend(self.leads_to(file, waiter));
                }
            }
        }
        reached
    }

    /// Whether one that waits, or would, is in a circle.
    fn is_deadlock(&self, file: usize, waiter: &Waiter) -> bool {
        let process = self.own(&waiter.want).process;
        process.is_some_and(|process| self.reach(self.leads_to(file, waiter)).contains(&process))
    }

    /// Whether anybody waits in a circle.
    pub fn has_circle(&self) -> bool {
        let mut all = self.files.iter().enumerate();
        all.any(|(file, it)| {
            let mut waits = it.waiters.iter().filter(|it| !it.admitted);
            waits.any(|waiter| self.is_deadlock(file, waiter))
        })
    }

    fn grant(&mut self, file: usize, waiter: &Waiter, owner: usize) -> Result<(), Errno> {
        self.may_grant?;
        self.files[file]
            .bytes
            .set(owner, waiter.pieces.clone(), Some(waiter.kind));
        self.granted.push(owner);
        Ok(())
    }

    /// Lets in, in order of arrival, whoever can be let in.
    fn settle(&mut self, file: usize) {
        let mut at = 0;
        while at < self.files[file].waiters.len() {
            let waiter = self.files[file].waiters[at].clone();
            let held_back = |before: &Waiter| {
                let own = self.own(&before.want);
                let Want::Lock(owner) = waiter.want else { return false };
                before.admitted
                    && (before.kind == Kind::Write || waiter.kind == Kind::Write)
                    && before.pieces.start < waiter.pieces.end
                    && waiter.pieces.start < before.pieces.end
                    && !own.has(self.owners[owner])
            };
            let stays = waiter.admitted
                || self.is_blocked(file, &waiter)
                || self.files[file].waiters[..at].iter().any(held_back);
            if stays {
                at += 1;
                continue;
            }
            let result = match waiter.want {
                Want::Lock(owner) => {
                    self.files[file].waiters.remove(at);
                    self.grant(file, &waiter, owner)
                }
                Want::Access(_) => {
                    self.files[file].waiters[at].admitted = true;
                    Ok(())
                }
            };
            self.told.push((waiter.id, result));
            at = 0;
        }
    }

    fn refuse(&mut self, file: usize, id: usize) {
        self.files[file].waiters.retain(|it| it.id != id);
        self.told.push((id, Err(Errno::EDEADLK)));
    }

    /// After everybody was let in: who has come into a circle by that.
    fn refuse_circles(&mut self, file: usize, again: Option<usize>) {
        let waiter = |id| self.files[file].waiters.iter().find(|it| it.id == id);
        if let Some(waiter) = again.and_then(waiter).cloned()
            && !waiter.admitted
            && self.is_deadlock(file, &waiter)
        {
            self.refuse(file, waiter.id);
        }
        for holder in std::mem::take(&mut self.granted) {
            let Some(process) = Model::process(self.owners[holder]) else {
                continue;
            };
            while let Some(victims) = self.victims(file, holder, process) {
                for id in victims {
                    self.refuse(file, id);
                }
            }
        }
    }

    fn victims(&self, file: usize, holder: usize, process: LockOwner) -> Option<Vec<usize>> {
        let reached = self.reach(vec![process]);
        let waiters = self.files[file].waiters.iter().rev();
        let stopped: Vec<&Waiter> = waiters
            .filter(|it| !it.admitted && self.holders(file, it).contains(&holder))
            .collect();
        let of = |waiter: &Waiter| self.own(&waiter.want).process;
        let victim = stopped
            .iter()
            .filter_map(|it| of(it))
            .find(|process| reached.contains(process))?;
        let all = stopped.iter().filter(|it| of(it) == Some(victim));
        Some(all.map(|it| it.id).collect())
    }

    /// A request for a lock. Errors: EAGAIN where it may not wait; EDEADLK. Whether it is granted, otherwise it waits.
    pub fn lock(&mut self, file: usize, waiter: Waiter, may_wait: bool) -> Result<bool, Errno> {
        let Want::Lock(owner) = waiter.want else { panic!() };
        if !self.is_blocked(file, &waiter) {
            self.grant(file, &waiter, owner)?;
            self.settle(file);
            self.refuse_circles(file, None);
            return Ok(true);
        }
        if !may_wait {
            return Err(Errno::EAGAIN);
        }
        if self.is_deadlock(file, &waiter) {
            return Err(Errno::EDEADLK);
        }
        self.files[file].waiters.push(waiter);
        Ok(false)
    }

    /// An access. Errors: EDEADLK. Whether it may go on, otherwise it waits.
    pub fn access(&mut self, file: usize, waiter: Waiter) -> Result<bool, Errno> {
        if !self.is_blocked(file, &waiter) {
            return Ok(true);
        }
        if self.is_deadlock(file, &waiter) {
            return Err(Errno::EDEADLK);
        }
        self.files[file].waiters.push(waiter);
        Ok(false)
    }

    /// A new lock in place of the old one.
    pub fn convert(&mut self, file: usize, waiter: Waiter, may_wait: bool) -> Result<bool, Errno> {
        let Want::Lock(owner) = waiter.want else { panic!() };
        let held = self.files[file].bytes.held[owner][waiter.pieces.clone()].to_vec();
        if held.contains(&Some(waiter.kind)) {
            return Ok(true);
        }
        self.files[file].bytes.held[owner].fill(None);
        // Who converts comes before those who wait; where he is refused they are let in first.
        if self.is_blocked(file, &waiter) {
            self.settle(file);
        }
        let result = self.lock(file, waiter, may_wait);
        self.settle(file);
        self.refuse_circles(file, None);
        result
    }

    pub fn unlock(&mut self, file: usize, owner: usize, pieces: Pieces<usize>) {
        self.files[file].bytes.set(owner, pieces, None);
        self.settle(file);
        self.refuse_circles(file, None);
    }

    /// It was somebody's turn. `None`: he does not wait any more. Otherwise whether it was done.
    pub fn perform(&mut self, file: usize, id: usize, obeys: bool) -> Option<bool> {
        let at = self.files[file].waiters.iter().position(|it| it.id == id)?;
        let waiter = self.files[file].waiters[at].clone();
        let done = !obeys || !self.is_blocked(file, &waiter);
        if done {
            self.files[file].waiters.remove(at);
        } else {
            self.files[file].waiters[at].admitted = false;
        }
        self.settle(file);
        self.refuse_circles(file, Some(id));
        Some(done)
    }

    /// Whether he had not been told yet.
    pub fn cancel(&mut self, file: usize, id: usize) -> bool {
        let Some(at) = self.files[file].waiters.iter().position(|it| it.id == id) else {
            return false;
        };
        let waiter = self.files[file].waiters.remove(at);
        self.settle(file);
        self.refuse_circles(file, None);
        !waiter.admitted
    }

    pub fn release_accesses(&mut self, file: usize) {
        for waiter in &mut self.files[file].waiters {
            if matches!(waiter.want, Want::Access(_)) && !waiter.admitted {
                waiter.admitted = true;
                self.told.push((waiter.id, Ok(())));
            }
        }
    }

    pub fn reconsider(&mut self, file: usize) {
        self.settle(file);
        self.refuse_circles(file, None);
    }

    /// How many waits of processes there are.
    pub fn waits_of_processes(&self) -> usize {
        let all = self.files.iter().flat_map(|it| &it.waiters);
        all.filter(|it| self.own(&it.want).process.is_some()).count()
    }
}
