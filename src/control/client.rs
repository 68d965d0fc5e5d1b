//! Asking: finds the socket of a mount, makes sure that it is the mount's, and speaks the protocol. What comes back may be from a
//! daemon of another user: it is bounded in length and time, and shown to people as text that no terminal obeys.

use std::fmt;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;

use super::place::{self, NotFound};
use super::protocol::{Answer, Ask, Body, MAX_ANSWER, Request, Status, VERSION, Versioned};
use crate::sys::mountinfo::Device;

/// How long an answer may take: all files may have to be looked at.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long the first one may take, for which nothing is looked at.
const FIRST: Duration = Duration::from_secs(4);

/// Why there is no answer.
#[derive(Debug)]
pub enum Error {
    /// The mount has no socket that the caller could find.
    Absent,
    /// The socket is for somebody else: who made the mount.
    NotYours(u32),
    /// What is there does not belong, or not alone, to who made the mount.
    Untrusted(u32),
    /// It is there, and nobody listens: the daemon has ended.
    Dead,
    /// Whoever listens is not who made the mount.
    Impostor(u32),
    /// The answer is of a later version.
    Newer(u32),
    /// The answer is not understood.
    Garbled,
    /// The daemon does not want to, and why.
    Refused(String),
    /// A system call failed.
    System(io::Error),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Absent => f.write_str(
                "has no control socket: its daemon found no place for one (see its log), or is of a time before there were any",
            ),
            Error::NotYours(uid) => write!(f, "mounted by uid {uid}: only that user and root may ask its daemon"),
            Error::Untrusted(uid) => write!(
                f,
                "its socket, or where it is, cannot be told to be uid {uid}'s alone: not asked (in a user namespace others' never can)"
            ),
            Error::Dead => f.write_str("its daemon has ended and the mount is dead: remove it (owltmp umount)"),
            Error::Impostor(uid) => write!(f, "its socket is answered by uid {uid}, who has not made the mount: not asked"),
            Error::Newer(version) => write!(
                f,
                "its daemon speaks version {version} and this program {VERSION}: use the owltmp that made the mount"
            ),
            Error::Garbled => f.write_str("its daemon gave an answer that is not understood"),
            Error::Refused(message) => f.write_str(message),
            Error::System(_) if self.is_silence() => {
                f.write_str("its daemon does not answer: it may be stopped, or have much to do")
            }
            Error::System(error) => write!(f, "its daemon cannot be asked: {error}"),
        }
    }
}

impl Error {
    /// Whether it says that the mount is none that the caller can ask about, and no more.
    pub fn is_out_of_reach(&self) -> bool {
        matches!(self, Error::Absent | Error::NotYours(_) | Error::Untrusted(_))
    }

    /// Whether it says that the daemon did not answer in time.
    pub fn is_silence(&self) -> bool {
        matches!(self, Error::System(error) if error.kind() == io::ErrorKind::WouldBlock)
    }
}

impl std::error::Error for Error {}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Error {
        Error::System(error)
    }
}

/// A conversation with the daemon of a mount.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    /// How long an answer may take as a whole; `None`: as long as it takes.
    patience: Option<Duration>,
}

impl Client {
    /// Connects to the daemon of the filesystem `device`, mounted by `owner`, and makes sure that it is that one.
    pub fn connect(device: Device, owner: u32) -> Result<Client, Error> {
        let own = geteuid().as_raw() == owner;
        let runtime = if own { place::own_runtime() } else { None };
        let stream = place::find(device, owner, runtime).map_err(|error| match error {
            NotFound::Absent => Error::Absent,
            NotFound::Refused => Error::NotYours(owner),
            NotFound::Untrusted => Error::Untrusted(owner),
            NotFound::Dead => Error::Dead,
            NotFound::Failed(error) => Error::System(error),
        })?;
        let peer = getsockopt(&stream, PeerCredentials).map_err(io::Error::from)?;
        if peer.uid() != owner {
            return Err(Error::Impostor(peer.uid()));
        }
        let stream = UnixStream::from(stream);
        stream.set_nonblocking(false)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut client = Client {
            stream: BufReader::new(stream),
            patience: Some(FIRST),
        };
        // The number may belong to another mount by now, and the daemon of the old one be about to end.
        if client.status(true)?.device != device.to_string() {
            return Err(Error::Absent);
        }
        client.patience = Some(PATIENCE);
        Ok(client)
    }

    /// Sends a request and waits for its answer.
    pub fn ask(&mut self, ask: &Ask) -> Result<Answer, Error> {
        let mut line = serde_json::to_vec(&Request::from(ask.clone())).map_err(|_| Error::Garbled)?;
        line.push(b'\n');
        // One that does not want us has said why, and does not read.
        let sent = self.stream.get_mut().write_all(&line);
        let answer = self.next();
        match (sent, answer) {
            (_, Ok(Some(answer))) => Ok(answer),
            (Err(error), _) => Err(error.into()),
            (Ok(()), Ok(None)) => Err(Error::Garbled),
            (Ok(()), Err(error)) => Err(error),
        }
    }

    /// What the mount is and holds.
    pub fn status(&mut self, brief: bool) -> Result<Status, Error> {
        match self.ask(&Ask::Status { brief })?.body {
            Body::Status(status) => Ok(*status),
            _ => Err(Error::Garbled),
        }
    }

    /// From now on waits for an answer as long as it takes.
    pub fn be_patient(&mut self) {
        self.patience = None;
    }

    /// The next answer; `None` when there will be none.
    #[allow(clippy::should_implement_trait, reason = "an iterator would go on after an error")]
    pub fn next(&mut self) -> Result<Option<Answer>, Error> {
        let line = self.line()?;
        if line.is_empty() {
            return Ok(None);
        }
        if !is_plain(line.trim_ascii_end()) {
            return Err(Error::Garbled);
        }
        let Versioned { version } = serde_json::from_slice(&line).map_err(|_| Error::Garbled)?;
        if version > VERSION {
            return Err(Error::Newer(version));
        }
        let answer: Answer = serde_json::from_slice(&line).map_err(|_| Error::Garbled)?;
        match answer.body {
            Body::Error(refusal) => Err(Error::Refused(refusal.message)),
            _ => Ok(Some(answer)),
        }
    }

    /// A line with its end, or as much of one as there is or may be. Who sends it bit by bit has no more time than others.
    fn line(&mut self) -> io::Result<Vec<u8>> {
        let end = self.patience.and_then(|patience| Instant::now().checked_add(patience));
        let mut line = Vec::new();
        while line.len() <= MAX_ANSWER {
            let left = end.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            self.stream.get_ref().set_read_timeout(left)?;
            let bytes = match self.stream.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                bytes => bytes?,
            };
            let newline = bytes.iter().position(|&byte| byte == b'\n');
            let count = newline.map_or(bytes.len(), |at| at + 1);
            line.extend_from_slice(&bytes[..count]);
            self.stream.consume(count);
            if newline.is_some() || count == 0 {
                break;
            }
        }
        Ok(line)
    }
}

/// Whether a line of JSON has nothing in it, in any of its strings, but printable ASCII: what a daemon has escaped. A daemon of
/// another user need not do so, and what it says is printed.
fn is_plain(line: &[u8]) -> bool {
    let mut bytes = line.iter();
    while let Some(byte) = bytes.next() {
        let good = match byte {
            b'\\' => matches!(bytes.next(), Some(b'\\' | b'"')),
            byte => matches!(byte, b' '..=b'~'),
        };
        if !good {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_answers_bit_by_bit_has_no_more_time() {
        let (stream, mut other) = UnixStream::pair().unwrap();
        std::thread::spawn(move || {
            while other.write_all(b"x").is_ok() {
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let mut client = Client {
            stream: BufReader::new(stream),
            patience: Some(Duration::from_millis(100)),
        };
        let start = Instant::now();
        let result = client.next();
        let waited = matches!(&result, Err(Error::System(error)) if error.kind() == io::ErrorKind::WouldBlock);
        assert!(waited && start.elapsed() < Duration::from_secs(5), "{result:?}");
    }

    #[test]
    fn a_line_that_a_terminal_would_obey_is_no_answer() {
        assert!(is_plain(br#"{"version":1,"a":"\\x1b[31m \" ~"}"#));
        for bad in [
            &b"\x1b"[..],
            b"\"\\u001b\"",
            b"\"\\n\"",
            b"\xc3\xa4",
            b"\n",
            b"\\",
            b"\x7f",
        ] {
            assert!(!is_plain(bad), "{bad:?}");
        }
    }
}
