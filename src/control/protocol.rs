//! The words of the protocol: a request is a line of JSON, and so is an answer. docs/control.md tells what they mean.
//!
//! Versions: a field may be added at any time, and whoever does not know it passes over it. Where a field changes its meaning or
//! goes, [`VERSION`] grows, and who meets a greater version than his own says so and no more.

use serde::{Deserialize, Serialize};

pub use super::cleaned::{Cleaned, Taken};
pub use super::lock_words::{Held, LockedFile, Locks, Unlocked, Waiting};
pub use super::statistics::{Requests, Statistics, Worker};

/// The version spoken here.
pub const VERSION: u32 = 1;

/// The longest request, in bytes, the newline included.
pub const MAX_REQUEST: usize = 8 << 10;

/// The longest answer, in bytes, the newline included.
pub const MAX_ANSWER: usize = 1 << 20;

/// A request as it is read first: who asks in a later version may ask for what is unknown here.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Versioned {
    /// The version that the line is written in.
    pub version: u32,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// [`VERSION`].
    pub version: u32,
    /// What is asked for.
    #[serde(flatten)]
    pub ask: Ask,
}

/// What may be asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum Ask {
    /// What the mount is and holds.
    Status {
        /// Without users and deleted files, which take a walk over all files.
        #[serde(default)]
        brief: bool,
    },
    /// Who holds locks and who waits for them.
    Locks {
        /// On which file; all where there is none.
        #[serde(default)]
        inode: Option<u64>,
    },
    /// To break locks.
    Unlock {
        /// On which file.
        inode: u64,
        /// Whose, by process; everybody's where there is none.
        #[serde(default)]
        pid: Option<u32>,
        /// The first byte.
        #[serde(default)]
        first: u64,
        /// The last byte; to the end where there is none.
        #[serde(default)]
        last: Option<u64>,
    },
    /// What the rules refused.
    Events {
        /// And what they refuse from now on, a line each.
        #[serde(default)]
        follow: bool,
    },
    /// What the kernel asked for.
    Statistics,
    /// To have removed what is old.
    Clean {
        /// What was not touched for so long, in seconds.
        age_s: u64,
        /// It is only looked what that would be.
        #[serde(default)]
        dry_run: bool,
        /// The time it is taken to be; the time it is, where there is none.
        #[serde(default)]
        now_ms: Option<u64>,
    },
    /// How that went.
    Cleaned,
}

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// [`VERSION`].
    pub version: u32,
    /// What is answered.
    #[serde(flatten)]
    pub body: Body,
}

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Body {
    /// To `status`.
    Status(Box<Status>),
    /// To `locks`.
    Locks(Locks),
    /// To `unlock`.
    Unlocked(Unlocked),
    /// To `events`: what there was.
    Events(Events),
    /// To `events` with `follow`: one that came later.
    Event(Event),
    /// To `events` with `follow`: some that came later were only counted, for there were too many.
    Flood {},
    /// To `statistics`.
    Statistics(Statistics),
    /// To `clean`, and to `cleaned` while it is under way.
    Cleaning {},
    /// To `cleaned`.
    Cleaned(Cleaned),
    /// To what cannot be answered.
    Error(Refusal),
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// For programs.
    pub code: Code,
    /// For people: one line.
    pub message: String,
}

/// The reasons there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The line is not understood.
    Malformed,
    /// The line is of a later version.
    Version,
    /// It is not for this user.
    Refused,
    /// There is none such.
    NotFound,
    /// Too many ask.
    Busy,
    /// It was tried and failed.
    Failed,
}

/// Who asks, as the daemon sees him.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct You {
    /// His user.
    pub uid: u32,
    /// Whether he sees all: root, and who made the mount. Others see what is theirs.
    pub all: bool,
}

/// What is used of what may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// What is used.
    pub used: u64,
    /// The limit; none where there is none.
    pub most: Option<u64>,
}

/// What a mount is and holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The device number of the filesystem (`st_dev`), `major:minor`.
    pub device: String,
    /// Where it was mounted.
    pub mountpoint: String,
    /// Who made it.
    pub uid: u32,
    /// The process that serves it, in its own PID namespace.
    pub pid: u32,
    /// The version of the program that serves it.
    pub program: String,
    /// Who asks.
    pub you: You,
    /// Since when it is mounted, in milliseconds since 1970.
    pub started_ms: u64,
    /// How long it has been mounted.
    pub uptime_ms: u64,
    /// The options in force, each as it may be given to `-o`, but for the flags.
    pub options: Vec<String>,
    /// The flags in force, which a remount changes.
    pub flags: Vec<String>,
    /// How the kernel gets at contents: `passthrough` or `cached`.
    pub io: String,
    /// Threads that serve requests.
    pub workers: u64,
    /// What was agreed on with the kernel.
    pub kernel: Kernel,
    /// Bytes of contents.
    pub bytes: Room,
    /// Inodes, and what else counts as such.
    pub inodes: Room,
    /// Who has files; of others than root and the mount's owner only himself. Absent where asked for briefly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub users: Option<Vec<User>>,
    /// Users that did not fit into the line.
    #[serde(default)]
    pub users_left_out: u64,
    /// Open files; only for who sees all.
    #[serde(default)]
    pub open: Option<u64>,
    /// Files that have no name any more and are in use. Absent where asked for briefly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deleted: Option<Vec<Deleted>>,
    /// Those that did not fit into the line.
    #[serde(default)]
    pub deleted_left_out: u64,
    /// Whether `owltmp status` could look at all processes for `holders`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub all_processes_seen: Option<bool>,
    /// How many wait for locks.
    pub waiting: u64,
    /// How many events of each rule there were; only for who sees all.
    #[serde(default)]
    pub events: Option<Vec<Counted>>,
}

/// What was agreed on with the kernel, by the names of fuse.h.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kernel {
    /// The version of its protocol.
    pub protocol: String,
    /// What it offered and is used.
    pub used: Vec<String>,
    /// What it offered and was refused.
    pub refused: Vec<String>,
    /// What would be used if it were offered.
    pub missing: Vec<String>,
}

/// What a user has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    /// Who.
    pub uid: u32,
    /// Memory that his files use, and the limit for him (`user_size=`).
    pub bytes: Room,
    /// His inodes, and the limit for him (`user_inodes=`).
    pub inodes: Room,
}

/// A file without a name that is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deleted {
    /// Its inode number.
    pub inode: u64,
    /// `file`, `directory`, `symlink`, `fifo`, `socket` or `device`.
    pub kind: String,
    /// Its size.
    pub size: u64,
    /// Memory that it uses.
    pub bytes: u64,
    /// Its owner.
    pub owner: u32,
    /// How many open files of it there are. None: it is mapped, or on its way out.
    pub open: u64,
    /// Threads that opened it, as far as known. They may have ended, and others have the descriptor.
    pub openers: Vec<u32>,
    /// Who has it now: found by `owltmp status` in /proc, not known to the daemon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holders: Option<Vec<Holder>>,
}

/// A process that has a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Its number.
    pub pid: u32,
    /// What it calls itself.
    pub command: String,
    /// How: `descriptor N` or `mapping`.
    pub by: String,
}

/// A number of events.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counted {
    /// By which rule.
    pub rule: String,
    /// How many.
    pub count: u64,
}

/// What the rules refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Events {
    /// Oldest first.
    pub events: Vec<Event>,
    /// Older ones that did not fit into the line.
    #[serde(default)]
    pub left_out: u64,
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// `refused`; `noted` where the rule is only logged; `broken` for locks.
    pub verb: String,
    /// By which rule.
    pub rule: String,
    /// Who.
    pub uid: u32,
    /// By which process, in the daemon's PID namespace; 0 where that is unknown.
    pub pid: u32,
    /// What it calls itself.
    pub command: String,
    /// On what: a path below the mount, where one was found.
    pub path: Option<String>,
    /// `file`, `directory`, `symlink`, `fifo`, `socket` or `device`.
    pub kind: String,
    /// Its inode number.
    pub inode: u64,
    /// Its owner.
    pub owner: u32,
    /// The error the caller got.
    pub errno: Option<String>,
    /// What more there is to say.
    pub why: Option<String>,
    /// All of it in one line, as it is logged.
    pub text: String,
}

impl From<Body> for Answer {
    fn from(body: Body) -> Answer {
        Answer { version: VERSION, body }
    }
}

impl From<Ask> for Request {
    fn from(ask: Ask) -> Request {
        Request { version: VERSION, ask }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(text: &str) -> serde_json::Result<Request> {
        serde_json::from_str(text)
    }

    #[test]
    fn requests_are_short_and_fields_may_be_added() {
        let status = Request::from(Ask::Status { brief: false });
        assert_eq!(request(r#"{"version":1,"ask":"status"}"#).unwrap(), status);
        assert_eq!(
            request(r#"{"new":[{}],"version":1,"ask":"status","more":null}"#).unwrap(),
            status
        );
        let unlock = request(r#"{"version":1,"ask":"unlock","inode":7,"last":9}"#).unwrap();
        let wanted = Ask::Unlock {
            inode: 7,
            pid: None,
            first: 0,
            last: Some(9),
        };
        assert_eq!(unlock.ask, wanted);
        for bad in [
            "",
            "{}",
            r#"{"version":1}"#,
            r#"{"version":1,"ask":"unlock"}"#,
            r#"{"ask":"status"}"#,
            "[1]",
        ] {
            assert!(request(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_say_what_they_are() {
        let refusal = Refusal {
            code: Code::NotFound,
            message: "no \"such\"\nfile".to_owned(),
        };
        let answer = Answer::from(Body::Error(refusal));
        let text = serde_json::to_string(&answer).unwrap();
        let wanted = r#"{"version":1,"error":{"code":"not_found","message":"no \"such\"\nfile"}}"#;
        assert_eq!(text, wanted, "one line");
        assert_eq!(serde_json::from_str::<Answer>(&text).unwrap(), answer);
        let later = r#"{"when":5,"version":1,"flood":{"much":true}}"#;
        assert_eq!(serde_json::from_str::<Answer>(later).unwrap().body, Body::Flood {});
    }
}
