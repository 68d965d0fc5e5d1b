//! Names of files that were marked: what the kernel remembers of them is to expire, as each look-up of a marked file is to be
//! answered with a node of its own. A thread sees to it that the kernel is told of all of them. It does not tell itself, since the
//! kernel may wait for somebody's directory, or for an answer of ours, before it listens.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use log::debug;

use super::device::Device;
use super::telling::{Job, Telling};
use super::top::Top;
use crate::ops::Filesystem;
use crate::ops::attr::Changed;
use crate::types::NodeId;

/// How long somebody may take from finding a name, which expires just then, until we have his request.
const ON_THE_WAY: Duration = Duration::from_secs(1);

/// How often it is looked for other names, should somebody rename the file all the time.
const ROUNDS: u32 = 16;

/// How many names of a file expire before it is the turn of others.
const AT_A_TIME: usize = 64;

enum Message {
    /// A file was marked.
    Marked(NodeId),
    /// Something was told of a file.
    Told(NodeId, Option<Told>),
    /// Nobody marks any more.
    End,
}

/// The names that a file has in a directory have expired.
struct Told {
    directory: NodeId,
    names: Vec<Vec<u8>>,
    /// They are others than in the round before.
    news: bool,
}

/// Ends the thread when it is dropped.
#[derive(Debug)]
struct Outlet(Sender<Message>);

impl Drop for Outlet {
    fn drop(&mut self) {
        // Fails only where the thread is gone.
        let _ = self.0.send(Message::End);
    }
}

/// The thread; it ends with the last of these.
#[derive(Clone, Debug)]
pub(super) struct Names {
    to: Option<Arc<Outlet>>,
    filesystem: Arc<Filesystem>,
}

impl Names {
    /// A thread that has the kernel told by this descriptor of the connection; `None` where nobody is there to be told.
    pub(super) fn start(
        device: Option<Arc<Device>>,
        telling: &Telling,
        filesystem: &Arc<Filesystem>,
        top: &Arc<Top>,
    ) -> io::Result<Names> {
        let to = match device {
            None => None,
            Some(device) => {
                let (to, messages) = channel();
                let ways = Arc::new(Ways {
                    device,
                    filesystem: Arc::clone(filesystem),
                    top: Arc::clone(top),
                    to: to.clone(),
                });
                let worker = Worker {
                    ways,
                    telling: telling.clone(),
                    under_way: HashMap::new(),
                    late: VecDeque::new(),
                };
                thread::Builder::new()
                    .name("names".to_owned())
                    .spawn(move || worker.run(&messages))?;
                Some(Arc::new(Outlet(to)))
            }
        };
        Ok(Names {
            to,
            filesystem: Arc::clone(filesystem),
        })
    }

    /// Attributes were changed: should the file be marked by that, its names expire.
    pub(super) fn changed(&self, changed: &Changed) {
        let node = NodeId(changed.attr.ino.0);
        match &self.to {
            _ if !changed.names_expire => {}
            // Fails only where the thread is gone, and with it the conversation.
            Some(outlet) => drop(outlet.0.send(Message::Marked(node))),
            None => {
                self.filesystem.begin_to_expire(node);
                self.filesystem.names_expired(node);
            }
        }
    }
}

/// What is needed to tell of a file, and to say that it was told.
struct Ways {
    device: Arc<Device>,
    filesystem: Arc<Filesystem>,
    top: Arc<Top>,
    to: Sender<Message>,
}

impl Ways {
    fn told(&self, file: NodeId, told: Option<Told>) {
        // Fails only where the thread is gone, and with it the conversation.
        let _ = self.to.send(Message::Told(file, told));
    }
}

/// A file whose names expire.
#[derive(Default)]
struct UnderWay {
    /// The names that were told, by their directories.
    told: HashMap<NodeId, Vec<Vec<u8>>>,
    /// What is not told yet.
    jobs: usize,
    rounds: u32,
    /// Some names were not told in the round before.
    news: bool,
    /// It was marked again.
    again: bool,
}

struct Worker {
    ways: Arc<Ways>,
    telling: Telling,
    under_way: HashMap<NodeId, UnderWay>,
    /// Files whose names have expired, with the time when nobody comes by them any more.
    late: VecDeque<(Instant, NodeId)>,
}

impl Worker {
    fn run(mut self, messages: &Receiver<Message>) {
        loop {
            match self.next(messages) {
                Ok(Message::Marked(file)) => match self.under_way.get_mut(&file) {
                    Some(under_way) => under_way.again = true,
                    None => self.begin(file),
                },
                Ok(Message::Told(file, told)) => self.told(file, told),
                Err(RecvTimeoutError::Timeout) => {}
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
            }
            while let Some((until, file)) = self.late.front()
                && *until <= Instant::now()
            {
                self.ways.filesystem.names_expired(*file);
                self.late.pop_front();
            }
        }
    }

    /// Waits for a message, but no longer than for the first who may be late.
    fn next(&self, messages: &Receiver<Message>) -> Result<Message, RecvTimeoutError> {
        match self.late.front() {
            Some((until, _)) => messages.recv_timeout(until.saturating_duration_since(Instant::now())),
            None => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
        }
    }

    fn begin(&mut self, file: NodeId) {
        self.ways.filesystem.begin_to_expire(file);
        let mut under_way = UnderWay::default();
        let ways = Arc::clone(&self.ways);
        // What it has of the file's pages is read past locks.
        let drop_pages = move || {
            if let Err(error) = ways.device.drop_pages(file, 0, 0) {
                debug!("pages need not go: {error}");
            }
            ways.told(file, None);
            None
        };
        self.add(&mut under_way, file, Job::new(drop_pages));
        self.round(file, under_way);
    }

    /// Has the names told that there are now.
    fn round(&mut self, file: NodeId, mut under_way: UnderWay) {
        let mut before = mem::take(&mut under_way.told);
        under_way.rounds += 1;
        under_way.news = false;
        for directory in self.ways.filesystem.homes_of(file) {
            let ways = Arc::clone(&self.ways);
            let before = before.remove(&directory).unwrap_or_default();
            let job = Job::new(move || expire(ways, file, directory, &before));
            self.add(&mut under_way, directory, job);
        }
        self.go_on(file, under_way);
    }

    fn add(&self, under_way: &mut UnderWay, node: NodeId, job: Job) {
        under_way.jobs += 1;
        self.telling.add(node, self.ways.filesystem.owner_of(node), job);
    }

    fn told(&mut self, file: NodeId, told: Option<Told>) {
        let Some(mut under_way) = self.under_way.remove(&file) else {
            return;
        };
        under_way.jobs -= 1;
        if let Some(told) = told {
            under_way.news |= told.news;
            under_way.told.insert(told.directory, told.names);
        }
        self.go_on(file, under_way);
    }

    fn go_on(&mut self, file: NodeId, under_way: UnderWay) {
        match under_way {
            UnderWay { jobs: 1.., .. } => drop(self.under_way.insert(file, under_way)),
            UnderWay { news: true, rounds, .. } if rounds < ROUNDS => self.round(file, under_way),
            UnderWay { again, .. } => {
                self.late.push_back((Instant::now() + ON_THE_WAY, file));
                if again {
                    self.begin(file);
                }
            }
        }
    }
}

/// The names of a file in a directory expire; `before` are those that have.
fn expire(ways: Arc<Ways>, file: NodeId, directory: NodeId, before: &[Vec<u8>]) -> Option<Job> {
    let names = ways.filesystem.names_in(directory, file);
    let news = names != before;
    let told = Told { directory, names, news };
    let first = if news { 0 } else { told.names.len() };
    expire_from(first, ways, file, told)
}

/// Those from the first on; a few at a time.
fn expire_from(first: usize, ways: Arc<Ways>, file: NodeId, told: Told) -> Option<Job> {
    let end = told.names.len().min(first + AT_A_TIME);
    for name in &told.names[first..end] {
        // ENOENT where the kernel does not know the name.
        if let Err(error) = ways.device.expire_entry(ways.top.to_kernel(told.directory), name) {
            debug!("a name need not expire: {error}");
        }
    }
    if end < told.names.len() {
        return Some(Job::new(move || expire_from(end, ways, file, told)));
    }
    ways.told(file, Some(told));
    None
}
