//! Which process waits where, over all files: the graph in which a circle is a deadlock (semantics 4.3).
//!
//! A process leads to the waits of its threads, a wait to the processes that hold what stops it. The second half is read from
//! the file as it is, so only the waits themselves are kept here. Open files that own locks take no part.
//!
//! Whoever adds a wait holds the graph from the search until the wait stands in it: so of two that would close a circle one
//! sees the other.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::FileLocks;
use super::held::{Access, Kind};
use super::pass::State;
use super::queue::Ticket;
use super::range::Range;
use crate::sync::{Mutex, MutexGuard, WAITS};
use crate::types::LockOwner;

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

    /// Whether a wait of `process` for `access` would be, or is, part of a circle.
    pub(super) fn is_deadlock(&self, here: Here<'_>, process: LockOwner, access: &Access) -> bool {
        let found = || {
            let mut search = Search::new(self, here);
            search.expand(here.state, access);
            search.run(Some(process))
        };
        // While one file is looked at another may change, and a circle be seen that never was. A real one is still there.
        found() && found()
    }

    /// The processes that `process` waits for, directly or not.
    pub(super) fn reach(&self, here: Here<'_>, process: LockOwner) -> HashSet<LockOwner> {
        let mut search = Search::new(self, here);
        search.meet(process);
        search.run(None);
        search.seen
    }
}

/// A search through the graph.
struct Search<'a> {
    graph: &'a Graph<'a>,
    here: Here<'a>,
    seen: HashSet<LockOwner>,
    open: Vec<LockOwner>,
    /// What waits were followed for: all who want the same lead to the same processes, but for themselves, whom the search has
    /// met. Not so the one it began with.
    followed: HashSet<(*const FileLocks, Kind, Range)>,
}

impl<'a> Search<'a> {
    fn new(graph: &'a Graph<'a>, here: Here<'a>) -> Search<'a> {
        Search {
            graph,
            here,
            seen: HashSet::new(),
            open: Vec::new(),
            followed: HashSet::new(),
        }
    }

    fn meet(&mut self, process: LockOwner) {
        if self.seen.insert(process) {
            self.open.push(process);
        }
    }

    /// Goes on to all who hold what stops `access`.
    fn expand(&mut self, state: &State, access: &Access) {
        for process in state.table.processes_in_conflict(access) {
            self.meet(process);
        }
    }

    fn follow(&mut self, file: &FileLocks, state: &State, ticket: Ticket) {
        // It may be over, and not yet taken out of the graph. Whose turn it is waits for nobody: should somebody be faster, a
        // circle is looked for then.
        let waiter = state.queue.waiters.get(&ticket);
        let Some(waiter) = waiter.filter(|it| !it.is_admitted()) else {
            return;
        };
        let access = waiter.want.access();
        if self
            .followed
            .insert((std::ptr::from_ref(file), access.kind, access.range))
        {
            self.expand(state, &access);
        }
    }

    /// Walks on until `target` is met; whether it was.
    fn run(&mut self, target: Option<LockOwner>) -> bool {
        while let Some(process) = self.open.pop() {
            if Some(process) == target {
                return true;
            }
            for Wait { file, ticket } in self.graph.map.get(&process).into_iter().flatten() {
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
