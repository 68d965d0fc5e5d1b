//! The thread that answers. It is one for all, waits for nobody, and takes no more than a part of a processor, whatever is asked.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use log::error;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::answers::{Answers, World, is_for, recent, told};
use super::peer::{Line, Peer};
use super::place::Bound;
use super::protocol::{Answer, Ask, Body, Code, Refusal, Request, VERSION, Versioned};
use super::rights::{Judge, Who};
use crate::events::{Event, Notice};

/// The most connections: of one user, of all but those who see all, and of these as well.
const OF_ONE: usize = 16;
const OF_OTHERS: usize = 96;
const OF_ALL: usize = 128;

/// The most connections that are accepted, and notices that are passed on, before others are looked at.
const AT_ONCE: usize = 16;

/// What may wait to be read by one user before a request of his is looked at.
const UNREAD: usize = 64 << 10;

/// How often it is looked for events while somebody follows them.
const PULSE: Duration = Duration::from_millis(50);

/// How often it is looked for those who keep us waiting.
const SWEEP: Duration = Duration::from_secs(2);

/// After work there is a pause of so many times as long, up to the second.
const PAUSE: u32 = 3;
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// A socket that answers, until it is [closed](Control::close) or dropped.
#[derive(Debug)]
pub struct Control {
    bound: Bound,
    closed: AtomicBool,
    /// The thread ends when this is closed.
    _alive: UnixStream,
}

impl Control {
    /// Makes a socket for the mount, if there is a place for it, and answers there. Errors say why there is none.
    pub fn start(world: World) -> Result<Control, String> {
        let (device, owner) = (world.about.device, world.about.owner);
        let (listener, bound) = Bound::new(device, owner)?;
        let control = |alive| Control {
            bound,
            closed: AtomicBool::new(false),
            _alive: alive,
        };
        let (alive, end) = UnixStream::pair().map_err(|error| error.to_string())?;
        let control = control(alive);
        let mut server = Server {
            listener: listener.into(),
            end: end.into(),
            judge: Judge::new(owner),
            answers: Answers::new(world),
            peers: Vec::new(),
            notices: None,
            deaf_until: None,
        };
        let started = thread::Builder::new()
            .name("control".to_owned())
            .spawn(move || server.run());
        // Dropped, it takes its socket away.
        started.map(|_| control).map_err(|error| error.to_string())
    }

    /// Where it is, for people.
    pub fn path(&self) -> std::path::Display<'_> {
        self.bound.path.display()
    }

    /// Takes the socket away. For the end of the process, whichever way that comes.
    pub fn close(&self) {
        if !self.closed.swap(true, Ordering::Relaxed) {
            self.bound.remove();
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.close();
    }
}

struct Server {
    listener: UnixListener,
    end: OwnedFd,
    judge: Judge,
    answers: Answers,
    peers: Vec<Peer>,
    /// Of events, while anybody follows them.
    notices: Option<Receiver<Notice>>,
    /// No connection is accepted before: there are no descriptors.
    deaf_until: Option<Instant>,
}

fn refusal(code: Code, message: impl Into<String>) -> Refusal {
    let message = message.into();
    Refusal { code, message }
}

impl Server {
    fn run(&mut self) {
        while self.wait() {
            let start = Instant::now();
            self.accept();
            self.pass_on();
            self.serve();
            let now = Instant::now();
            self.peers.retain(|peer| !peer.is_over(now));
            if !self.peers.iter().any(|peer| peer.follows) {
                self.notices = None;
            }
            thread::sleep((start.elapsed() * PAUSE).min(LONGEST_PAUSE));
        }
    }

    /// Waits for something to do; false at the end.
    fn wait(&mut self) -> bool {
        let now = Instant::now();
        self.deaf_until = self.deaf_until.filter(|until| *until > now);
        let ear = if self.deaf_until.is_none() {
            PollFlags::POLLIN
        } else {
            PollFlags::empty()
        };
        let ready = self.peers.iter().any(Peer::is_ready);
        let timeout = match () {
            () if ready => PollTimeout::ZERO,
            () if self.notices.is_some() || self.deaf_until.is_some() => PULSE.try_into().unwrap_or(PollTimeout::ZERO),
            () if self.peers.is_empty() => PollTimeout::NONE,
            () => SWEEP.try_into().unwrap_or(PollTimeout::ZERO),
        };
        let mut asked = vec![
            PollFd::new(self.end.as_fd(), PollFlags::POLLIN),
            PollFd::new(self.listener.as_fd(), ear),
        ];
        asked.extend(
            self.peers
                .iter()
                .map(|peer| PollFd::new(peer.descriptor(), peer.wanted())),
        );
        match poll(&mut asked, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => {
                error!("the control socket does not answer any more: {error}");
                return false;
            }
        }
        let told: Vec<PollFlags> = asked
            .iter()
            .map(|it| it.revents().unwrap_or(PollFlags::empty()))
            .collect();
        drop(asked);
        for (peer, events) in self.peers.iter_mut().zip(&told[2..]) {
            if events.contains(PollFlags::POLLOUT) {
                peer.send();
            }
            if events.intersects(PollFlags::POLLIN | PollFlags::POLLHUP) {
                peer.receive();
            }
            peer.note(*events);
        }
        told[0].is_empty()
    }

    fn accept(&mut self) {
        if self.deaf_until.is_some() {
            return;
        }
        for _ in 0..AT_ONCE {
            match self.listener.accept() {
                Ok((stream, _)) => self.greet(stream),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                // Of one who has gone already.
                Err(error) if error.raw_os_error() == Some(libc::ECONNABORTED) => {}
                Err(_) => {
                    self.deaf_until = Some(Instant::now() + PULSE);
                    return;
                }
            }
        }
    }

    fn greet(&mut self, stream: UnixStream) {
        if stream.set_nonblocking(true).is_err() {
            return;
        }
        let who = self.judge.who(&stream);
        let nobody = Who {
            uid: u32::MAX,
            pid: 0,
            all: false,
        };
        let mut peer = Peer::new(stream, who.unwrap_or(nobody));
        match who {
            None => peer.part(refusal(
                Code::Refused,
                "your user is unknown in the user namespace of the mount",
            )),
            Some(who) if !self.has_room_for(who) => peer.part(refusal(Code::Busy, "too many ask already: try again")),
            Some(_) => self.peers.push(peer),
        }
    }

    fn has_room_for(&self, who: Who) -> bool {
        let of = |test: &dyn Fn(&Who) -> bool| self.peers.iter().filter(|peer| test(&peer.who)).count();
        match who.all {
            true => self.peers.len() < OF_ALL,
            false => of(&|other| !other.all) < OF_OTHERS && of(&|other| other.uid == who.uid) < OF_ONE,
        }
    }

    /// One request of each, those first who see all.
    fn serve(&mut self) {
        let (first, others): (Vec<usize>, Vec<usize>) = (0..self.peers.len()).partition(|&at| self.peers[at].who.all);
        for at in first.into_iter().chain(others) {
            let who = self.peers[at].who;
            let of_same = self.peers.iter().filter(|peer| peer.who.uid == who.uid);
            if !self.peers[at].is_ready() || of_same.map(Peer::unsent).sum::<usize>() > UNREAD {
                continue;
            }
            match self.peers[at].line() {
                None => {}
                Some(Line::TooLong) => self.peers[at].part(refusal(Code::Malformed, "the line is too long")),
                Some(Line::Whole(line)) => self.answer(at, &line),
            }
        }
    }

    fn answer(&mut self, at: usize, line: &[u8]) {
        let ask = match understood(line) {
            Ok(ask) => ask,
            Err(refused) => return self.peers[at].part(refused),
        };
        if ask == (Ask::Events { follow: true }) {
            return self.follow(at);
        }
        let who = self.peers[at].who;
        // A fault of ours in one answer is no reason not to give others.
        match catch_unwind(AssertUnwindSafe(|| self.answers.to(who, &ask))) {
            Ok(body) => self.peers[at].answer(body),
            Err(_) => {
                error!("an answer panicked");
                self.peers[at].part(refusal(Code::Failed, "there is a fault in the daemon: see its log"));
            }
        }
    }

    /// Tells somebody what there was, and from now on all there is: nothing twice, and nothing is left out in between.
    fn follow(&mut self, at: usize) {
        if self.notices.is_none() {
            self.notices = Some(self.answers.events().follow());
        }
        let before = self.answers.events().recent();
        let who = self.peers[at].who;
        self.peers[at].answer(Body::Events(recent(who, &before)));
        // What has come for the others meanwhile; this one has it, or has it still to come.
        for notice in self.taken(usize::MAX) {
            let is_new = match &notice {
                Notice::Event(event) => !before.iter().any(|it| Arc::ptr_eq(it, event)),
                Notice::Flood => false,
            };
            self.tell(&notice);
            if is_new && !self.peers[at].follows {
                self.tell_one(at, &notice);
            }
        }
        self.peers[at].follows = true;
    }

    /// Tells those who follow.
    fn pass_on(&mut self) {
        for notice in self.taken(AT_ONCE * AT_ONCE) {
            self.tell(&notice);
        }
    }

    fn taken(&self, most: usize) -> Vec<Notice> {
        let notices = self.notices.iter();
        notices.flat_map(|notices| notices.try_iter()).take(most).collect()
    }

    fn tell(&mut self, notice: &Notice) {
        for at in 0..self.peers.len() {
            if self.peers[at].follows {
                self.tell_one(at, notice);
            }
        }
    }

    fn tell_one(&mut self, at: usize, notice: &Notice) {
        let body = match notice {
            Notice::Event(event) if is_for(self.peers[at].who, event) => event_body(event),
            Notice::Event(_) => return,
            Notice::Flood if self.peers[at].who.all => Body::Flood {},
            Notice::Flood => return,
        };
        if let Ok(mut line) = serde_json::to_vec(&Answer::from(body)) {
            line.push(b'\n');
            self.peers[at].tell(&line);
        }
    }
}

fn event_body(event: &Event) -> Body {
    Body::Event(told(event))
}

/// What a line asks for, or what is wrong with it.
fn understood(line: &[u8]) -> Result<Ask, Refusal> {
    let malformed = |error: serde_json::Error| {
        let error = error.to_string().escape_default().to_string();
        Refusal {
            code: Code::Malformed,
            message: format!("not a request: {error}"),
        }
    };
    let Versioned { version } = serde_json::from_slice(line).map_err(malformed)?;
    if version > VERSION {
        let message = format!(
            "the request is of version {version}, and this daemon speaks {VERSION}: ask with the owltmp that made the mount, or make \
             it anew with yours"
        );
        let code = Code::Version;
        return Err(Refusal { code, message });
    }
    let request: Request = serde_json::from_slice(line).map_err(malformed)?;
    Ok(request.ask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_understood_or_told_what_is_wrong() {
        let code = |line: &[u8]| match understood(line) {
            Ok(_) => None,
            Err(refusal) => {
                assert!(!refusal.message.contains('\n'), "{}", refusal.message);
                Some(refusal.code)
            }
        };
        assert_eq!(code(b"{\"version\":1,\"ask\":\"status\"}"), None);
        assert_eq!(code(b"{\"version\":0,\"ask\":\"statistics\"}"), None);
        assert_eq!(code(b"{\"version\":2,\"ask\":\"unheard of\"}"), Some(Code::Version));
        for bad in [
            &b""[..],
            b"\xff\xfe",
            b"status",
            b"{\"version\":1}",
            b"{\"version\":-1,\"ask\":\"status\"}",
            b"[[[[[[",
        ] {
            assert_eq!(code(bad), Some(Code::Malformed));
        }
        assert_eq!(code(&b"[".repeat(8000)), Some(Code::Malformed));
    }
}
