//! A crew: processes on one mount that make the calls of locks they are told to, each with threads that wait, watched from outside.
//! Everything in it ends in Drop. Knows nothing of what the answers should be.

mod op;
mod watch;
mod worker;

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustix::fd::AsFd;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, send, socketpair};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub use op::{Answer, Op};
pub use watch::{Quiet, Thread};
pub use worker::{INTERRUPT, RESTART, SLOTS};

use crate::common::lock::signal_thread;
use crate::common::{raw, wait_until};
use op::{SIZE, Word};

/// How long an answer may take that should take microseconds.
const PATIENCE: Duration = Duration::from_secs(30);

/// A living worker.
pub struct Life {
    /// Its process.
    pub pid: i32,
    handle: OwnedFd,
    /// Its threads that wait.
    pub threads: Vec<Thread>,
}

struct Member {
    socket: OwnedFd,
    life: Option<Life>,
    done: VecDeque<(u8, i32)>,
    bells: usize,
}

/// Processes that work on one directory.
pub struct Crew {
    root: Child,
    /// The workers; the last is the first process, which has no slots in use and forks the others.
    members: Vec<Member>,
}

fn pair() -> (OwnedFd, OwnedFd) {
    socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).expect("a socket pair")
}

impl Crew {
    /// Starts one with places for that many workers, none of which lives yet, with that many threads each.
    pub fn start(place: &Path, members: usize, threads: usize) -> Self {
        let (first, there) = pair();
        let root = worker::program()
            .env(worker::MARK, format!("{members} {threads}"))
            .current_dir(place)
            .stdin(Stdio::from(there))
            .stdout(Stdio::null())
            .spawn()
            .expect("a crew");
        let mut crew = Self { root, members: vec![] };
        for _ in 0..members {
            let (here, there) = pair();
            raw::send_descriptor(&first, there);
            crew.members.push(Member::new(here));
        }
        crew.members.push(Member::new(first));
        crew.greet(members);
        crew
    }

    /// As [`Crew::start`], with all workers alive.
    pub fn of(place: &Path, members: usize, threads: usize) -> Self {
        let mut crew = Self::start(place, members, threads);
        for who in 0..members {
            crew.spawn(None, who);
        }
        crew
    }

    /// Waits for a worker's first word.
    fn greet(&mut self, who: usize) {
        match self.word(who, PATIENCE) {
            Some(Word::Hello { pid, threads }) => self.members[who].life = Some(Life::new(pid, &threads)),
            other => panic!("worker {who} does not begin: {other:?}"),
        }
    }

    /// Lets a dead place live: a child of another worker, with its slots, or a new process.
    pub fn spawn(&mut self, parent: Option<usize>, who: usize) {
        assert!(self.members[who].life.is_none(), "worker {who} lives");
        let parent = parent.unwrap_or(self.members.len() - 1);
        let to = u8::try_from(who).expect("a small crew");
        self.one(parent, Op::Fork { to });
        self.greet(who);
    }

    /// Whether it lives.
    pub fn lives(&self, who: usize) -> bool {
        self.members[who].life.is_some()
    }

    /// A living worker's process and threads.
    pub fn life(&mut self, who: usize) -> &mut Life {
        self.members[who].life.as_mut().expect("it lives")
    }

    /// Its process.
    pub fn pid(&self, who: usize) -> i32 {
        self.members[who].life.as_ref().expect("it lives").pid
    }

    /// Gives a batch of work.
    pub fn tell(&mut self, who: usize, ops: &[Op]) {
        let bytes: Vec<u8> = ops.iter().flat_map(|op| op.encode()).collect();
        send(&self.members[who].socket, &bytes, SendFlags::NOSIGNAL).expect("the worker's socket");
    }

    /// The answers to the oldest batch without.
    pub fn answers(&mut self, who: usize) -> Vec<Answer> {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.word(who, end.saturating_duration_since(Instant::now())) {
                Some(Word::Answers(answers)) => return answers,
                Some(word) => self.members[who].put_aside(word),
                None => panic!("worker {who} does not answer within {PATIENCE:?}"),
            }
        }
    }

    /// Does one thing.
    pub fn one(&mut self, who: usize, op: Op) -> Answer {
        self.tell(who, &[op]);
        self.answers(who)[0]
    }

    /// The thread and the result of a wait that is over, if one is by then.
    pub fn done(&mut self, who: usize, limit: Duration) -> Option<(u8, i32)> {
        let end = Instant::now() + limit;
        loop {
            if let Some(done) = self.members[who].done.pop_front() {
                return Some(done);
            }
            let word = self.word(who, end.saturating_duration_since(Instant::now()))?;
            self.members[who].put_aside(word);
        }
    }

    /// Sends a signal to a thread, and waits until its handler has run.
    pub fn signal(&mut self, who: usize, thread: u8, signal: i32) {
        let life = self.life(who);
        signal_thread(life.pid, life.threads[usize::from(thread)].id, signal).expect("the thread");
        let end = Instant::now() + PATIENCE;
        while self.members[who].bells == 0 {
            let word = self.word(who, end.saturating_duration_since(Instant::now()));
            let word = word.unwrap_or_else(|| panic!("worker {who} handles no signal within {PATIENCE:?}"));
            self.members[who].put_aside(word);
        }
        self.members[who].bells -= 1;
    }

    /// SIGSTOP; returns when all its threads have stopped.
    pub fn stop(&mut self, who: usize) {
        let life = self.life(who);
        pidfd_send_signal(&life.handle, Signal::STOP).expect("kill");
        let pid = life.pid;
        wait_until("it stops", PATIENCE, || watch::has_stopped(pid));
    }

    /// SIGCONT.
    pub fn go_on(&mut self, who: usize) {
        pidfd_send_signal(&self.life(who).handle, Signal::CONT).expect("kill");
    }

    /// Waits until a thread sleeps in a lock call.
    pub fn wait_for_wait(&mut self, who: usize, thread: u8) {
        let thread = &self.life(who).threads[usize::from(thread)];
        let end = Instant::now() + PATIENCE;
        while !thread.waits() {
            assert!(Instant::now() < end, "a thread of {who} does not wait");
            std::thread::yield_now();
        }
    }

    /// SIGKILL; returns when it and all that it had open is gone.
    pub fn kill(&mut self, who: usize) {
        let life = self.members[who].life.take().expect("it lives");
        pidfd_send_signal(&life.handle, Signal::KILL).expect("kill");
        life.wait();
        self.members[who].forget();
    }

    /// _exit(2) of a worker; returns when it is gone.
    pub fn exit(&mut self, who: usize) {
        self.tell(who, &[Op::Exit {}]);
        let life = self.members[who].life.take().expect("it lives");
        life.wait();
        self.members[who].forget();
    }

    /// execve(2) of a worker by itself.
    pub fn exec(&mut self, who: usize) {
        self.tell(who, &[Op::Exec {}]);
        self.greet(who);
    }

    /// A worker's next word; none within the time.
    fn word(&mut self, who: usize, limit: Duration) -> Option<Word> {
        let member = &self.members[who];
        let mut bytes = vec![0; 1 + SIZE * 256];
        let limit = PollTimeout::try_from(limit).unwrap_or(PollTimeout::MAX);
        if limit.as_millis() != Some(0) {
            let mut fds = vec![PollFd::new(member.socket.as_fd(), PollFlags::POLLIN)];
            if let Some(life) = &member.life {
                fds.push(PollFd::new(life.handle.as_fd(), PollFlags::POLLIN));
            }
            while poll(&mut fds, limit) == Err(nix::errno::Errno::EINTR) {}
        }
        match recv(&member.socket, &mut bytes[..], RecvFlags::DONTWAIT) {
            Ok((0, _)) => panic!("worker {who} is gone"),
            Ok((len, _)) => Some(Word::decode(&bytes[..len])),
            Err(_) => {
                let dead = member.life.as_ref().is_some_and(Life::is_over);
                assert!(!dead, "worker {who} died");
                None
            }
        }
    }
}

impl Member {
    fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            life: None,
            done: VecDeque::new(),
            bells: 0,
        }
    }

    fn put_aside(&mut self, word: Word) {
        match word {
            Word::Done { thread, result } => self.done.push_back((thread, result)),
            Word::Bell => self.bells += 1,
            other => panic!("nobody asked for {other:?}"),
        }
    }

    /// What a worker has said that is dead now.
    fn forget(&mut self) {
        let mut byte = [0];
        while recv(&self.socket, &mut byte[..], RecvFlags::DONTWAIT).is_ok() {}
        self.done.clear();
        self.bells = 0;
    }
}

impl Life {
    fn new(pid: i32, threads: &[i32]) -> Self {
        let id = Pid::from_raw(pid).expect("a pid");
        Self {
            pid,
            handle: pidfd_open(id, PidfdFlags::empty()).expect("it lives"),
            threads: threads.iter().map(|&id| Thread::new(pid, id)).collect(),
        }
    }

    fn ended_within(&self, limit: PollTimeout) -> bool {
        let mut fds = [PollFd::new(self.handle.as_fd(), PollFlags::POLLIN)];
        while poll(&mut fds, limit) == Err(nix::errno::Errno::EINTR) {}
        fds[0].any().unwrap_or(true)
    }

    fn is_over(&self) -> bool {
        self.ended_within(PollTimeout::ZERO)
    }

    fn wait(&self) {
        let limit = PollTimeout::try_from(PATIENCE).expect("a time-out");
        assert!(
            self.ended_within(limit),
            "process {} does not end within {PATIENCE:?}",
            self.pid
        );
    }
}

impl Drop for Crew {
    fn drop(&mut self) {
        let lives: Vec<Life> = self.members.iter_mut().filter_map(|it| it.life.take()).collect();
        for life in &lives {
            let _ = pidfd_send_signal(&life.handle, Signal::KILL);
        }
        // Who can't end in time waits for the mount, whose own end will free it.
        for life in &lives {
            life.ended_within(PollTimeout::from(5000_u16));
        }
        let _ = self.root.kill();
        let _ = self.root.wait();
    }
}
