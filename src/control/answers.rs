//! From what the filesystem tells to the words of the protocol, as far as it is for whoever asks, and as much as fits into a line.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::cleaning::{self, Cleaning, Wish};
use super::fit::fitting;
use super::protocol::{
    Ask, Body, Code, Counted, Deleted, Event, Events, Held, Kernel, LockedFile, Locks, MAX_ANSWER, Refusal, Requests,
    Room, Statistics, Status, Unlocked, User, Waiting, Worker, You,
};
use super::rights::Who;
use crate::clean::Cleaner;
use crate::events::{self, Rule};
use crate::fuse::features::{self, names};
use crate::fuse::statistics::{CLASSES, end_of_class};
use crate::fuse::{self, Agreement, Parking};
use crate::lock::{self, Kind, Owner, Range};
use crate::ops::Filesystem;
use crate::ops::report::{self, Census, OfProcess, Whose};
use crate::ops::unlock::Unlock;
use crate::sys::mountinfo::{Device, MountTable};
use crate::types::attr::PAGE_SIZE;
use crate::types::{Errno, Ino, Timestamp};

/// The most locks and waits of one answer.
const MOST_LOCKS: usize = 1000;

/// The most bytes of a list, so that all lists of an answer fit into it.
const LIST: usize = MAX_ANSWER / 4;

/// The most bytes of a list of files, each of which has two lists: one alone fits in any case.
const FILES: usize = 3 * LIST;

/// A census that took so long is shown again to who asks soon after, for ten times as long as it took: nobody keeps us at it.
const COSTLY: Duration = Duration::from_millis(20);

/// What one who sees only what is his is told about all other locks.
const NOT_YOURS: &str = "no such lock of yours is held on the file";

/// A mount, as far as only who made it knows.
#[derive(Clone, Debug)]
pub struct About {
    /// Its device number.
    pub device: Device,
    /// Where it was mounted.
    pub mountpoint: Vec<u8>,
    /// Who made it.
    pub owner: u32,
    /// The options in force, each as `-o` takes it, but for the flags.
    pub options: Vec<String>,
    /// The flags as they were when it was mounted.
    pub flags: Vec<String>,
    /// Whether the kernel reads and writes contents by itself.
    pub passthrough: bool,
    /// What was agreed on with the kernel.
    pub agreement: Agreement,
    /// What would have been used if the kernel offered it.
    pub wishes: fuse::Wishes,
}

/// All that is asked about.
#[derive(Clone, Debug)]
pub struct World {
    /// The mount.
    pub about: About,
    /// What is mounted.
    pub filesystem: Arc<Filesystem>,
    /// What was asked for.
    pub statistics: Arc<fuse::Statistics>,
    /// What waits.
    pub parking: Arc<Parking>,
    /// What removes what is old.
    pub cleaner: Arc<Cleaner>,
}

/// The last census that took long: when, how long, and what it found.
type Last = Option<(Instant, Duration, Option<Census>)>;

/// Answers.
pub(super) struct Answers {
    world: World,
    start: Instant,
    started: Timestamp,
    census: RefCell<Last>,
    cleaning: Cleaning,
}

/// Text that others chose, for people and terminals: as in events.
pub(super) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(super) fn milliseconds(time: Timestamp) -> u64 {
    u64::try_from(time.secs).unwrap_or(0).saturating_mul(1000) + u64::from(time.nanos / 1_000_000)
}

pub(super) fn refusal(code: Code, message: impl Into<String>) -> Body {
    let message = message.into();
    Body::Error(Refusal { code, message })
}

impl Answers {
    pub(super) fn new(world: World) -> Answers {
        Answers {
            cleaning: Cleaning::new(Arc::clone(&world.cleaner)),
            world,
            start: Instant::now(),
            started: Timestamp::recent(),
            census: RefCell::default(),
        }
    }

    pub(super) fn events(&self) -> &Arc<events::Events> {
        self.world.filesystem.events()
    }

    /// The answer to anything but to `events`.
    pub(super) fn to(&self, who: Who, ask: &Ask) -> Body {
        match *ask {
            Ask::Status { brief } => Body::Status(Box::new(self.status(who, brief))),
            Ask::Locks { inode } => self.locks(who, inode.map(Ino)),
            Ask::Unlock {
                inode,
                pid,
                first,
                last,
            } => self.unlock(who, Ino(inode), pid, (first, last)),
            Ask::Events { .. } => Body::Events(recent(who, &self.events().recent())),
            Ask::Clean { .. } | Ask::Cleaned if !who.all => cleaning::refused(),
            Ask::Clean { age_s, dry_run, now_ms } => self.cleaning.begin(Wish {
                age: Duration::from_secs(age_s),
                dry_run,
                now_ms,
            }),
            Ask::Cleaned => self.cleaning.outcome(),
            Ask::Statistics if who.all => Body::Statistics(self.statistics()),
            Ask::Statistics => refusal(
                Code::Refused,
                "only root and who made the mount see what is asked for by all",
            ),
        }
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn status(&self, who: Who, brief: bool) -> Status {
        let World { about, filesystem, .. } = &self.world;
        let usage = filesystem.room();
        let census = if brief { None } else { self.census() };
        let users = census.as_ref().map(|census| fitting(LIST, self.users(who, census)));
        let deleted = census.map(|census| fitting(LIST, deleted(who, &census)));
        let (users, users_left_out) = users.unzip();
        let (deleted, deleted_left_out) = deleted.unzip();
        let count = |rule: Rule| Counted {
            rule: rule.name().to_owned(),
            count: self.events().count(rule),
        };
        Status {
            device: about.device.to_string(),
            mountpoint: escaped(&about.mountpoint),
            uid: about.owner,
            pid: std::process::id(),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            you: You {
                uid: who.uid,
                all: who.all,
            },
            started_ms: milliseconds(self.started),
            uptime_ms: self.uptime_ms(),
            options: about.options.iter().map(|option| escaped(option.as_bytes())).collect(),
            flags: flags(about),
            io: if about.passthrough { "passthrough" } else { "cached" }.to_owned(),
            workers: self.world.statistics.workers() as u64,
            kernel: kernel(about),
            bytes: Room {
                used: usage.used_pages * PAGE_SIZE,
                most: usage.max_pages.map(|pages| pages.saturating_mul(PAGE_SIZE)),
            },
            inodes: Room {
                used: usage.used_inodes,
                most: usage.max_inodes,
            },
            users,
            users_left_out: users_left_out.unwrap_or(0),
            open: who.all.then(|| filesystem.open_files() as u64),
            deleted,
            deleted_left_out: deleted_left_out.unwrap_or(0),
            all_processes_seen: None,
            waiting: filesystem.waiting(who.whose()) as u64,
            events: who.all.then(|| Rule::ALL.map(count).into()),
        }
    }

    /// Counts all files, or knows what was counted a moment ago where that took long.
    fn census(&self) -> Option<Census> {
        let mut last = self.census.borrow_mut();
        if let Some((when, took, census)) = &*last
            && when.elapsed() < *took * 10
        {
            return census.clone();
        }
        let start = Instant::now();
        let census = self.world.filesystem.census();
        let took = start.elapsed();
        *last = (took >= COSTLY).then(|| (start + took, took, census.clone()));
        census
    }

    fn users(&self, who: Who, census: &Census) -> Vec<User> {
        let of = |(&uid, share): (&u32, &report::Share)| {
            let limits = self.world.filesystem.room_of(uid);
            let pages = limits.and_then(|limits| limits.max_pages);
            User {
                uid,
                bytes: Room {
                    used: share.bytes,
                    most: pages.map(|pages| pages.saturating_mul(PAGE_SIZE)),
                },
                inodes: Room {
                    used: share.inodes,
                    most: limits.and_then(|limits| limits.max_inodes),
                },
            }
        };
        let shown = census.users.iter().filter(|(uid, _)| who.whose().includes(**uid));
        let mut users: Vec<User> = shown.map(of).collect();
        users.sort_by_key(|user| std::cmp::Reverse((user.bytes.used, user.inodes.used)));
        users
    }

    fn locks(&self, who: Who, ino: Option<Ino>) -> Body {
        let filesystem = &self.world.filesystem;
        if !filesystem.keeps_locks() {
            return Body::Locks(Locks {
                kept_by: "kernel".to_owned(),
                files: Vec::new(),
                files_left_out: 0,
            });
        }
        let found = filesystem.locks(ino, who.whose(), MOST_LOCKS);
        let (files, left_out) = fitting(FILES, found.files.iter().map(locked_file));
        Body::Locks(Locks {
            kept_by: "owltmp".to_owned(),
            files,
            files_left_out: left_out + found.more as u64,
        })
    }

    fn unlock(&self, who: Who, ino: Ino, pid: Option<u32>, (first, last): (u64, Option<u64>)) -> Body {
        let filesystem = &self.world.filesystem;
        if !filesystem.keeps_locks() {
            let message =
                "mand=off: the kernel keeps the locks of this mount: end the process that holds them (lslocks)";
            return refusal(Code::Refused, message);
        }
        let Some(range) = Range::of_wire(first, last.unwrap_or(u64::MAX)) else {
            return refusal(
                Code::Malformed,
                "the last byte comes before the first, or the first is no offset",
            );
        };
        let unlock = Unlock {
            ino,
            whose: who.whose(),
            pid,
            range,
        };
        let unlocked = match filesystem.unlock(&unlock, &who.actor()) {
            Ok(unlocked) => unlocked,
            // Which inodes there are is not for everybody.
            Err(_) if !who.all => return refusal(Code::NotFound, NOT_YOURS),
            Err(_) => return refusal(Code::NotFound, format!("there is no file with inode number {}", ino.0)),
        };
        if unlocked.records.failed == Some(Errno::ENOLCK) {
            let count = unlocked.count();
            return refusal(
                Code::Failed,
                format!("{count} broken; the next would be split in two, and there are too many"),
            );
        }
        let told = |flock| move |held: &lock::Held| held_lock(&bare(*held, flock), false);
        let broken = unlocked.records.first.iter().map(told(false));
        let broken = broken.chain(unlocked.flocks.first.iter().map(told(true))).collect();
        match unlocked.count() {
            0 if who.all => refusal(Code::NotFound, "no such lock is held on the file"),
            0 => refusal(Code::NotFound, NOT_YOURS),
            count => Body::Unlocked(Unlocked {
                count: count as u64,
                broken,
            }),
        }
    }

    fn statistics(&self) -> Statistics {
        let statistics = &self.world.statistics;
        let worker = |(count, busy_ns)| Worker { count, busy_ns };
        let of_kind = |it: fuse::statistics::OfKind| Requests {
            kind: it.kind.name().to_owned(),
            count: it.count,
            busy_ns: it.nanos,
            classes: it.classes.to_vec(),
        };
        Statistics {
            time_ms: milliseconds(Timestamp::recent()),
            uptime_ms: self.uptime_ms(),
            parked: self.world.parking.len() as u64,
            workers: statistics.by_worker().into_iter().map(worker).collect(),
            class_ends_ns: (0..CLASSES).filter_map(end_of_class).collect(),
            requests: statistics.by_kind().into_iter().map(of_kind).collect(),
        }
    }
}

/// The flags now: a remount changes them, and only the kernel knows. Where the mount is in another namespace they are what they were.
fn flags(about: &About) -> Vec<String> {
    let table = MountTable::read().unwrap_or_default();
    let now = table
        .of(about.device)
        .map(|mount| mount.flags().into_iter().map(str::to_owned).collect());
    now.unwrap_or_else(|| about.flags.clone())
}

fn kernel(about: &About) -> Kernel {
    let Agreement {
        protocol,
        offered,
        used,
    } = &about.agreement;
    let all = features::all();
    let missing = features::wanted(all, about.wishes.passthrough, about.wishes.locks) - *offered;
    Kernel {
        protocol: protocol.clone(),
        used: names(*used),
        refused: names((*offered & all) - *used),
        missing: names(missing),
    }
}

fn deleted(who: Who, census: &Census) -> Vec<Deleted> {
    let shown = census.deleted.iter().filter(|it| who.whose().includes(it.owner));
    let told = shown.map(|it| Deleted {
        inode: it.ino.0,
        kind: events::kind(it.file_type).to_owned(),
        size: it.size,
        bytes: it.bytes,
        owner: it.owner,
        open: u64::from(it.open),
        openers: it.openers.clone(),
        holders: None,
    });
    let mut all: Vec<Deleted> = told.collect();
    all.sort_by_key(|it| std::cmp::Reverse(it.bytes));
    all
}

fn bytes_of(range: Range) -> (u64, Option<u64>) {
    (range.start(), (range.end() < Range::END).then(|| range.last()))
}

fn mode_of(kind: Kind) -> String {
    match kind {
        Kind::Read => "read",
        Kind::Write => "write",
    }
    .to_owned()
}

fn lock_of(owner: Owner, flock: bool) -> String {
    match owner {
        _ if flock => "flock",
        Owner::Process(_) => "posix",
        Owner::OpenFile(_) => "ofd",
    }
    .to_owned()
}

fn command(command: Option<&String>) -> Option<String> {
    command.map(|command| escaped(command.as_bytes()))
}

/// A lock of which the process is not looked up.
fn bare(held: lock::Held, flock: bool) -> OfProcess<lock::Held> {
    OfProcess {
        it: held,
        flock,
        pid: held.lock.pid,
        command: None,
    }
}

fn held_lock(held: &OfProcess<lock::Held>, binding: bool) -> Held {
    let lock = held.it.lock;
    let (first, last) = bytes_of(lock.range);
    Held {
        lock: lock_of(lock.owner, held.flock),
        mode: mode_of(lock.kind),
        mandatory: binding && !held.flock,
        first,
        last,
        pid: held.pid,
        command: command(held.command.as_ref()),
        uid: held.it.uid,
        since_ms: milliseconds(held.it.since),
    }
}

fn waiting(wait: &OfProcess<lock::Waited>, blocker: Option<&OfProcess<lock::Held>>, binding: bool) -> Waiting {
    let (first, last) = bytes_of(wait.it.access.range);
    Waiting {
        lock: wait
            .it
            .owner
            .map_or("access".to_owned(), |owner| lock_of(owner, wait.flock)),
        mode: mode_of(wait.it.access.kind),
        first,
        last,
        pid: wait.pid,
        command: command(wait.command.as_ref()),
        uid: wait.it.caller.map(|caller| caller.uid),
        since_ms: milliseconds(wait.it.since),
        blocked_by: blocker.map(|held| held_lock(held, binding)),
    }
}

fn locked_file(file: &report::LockedFile) -> LockedFile {
    let mut held: Vec<Held> = file.held.iter().map(|it| held_lock(it, file.binding)).collect();
    held.sort_by_key(|it| (it.first, it.pid));
    let waits = file.waiting.iter();
    let (held, held_left_out) = fitting(LIST, held);
    let (waiting, waiting_left_out) = fitting(
        LIST,
        waits.map(|(wait, blocker)| waiting(wait, blocker.as_ref(), file.binding)),
    );
    LockedFile {
        inode: file.ino.0,
        path: file.path.as_ref().map(|path| escaped(events::shortened(path))),
        owner: file.owner,
        mandatory: file.binding,
        held,
        held_left_out: held_left_out + file.held_more as u64,
        waiting,
        waiting_left_out: waiting_left_out + file.waiting_more as u64,
    }
}

/// Whether somebody is told of an event.
pub(super) fn is_for(who: Who, event: &events::Event) -> bool {
    match who.whose() {
        Whose::All => true,
        Whose::User(uid) => event.actor.uid == uid,
    }
}

/// What there was, for somebody: as many of the last as fit, oldest first.
pub(super) fn recent(who: Who, all: &[Arc<events::Event>]) -> Events {
    let shown = all.iter().rev().filter(|event| is_for(who, event));
    let (mut events, left_out) = fitting(LIST, shown.map(|event| told(event)));
    events.reverse();
    Events { events, left_out }
}

/// An event in the words of the protocol.
pub(super) fn told(event: &events::Event) -> Event {
    let events::Event { actor, object, .. } = event;
    Event {
        time_ms: milliseconds(event.time),
        verb: event.verb().to_owned(),
        rule: event.rule.name().to_owned(),
        uid: actor.uid,
        pid: actor.pid,
        command: escaped(actor.comm.as_bytes()),
        path: object.path.as_ref().map(|path| escaped(events::shortened(path))),
        kind: events::kind(object.file_type).to_owned(),
        inode: object.ino.0,
        owner: object.owner,
        errno: event.errno.map(|errno| format!("{errno:?}")),
        why: event.why.as_ref().map(|why| escaped(why.as_bytes())),
        text: event.to_string(),
    }
}
