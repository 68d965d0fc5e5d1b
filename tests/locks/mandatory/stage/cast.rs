//! The processes and threads of one row, seen from outside: orders go to them, answers come back, and whether one waits is read
//! from /proc. All of them are killed in Drop.

use rustix::fd::OwnedFd;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use super::player;
use crate::common::mandatory::signal_thread;

/// How long an answer may take that nothing holds up; far more than it needs on a busy machine.
pub const PATIENCE: Duration = Duration::from_secs(15);
/// How long somebody is looked at before it counts as waiting.
pub const LOOK: Duration = Duration::from_millis(12);

/// The answer to an order, as the player writes it: a value and words, or the name of an errno.
pub type Answer = String;

/// One line to a player.
struct Line {
    socket: UnixStream,
    pid: i32,
    tid: i32,
    /// The number of its socket: in recvfrom(2) on it, it waits for us.
    number: i32,
    process: OwnedFd,
    begun: String,
}

/// All players of a row.
pub struct Cast {
    listener: UnixListener,
    stage: String,
    place: PathBuf,
    lines: BTreeMap<String, Line>,
    children: Vec<Child>,
}

static STAGES: AtomicU32 = AtomicU32::new(0);

impl Cast {
    /// Nobody yet; they will work in the directory `place`.
    pub fn new(place: &Path) -> Self {
        let number = STAGES.fetch_add(1, Ordering::Relaxed);
        let stage = format!("owltmp-stage-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(&stage).expect("a name");
        Self {
            listener: UnixListener::bind_addr(&address).expect("a stage"),
            stage,
            place: place.to_owned(),
            lines: BTreeMap::new(),
            children: vec![],
        }
    }

    /// Starts fresh processes, and waits until they listen.
    pub fn start<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        let mut count = 0;
        for name in names {
            let mut command = player::command(name, &self.stage, "");
            self.children
                .push(command.current_dir(&self.place).spawn().expect("a player"));
            count += 1;
        }
        for _ in 0..count {
            self.admit();
        }
    }

    /// Waits for a line: of a new process, a thread, a child, or a program begun anew.
    pub fn admit(&mut self) -> String {
        self.listener.set_nonblocking(true).expect("nonblocking");
        let end = Instant::now() + PATIENCE;
        let socket = loop {
            match self.listener.accept() {
                Ok((socket, _)) => break socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock && Instant::now() < end => {
                    std::thread::sleep(Duration::from_micros(200));
                }
                Err(error) => panic!("nobody enters: {error}"),
            }
        };
        socket.set_nonblocking(false).expect("blocking");
        let hello = receive(&socket, PATIENCE).expect("a hello");
        let words: Vec<&str> = hello.split_whitespace().collect();
        let pid = nix::sys::socket::getsockopt(&socket, nix::sys::socket::sockopt::PeerCredentials)
            .expect("who it is")
            .pid();
        let process = pidfd_open(Pid::from_raw(pid).expect("a pid"), PidfdFlags::empty()).expect("it lives");
        let line = Line {
            socket,
            pid,
            tid: words[1].parse().expect("a tid"),
            number: words[2].parse().expect("a descriptor"),
            process,
            begun: String::new(),
        };
        self.lines.insert(words[0].to_owned(), line);
        words[0].to_owned()
    }

    fn line(&mut self, who: &str) -> &mut Line {
        self.lines.get_mut(who).unwrap_or_else(|| panic!("{who} is not here"))
    }

    /// Its process id.
    pub fn pid(&mut self, who: &str) -> i32 {
        self.line(who).pid
    }

    /// The name of a process id.
    pub fn name(&self, pid: i32) -> Option<&str> {
        let found = self.lines.iter().find(|(_, line)| line.pid == pid);
        found.map(|(name, _)| name.as_str())
    }

    /// Gives an order.
    pub fn send(&mut self, who: &str, order: &str) {
        let line = self.line(who);
        assert_eq!(line.begun, "", "{who} is not ready for {order:?}");
        line.begun = order.to_owned();
        line.socket
            .write_all(format!("{order}\n").as_bytes())
            .unwrap_or_else(|error| panic!("{who} does not listen: {error}"));
    }

    /// The answer to the order it has, if it comes within `limit`.
    pub fn answer(&mut self, who: &str, limit: Duration) -> Option<Answer> {
        let line = self.line(who);
        assert_ne!(line.begun, "", "{who} has nothing to do");
        let answer = receive(&line.socket, limit)?;
        line.begun.clear();
        Some(answer)
    }

    /// What it does now: its state, and its system call.
    pub fn state(&mut self, who: &str) -> (char, String) {
        let line = self.line(who);
        let read = |name| std::fs::read_to_string(format!("/proc/{}/task/{}/{name}", line.pid, line.tid));
        let stat = read("stat").unwrap_or_default();
        let state = stat
            .rsplit_once(") ")
            .and_then(|(_, rest)| rest.chars().next())
            .unwrap_or('?');
        (state, read("syscall").unwrap_or_default())
    }

    /// Where in the kernel it is.
    pub fn stack(&mut self, who: &str) -> String {
        let line = self.line(who);
        let stack = std::fs::read_to_string(format!("/proc/{}/task/{}/stack", line.pid, line.tid));
        stack.unwrap_or_default().lines().collect::<Vec<_>>().join(" ")
    }

    /// It waits: for the time of a look its thread sleeps, can be interrupted, and is in a system call other than the one
    /// in which it waits for orders; and no answer has come. Err says what it does instead.
    pub fn waits(&mut self, who: &str) -> Result<(), String> {
        let idle = format!("{} {:#x}", nix::libc::SYS_recvfrom, self.line(who).number);
        let end = Instant::now() + PATIENCE;
        let mut since = None;
        loop {
            if let Some(answer) = self.answer(who, Duration::from_micros(500)) {
                return Err(format!("answered {answer}"));
            }
            let (state, call) = self.state(who);
            if state == 'S' && !call.starts_with(&idle) && !call.starts_with("running") {
                let since = *since.get_or_insert_with(Instant::now);
                if since.elapsed() >= LOOK {
                    return Ok(());
                }
            } else {
                since = None;
            }
            if Instant::now() > end {
                return Err(format!("is in state {state}, in {}", call.trim()));
            }
        }
    }

    /// Sends a signal to its thread.
    pub fn signal(&mut self, who: &str, signal: i32) {
        let line = self.line(who);
        signal_thread(line.pid, line.tid, signal).expect("tgkill");
    }

    /// Sends a signal to its process.
    pub fn signal_process(&mut self, who: &str, signal: Signal) {
        pidfd_send_signal(&self.line(who).process, signal).expect("a signal");
    }

    /// Waits until its process is gone: it died, or ended. False if it does not.
    pub fn gone(&mut self, who: &str, limit: Duration) -> bool {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        use std::os::fd::AsFd;
        let line = self.line(who);
        let mut fds = [PollFd::new(line.process.as_fd(), PollFlags::POLLIN)];
        let limit = PollTimeout::try_from(limit).expect("a time");
        let gone = poll(&mut fds, limit).is_ok_and(|n| n > 0);
        if gone {
            let pid = line.pid;
            self.lines.retain(|_, line| line.pid != pid);
        }
        gone
    }
}

/// A line of text from a player.
fn receive(mut socket: &UnixStream, limit: Duration) -> Option<String> {
    let mut text = vec![];
    let mut byte = [0];
    let mut left = limit;
    while text.last() != Some(&b'\n') {
        socket.set_read_timeout(Some(left)).expect("a timeout");
        match socket.read(&mut byte) {
            Ok(1) => text.push(byte[0]),
            Ok(_) => return Some("GONE".to_owned()),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            // A signal of another test in this process.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return Some("GONE".to_owned()),
            Err(error) => panic!("a player's line: {error}"),
        }
        // What began comes to its end.
        left = PATIENCE;
    }
    Some(String::from_utf8(text).expect("text").trim().to_owned())
}

impl Drop for Cast {
    fn drop(&mut self) {
        for line in self.lines.values() {
            let _ = pidfd_send_signal(&line.process, Signal::KILL);
        }
        for child in &mut self.children {
            let _ = child.kill();
            let _ = child.wait();
        }
        // Forked children are not ours to wait for, but the mount is busy until they are gone.
        let names: Vec<String> = self.lines.keys().cloned().collect();
        for name in names {
            if self.lines.contains_key(&name) {
                self.gone(&name, PATIENCE);
            }
        }
    }
}
