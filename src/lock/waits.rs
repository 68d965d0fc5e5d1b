//! Which process waits where, over all files: the graph in which a circle is a deadlock (semantics 4.3).
//!
//! A process leads to the waits of its threads, a wait to the processes that hold what stops it. The second half is read from
//! the file as it is, so only the waits themselves are kept here. Open files that own locks take no part.
//!
//! Whoever adds a wait holds the graph from the search until the wait stands in it: so of two that would close a circle one
//! sees the other.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::{HashMap, HashSet};
use log::debug;

use super::file::FileLocks;
use super::held::{Access, Kind, Owner};
use super::pass::State;
use super::queue::Ticket;
use super::range::Range;
use super::table::KINDS;
use super::unmet::Unmet;
use crate::sync::{Mutex, MutexGuard, WAITS};
use crate::types::LockOwner;

/// The most locks and waits that a search looks at before it gives up: others wait for it meanwhile. Enough for all that can wait in
/// a mount, where each is stopped by one lock.
pub(super) const MAX_STEPS: usize = 1 << 17;

#[derive(Debug)]
struct Wait {
    file: Arc<FileLocks>,
    ticket: Ticket,
}

type Map = HashMap<LockOwner, Vec<Wait>>;

/// The waits of all processes for locks on all files.
#[derive(Debug, Default)]
pub struct Waits {
    map: Mutex<WAITS, Map>,
    /// The number of waits, so that nobody need lock to see that there is none.
    count: AtomicUsize,
}

impl Waits {
    /// Nobody waits.
    pub fn new() -> Waits {
        Waits::default()
    }

    /// How many waits there are.
    pub fn len(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    /// Whether nobody waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn lock(&self) -> Graph<'_> {
        Graph {
            map: self.map.lock(),
            count: &self.count,
        }
    }
}

/// The graph, held.
pub(super) struct Graph<'a> {
    map: MutexGuard<'a, Map>,
    count: &'a AtomicUsize,
}

/// A file whose state the searcher holds already.
#[derive(Clone, Copy)]
pub(super) struct Here<'a> {
    pub(super) file: &'a FileLocks,
    pub(super) state: &'a State,
}

impl Graph<'_> {
    pub(super) fn add(&mut self, process: LockOwner, file: &Arc<FileLocks>, ticket: Ticket) {
        let file = Arc::clone(file);
        self.map.entry(process).or_default().push(Wait { file, ticket });
        self.count.fetch_add(1, Ordering::Release);
    }

    pub(super) fn remove(&mut self, process: LockOwner, file: &FileLocks, ticket: Ticket) {
        let Some(waits) = self.map.get_mut(&process) else {
            return;
        };
        let Some(at) = waits
            .iter()
            .position(|it| it.ticket == ticket && std::ptr::eq(Arc::as_ptr(&it.file), file))
        else {
            return;
        };
        waits.swap_remove(at);
        if waits.is_empty() {
            self.map.remove(&process);
            if self.map.len() * 4 < self.map.capacity() {
                self.map.shrink_to_fit();
            }
        }
        self.count.fetch_sub(1, Ordering::Release);
    }

    /// Whether any thread of the process waits.
    pub(super) fn waits(&self, process: LockOwner) -> bool {
        self.map.contains_key(&process)
    }

    /// Whether a wait of `process` for `access` would be, or is, part of a circle. None is found that takes more than [`MAX_STEPS`].
    pub(super) fn is_deadlock(&self, here: Here<'_>, process: LockOwner, access: &Access) -> bool {
        let found = || {
            let mut search = Search::new(self, here, Some(process));
            search.expand(here.state, access);
            search.run()
        };
        // While one file is looked at another may change, and a circle be seen that never was. A real one is still there.
        found() && found()
    }

    /// `process`, and those it waits for, directly or not, as far as they wait themselves; not all beyond [`MAX_STEPS`].
    pub(super) fn reach(&self, here: Here<'_>, process: LockOwner) -> HashSet<LockOwner> {
        let mut search = Search::new(self, here, None);
        search.meet(process);
        search.run();
        search.seen
    }
}

/// A search through the graph.
struct Search<'a> {
    graph: &'a Graph<'a>,
    here: Here<'a>,
    /// Where it ends.
    target: Option<LockOwner>,
    /// The processes that were met and go on to others, or are the target.
    seen: HashSet<LockOwner>,
    open: Vec<LockOwner>,
    /// The files on which waits were followed.
    files: HashMap<*const FileLocks, Followed>,
    /// How many locks and waits were looked at.
    steps: usize,
}

/// The waits on one file that a search has followed. All who want the same lead to the same processes, but for themselves, whom
/// the search has met. Not so the one it began with.
#[derive(Default)]
struct Followed {
    wanted: HashSet<(Kind, Range)>,
    steps: usize,
    /// The reads and writes of those whom the search had not met when it had taken more steps than there are locks. From then
    /// on no lock is looked at twice, be there ever so many who want different bytes of it.
    unmet: Option<[Unmet; 2]>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph<'a>, here: Here<'a>, target: Option<LockOwner>) -> Search<'a> {
        Search {
            graph,
            here,
            target,
            seen: HashSet::new(),
            open: Vec::new(),
            files: HashMap::new(),
            steps: 0,
        }
    }

    /// Whether it is of use to meet a process: whoever does not wait is an end.
    fn matters(&self, process: LockOwner) -> bool {
        (self.target == Some(process) || self.graph.waits(process)) && !self.seen.contains(&process)
    }

    fn meet(&mut self, process: LockOwner) {
        if self.matters(process) {
            self.seen.insert(process);
            self.open.push(process);
        }
    }

    /// Goes on to all who hold what stops `access`.
    fn expand(&mut self, state: &State, access: &Access) {
        // Few may wait, and very many locks be in the way: then it is cheaper to ask for each who waits.
        let mut patience = 4 * (self.graph.map.len() + 1);
        let Access { own, kind, range } = *access;
        let walk = state.table.conflicts(own, kind, range, &mut |lock| {
            if let Owner::Process(process) = lock.owner {
                self.meet(process);
            }
            self.steps += 1;
            patience -= 1;
            if patience == 0 {
                return ControlFlow::Break(());
            }
            ControlFlow::Continue(())
        });
        if walk.is_continue() {
            return;
        }
        let (graph, target) = (self.graph, self.target);
        for &process in graph.map.keys().chain(target.as_ref()) {
            self.steps += 1;
            if state.table.stops(Owner::Process(process), access) {
                self.meet(process);
            }
        }
    }

    /// The locks of those who matter: reads, writes. Should another come while the search goes on, a circle is looked for then.
    fn unmet(&mut self, state: &State) -> [Unmet; 2] {
        let mut locks = KINDS.map(|_| Vec::new());
        for (owner, holder) in &state.table.holders {
            self.steps += 1;
            if let Some(process) = owner.process().filter(|&it| self.matters(it)) {
                for (locks, runs) in locks.iter_mut().zip(&holder.runs) {
                    self.steps += runs.len();
                    locks.extend(runs.iter().map(|run| (run, process)));
                }
            }
        }
        locks.map(Unmet::new)
    }

    /// Goes on to all who hold what stops a wait of a process that was met.
    fn follow(&mut self, file: &FileLocks, state: &State, ticket: Ticket) {
        // It may be over, and not yet taken out of the graph. Whose turn it is waits for nobody: should somebody be faster, a
        // circle is looked for then.
        let waiter = state.queue.waiters.get(&ticket);
        let Some(waiter) = waiter.filter(|it| !it.is_admitted()) else {
            return;
        };
        let access = waiter.want.access();
        let file = std::ptr::from_ref(file);
        let mut followed = self.files.remove(&file).unwrap_or_default();
        if followed.wanted.insert((access.kind, access.range)) {
            if followed.unmet.is_none() && followed.steps > state.table.len() {
                followed.unmet = Some(self.unmet(state));
            }
            match &mut followed.unmet {
                Some(unmet) => self.take(unmet, &access),
                None => {
                    let before = self.steps;
                    self.expand(state, &access);
                    followed.steps += self.steps - before;
                }
            }
        }
        self.files.insert(file, followed);
    }

    /// As [`Search::expand`]. Preconditions: whose access it is was met.
    fn take(&mut self, unmet: &mut [Unmet; 2], access: &Access) {
        for kind in KINDS.into_iter().filter(|it| it.conflicts(access.kind)) {
            while let Some(process) = unmet[kind as usize].take(access.range) {
                self.steps += 1;
                self.meet(process);
            }
        }
    }

    /// Walks on until the target is met; whether it was.
    fn run(&mut self) -> bool {
        while let Some(process) = self.open.pop() {
            if Some(process) == self.target {
                return true;
            }
            for Wait { file, ticket } in self.graph.map.get(&process).into_iter().flatten() {
                self.steps += 1;
                if self.steps > MAX_STEPS {
                    debug!("a search for circles is given up after {MAX_STEPS} locks and waits");
                    return false;
                }
                let here = self.here;
                if std::ptr::eq(Arc::as_ptr(file), here.file) {
                    self.follow(here.file, here.state, *ticket);
                } else {
                    // Only who holds the graph ever holds two files' locks, so no two wait for each other.
                    let state = file.state().read_second();
                    self.follow(file, &state, *ticket);
                }
            }
        }
        false
    }
}
