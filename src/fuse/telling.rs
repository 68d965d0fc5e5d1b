//! Telling the kernel what it may not listen to for long: it waits for the lock of a directory, or for pages of a file, and somebody
//! may hold those for as long as he likes, as with a getdents64(2) into memory that never comes. A thread that waits so cannot even be
//! killed. So there are several, never two at one node, and what is told of a node waits for that node alone.
//!
//! ```text
//!   users in turn  ->  of each his nodes in turn  ->  of each its jobs in their order, one at a time
//! ```

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::sync_channel;
use std::thread::{self, Thread};
use std::time::Duration;

use log::{debug, error};

use crate::sync::{Mutex, TELLING};
use crate::types::NodeId;

/// The threads there may be at work, besides one at the root directory. Where all of them wait for ever (many users help each other),
/// the kernel is told of nothing but what is in the root directory until one does not.
const THREADS: usize = 16;

/// Of those, at nodes of one user.
const OF_ONE: usize = 2;

/// How many jobs of one user may wait before further ones are left undone, where they may be.
const BACKLOG: usize = 4096;

/// How long a job may take that somebody waits for. It takes some microseconds, and on a loaded machine until the thread runs.
const PATIENCE: Duration = Duration::from_millis(50);

/// How long a thread stays that has nothing to do.
const IDLE: Duration = Duration::from_secs(5);

/// The stack of a thread that writes and does little else, in bytes.
const STACK: usize = 128 << 10;

type Work = dyn FnOnce() -> Option<Job> + Send;

/// Something to tell. Returns what is left of it, which comes behind all that waits for that node.
pub(super) struct Job(Box<Work>);

impl Job {
    pub(super) fn new(work: impl FnOnce() -> Option<Job> + Send + 'static) -> Job {
        Job(Box::new(work))
    }
}

/// Whose a node is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Whose {
    /// The root directory is everybody's.
    Top,
    User(u32),
}

/// A node of which something is to be told, or is being told.
struct Place {
    whose: Whose,
    jobs: VecDeque<Job>,
}

/// A user with such nodes.
#[derive(Default)]
struct User {
    /// His nodes that no thread is at, in their turn.
    due: VecDeque<NodeId>,
    threads: usize,
    /// Jobs that wait, at all his nodes.
    jobs: usize,
    /// He is among those in turn.
    in_turn: bool,
}

#[derive(Default)]
struct State {
    places: HashMap<NodeId, Place>,
    users: HashMap<Whose, User>,
    /// Who has something due and may have one more thread.
    turns: VecDeque<Whose>,
    /// Threads at work, but for the one at the root directory.
    at_work: usize,
    idle: Vec<Thread>,
    /// A thread was called and has not looked yet.
    called: bool,
}

impl State {
    /// Adds a job. Returns whether it need not wait for another.
    fn add(&mut self, node: NodeId, whose: Whose, job: Job) -> bool {
        let is_free = !self.places.contains_key(&node);
        let place = self.places.entry(node).or_insert_with(|| Place {
            whose,
            jobs: VecDeque::new(),
        });
        place.jobs.push_back(job);
        let whose = place.whose;
        let user = self.users.entry(whose).or_default();
        user.jobs += 1;
        if is_free {
            user.due.push_back(node);
            self.line_up(whose);
        }
        is_free && self.may_take(whose) && self.users.get(&whose).is_some_and(|user| user.threads < OF_ONE)
    }

    /// Jobs of the user that wait.
    fn backlog(&self, whose: Whose) -> usize {
        self.users.get(&whose).map_or(0, |user| user.jobs)
    }

    fn line_up(&mut self, whose: Whose) {
        if let Some(user) = self.users.get_mut(&whose)
            && !user.in_turn
            && !user.due.is_empty()
            && user.threads < OF_ONE
        {
            user.in_turn = true;
            self.turns.push_back(whose);
        }
    }

    fn may_take(&self, whose: Whose) -> bool {
        self.at_work < THREADS || whose == Whose::Top
    }

    /// Who is next.
    fn turn(&self) -> Option<usize> {
        self.turns.iter().position(|whose| self.may_take(*whose))
    }

    /// The next job, for a thread that is at its node until [`State::done`].
    fn take(&mut self) -> Option<(NodeId, Job)> {
        let whose = self.turns.remove(self.turn()?)?;
        let user = self.users.get_mut(&whose)?;
        user.in_turn = false;
        let node = user.due.pop_front()?;
        let job = self.places.get_mut(&node)?.jobs.pop_front()?;
        user.threads += 1;
        user.jobs -= 1;
        self.at_work += usize::from(whose != Whose::Top);
        self.line_up(whose);
        Some((node, job))
    }

    /// The thread at the node has come back.
    fn done(&mut self, node: NodeId, rest: Option<Job>) {
        let Some(place) = self.places.get_mut(&node) else {
            return;
        };
        let whose = place.whose;
        let Some(user) = self.users.get_mut(&whose) else { return };
        self.at_work -= usize::from(whose != Whose::Top);
        user.threads -= 1;
        user.jobs += usize::from(rest.is_some());
        place.jobs.extend(rest);
        match place.jobs.is_empty() {
            true => drop(self.places.remove(&node)),
            false => user.due.push_back(node),
        }
        if user.threads == 0 && user.due.is_empty() {
            self.users.remove(&whose);
        }
        self.line_up(whose);
    }
}

/// The threads. They end by themselves when there is nothing to do.
#[derive(Clone, Default)]
pub(super) struct Telling(Arc<Mutex<TELLING, State>>);

impl std::fmt::Debug for Telling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telling")
    }
}

impl Telling {
    /// Has a thread do the job, which may wait for a node of ours, when the earlier ones that may wait for it are done. `owner` is the
    /// node's.
    pub(super) fn add(&self, node: NodeId, owner: u32, job: Job) {
        let mut state = self.0.lock();
        state.add(node, whose(node, owner), job);
        self.call(&mut state);
    }

    /// The same, and waits until it is done, for a moment at most and not where others are before it. Where very many are, it is left
    /// undone.
    pub(super) fn add_and_wait(&self, node: NodeId, owner: u32, tell: impl FnOnce() + Send + 'static) {
        let (done, is_done) = sync_channel(1);
        let job = Job::new(move || {
            tell();
            // Nobody may be waiting for it any more.
            let _ = done.send(());
            None
        });
        let begins = {
            let mut state = self.0.lock();
            let whose = whose(node, owner);
            if state.backlog(whose) >= BACKLOG {
                return;
            }
            let begins = state.add(node, whose, job);
            self.call(&mut state);
            begins
        };
        if begins {
            let _late = is_done.recv_timeout(PATIENCE);
        }
    }

    /// Sees to it that a thread looks for what there is to do.
    fn call(&self, state: &mut State) {
        if state.called || state.turn().is_none() {
            return;
        }
        state.called = true;
        if let Some(idle) = state.idle.pop() {
            return idle.unpark();
        }
        let this = self.clone();
        let started = thread::Builder::new()
            .name("telling".to_owned())
            .stack_size(STACK)
            .spawn(move || this.run());
        if let Err(error) = started {
            // Until the next job comes, or a thread comes back.
            debug!("a thread to tell the kernel: {error}");
            state.called = false;
        }
    }

    fn run(&self) {
        while let Some((node, Job(work))) = self.next() {
            // What comes after it at that node is to be told all the same.
            let rest = catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
                error!("telling the kernel of node {} panicked", node.0);
                None
            });
            self.0.lock().done(node, rest);
        }
    }

    /// Waits for a job; `None` where none has come for long.
    fn next(&self) -> Option<(NodeId, Job)> {
        loop {
            {
                let mut state = self.0.lock();
                state.called = false;
                if let Some(job) = state.take() {
                    // Should this one not come back.
                    self.call(&mut state);
                    return Some(job);
                }
                state.idle.push(thread::current());
            }
            thread::park_timeout(IDLE);
            let mut state = self.0.lock();
            let me = thread::current().id();
            if let Some(index) = state.idle.iter().position(|idle| idle.id() == me) {
                state.idle.remove(index);
                return None;
            }
        }
    }
}

fn whose(node: NodeId, owner: u32) -> Whose {
    match node {
        NodeId::ROOT => Whose::Top,
        _ => Whose::User(owner),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};
    use std::time::Instant;

    use super::*;

    const LONG: Duration = Duration::from_secs(20);
    const MOMENT: Duration = Duration::from_millis(100);

    /// Has a thread wait at the node until the sender is dropped.
    fn stick(telling: &Telling, node: u64, owner: u32) -> Sender<()> {
        let (go, wait) = channel::<()>();
        let (at, is_at) = channel();
        let job = Job::new(move || {
            at.send(()).unwrap();
            let _gone = wait.recv();
            None
        });
        telling.add(NodeId(node), owner, job);
        is_at.recv_timeout(LONG).unwrap();
        go
    }

    /// Adds a job that says `what`.
    fn say(telling: &Telling, node: u64, owner: u32, said: &Sender<u32>, what: u32) {
        let said = said.clone();
        let job = Job::new(move || {
            said.send(what).unwrap();
            None
        });
        telling.add(NodeId(node), owner, job);
    }

    fn hear(said: &Receiver<u32>, what: impl IntoIterator<Item = u32>) {
        what.into_iter()
            .for_each(|what| assert_eq!(said.recv_timeout(LONG), Ok(what)));
    }

    #[test]
    fn a_stuck_one_holds_up_its_node_alone() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        let stuck = stick(&telling, 10, 1);
        (0..5).for_each(|what| say(&telling, 10, 1, &say_it, what));
        say(&telling, 11, 1, &say_it, 100);
        say(&telling, 12, 2, &say_it, 101);
        let mut others = [said.recv_timeout(LONG).unwrap(), said.recv_timeout(LONG).unwrap()];
        others.sort_unstable();
        assert_eq!(others, [100, 101]);
        assert!(said.recv_timeout(MOMENT).is_err());
        drop(stuck);
        hear(&said, 0..5);
    }

    #[test]
    fn a_user_has_few_threads_and_the_root_directory_its_own() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        let mut stuck: Vec<_> = (0..THREADS)
            .map(|number| stick(&telling, 100 + number as u64, u32::try_from(number / OF_ONE).unwrap()))
            .collect();
        say(&telling, 50, 0, &say_it, 1);
        say(&telling, 60, 99, &say_it, 2);
        assert!(said.recv_timeout(MOMENT).is_err());
        say(&telling, NodeId::ROOT.0, 0, &say_it, 3);
        hear(&said, [3]);
        // One thread for the whole world, and none more for the first user.
        drop(stuck.pop());
        hear(&said, [2]);
        assert!(said.recv_timeout(MOMENT).is_err());
        drop(stuck.remove(0));
        hear(&said, [1]);
        let last = stick(&telling, NodeId::ROOT.0, 0);
        say(&telling, 60, 99, &say_it, 4);
        hear(&said, [4]);
        drop((last, stuck));
    }

    #[test]
    fn what_is_left_of_a_job_comes_last() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        let stuck = stick(&telling, 10, 1);
        let to = say_it.clone();
        telling.add(
            NodeId(10),
            1,
            Job::new(move || {
                to.send(1).unwrap();
                Some(Job::new(move || {
                    to.send(3).unwrap();
                    None
                }))
            }),
        );
        say(&telling, 10, 1, &say_it, 2);
        drop(stuck);
        hear(&said, [1, 2, 3]);
    }

    #[test]
    fn after_a_panic_the_node_goes_on() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        telling.add(NodeId(10), 1, Job::new(|| panic!("as the test wants")));
        say(&telling, 10, 1, &say_it, 1);
        hear(&said, [1]);
    }

    #[test]
    fn nobody_waits_long() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        let wait = |node, owner, what| {
            let say_it = say_it.clone();
            telling.add_and_wait(NodeId(node), owner, move || say_it.send(what).unwrap());
        };
        wait(11, 1, 0);
        hear(&said, [0]);
        let stuck = [stick(&telling, 10, 1), stick(&telling, 12, 1)];
        let start = Instant::now();
        let backlog = u32::try_from(BACKLOG).unwrap();
        (0..2 * backlog).for_each(|what| wait(10 + u64::from(what % 4), 1, what));
        assert!(start.elapsed() < LONG);
        wait(20, 2, backlog);
        hear(&said, [backlog]);
        drop(stuck);
        let mut kept: Vec<_> = (0..BACKLOG).map(|_| said.recv_timeout(LONG).unwrap()).collect();
        kept.sort_unstable();
        assert_eq!(kept, (0..backlog).collect::<Vec<_>>());
        assert!(said.recv_timeout(MOMENT).is_err());
    }

    #[test]
    fn nothing_is_lost_in_a_storm() {
        let telling = Telling::default();
        let (say_it, said) = channel();
        thread::scope(|scope| {
            for owner in 0..8_u32 {
                let (telling, say_it) = (&telling, say_it.clone());
                scope.spawn(move || {
                    (0..2000).for_each(|what| say(telling, u64::from(2 + what % 50), owner, &say_it, what));
                });
            }
        });
        for _ in 0..16_000 {
            said.recv_timeout(LONG).unwrap();
        }
        // The last one may not have come back.
        let end = Instant::now() + LONG;
        while !telling.0.lock().places.is_empty() {
            assert!(Instant::now() < end);
            thread::sleep(Duration::from_millis(1));
        }
        let state = telling.0.lock();
        assert!(state.users.is_empty() && state.turns.is_empty() && state.at_work == 0);
    }
}
