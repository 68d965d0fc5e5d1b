//! Locks as Linux has them in fs/locks.c (6.18): lists whose order depends on who locked first, requests that hang on the lock which
//! blocks them or on a request before them, and wake-ups after which everyone tries again. What is left open there, the order in which
//! those woken run, is left open here too.

use std::collections::BTreeMap;

use super::{Change, Claim, Family, Kind, Owner, Verdict, Wait};

type Id = u32;

/// The steps that the kernel's search for deadlocks goes.
const MAX_DEADLK_ITERATIONS: u32 = 10;

/// Depths that mark places in a shape, where no chain is so deep.
const WOKEN: u32 = 1 << 20;
const HASHED: u32 = 1 << 30;

/// A struct file_lock: a lock held or a request.
#[derive(Clone, Debug)]
struct Node {
    claim: Claim,
    wait: Wait,
    blocker: Option<Id>,
    blocked: Vec<Id>,
}

/// All locks of a kernel.
#[derive(Clone, Debug, Default)]
pub struct Linux {
    nodes: BTreeMap<Id, Node>,
    next: Id,
    lists: BTreeMap<(u8, Family), Vec<Id>>,
    /// Requests blocked by locks of processes, the newest first.
    hash: Vec<Id>,
    /// Requests that were woken and have not run yet.
    woken: Vec<Id>,
}

impl Linux {
    fn node(&mut self, id: Id) -> &mut Node {
        self.nodes.get_mut(&id).expect("a node")
    }

    fn claim(&self, id: Id) -> Claim {
        self.nodes[&id].claim
    }

    fn make(&mut self, claim: Claim, wait: Wait) -> Id {
        self.next += 1;
        let node = Node {
            claim,
            wait,
            blocker: None,
            blocked: vec![],
        };
        self.nodes.insert(self.next, node);
        self.next
    }

    fn list(&self, claim: &Claim) -> &[Id] {
        self.lists.get(&(claim.file, claim.family)).map_or(&[], Vec::as_slice)
    }

    fn list_mut(&mut self, claim: &Claim) -> &mut Vec<Id> {
        self.lists.entry((claim.file, claim.family)).or_default()
    }

    /// Makes a change; those woken have yet to run.
    pub fn change(&mut self, change: Change) -> Verdict {
        match change {
            Change::Ask(claim, wait) => {
                let id = self.make(claim, wait.unwrap_or(0));
                self.ask(id, wait.is_some())
            }
            Change::Cancel(wait) => {
                let found = self.nodes.iter().find(|(_, it)| it.wait == wait);
                let id = *found.expect("that wait").0;
                self.finish(id);
                Verdict::Done
            }
        }
    }

    fn ask(&mut self, id: Id, sleep: bool) -> Verdict {
        let verdict = match self.claim(id).family {
            Family::Record => self.posix_lock_inode(id, sleep),
            Family::Whole => self.flock_lock_inode(id, sleep),
        };
        if verdict != Verdict::Waits {
            self.finish(id);
        }
        verdict
    }

    /// How many have yet to run.
    pub fn woken(&self) -> usize {
        self.woken.len()
    }

    /// One of those woken runs; what became of it if its wait is over.
    pub fn run(&mut self, at: usize) -> Option<(Wait, Verdict)> {
        let id = self.woken.remove(at);
        let wait = self.nodes[&id].wait;
        let verdict = self.ask(id, true);
        (verdict != Verdict::Waits).then_some((wait, verdict))
    }

    /// The end of a request: locks_delete_block and locks_free_lock.
    fn finish(&mut self, id: Id) {
        self.wake_up_blocks(id);
        self.unlink(id);
        self.woken.retain(|it| *it != id);
        self.nodes.remove(&id);
    }

    fn unlink(&mut self, id: Id) {
        if let Some(blocker) = self.node(id).blocker.take() {
            self.node(blocker).blocked.retain(|it| *it != id);
        }
        self.hash.retain(|it| *it != id);
    }

    fn wake_up_blocks(&mut self, id: Id) {
        for waiter in std::mem::take(&mut self.node(id).blocked) {
            self.node(waiter).blocker = None;
            self.hash.retain(|it| *it != waiter);
            self.woken.push(waiter);
        }
    }

    fn insert_block(&mut self, mut blocker: Id, waiter: Id) {
        let claim = self.claim(waiter);
        while let Some(before) = self.nodes[&blocker]
            .blocked
            .iter()
            .find(|it| self.claim(**it).conflicts(&claim))
        {
            blocker = *before;
        }
        self.node(waiter).blocker = Some(blocker);
        self.node(blocker).blocked.push(waiter);
        let claim = self.claim(blocker);
        if claim.family == Family::Record && matches!(claim.owner, Owner::Process(_)) {
            self.hash.insert(0, waiter);
        }
        self.wake_up_blocks(waiter);
    }

    fn move_blocks(&mut self, from: Id, to: Id) {
        let blocked = std::mem::take(&mut self.node(from).blocked);
        for id in &blocked {
            self.node(*id).blocker = Some(to);
        }
        self.node(to).blocked.extend(blocked);
    }

    fn waiting_for(&self, owner: Owner) -> Option<Id> {
        let mut id = *self.hash.iter().find(|it| self.claim(**it).owner == owner)?;
        while let Some(blocker) = self.nodes[&id].blocker {
            id = blocker;
        }
        Some(id)
    }

    fn deadlock(&self, caller: Owner, blocker: Id) -> bool {
        if matches!(caller, Owner::Open(_)) {
            return false;
        }
        let mut owner = self.claim(blocker).owner;
        for _ in 0..=MAX_DEADLK_ITERATIONS {
            let Some(next) = self.waiting_for(owner) else {
                return false;
            };
            owner = self.claim(next).owner;
            if owner == caller {
                return true;
            }
        }
        false
    }

    /// A lock is taken off its list.
    fn delete(&mut self, id: Id) {
        let claim = self.claim(id);
        self.list_mut(&claim).retain(|it| *it != id);
        self.wake_up_blocks(id);
        self.nodes.remove(&id);
    }

    fn insert(&mut self, claim: Claim, at: usize) -> Id {
        let id = self.make(claim, 0);
        self.list_mut(&claim).insert(at, id);
        id
    }

    /// Whether a request must wait, or can't have what it wants.
    fn hindered(&mut self, id: Id, sleep: bool) -> Option<Verdict> {
        let claim = self.claim(id);
        let mut list = self.list(&claim).iter();
        let found = *list.find(|it| self.claim(**it).conflicts(&claim))?;
        if !sleep {
            return Some(Verdict::Again);
        }
        if claim.family == Family::Record {
            self.wake_up_blocks(id);
            if self.deadlock(claim.owner, found) {
                return Some(Verdict::Deadlock);
            }
        }
        self.insert_block(found, id);
        Some(Verdict::Waits)
    }

    fn flock_lock_inode(&mut self, id: Id, sleep: bool) -> Verdict {
        let claim = self.claim(id);
        let mut list = self.list(&claim).iter();
        if let Some(&own) = list.find(|it| self.claim(**it).owner == claim.owner) {
            if self.claim(own).kind == claim.kind {
                return Verdict::Done;
            }
            self.delete(own);
        }
        if claim.kind == Kind::None {
            return Verdict::Done;
        }
        if let Some(verdict) = self.hindered(id, sleep) {
            return verdict;
        }
        let new = self.insert(claim, self.list(&claim).len());
        self.move_blocks(id, new);
        Verdict::Done
    }

    fn posix_lock_inode(&mut self, id: Id, sleep: bool) -> Verdict {
        let mut claim = self.claim(id);
        if claim.kind != Kind::None
            && let Some(verdict) = self.hindered(id, sleep)
        {
            return verdict;
        }
        let mut list = self.list(&claim).iter();
        let first = list.position(|it| self.claim(*it).owner == claim.owner);
        let mut at = first.unwrap_or(self.list(&claim).len());
        let (mut request, mut added, mut left, mut right) = (id, false, None, None);
        while let Some(&it) = self.list(&claim).get(at) {
            let lock = self.claim(it);
            if lock.owner != claim.owner {
                break;
            }
            if lock.kind == claim.kind {
                if lock.end < claim.start - 1 {
                    at += 1;
                    continue;
                }
                if lock.start - 1 > claim.end {
                    break;
                }
                self.join(&mut claim, it, request);
                if added {
                    self.delete(it);
                    continue;
                }
                (request, added) = (it, true);
                at += 1;
                continue;
            }
            if lock.end < claim.start {
                at += 1;
                continue;
            }
            if lock.start > claim.end {
                break;
            }
            added |= claim.kind == Kind::None;
            if lock.start < claim.start {
                left = Some(it);
            }
            if lock.end > claim.end {
                right = Some(it);
                break;
            }
            if lock.start < claim.start {
                at += 1;
            } else if added {
                self.delete(it);
            } else {
                let new = self.insert(claim, at);
                self.move_blocks(id, new);
                self.delete(it);
                (request, added) = (new, true);
                at += 1;
            }
        }
        if !added {
            if claim.kind == Kind::None {
                return Verdict::Done;
            }
            let new = self.insert(claim, at);
            self.move_blocks(id, new);
        }
        self.cut(claim, at, left, right);
        Verdict::Done
    }

    /// A request and a lock that it meets become the same, and so does the lock that the request has become before.
    fn join(&mut self, claim: &mut Claim, lock: Id, request: Id) {
        claim.start = claim.start.min(self.claim(lock).start);
        claim.end = claim.end.max(self.claim(lock).end);
        self.node(lock).claim = *claim;
        self.node(request).claim = *claim;
    }

    /// What is left of the owner's old locks on both sides of a new one.
    fn cut(&mut self, claim: Claim, at: usize, mut left: Option<Id>, right: Option<Id>) {
        if let Some(right) = right {
            if left == Some(right) {
                left = Some(self.insert(self.claim(right), at));
            }
            self.node(right).claim.start = claim.end + 1;
            self.wake_up_blocks(right);
        }
        if let Some(left) = left {
            self.node(left).claim.end = claim.start - 1;
            self.wake_up_blocks(left);
        }
    }

    /// All locks held, sorted.
    pub fn held(&self) -> Vec<Claim> {
        let mut held: Vec<Claim> = self.lists.values().flatten().map(|id| self.claim(*id)).collect();
        held.sort();
        held
    }

    /// All that decides what this kernel will do, without the numbers of its nodes.
    pub fn shape(&self) -> Vec<(u32, Claim, Wait)> {
        let mut shape = vec![];
        for id in self.lists.values().flatten() {
            self.shape_of(*id, 0, &mut shape);
        }
        for id in &self.woken {
            self.shape_of(*id, WOKEN, &mut shape);
        }
        shape.extend(
            self.hash
                .iter()
                .map(|id| (HASHED, self.claim(*id), self.nodes[id].wait)),
        );
        shape
    }

    fn shape_of(&self, id: Id, depth: u32, shape: &mut Vec<(u32, Claim, Wait)>) {
        let node = &self.nodes[&id];
        shape.push((depth, node.claim, node.wait));
        for below in &node.blocked {
            self.shape_of(*below, depth + 1, shape);
        }
    }
}
