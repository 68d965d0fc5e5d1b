//! Requests that take long without waiting for anything: a thread of its own does them, a piece of each in turn, so that the
//! workers are there for everybody else.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, TryRecvError, channel};
use std::thread;

use super::parked::{GiveUp, Parked};
use super::reply::Reply;
use crate::ops::io::LongWork;
use crate::types::Errno;

struct Job {
    work: LongWork,
    parked: Parked,
    /// A signal has ended the system call.
    given_up: Arc<AtomicBool>,
}

/// The thread; it ends with the last of these. There are never more jobs than requests that may be parked.
#[derive(Clone, Debug)]
pub(super) struct Background(Sender<Job>);

impl std::fmt::Debug for Job {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("parked", &self.parked).finish()
    }
}

impl Background {
    pub(super) fn start() -> io::Result<Background> {
        let (sender, jobs) = channel();
        thread::Builder::new()
            .name("long".to_owned())
            .spawn(move || run(&jobs))?;
        Ok(Background(sender))
    }

    /// Does the work and then answers with success alone. A signal ends it between two pieces.
    pub(super) fn take(&self, work: LongWork, reply: Reply<'_>) {
        let (given_up, give_up) = flag();
        // Where it cannot be parked it is answered.
        if let Ok(parked) = reply.park(give_up) {
            self.send(Job { work, parked, given_up });
        }
    }

    /// As [`Background::take`], for a request that has waited for something else before.
    pub(super) fn go_on(&self, work: LongWork, parked: Parked) {
        let (given_up, give_up) = flag();
        if let Some(parked) = parked.go_on(give_up) {
            self.send(Job { work, parked, given_up });
        }
    }

    fn send(&self, job: Job) {
        // Fails only where the thread is gone, and then the job's drop answers.
        let _ = self.0.send(job);
    }
}

/// What tells that a signal has come, and what tells it so.
fn flag() -> (Arc<AtomicBool>, GiveUp) {
    let given_up = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&given_up);
    let give_up = move || {
        flag.store(true, Ordering::Relaxed);
        true
    };
    (given_up, Box::new(give_up))
}

fn run(jobs: &Receiver<Job>) {
    let mut waiting = VecDeque::new();
    loop {
        let next = match waiting.is_empty() {
            true => jobs.recv().map_err(|_| TryRecvError::Disconnected),
            false => jobs.try_recv(),
        };
        match next {
            Ok(job) => waiting.push_back(job),
            Err(TryRecvError::Disconnected) if waiting.is_empty() => return,
            Err(_) => {}
        }
        if let Some(job) = waiting.pop_front() {
            waiting.extend(step(job));
        }
    }
}

/// One piece. Returns the job if there is more to do.
fn step(mut job: Job) -> Option<Job> {
    if job.given_up.load(Ordering::Relaxed) {
        return None;
    }
    let result: Result<bool, Errno> = job.work.step();
    let answer: Result<&[&[u8]], Errno> = match result {
        Ok(false) => return Some(job),
        Ok(true) => Ok(&[]),
        Err(errno) => Err(errno),
    };
    let _nothing_handed_over = job.parked.answer(answer);
    None
}
