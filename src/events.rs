//! What the rules refused, for the administrator: a bounded ring, limited by the caller's uid, and handed to whoever follows.
//! Recording never waits and never costs more than a bounded time, whatever the caller does. Knows no tree and no requests.

mod limiter;

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Instant;

use nix::unistd::geteuid;

use crate::sync::{EVENTS, Mutex};
use crate::types::{Errno, FileType, Ino, Timestamp};

use limiter::{Admission, Limiter};

/// The events kept for [`Events::recent`]; older ones are dropped.
pub const KEPT: usize = 1024;

/// The notices a follower may be behind; further ones pass it by.
const BACKLOG: usize = 1024;

/// The longest path an event shows, in bytes: the end of it.
const SHOWN_PATH: usize = 1024;

/// The rule that a step broke. Its name is that of the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    /// Following a symlink (semantics 3.2).
    Symlinks,
    /// A hard link to a file of somebody else (semantics 3.3).
    Hardlinks,
    /// Opening what somebody else put in the place of a new file (semantics 3.4).
    Squatting,
    /// A record lock that could not be kept, or a transfer that could not wait for one (semantics 5).
    Mandatory,
    /// Locks that were broken on request: no rule, and so without an option.
    Unlock,
    /// Nothing refused: the cleaner took away what nobody had touched for long.
    MaxAge,
}

impl Rule {
    /// All of them.
    pub const ALL: [Rule; 6] = [
        Rule::Symlinks,
        Rule::Hardlinks,
        Rule::Squatting,
        Rule::Mandatory,
        Rule::Unlock,
        Rule::MaxAge,
    ];

    /// The name of its option, if it has one.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Symlinks => "symlinks",
            Rule::Hardlinks => "hardlinks",
            Rule::Squatting => "squatting",
            Rule::Mandatory => "mand",
            Rule::Unlock => "unlock",
            Rule::MaxAge => "max_age",
        }
    }
}

/// Who tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// His fsuid.
    pub uid: u32,
    /// His process; 0 where it is outside of our PID namespace.
    pub pid: u32,
    /// What the program calls itself.
    pub comm: String,
}

impl Actor {
    /// Ourselves.
    pub fn daemon() -> Actor {
        Actor {
            uid: geteuid().as_raw(),
            pid: std::process::id(),
            comm: env!("CARGO_PKG_NAME").to_owned(),
        }
    }
}

/// What he tried it on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// A path of it below the mount, as far as it could be found.
    pub path: Option<Vec<u8>>,
    /// Its type.
    pub file_type: FileType,
    /// Its inode number.
    pub ino: Ino,
    /// Its owner.
    pub owner: u32,
}

/// A step that a rule forbids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When.
    pub time: Timestamp,
    /// The rule.
    pub rule: Rule,
    /// Who.
    pub actor: Actor,
    /// On what.
    pub object: Object,
    /// What he got; `None` where the rule is only logged and the step went ahead.
    pub errno: Option<Errno>,
    /// What more there is to say.
    pub why: Option<String>,
}

impl Event {
    /// What became of it, in a word.
    pub fn verb(&self) -> &'static str {
        match (self.rule, self.errno) {
            (Rule::Unlock, _) => "broken",
            (Rule::MaxAge, _) => "removed",
            (_, Some(_)) => "refused",
            (_, None) => "noted",
        }
    }
}

/// One line, with everything that others chose escaped: no terminal obeys it, and nobody forges a second one.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Event { actor, object, .. } = self;
        let (verb, rule) = (self.verb(), self.rule.name());
        let comm = actor.comm.as_bytes().escape_ascii();
        write!(
            f,
            "{verb} {rule}: uid={} pid={} comm=\"{comm}\" object=",
            actor.uid, actor.pid
        )?;
        match &object.path {
            Some(path) => write!(f, "\"{}\"", shortened(path).escape_ascii())?,
            None => f.write_str("?")?,
        }
        let kind = kind(object.file_type);
        write!(f, " kind={kind} inode={} owner={}", object.ino.0, object.owner)?;
        if let Some(errno) = self.errno {
            write!(f, " errno={errno:?}")?;
        }
        match &self.why {
            Some(why) => write!(f, ": {}", why.as_bytes().escape_ascii()),
            None => Ok(()),
        }
    }
}

/// The end of a path that is too long to show.
pub fn shortened(path: &[u8]) -> &[u8] {
    &path[path.len().saturating_sub(SHOWN_PATH)..]
}

/// A type in a word.
pub fn kind(file_type: FileType) -> &'static str {
    match file_type {
        FileType::Regular => "file",
        FileType::Directory => "directory",
        FileType::Symlink => "symlink",
        FileType::Fifo => "fifo",
        FileType::Socket => "socket",
        FileType::CharDevice | FileType::BlockDevice => "device",
    }
}

/// What a follower is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Notice {
    /// Something happened.
    Event(Arc<Event>),
    /// So much happens that some of it is only counted: [`Events::take_suppressed`] has the numbers.
    Flood,
}

#[derive(Debug)]
struct State {
    limiter: Limiter,
    ring: VecDeque<Arc<Event>>,
    /// Removals have a ring of their own: thousands of them do not drive out what was refused.
    removals: VecDeque<Arc<Event>>,
    followers: Vec<SyncSender<Notice>>,
    counts: [u64; Rule::ALL.len()],
}

/// All events of one filesystem.
#[derive(Debug)]
pub struct Events {
    start: Instant,
    state: Mutex<EVENTS, State>,
}

impl Default for Events {
    fn default() -> Events {
        Events {
            start: Instant::now(),
            state: Mutex::new(State {
                limiter: Limiter::default(),
                ring: VecDeque::new(),
                removals: VecDeque::new(),
                followers: Vec::new(),
                counts: [0; Rule::ALL.len()],
            }),
        }
    }
}

impl Events {
    /// Records an event of `uid`'s. It is counted in any case; `describe` gathers what there is to say, and is called only
    /// where this one is kept.
    pub fn record(&self, rule: Rule, uid: u32, describe: impl FnOnce() -> Event) {
        let admission = {
            let mut state = self.state.lock();
            state.counts[rule as usize] += 1;
            let admission = state.limiter.admit(uid, self.start.elapsed());
            if admission == Admission::FirstRefusal {
                tell(&mut state.followers, &Notice::Flood);
            }
            admission
        };
        if admission != Admission::Granted {
            return;
        }
        self.keep(describe());
    }

    fn keep(&self, event: Event) {
        let event = Arc::new(bounded(event));
        let mut state = self.state.lock();
        push(&mut state.ring, &event);
        tell(&mut state.followers, &Notice::Event(event));
    }

    /// Records that the cleaner has removed something. It is counted and kept in any case; followers are told of as many as of
    /// one user's events, so that they miss nothing else, and the count tells the rest.
    pub fn record_removal(&self, event: Event) {
        let event = Arc::new(bounded(event));
        let mut state = self.state.lock();
        state.counts[Rule::MaxAge as usize] += 1;
        push(&mut state.removals, &event);
        if state.limiter.admit_removal(self.start.elapsed()) {
            tell(&mut state.followers, &Notice::Event(event));
        }
    }

    /// The last events, oldest first.
    pub fn recent(&self) -> Vec<Arc<Event>> {
        let mut recent: Vec<_> = {
            let state = self.state.lock();
            state.ring.iter().chain(&state.removals).cloned().collect()
        };
        recent.sort_by_key(|event| event.time);
        recent
    }

    /// How many there were, those that were only counted included.
    pub fn count(&self, rule: Rule) -> u64 {
        self.state.lock().counts[rule as usize]
    }

    /// Tells of everything that happens from now on. A follower that does not keep up misses some of it.
    pub fn follow(&self) -> Receiver<Notice> {
        let (sender, receiver) = sync_channel(BACKLOG);
        self.state.lock().followers.push(sender);
        receiver
    }

    /// How many events were only counted, by uid, since this was last asked. `None` stands for users beyond those that are
    /// told apart.
    pub fn take_suppressed(&self) -> Vec<(Option<u32>, u64)> {
        self.state.lock().limiter.take_suppressed()
    }
}

/// With no more of its path than is shown: one of a deep tree takes megabytes.
fn bounded(mut event: Event) -> Event {
    event.object.path = event.object.path.map(|path| shortened(&path).to_vec());
    event
}

fn push(ring: &mut VecDeque<Arc<Event>>, event: &Arc<Event>) {
    if ring.len() == KEPT {
        ring.pop_front();
    }
    ring.push_back(Arc::clone(event));
}

/// Tells all followers; those who are gone are let go of.
fn tell(followers: &mut Vec<SyncSender<Notice>>, notice: &Notice) {
    followers.retain(|follower| !matches!(follower.try_send(notice.clone()), Err(TrySendError::Disconnected(_))));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(uid: u32, path: &[u8]) -> Event {
        Event {
            time: Timestamp::default(),
            rule: Rule::Symlinks,
            actor: Actor {
                uid,
                pid: 4711,
                comm: "c\"a\nt".to_owned(),
            },
            object: Object {
                path: Some(path.to_vec()),
                file_type: FileType::Symlink,
                ino: Ino(17),
                owner: 1000,
            },
            errno: Some(Errno::EACCES),
            why: None,
        }
    }

    #[test]
    fn a_line_cannot_be_forged() {
        assert_eq!(
            event(0, b"/e\x1b[31m\nrefused: \xff\"").to_string(),
            "refused symlinks: uid=0 pid=4711 comm=\"c\\\"a\\nt\" object=\"/e\\x1b[31m\\nrefused: \\xff\\\"\" \
             kind=symlink inode=17 owner=1000 errno=EACCES"
        );
        let noted = Event {
            errno: None,
            ..event(0, b"/a")
        };
        assert!(noted.to_string().starts_with("noted symlinks: "));
        let broken = Event {
            rule: Rule::Unlock,
            ..noted
        };
        assert!(broken.to_string().starts_with("broken unlock: uid=0 "));
        assert!(event(0, &[b'a'; 5000]).to_string().len() < SHOWN_PATH + 200);
    }

    #[test]
    fn a_flood_is_counted_and_not_kept() {
        let events = Events::default();
        let follower = events.follow();
        for _ in 0..100_000 {
            events.record(Rule::Symlinks, 1000, || event(1000, b"/a"));
        }
        events.record(Rule::Hardlinks, 1001, || event(1001, b"/b"));
        assert_eq!(events.count(Rule::Symlinks), 100_000);
        let recent = events.recent();
        assert!(recent.len() < KEPT && recent.last().unwrap().actor.uid == 1001);
        let told: Vec<Notice> = follower.try_iter().collect();
        assert!(told.contains(&Notice::Flood) && told.len() <= BACKLOG);
        let suppressed = events.take_suppressed();
        assert_eq!(suppressed.len(), 1);
        assert_eq!(suppressed[0].0, Some(1000));
        assert_eq!(suppressed[0].1 + recent.len() as u64, 100_001);
        assert_eq!(events.take_suppressed(), []);
    }

    #[test]
    fn a_mass_of_removals_drives_out_nothing() {
        let events = Events::default();
        let follower = events.follow();
        events.record(Rule::Symlinks, 1000, || event(1000, b"/a"));
        let removal = Event {
            rule: Rule::MaxAge,
            actor: Actor::daemon(),
            errno: None,
            ..event(0, b"/old")
        };
        for _ in 0..5000 {
            events.record_removal(removal.clone());
        }
        events.record(Rule::Hardlinks, 1000, || event(1000, b"/b"));
        assert_eq!(events.count(Rule::MaxAge), 5000);
        let recent = events.recent();
        assert_eq!(recent.len(), 2 + KEPT);
        assert_eq!(recent.iter().filter(|it| it.rule != Rule::MaxAge).count(), 2);
        let told: Vec<Notice> = follower.try_iter().collect();
        assert!((3..BACKLOG / 2).contains(&told.len()), "{}", told.len());
        assert!(
            recent
                .iter()
                .any(|it| it.to_string().starts_with("removed max_age: uid="))
        );
        assert_eq!(events.take_suppressed(), [], "they are nobody's");
    }

    #[test]
    fn no_more_of_a_path_is_kept_than_is_shown() {
        let events = Events::default();
        let deep = b"/directory".repeat(100_000);
        events.keep(event(0, &deep));
        events.record_removal(event(0, &deep));
        for kept in events.recent() {
            let path = kept.object.path.as_ref().unwrap();
            assert!(path.capacity() <= SHOWN_PATH && deep.ends_with(path));
        }
    }

    #[test]
    fn nobody_waits_for_a_follower() {
        let events = Events::default();
        let (sleeps, gone) = (events.follow(), events.follow());
        drop(gone);
        for uid in 0..3000 {
            events.keep(event(uid, b"/a"));
        }
        assert_eq!(sleeps.try_iter().count(), BACKLOG);
        assert_eq!(events.recent().len(), KEPT);
    }
}
