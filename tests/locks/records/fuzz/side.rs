//! One of the two filesystems, the crew at work on it, and the comparison of what it answers with what it should.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use crate::common::lock::{self, F_OFD_GETLK, Record};
use crate::common::mount::Setup;
use crate::common::{Kind, Mount};
use crate::records::crew::{Answer, Crew, INTERRUPT, Op, Quiet, RESTART};
use crate::records::model::{self, Claim, Expected, Outcome, Owner, Step};
use crate::records::rules::{Rules, rules};

/// How long something may take that should take microseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A filesystem and those who work on it. Dropped in this order.
pub struct Side {
    crew: Crew,
    quiet: Quiet,
    rules: Rules,
    /// The process that each owner is.
    pids: BTreeMap<u32, i32>,
    kind: Kind,
    files: usize,
    mount: Mount,
}

/// What went wrong.
pub type Complaint = String;

impl Side {
    /// Mounts it, makes files and starts a crew.
    pub fn new(kind: Kind, files: &[i64], processes: usize, threads: usize, limit: Duration) -> Self {
        let mut setup = Setup::new(kind, "mode=0777");
        setup.limit = limit;
        let mount = setup.mount();
        for (number, size) in files.iter().enumerate() {
            let file = std::fs::File::create(mount.path().join(number.to_string())).unwrap();
            file.set_len(size.cast_unsigned()).unwrap();
        }
        Self {
            crew: Crew::start(mount.path(), processes, threads),
            quiet: Quiet::new(mount.daemon_pid()),
            rules: rules(&mount),
            pids: BTreeMap::new(),
            kind,
            files: files.len(),
            mount,
        }
    }

    /// Whose rules decide.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    /// Gives a process a batch.
    pub fn tell(&mut self, who: usize, ops: &[Op]) {
        self.crew.tell(who, ops);
    }

    /// Compares the answers to a batch.
    pub fn judge(&mut self, who: usize, ops: &[Op], expected: &[Expected]) -> Result<Vec<Answer>, Complaint> {
        let answers = self.crew.answers(who);
        for ((op, expected), answer) in ops.iter().zip(expected).zip(&answers) {
            if !self.agrees(op, expected, answer) {
                let kind = self.kind;
                return Err(format!(
                    "{kind:?} answers {answer:?} to {op:?} of {who}, expected is {expected:?}"
                ));
            }
        }
        Ok(answers)
    }

    fn agrees(&self, op: &Op, expected: &Expected, answer: &Answer) -> bool {
        let Expected::Locks(locks) = expected else {
            return *expected == Expected::Result(answer.result);
        };
        let Op::Lock { command, record, .. } = op else {
            return false;
        };
        if answer.result != 0 {
            return false;
        }
        if locks.is_empty() {
            let kind = lock::NONE;
            return answer.record == Record { kind, ..*record };
        }
        let lowest = locks.iter().map(|it| it.start).min();
        locks
            .iter()
            .filter(|it| self.rules == Rules::Kernel || Some(it.start) == lowest)
            .any(|it| self.tells(it, *command, answer.record))
    }

    /// Whether a record is what F_GETLK tells of a lock.
    fn tells(&self, claim: &Claim, command: i32, record: Record) -> bool {
        let kind = if claim.kind == model::Kind::Read {
            lock::READ
        } else {
            lock::WRITE
        };
        let len = if claim.end == i64::MAX {
            0
        } else {
            claim.end - claim.start + 1
        };
        let pid = match claim.owner {
            // FUSE has no way to tell whether the lock is of a process or of an open file.
            _ if self.rules == Rules::Server && command == F_OFD_GETLK => record.pid,
            Owner::Open(_) if self.rules == Rules::Server => record.pid,
            Owner::Open(_) => -1,
            Owner::Process(owner) => self.pids[&owner],
        };
        let whence = 0;
        let start = claim.start;
        record
            == Record {
                kind,
                whence,
                start,
                len,
                pid,
            }
    }

    /// Does what is no operation of a process; `owner` is the number of one that begins.
    pub fn act(&mut self, step: Step, owner: Option<u32>) {
        match step {
            Step::Work(..) => panic!("work comes in batches"),
            Step::Spawn(who, parent) => {
                self.crew.spawn(parent, who);
                self.pids.insert(owner.expect("an owner"), self.crew.pid(who));
            }
            Step::Kill(who) => self.crew.kill(who),
            Step::Exit(who) => self.crew.exit(who),
            Step::Signal { who, thread, restart } => {
                self.crew.signal(who, thread, if restart { RESTART } else { INTERRUPT });
            }
        }
    }

    /// The record locks that a stranger meets: of tmpfs as /proc/locks lists them, of owltmp as F_GETLK tells of them.
    fn listed(&self) -> String {
        if self.rules == Rules::Kernel {
            let device = std::os::unix::fs::MetadataExt::dev(&std::fs::metadata(self.mount.path()).unwrap());
            let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
            let listed = std::fs::read_to_string("/proc/locks").unwrap();
            let own = |line: &&str| line.contains(&format!(" {major:02x}:{minor:02x}:"));
            return listed.lines().filter(own).collect::<Vec<_>>().join("\n");
        }
        let mut found = vec![];
        for number in 0..self.files {
            let path = self.mount.path().join(number.to_string());
            let fd = lock::open(&path, nix::libc::O_RDWR).unwrap();
            let mut start = 0;
            while let Ok(record) = lock::get(fd, F_OFD_GETLK, Record::new(lock::WRITE, start, 0)) {
                if record.kind == lock::NONE {
                    break;
                }
                found.push(format!("file {number}: {record:?}"));
                start = record.start + record.len;
                if record.len == 0 {
                    break;
                }
            }
            lock::close(fd).unwrap();
        }
        found.join("\n")
    }

    /// Waits for what a step ends and stirs; `waiting` wait afterwards, and nobody else.
    pub fn rest(&mut self, outcome: &Outcome, waiting: &[(usize, u8)]) -> Result<(), Complaint> {
        let kind = self.kind;
        let mut missing = outcome.done.clone();
        while let Some(&(who, ..)) = missing.first() {
            let Some((thread, result)) = self.crew.done(who, PATIENCE) else {
                let listed = self.listed();
                let mut asleep =
                    |&(who, thread, _): &(usize, u8, i32)| self.crew.life(who).threads[usize::from(thread)].waits();
                let asleep: Vec<bool> = missing.iter().map(&mut asleep).collect();
                return Err(format!(
                    "{kind:?}: no word of {missing:?}, in a lock call is {asleep:?}; locked is\n{listed}"
                ));
            };
            let Some(at) = missing.iter().position(|it| *it == (who, thread, result)) else {
                return Err(format!(
                    "{kind:?}: thread {thread} of {who} comes back with {result}, not {missing:?}"
                ));
            };
            missing.remove(at);
        }
        let end = Instant::now() + PATIENCE;
        for &(who, thread) in waiting {
            while !self.crew.life(who).threads[usize::from(thread)].waits() {
                self.nobody_else(waiting)?;
                if Instant::now() > end {
                    return Err(format!(
                        "{kind:?}: thread {thread} of {who} neither waits nor comes back"
                    ));
                }
                std::thread::yield_now();
            }
        }
        self.quiet.settle();
        self.nobody_else(waiting)
    }

    /// No wait has ended of which it is not known.
    pub fn nobody_else(&mut self, waiting: &[(usize, u8)]) -> Result<(), Complaint> {
        let kind = self.kind;
        for &(who, _) in waiting {
            if let Some(done) = self.crew.done(who, Duration::ZERO) {
                return Err(format!(
                    "{kind:?}: a wait of {who} ends with {done:?} (thread, result), which should go on"
                ));
            }
        }
        Ok(())
    }
}
