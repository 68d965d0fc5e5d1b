//! The process that a crew is made of: this test program, started again and forked. Its main thread does what it is told, at once;
//! its other threads wait for locks. It ends when its socket closes.

use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::rc::Rc;

use rustix::net::{RecvFlags, SendFlags, recv, send};

use super::op::{Answer, Op, SIZE, Word};
use crate::common::lock::{self, Borrowed, Record};
use crate::common::uring::{self, By};
use crate::common::{Errno, raw};

/// The environment variable that says which part this program plays: `members threads` of a crew that begins, or `again number
/// socket threads` after execve(2).
pub const MARK: &str = "OWLTMP_CREW";
/// How many slots there are.
pub const SLOTS: u8 = 8;
/// The descriptor number of slot 0. Every number below is in use, and slots that are empty hold /dev/null: so open(2), which takes
/// the lowest free number, can be made to take the slot's.
const BASE: i32 = 200;

/// A signal that ends a wait.
pub const INTERRUPT: i32 = nix::libc::SIGUSR1;
/// A signal after which a wait begins again.
pub const RESTART: i32 = nix::libc::SIGUSR2;

type Mail = Rc<(UnixDatagram, UnixDatagram)>;

struct Worker {
    number: usize,
    /// Of all workers of the crew: a child takes its own.
    sockets: Vec<OwnedFd>,
    /// A socket from which comes what is sent into it.
    mail: Mail,
    jobs: Vec<OwnedFd>,
    threads: usize,
    null: i32,
}

fn number(slot: u8) -> i32 {
    assert!(slot < SLOTS);
    BASE + i32::from(slot)
}

fn result(done: Result<(), Errno>) -> i32 {
    done.err().map_or(0, |errno| -errno.raw_os_error())
}

fn say(socket: i32, word: &Word) {
    let bytes = word.encode();
    // A crew that is gone ends the worker in `serve`.
    let _ = send(Borrowed(socket), &bytes, SendFlags::NOSIGNAL);
}

/// Reads operations of 32 bytes and makes those that wait.
fn wait_for_jobs(jobs: &OwnedFd, socket: i32) {
    let mut bytes = [0; SIZE];
    loop {
        match rustix::io::read(jobs, &mut bytes) {
            Ok(SIZE) => {}
            // A signal that came when the wait was over.
            Err(Errno::INTR) => continue,
            _ => return,
        }
        let (thread, result) = match Op::decode(&bytes) {
            Op::WaitLock {
                thread,
                slot,
                command,
                record,
            } => (thread, result(lock::set(number(slot), command, record))),
            Op::WaitFlock {
                thread,
                slot,
                operation,
            } => (thread, result(lock::flock(number(slot), operation))),
            Op::Queue {
                thread,
                slot,
                command,
                record,
            } => (
                thread,
                queue(slot, command, record).unwrap_or_else(|errno| -errno.raw_os_error()),
            ),
            other => panic!("{other:?} does not wait"),
        };
        say(socket, &Word::Done { thread, result });
    }
}

/// See [`Op::Queue`].
fn queue(slot: u8, command: i32, record: Record) -> Result<i32, Errno> {
    nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).expect("unshare(CLONE_FILES)");
    lock::set(number(slot), command, record)?;
    let file = Borrowed(number(slot + 1));
    let mut bytes = [0; 4];
    rustix::io::pread(file, &mut bytes, 0)?;
    let found = i32::from_le_bytes(bytes);
    rustix::io::pwrite(file, &(found + 1).to_le_bytes(), 0)?;
    let kind = lock::NONE;
    lock::set(number(slot), command, Record { kind, ..record })?;
    Ok(found)
}

impl Worker {
    /// Begins to be the worker of that number.
    fn begin(number: usize, sockets: Vec<OwnedFd>, mail: &Mail, threads: usize, null: i32) -> Self {
        let socket = sockets[number].as_raw_fd();
        lock::bell(socket);
        let (mut jobs, mut ids) = (vec![], vec![]);
        for _ in 0..threads {
            let (ready, told) = std::sync::mpsc::channel();
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe");
            jobs.push(write);
            let run = move || {
                ready.send(lock::thread_id()).expect("the worker waits");
                drop(ready);
                wait_for_jobs(&read, socket);
            };
            std::thread::Builder::new()
                .stack_size(64 << 10)
                .spawn(run)
                .expect("a thread");
            ids.push(told.recv().expect("a thread id"));
        }
        let pid = std::process::id().cast_signed();
        say(socket, &Word::Hello { pid, threads: ids });
        Self {
            number,
            sockets,
            mail: Rc::clone(mail),
            jobs,
            threads,
            null,
        }
    }

    fn serve(mut self) {
        let mut bytes = vec![0; SIZE * 256];
        loop {
            let socket = &self.sockets[self.number];
            let Ok((len, _)) = recv(socket, &mut bytes[..], RecvFlags::empty()) else {
                return;
            };
            if len == 0 {
                return;
            }
            let answers: Vec<Answer> = bytes[..len]
                .chunks(SIZE)
                .map(|op| self.perform(Op::decode(op)))
                .collect();
            let socket = &self.sockets[self.number];
            if send(socket, &Word::Answers(answers).encode(), SendFlags::NOSIGNAL).is_err() {
                return;
            }
        }
    }

    fn perform(&mut self, op: Op) -> Answer {
        let done = match op {
            Op::Open { slot, file, access } => self.open(slot, file, access),
            Op::Close { slot } => {
                let done = lock::close(number(slot));
                self.plug(slot);
                done
            }
            Op::CloseByRing { slot, by_worker } => {
                let by = if by_worker { By::Worker } else { By::Submitter };
                let done = uring::close(by, number(slot));
                self.plug(slot);
                done
            }
            Op::Dup { from, to } => lock::dup_over(number(from), number(to)).map(drop),
            Op::Seek { slot, to } => lock::seek(number(slot), to),
            Op::Truncate { slot, len } => lock::truncate(number(slot), len),
            Op::Lock {
                slot,
                command,
                mut record,
            } => {
                let result = result(lock::fcntl(number(slot), command, &mut record));
                return Answer { result, record };
            }
            Op::Flock { slot, operation } => lock::flock(number(slot), operation),
            Op::WaitLock { thread, .. } | Op::WaitFlock { thread, .. } | Op::Queue { thread, .. } => {
                let job = &self.jobs[usize::from(thread)];
                assert_eq!(rustix::io::write(job, &op.encode()), Ok(SIZE));
                Ok(())
            }
            Op::Post { slot } => {
                raw::send_descriptor(&self.mail.0, lock::take(number(slot)));
                self.plug(slot);
                Ok(())
            }
            Op::Fetch { slot } => {
                lock::close(number(slot)).expect("the plug");
                let fd = raw::receive_descriptor(&self.mail.1).into_raw_fd();
                assert_eq!(fd, number(slot), "the lowest free number");
                Ok(())
            }
            Op::Fork { to } => {
                self.fork(usize::from(to));
                Ok(())
            }
            Op::Exec {} => self.exec(),
            Op::KeepOverExec { slot } => lock::keep_over_exec(number(slot)),
            Op::Exit {} => lock::exit(0),
        };
        Answer::plain(result(done))
    }

    fn open(&self, slot: u8, file: u8, access: u8) -> Result<(), Errno> {
        lock::close(number(slot)).expect("the plug");
        let flags = i32::from(access) | nix::libc::O_CLOEXEC;
        match lock::open(Path::new(&file.to_string()), flags) {
            Ok(fd) => {
                assert_eq!(fd, number(slot), "the lowest free number");
                Ok(())
            }
            Err(errno) => {
                self.plug(slot);
                Err(errno)
            }
        }
    }

    fn plug(&self, slot: u8) {
        assert_eq!(lock::dup_from(self.null, number(slot)), Ok(number(slot)));
    }

    fn fork(&self, to: usize) {
        let parents_jobs: Vec<i32> = self.jobs.iter().map(AsRawFd::as_raw_fd).collect();
        let (threads, null) = (self.threads, self.null);
        lock::fork(|| {
            // The ends that the parent's threads read stay open here and harm nobody.
            for fd in parents_jobs {
                lock::close(fd).expect("a pipe");
            }
            let sockets = self.sockets.iter().map(|it| it.as_fd().try_clone_to_owned());
            let sockets = sockets.collect::<Result<_, _>>().expect("descriptors");
            Self::begin(to, sockets, &self.mail, threads, null).serve();
        });
    }

    fn exec(&self) -> Result<(), Errno> {
        let socket = self.sockets[self.number].as_raw_fd();
        let kept = lock::dup_from(socket, socket)?;
        let error = program()
            .env(MARK, format!("again {} {kept} {}", self.number, self.threads))
            .exec();
        Err(Errno::from_io_error(&error).unwrap_or(Errno::IO))
    }
}

/// This program, told to run [`crew_process`] alone.
pub fn program() -> Command {
    let mut program = Command::new("/proc/self/exe");
    let entry = format!("{}::crew_process", module_path!().split_once("::").expect("a crate").1);
    program.args([&entry, "--exact", "--nocapture", "--test-threads=1"]);
    program
}

fn fill_numbers(null: i32) {
    while lock::dup_from(null, 0).expect("/dev/null again") < BASE + i32::from(SLOTS) - 1 {}
}

/// The process itself; does nothing when it runs as one of the tests.
#[test]
fn crew_process() {
    let Ok(part) = std::env::var(MARK) else { return };
    raw::ignore(nix::libc::SIGCHLD);
    raw::ignore(nix::libc::SIGPIPE);
    lock::handle(INTERRUPT, false);
    lock::handle(RESTART, true);
    let null = lock::open(Path::new("/dev/null"), nix::libc::O_RDWR | nix::libc::O_CLOEXEC).expect("/dev/null");
    let mail = Rc::new(UnixDatagram::pair().expect("a socket pair"));
    let words: Vec<&str> = part.split(' ').collect();
    let value = |at: usize| words[at].parse::<usize>().expect("a number");
    let worker = if words[0] == "again" {
        // Only the own socket is left: no other worker is forked from this one.
        let own = lock::take(i32::try_from(value(2)).expect("a number"));
        let sockets = (0..=value(1)).map(|_| own.try_clone().expect("a descriptor")).collect();
        fill_numbers(null);
        Worker::begin(value(1), sockets, &mail, value(3), null)
    } else {
        let first = std::io::stdin().as_fd().try_clone_to_owned().expect("the socket");
        let others = (0..value(0)).map(|_| raw::receive_descriptor(&first));
        let sockets: Vec<OwnedFd> = others.collect();
        fill_numbers(null);
        let sockets = sockets.into_iter().chain([first]).collect();
        Worker::begin(value(0), sockets, &mail, 0, null).with_threads(value(1))
    };
    worker.serve();
    lock::exit(0);
}

impl Worker {
    /// What its children get.
    fn with_threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
    }
}
