//! Processes, their descriptors and their waits around the models of locks: what a step does, and what must be seen of it. Where the
//! kernel leaves the outcome to chance, or semantics 4 differs from it, there is no answer.

mod settle;

use std::collections::BTreeMap;

use super::linux::Linux;
use super::table::Table;
use super::{Change, Claim, Family, Kind, Owner, Wait};
use crate::common::Errno;
use crate::common::lock::{self, Record};
use crate::records::crew::{Op, SLOTS};

/// Something that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A process does something.
    Work(usize, Op),
    /// A process begins, new or forked.
    Spawn(usize, Option<usize>),
    /// SIGKILL.
    Kill(usize),
    /// _exit(2).
    Exit(usize),
    /// A thread that waits gets a signal: its wait ends, or begins again.
    Signal { who: usize, thread: u8, restart: bool },
}

/// What an operation must answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// This.
    Result(i32),
    /// F_GETLK: one of these, by who asks; empty means that nothing hinders.
    Locks(Vec<Claim>),
}

/// What must be seen of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The answer.
    pub answer: Expected,
    /// Waits that end: process, thread, result.
    pub done: Vec<(usize, u8, i32)>,
    /// Whether some who wait were disturbed, so that they must come to rest.
    pub stirred: bool,
}

#[derive(Clone, Debug)]
struct Open {
    file: u8,
    reads: bool,
    writes: bool,
    position: i64,
    users: u32,
}

/// A process.
#[derive(Clone, Debug)]
pub struct Process {
    /// Its number as an owner of locks.
    pub owner: u32,
    /// Its descriptors.
    pub slots: [Option<u32>; SLOTS as usize],
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    who: usize,
    thread: u8,
    slot: u8,
    open: u32,
    claim: Claim,
    /// What fcntl(2) was called with.
    call: Option<(i32, Record)>,
}

/// All of it.
#[derive(Clone, Debug)]
pub struct World {
    sizes: Vec<i64>,
    opens: BTreeMap<u32, Open>,
    /// The processes that live.
    pub processes: Vec<Option<Process>>,
    waits: BTreeMap<Wait, Waiting>,
    kernels: Vec<Linux>,
    table: Table,
    next: u32,
}

fn minus(errno: Errno) -> i32 {
    -errno.raw_os_error()
}

impl World {
    /// Files of these sizes, and places for that many processes. Without Linux the table alone says what is to happen.
    pub fn new(sizes: &[i64], processes: usize, linux: bool) -> Self {
        Self {
            sizes: sizes.to_vec(),
            opens: BTreeMap::new(),
            processes: vec![None; processes],
            waits: BTreeMap::new(),
            kernels: linux.then(Linux::default).into_iter().collect(),
            table: Table::default(),
            next: 0,
        }
    }

    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    /// Who waits: process and thread.
    pub fn waiting(&self) -> Vec<(usize, u8)> {
        self.waits.values().map(|it| (it.who, it.thread)).collect()
    }

    /// Whether somebody waits for a lock of the file of a slot, or with it.
    pub fn disputed(&self, who: usize, slot: u8) -> bool {
        let Some(open) = self.slot(who, slot) else { return false };
        let file = self.opens[&open].file;
        self.waits.values().any(|it| it.claim.file == file)
    }

    fn process(&self, who: usize) -> &Process {
        self.processes[who].as_ref().expect("it lives")
    }

    /// The open file in a slot.
    pub fn slot(&self, who: usize, slot: u8) -> Option<u32> {
        self.processes[who].as_ref()?.slots[usize::from(slot)]
    }

    /// Whether its descriptor reads and writes.
    pub fn access(&self, open: u32) -> (bool, bool) {
        (self.opens[&open].reads, self.opens[&open].writes)
    }

    /// The locks held.
    pub fn held(&self) -> &[Claim] {
        self.table.held()
    }

    /// Takes the step if its outcome is certain.
    pub fn take(&mut self, step: Step) -> Option<Outcome> {
        let mut next = self.clone();
        let outcome = next.step(step)?;
        *self = next;
        Some(outcome)
    }

    fn step(&mut self, step: Step) -> Option<Outcome> {
        let mut changes = vec![];
        let answer = match step {
            Step::Work(who, op) => self.work(who, op, &mut changes),
            Step::Spawn(who, parent) => {
                self.spawn(who, parent);
                Expected::Result(0)
            }
            Step::Kill(who) | Step::Exit(who) => {
                self.end(who, &mut changes);
                Expected::Result(0)
            }
            Step::Signal { who, thread, restart } => {
                let (&wait, &it) = self.waits.iter().find(|(_, it)| (it.who, it.thread) == (who, thread))?;
                changes.push(Change::Cancel(wait));
                if restart {
                    changes.push(Change::Ask(self.again(&it)?, Some(wait)));
                    self.waits.get_mut(&wait)?.claim = self.again(&it)?;
                } else {
                    self.waits.remove(&wait);
                    self.let_go(it.open, &mut changes);
                }
                Expected::Result(0)
            }
        };
        let (answer, early) = match (step, answer) {
            (
                Step::Signal {
                    who,
                    thread,
                    restart: false,
                },
                answer,
            ) => (answer, Some((who, thread, minus(Errno::INTR)))),
            // What a thread is told of its arguments comes from the thread.
            (Step::Work(who, Op::WaitLock { thread, .. }), Expected::Result(errno @ ..0)) => {
                (Expected::Result(0), Some((who, thread, errno)))
            }
            (_, answer) => (answer, None),
        };
        let mut outcome = self.settle(answer, &changes)?;
        outcome.done.extend(early);
        self.waits
            .retain(|_, it| !outcome.done.iter().any(|done| (it.who, it.thread) == (done.0, done.1)));
        self.forget_unused();
        Some(outcome)
    }

    /// The same call once more, if it is the same: the descriptor may be another now, or its position.
    fn again(&self, it: &Waiting) -> Option<Claim> {
        if self.slot(it.who, it.slot) != Some(it.open) {
            return None;
        }
        let Some((command, record)) = it.call else {
            return Some(it.claim);
        };
        self.claim(it.who, it.open, command, record).ok()
    }

    fn spawn(&mut self, who: usize, parent: Option<usize>) {
        assert!(self.processes[who].is_none());
        let slots = parent.map_or([None; SLOTS as usize], |parent| self.process(parent).slots);
        for open in slots.into_iter().flatten() {
            self.user(open, 1);
        }
        let owner = self.fresh();
        self.processes[who] = Some(Process { owner, slots });
    }

    fn user(&mut self, open: u32, by: i32) {
        let it = self.opens.get_mut(&open).expect("an open file");
        it.users = it.users.checked_add_signed(by).expect("a count");
    }

    fn end(&mut self, who: usize, changes: &mut Vec<Change>) {
        let own = self.waits.clone().into_iter().filter(|(_, it)| it.who == who);
        let own: Vec<(Wait, Waiting)> = own.collect();
        for (wait, _) in &own {
            changes.push(Change::Cancel(*wait));
            self.waits.remove(wait);
        }
        for (_, it) in own {
            self.let_go(it.open, changes);
        }
        for slot in 0..SLOTS {
            if self.slot(who, slot).is_some() {
                self.close(who, slot, changes);
            }
        }
        self.processes[who] = None;
    }

    fn close(&mut self, who: usize, slot: u8, changes: &mut Vec<Change>) {
        let process = self.processes[who].as_mut().expect("it lives");
        let open = process.slots[usize::from(slot)].take().expect("in use");
        let owner = Owner::Process(process.owner);
        let file = self.opens[&open].file;
        let change = Change::Ask(Claim::nothing(file, Family::Record, owner), None);
        if !changes.contains(&change) {
            changes.push(change);
        }
        self.user(open, -1);
        self.let_go(open, changes);
    }

    /// Somebody does not use an open file any more.
    fn let_go(&self, open: u32, changes: &mut Vec<Change>) {
        let kept = self.waits.values().any(|it| it.open == open);
        if self.opens[&open].users == 0 && !kept {
            changes.extend(self.last_close(open));
        }
    }

    /// What the end of an open file does.
    fn last_close(&self, open: u32) -> [Change; 2] {
        let file = self.opens[&open].file;
        [Family::Record, Family::Whole].map(|family| Change::Ask(Claim::nothing(file, family, Owner::Open(open)), None))
    }

    fn forget_unused(&mut self) {
        let waits = &self.waits;
        self.opens
            .retain(|open, it| it.users > 0 || waits.values().any(|wait| wait.open == *open));
    }

    fn work(&mut self, who: usize, op: Op, changes: &mut Vec<Change>) -> Expected {
        match op {
            Op::Open { slot, file, access } => {
                let open = self.fresh();
                let it = Open {
                    file,
                    reads: access != 1,
                    writes: access != 0,
                    position: 0,
                    users: 1,
                };
                self.opens.insert(open, it);
                let process = self.processes[who].as_mut().expect("it lives");
                assert!(process.slots[usize::from(slot)].replace(open).is_none(), "in use");
            }
            Op::Close { slot } => self.close(who, slot, changes),
            Op::Dup { from, to } => {
                if from != to {
                    let open = self.slot(who, from).expect("in use");
                    self.user(open, 1);
                    if self.slot(who, to).is_some() {
                        self.close(who, to, changes);
                    }
                    let process = self.processes[who].as_mut().expect("it lives");
                    process.slots[usize::from(to)] = Some(open);
                }
            }
            Op::Seek { slot, to } => {
                let open = self.slot(who, slot).expect("in use");
                self.opens.get_mut(&open).expect("an open file").position = to;
            }
            Op::Truncate { slot, len } => {
                let open = self.slot(who, slot).expect("in use");
                self.sizes[usize::from(self.opens[&open].file)] = len;
            }
            Op::Lock { slot, command, record } => return self.lock(who, slot, None, command, record, changes),
            Op::WaitLock {
                thread,
                slot,
                command,
                record,
            } => return self.lock(who, slot, Some(thread), command, record, changes),
            Op::Flock { slot, operation } => return self.flock(who, slot, None, operation, changes),
            Op::WaitFlock {
                thread,
                slot,
                operation,
            } => return self.flock(who, slot, Some(thread), operation, changes),
            other => panic!("no model of {other:?}"),
        }
        Expected::Result(0)
    }

    /// The answer, if it is known before the locks are looked at. With a thread that waits, the answer is for the order to wait, and
    /// what becomes of it is told later.
    fn ask(&mut self, who: usize, slot: u8, thread: Option<u8>, claim: Claim, changes: &mut Vec<Change>) -> Expected {
        let wait = thread.map(|thread| {
            let wait = self.fresh();
            let open = self.slot(who, slot).expect("in use");
            let it = Waiting {
                who,
                thread,
                slot,
                open,
                claim,
                call: None,
            };
            self.waits.insert(wait, it);
            wait
        });
        changes.push(Change::Ask(claim, wait));
        Expected::Result(0)
    }

    fn flock(&mut self, who: usize, slot: u8, thread: Option<u8>, how: i32, changes: &mut Vec<Change>) -> Expected {
        let open = self.slot(who, slot).expect("in use");
        let kind = match how & !lock::LOCK_NB {
            lock::LOCK_SH => Kind::Read,
            lock::LOCK_EX => Kind::Write,
            _ => Kind::None,
        };
        let file = self.opens[&open].file;
        let claim = Claim {
            kind,
            ..Claim::nothing(file, Family::Whole, Owner::Open(open))
        };
        self.ask(who, slot, thread, claim, changes)
    }

    fn lock(
        &mut self,
        who: usize,
        slot: u8,
        thread: Option<u8>,
        command: i32,
        record: Record,
        changes: &mut Vec<Change>,
    ) -> Expected {
        let open = self.slot(who, slot).expect("in use");
        let claim = match self.claim(who, open, command, record) {
            Ok(claim) => claim,
            Err(errno) => return Expected::Result(minus(errno)),
        };
        match command {
            lock::F_GETLK | lock::F_OFD_GETLK => Expected::Locks(self.table.conflicts(&claim).copied().collect()),
            _ => {
                let answer = self.ask(who, slot, thread, claim, changes);
                if let (Some(_), Some(mut newest)) = (thread, self.waits.last_entry()) {
                    newest.get_mut().call = Some((command, record));
                }
                answer
            }
        }
    }

    /// What fcntl(2) makes of a record: flock_to_posix_lock of Linux, and the checks around it in their order.
    fn claim(&self, who: usize, open: u32, command: i32, record: Record) -> Result<Claim, Errno> {
        let it = &self.opens[&open];
        let gets = matches!(command, lock::F_GETLK | lock::F_OFD_GETLK);
        if command == lock::F_GETLK && !matches!(record.kind, lock::READ | lock::WRITE) {
            return Err(Errno::INVAL);
        }
        let base = match record.whence {
            0 => 0,
            1 => it.position,
            2 => self.sizes[usize::from(it.file)],
            _ => return Err(Errno::INVAL),
        };
        let start = base.checked_add(record.start).ok_or(Errno::OVERFLOW)?;
        if start < 0 {
            return Err(Errno::INVAL);
        }
        let (start, end) = match record.len {
            0 => (start, i64::MAX),
            1.. => (start, start.checked_add(record.len - 1).ok_or(Errno::OVERFLOW)?),
            _ if start + record.len < 0 => return Err(Errno::INVAL),
            _ => (start + record.len, start - 1),
        };
        let kind = match record.kind {
            lock::READ => Kind::Read,
            lock::WRITE => Kind::Write,
            lock::NONE => Kind::None,
            _ => return Err(Errno::INVAL),
        };
        if !gets && (kind == Kind::Read && !it.reads || kind == Kind::Write && !it.writes) {
            return Err(Errno::BADF);
        }
        let of_open = matches!(command, lock::F_OFD_GETLK | lock::F_OFD_SETLK | lock::F_OFD_SETLKW);
        if of_open && record.pid != 0 {
            return Err(Errno::INVAL);
        }
        let owner = if of_open {
            Owner::Open(open)
        } else {
            Owner::Process(self.process(who).owner)
        };
        let (file, family) = (it.file, Family::Record);
        Ok(Claim {
            file,
            family,
            owner,
            kind,
            start,
            end,
        })
    }
}
