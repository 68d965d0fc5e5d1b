//! Requests that wait for locks: how they are parked, and the thread that does what is to be done when the wait is over. Whoever
//! ends a wait (by unlocking, closing, chmod) only says so, and never does another's transfer.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use std::{io, mem, thread};

use log::error;
use zerocopy::IntoBytes;

use super::background::Background;
use super::encode;
use super::hung::{Hold, Hung};
use super::names::Names;
use super::pages::Pages;
use super::parked::{GiveUp, Parked};
use super::reply::{Delivery, Reply};
use super::session::MAX_WRITE;
use crate::lock::Wake;
use crate::ops::Filesystem;
use crate::ops::hoard::Kept;
use crate::ops::transfer::{Done, Io};
use crate::ops::wait::{Again, Outcome, Park, Wait};
use crate::types::{Caller, Errno};

/// How long a lock may stand in the way that may have been closed. The kernel tells of it some microseconds late, and on a machine
/// with much to do some milliseconds.
const PATIENCE: Duration = Duration::from_millis(250);

/// How long it is between two looks.
const PAUSE: Duration = Duration::from_micros(200);

enum Message {
    /// A transfer whose wait is over.
    Ready(Box<Job>),
    /// Something to be tried again for a moment.
    Again(Box<Retry>),
    /// Nobody is served any more.
    End,
}

/// A transfer that waits.
struct Job {
    parked: Parked,
    wait: Wait,
    io: Io<Kept>,
    to: Sender<Message>,
    /// Dropped with it.
    _hold: Option<Hold>,
}

impl Wake for Job {
    fn wake(self: Box<Self>, result: Result<(), Errno>) {
        match result {
            Ok(()) => {
                let to = self.to.clone();
                // Fails only where the thread is gone, and then the job's drop answers.
                let _ = to.send(Message::Ready(self));
            }
            Err(errno) => {
                let _nothing_handed_over = self.parked.answer(Err(errno));
            }
        }
    }

    fn caller(&self) -> Option<Caller> {
        Some(self.wait.caller)
    }
}

/// A lock that is waited for.
struct LockWait {
    parked: Parked,
    descriptor: Option<u64>,
    caller: Caller,
}

impl Wake for LockWait {
    fn wake(self: Box<Self>, result: Result<(), Errno>) {
        let _nothing_handed_over = self.parked.answer(result.map(|()| &[][..]));
    }

    fn descriptor(&self) -> Option<u64> {
        self.descriptor
    }

    fn caller(&self) -> Option<Caller> {
        Some(self.caller)
    }
}

struct Retry {
    again: Again,
    parked: Parked,
    until: Instant,
}

/// The thread; it ends when this is dropped.
pub(super) struct Waiting {
    to: Sender<Message>,
    filesystem: Arc<Filesystem>,
    hung: Hung,
}

impl Waiting {
    pub(super) fn start(
        filesystem: &Arc<Filesystem>,
        background: Background,
        names: Names,
        pages: Pages,
    ) -> io::Result<Waiting> {
        let (to, messages) = channel();
        let hung = Hung::start()?;
        let worker = Worker {
            hung: hung.clone(),
            filesystem: Arc::clone(filesystem),
            to: to.clone(),
            background,
            names,
            pages,
        };
        thread::Builder::new()
            .name("waiting".to_owned())
            .spawn(move || worker.run(&messages))?;
        Ok(Waiting {
            to,
            filesystem: Arc::clone(filesystem),
            hung,
        })
    }

    /// Whoever looks up a name that is not there may be about to make a link.
    pub(super) fn is_absent(&self, caller: Caller) {
        self.hung.is_absent(caller);
    }

    /// Lets a request wait, should it have to.
    pub(super) fn asker<'a>(&'a self, reply: Reply<'a>) -> Asker<'a> {
        Asker {
            reply: Some(reply),
            waiting: self,
        }
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.to.send(Message::End);
    }
}

/// A request that a worker is at.
pub(super) struct Asker<'a> {
    reply: Option<Reply<'a>>,
    waiting: &'a Waiting,
}

impl<'a> Asker<'a> {
    /// What is to be answered, and by what; `None` where it is parked, or was answered when that failed.
    pub(super) fn outcome<T>(self, result: Result<Outcome<T>, Errno>) -> Option<(Reply<'a>, Result<T, Errno>)> {
        let result = match result {
            Ok(Outcome::Waiting) => return None,
            Ok(Outcome::Done(done)) => Ok(done),
            Err(errno) => Err(errno),
        };
        Some((self.reply?, result))
    }
}

/// What is to happen on a signal.
fn give_up(filesystem: &Arc<Filesystem>, wait: &Wait) -> GiveUp {
    let (filesystem, wait) = (Arc::clone(filesystem), wait.clone());
    Box::new(move || {
        if let Some(wake) = filesystem.give_up(&wait) {
            wake.wake(Err(Errno::EINTR));
        }
        false
    })
}

fn waiter(parked: Parked, wait: Wait, io: Option<Io<Kept>>, to: &Sender<Message>, hung: &Hung) -> Box<dyn Wake> {
    match io {
        Some(io) => Box::new(Job {
            _hold: io.locks_inode().then(|| hung.hold(wait.caller.uid, &parked)),
            parked,
            wait,
            io,
            to: to.clone(),
        }),
        None => Box::new(LockWait {
            parked,
            descriptor: wait.descriptor,
            caller: wait.caller,
        }),
    }
}

/// What ends a short wait on a signal: it is answered at once.
fn at_once() -> GiveUp {
    Box::new(|| true)
}

impl Park for Asker<'_> {
    fn wait(&mut self, wait: Wait, io: Option<Io<Kept>>) -> Result<Box<dyn Wake>, Errno> {
        let reply = self.reply.take().ok_or(Errno::EIO)?;
        let parked = reply.park(give_up(&self.waiting.filesystem, &wait))?;
        Ok(waiter(parked, wait, io, &self.waiting.to, &self.waiting.hung))
    }

    fn again(&mut self, again: Again) -> Result<(), Errno> {
        let reply = self.reply.take().ok_or(Errno::EIO)?;
        let parked = reply.park(at_once())?;
        let retry = Retry {
            again,
            parked,
            until: Instant::now() + PATIENCE,
        };
        let _ = self.waiting.to.send(Message::Again(Box::new(retry)));
        Ok(())
    }
}

/// A request that was parked and is tried again.
struct Held<'a> {
    parked: Option<Parked>,
    /// It is to be tried again.
    again: Option<Retry>,
    until: Instant,
    worker: &'a Worker,
}

impl Park for Held<'_> {
    fn wait(&mut self, wait: Wait, io: Option<Io<Kept>>) -> Result<Box<dyn Wake>, Errno> {
        let parked = self.parked.take().ok_or(Errno::EIO)?;
        parked.rejoin(give_up(&self.worker.filesystem, &wait));
        Ok(waiter(parked, wait, io, &self.worker.to, &self.worker.hung))
    }

    fn again(&mut self, again: Again) -> Result<(), Errno> {
        let parked = self.parked.take().ok_or(Errno::EIO)?;
        parked.rejoin(at_once());
        self.again = Some(Retry {
            again,
            parked,
            until: self.until,
        });
        Ok(())
    }
}

struct Worker {
    filesystem: Arc<Filesystem>,
    to: Sender<Message>,
    background: Background,
    names: Names,
    pages: Pages,
    hung: Hung,
}

impl Worker {
    fn run(&self, messages: &Receiver<Message>) {
        // What is never used of it never becomes resident.
        let mut buf = vec![0; MAX_WRITE as usize];
        let mut retries = Vec::new();
        // When they are looked at, if there are any.
        let mut due = Instant::now();
        loop {
            let message = match retries.is_empty() {
                true => messages.recv().map_err(|_| RecvTimeoutError::Disconnected),
                false => messages.recv_timeout(due.saturating_duration_since(Instant::now())),
            };
            match message {
                Ok(Message::Ready(job)) => self.perform(job, &mut buf),
                Ok(Message::Again(retry)) => {
                    if retries.is_empty() {
                        due = Instant::now() + PAUSE;
                    }
                    retries.push(*retry);
                }
                Ok(Message::End) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            let start = Instant::now();
            if !retries.is_empty() && start >= due {
                let all = mem::take(&mut retries);
                retries.extend(all.into_iter().filter_map(|retry| self.retry(retry, &mut buf)));
                // Half of the time is for those whose wait is over.
                due = Instant::now() + PAUSE.max(start.elapsed());
            }
        }
    }

    fn perform(&self, job: Box<Job>, buf: &mut [u8]) {
        let wait = job.wait.clone();
        let perform = || self.filesystem.perform(&wait, job, |job| &job.io, buf);
        match catch_unwind(AssertUnwindSafe(perform)) {
            Ok(None) => {}
            Ok(Some((job, result))) => self.answer(job.parked, result, buf),
            Err(_) => {
                // The job was dropped, which has answered EIO; nobody is to wait behind it.
                error!("a transfer that had waited panicked: EIO");
                drop(self.filesystem.give_up(&wait));
            }
        }
    }

    /// Returns it if it is to be tried again.
    fn retry(&self, retry: Retry, buf: &mut [u8]) -> Option<Retry> {
        // From here on no signal answers it.
        let parked = retry.parked.hold()?;
        let mut held = Held {
            parked: Some(parked),
            again: None,
            until: retry.until,
            worker: self,
        };
        let last = Instant::now() >= retry.until;
        let result = match self.filesystem.once_more(retry.again, last, &mut held, buf) {
            Ok(Outcome::Waiting) => return held.again,
            Ok(Outcome::Done(done)) => Ok(done),
            Err(errno) => Err(errno),
        };
        if let Some(parked) = held.parked {
            self.answer(parked, result, buf);
        }
        None
    }

    fn answer(&self, parked: Parked, result: Result<Done, Errno>, buf: &[u8]) {
        let _nothing_handed_over = match result {
            Err(errno) => parked.answer(Err(errno)),
            Ok(done) => self.answer_done(parked, done, buf),
        };
    }

    fn answer_done(&self, parked: Parked, done: Done, buf: &[u8]) -> Delivery {
        match done {
            Done::Read(read) => {
                let delivery = parked.answer(Ok(&[&buf[..read.count]]));
                self.pages.pass(read.passing);
                delivery
            }
            Done::Written(count) => parked.answer(Ok(&[encode::write_out(count as u64).as_bytes()])),
            Done::Attr(changed) => {
                let delivery = parked.answer(Ok(&[encode::attr_out(&changed.attr).as_bytes()]));
                self.names.changed(&changed);
                delivery
            }
            Done::Tested(lock) => parked.answer(Ok(&[encode::lock_out(lock.as_ref()).as_bytes()])),
            Done::Locked | Done::Allocated => parked.answer(Ok(&[])),
            Done::Allocating(rest) => {
                self.background.go_on(rest, parked);
                Delivery::Taken
            }
        }
    }
}
