//! Links that hang. link(2) of a descriptor takes the lock of its inode in the kernel while it holds the new name's directory, and a
//! write that waits for a record lock has that inode's lock for as long as it waits: the directory would stand still for everybody
//! (semantics 5.9), and nothing is asked of us then. But a moment before the new name was looked up, in the same system call. So
//! while such a request waits, a thread looks after whoever has found a name to be absent; and where he hangs in link(2), requests
//! that wait get EINTR: first his own, then all.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;
use std::{io, thread};

use log::warn;

use super::parked::{Parked, Signal};
use crate::sync::{HOLDING, Mutex};
use crate::sys::proc::{self, KernelStack};
use crate::sys::remote::{PATIENCE, patiently};
use crate::types::{Caller, Unique};

/// How long a link may take that does not hang.
const PAUSE: Duration = Duration::from_millis(20);

/// What link(2) is in, in the kernel, while it waits for the inode; and what it is in as well while it waits for us.
const LINKING: &str = "vfs_link";
const ASKING: &str = "request_wait_answer";

/// The requests that wait and have the lock of an inode.
#[derive(Debug, Default)]
struct Holding {
    requests: Mutex<HOLDING, HashMap<Unique, (u32, Signal)>>,
    /// How many there are, so that a look-up need not lock to see that there are none.
    count: AtomicUsize,
}

impl Holding {
    /// Ends all, or those of a user; whether there were any.
    fn end(&self, of: Option<u32>) -> bool {
        let requests = self.requests.lock();
        let meant = requests.values().filter(|(uid, _)| of.is_none_or(|of| of == *uid));
        let signals: Vec<Signal> = meant.map(|(_, signal)| signal.clone()).collect();
        drop(requests);
        signals.iter().for_each(Signal::send);
        !signals.is_empty()
    }
}

/// One of them, until dropped.
#[derive(Debug)]
pub(super) struct Hold {
    all: Arc<Holding>,
    number: Unique,
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.requests.lock().remove(&self.number);
        self.all.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The thread that looks after them; it ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Hung {
    holding: Arc<Holding>,
    to: Sender<Caller>,
}

impl Hung {
    pub(super) fn start() -> io::Result<Hung> {
        let holding = Arc::new(Holding::default());
        let (to, callers) = channel();
        let all = Arc::clone(&holding);
        thread::Builder::new()
            .name("hung".to_owned())
            .spawn(move || run(&callers, &all))?;
        Ok(Hung { holding, to })
    }

    /// A request of the user waits that has the lock of an inode, until the result is dropped.
    pub(super) fn hold(&self, uid: u32, parked: &Parked) -> Hold {
        let signal = parked.signal();
        let number = signal.number();
        self.holding.requests.lock().insert(number, (uid, signal));
        // Relaxed: who comes to link has yet to look his name up, and one who looks it up at this moment is at the inode first or
        // waits for no longer than others do.
        self.holding.count.fetch_add(1, Ordering::Relaxed);
        Hold {
            all: Arc::clone(&self.holding),
            number,
        }
    }

    /// Somebody has found a name to be absent.
    pub(super) fn is_absent(&self, caller: Caller) {
        if self.holding.count.load(Ordering::Relaxed) > 0 {
            // Fails only where the thread is gone.
            let _ = self.to.send(caller);
        }
    }
}

fn run(callers: &Receiver<Caller>, holding: &Holding) {
    while let Ok(first) = callers.recv() {
        thread::sleep(PAUSE);
        let all: HashSet<Caller> = callers.try_iter().chain([first]).collect();
        all.into_iter()
            .filter(|caller| hangs(*caller))
            .for_each(|caller| let_go_on(caller, holding));
    }
}

/// Ends what the caller may hang by.
fn let_go_on(caller: Caller, holding: &Holding) {
    let (pid, name) = proc::process(caller);
    warn!("{name:?} ({pid}) links a file that somebody waits to write: who waits gets EINTR");
    if holding.end(Some(caller.uid)) {
        thread::sleep(PAUSE);
    }
    if hangs(caller) {
        holding.end(None);
    }
}

/// Whether somebody waits in link(2) and no signal would end that. It is not seen where we are not root, nor of who is in execve(2),
/// or gone.
fn hangs(caller: Caller) -> bool {
    let stack = move || KernelStack::of(caller);
    let links = |stack: KernelStack| stack.has(LINKING) && !stack.has(ASKING);
    proc::waits_deaf(caller) && patiently(PATIENCE, stack).flatten().is_some_and(links)
}
