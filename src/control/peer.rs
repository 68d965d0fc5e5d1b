//! One connection: what came in and what is to go out, both bounded. Never waits.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use super::protocol::{Answer, Body, MAX_REQUEST, Refusal};
use super::rights::Who;

/// What may wait to be read by one who follows events: twice what he gets at first, at most.
const BACKLOG: usize = 512 << 10;

/// How long one who asks nothing is kept.
const IDLE: Duration = Duration::from_secs(60);

/// How long one who does not read what he asked for is kept.
const STUCK: Duration = Duration::from_secs(10);

/// One connection.
pub(super) struct Peer {
    stream: UnixStream,
    pub(super) who: Who,
    input: Vec<u8>,
    output: Vec<u8>,
    /// How much of the output is sent.
    sent: usize,
    /// Is told of events.
    pub(super) follows: bool,
    /// Nothing more comes in.
    ended: bool,
    /// What is to go out is the last.
    closing: bool,
    gone: bool,
    /// When something last came in or went out.
    active: Instant,
}

/// A line of input.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// A whole one, without the newline.
    Whole(Vec<u8>),
    /// One that is longer than it may be.
    TooLong,
}

impl Peer {
    /// Preconditions: the stream does not block.
    pub(super) fn new(stream: UnixStream, who: Who) -> Peer {
        Peer {
            stream,
            who,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            follows: false,
            ended: false,
            closing: false,
            gone: false,
            active: Instant::now(),
        }
    }

    pub(super) fn descriptor(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }

    /// What to wait for: to be rid of an answer before the next request is read.
    pub(super) fn wanted(&self) -> PollFlags {
        if self.unsent() > 0 {
            PollFlags::POLLOUT
        } else if self.ended {
            PollFlags::empty()
        } else {
            PollFlags::POLLIN
        }
    }

    /// Bytes that wait to be read by him.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Whether a request is there and can be answered.
    pub(super) fn is_ready(&self) -> bool {
        self.unsent() == 0 && !self.closing && (self.input.contains(&b'\n') || self.input.len() >= MAX_REQUEST)
    }

    /// Whether it is over: he has gone, or has all he is to get, or has kept us waiting.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        let quiet = now.saturating_duration_since(self.active);
        let done = self.unsent() == 0 && !self.is_ready() && (self.closing || self.ended && !self.follows);
        let limit = if self.unsent() > 0 { STUCK } else { IDLE };
        self.gone || done || quiet > limit && !(self.follows && self.unsent() == 0)
    }

    /// What poll(2) says of the other end.
    pub(super) fn note(&mut self, events: PollFlags) {
        if events.intersects(PollFlags::POLLERR | PollFlags::POLLNVAL)
            || self.ended && events.contains(PollFlags::POLLHUP)
        {
            self.gone = true;
        }
    }

    /// Reads some of what has come.
    pub(super) fn receive(&mut self) {
        let room = MAX_REQUEST.saturating_sub(self.input.len());
        if self.ended || room == 0 {
            return;
        }
        let mut buf = [0; 4096];
        let room = room.min(buf.len());
        match self.stream.read(&mut buf[..room]) {
            Ok(0) => self.ended = true,
            Ok(count) => {
                self.input.extend_from_slice(&buf[..count]);
                self.active = Instant::now();
            }
            Err(error) if is_for_later(&error) => {}
            Err(_) => self.gone = true,
        }
    }

    /// The next line, if it is complete.
    pub(super) fn line(&mut self) -> Option<Line> {
        let end = self.input.iter().position(|&byte| byte == b'\n');
        match end {
            Some(end) => {
                let mut line: Vec<u8> = self.input.drain(..=end).collect();
                line.pop();
                Some(Line::Whole(line))
            }
            None if self.input.len() >= MAX_REQUEST => Some(Line::TooLong),
            None => None,
        }
    }

    /// Answers; what cannot be sent at once waits.
    pub(super) fn answer(&mut self, body: Body) {
        // A value that cannot be written there is none; then it is the peer that goes.
        match serde_json::to_vec(&Answer::from(body)) {
            Ok(text) => self.output.extend(text),
            Err(_) => self.gone = true,
        }
        self.output.push(b'\n');
        self.send();
    }

    /// Says why there is no answer, and that is the last.
    pub(super) fn part(&mut self, refusal: Refusal) {
        self.closing = true;
        self.answer(Body::Error(refusal));
    }

    /// Tells one who follows. Whoever does not read is let go.
    pub(super) fn tell(&mut self, line: &[u8]) {
        if self.unsent() + line.len() > BACKLOG {
            self.gone = true;
            return;
        }
        self.output.extend_from_slice(line);
        self.send();
    }

    /// Sends what can be sent now.
    pub(super) fn send(&mut self) {
        while self.unsent() > 0 && !self.gone {
            match self.stream.write(&self.output[self.sent..]) {
                Ok(count) => {
                    self.sent += count;
                    self.active = Instant::now();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if is_for_later(&error) => return,
                Err(_) => self.gone = true,
            }
        }
        self.output = Vec::new();
        self.sent = 0;
    }
}

fn is_for_later(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::control::protocol::Code;

    fn pair() -> (Peer, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let who = Who {
            uid: 7,
            pid: 1,
            all: false,
        };
        (Peer::new(ours, who), theirs)
    }

    fn refusal(length: usize) -> Body {
        Body::Error(Refusal {
            code: Code::Busy,
            message: "x".repeat(length),
        })
    }

    #[test]
    fn lines_are_taken_whole_and_bounded() {
        let (mut peer, mut other) = pair();
        other.write_all(b"one\ntw").unwrap();
        peer.receive();
        assert_eq!(peer.line(), Some(Line::Whole(b"one".to_vec())));
        assert_eq!(peer.line(), None);
        other.write_all(b"o\n\n").unwrap();
        peer.receive();
        assert_eq!(peer.line(), Some(Line::Whole(b"two".to_vec())));
        assert_eq!(peer.line(), Some(Line::Whole(Vec::new())));
        for _ in 0..10 {
            let _full = other.write(&[b'x'; 4096]);
            peer.receive();
        }
        assert_eq!((peer.line(), peer.input.len()), (Some(Line::TooLong), MAX_REQUEST));
    }

    #[test]
    fn who_does_not_read_is_let_go() {
        let (mut peer, _other) = pair();
        peer.follows = true;
        let line = vec![b'x'; 1000];
        for _ in 0..10_000 {
            peer.tell(&line);
        }
        assert!(peer.is_over(Instant::now()) && peer.output.len() <= BACKLOG);
        let (mut peer, _other) = pair();
        peer.answer(refusal(1 << 20));
        assert!(peer.unsent() > 0 && peer.wanted() == PollFlags::POLLOUT);
        assert!(!peer.is_over(Instant::now()) && peer.is_over(Instant::now() + STUCK * 2));
    }

    #[test]
    fn who_closes_gets_what_he_asked_for() {
        let (mut peer, mut other) = pair();
        other.write_all(b"a\n").unwrap();
        other.shutdown(std::net::Shutdown::Write).unwrap();
        peer.receive();
        peer.receive();
        assert!(peer.is_ready() && !peer.is_over(Instant::now()));
        assert!(peer.line().is_some());
        peer.answer(refusal(1));
        assert!(peer.is_over(Instant::now()));
        let mut said = String::new();
        drop(peer);
        other.read_to_string(&mut said).unwrap();
        assert!(said.ends_with("}\n"), "{said}");
    }
}
