//! A process of a row: this test program, started again. Each of its threads, and each child it forks, has a line of its own to the
//! stage: one order is read from it, one call made, one answer written. What the calls are stands in `calls.rs`, `transfers.rs`
//! and `locking.rs`.

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::{Arc, Mutex};

use super::{calls, hammer, locking, tasks, transfers};
use crate::common::identity::Identity;
use crate::common::mandatory::{self, Fd};
use crate::common::map::Map;
use crate::common::raw;

/// Names the player's part and its stage, and the descriptors that execve(2) left it.
pub const PART: &str = "OWLTMP_PLAYER";

/// What a call gave: a value and a few words.
pub type Done = Result<(i64, String), Errno>;

/// A value without words.
pub fn value(result: Result<i64, Errno>) -> Done {
    result.map(|value| (value, String::new()))
}

/// Nothing but that it worked.
pub fn nothing(result: Result<(), Errno>) -> Done {
    result.map(|()| (0, String::new()))
}

/// An order: the words of a line. Those that begin with a colon name slots of the table of descriptors.
pub struct Order<'a> {
    /// The call.
    pub name: &'a str,
    words: Vec<&'a str>,
    slots: Vec<&'a str>,
}

impl<'a> Order<'a> {
    fn of(line: &'a str) -> Self {
        let mut words = line.split_whitespace();
        let name = words.next().expect("a call");
        let (slots, words): (Vec<_>, Vec<_>) = words.partition(|word| word.starts_with(':'));
        Self { name, words, slots }
    }

    /// The argument at that place; slots don't count.
    pub fn word(&self, at: usize) -> &'a str {
        self.find(at)
            .unwrap_or_else(|| panic!("{} needs argument {at}", self.name))
    }

    /// The argument, if it is there.
    pub fn find(&self, at: usize) -> Option<&'a str> {
        self.words.get(at).copied()
    }

    /// A number.
    pub fn number(&self, at: usize) -> i64 {
        number(self.word(at))
    }

    /// An octal number.
    pub fn mode(&self, at: usize) -> Mode {
        Mode::from_raw_mode(u32::from_str_radix(self.word(at), 8).expect("an octal number"))
    }

    /// The slot at that place; `:f` where none is named.
    pub fn slot(&self, at: usize) -> &'a str {
        self.slots.get(at).copied().unwrap_or(":f")
    }
}

/// A number: decimal, or hexadecimal behind `0x`.
pub fn number(text: &str) -> i64 {
    let number = match text.strip_prefix("0x") {
        Some(digits) => i64::from_str_radix(digits, 16),
        None => text.parse(),
    };
    number.unwrap_or_else(|_| panic!("{text}: not a number"))
}

/// The words of open(2): `rw,nb,append`.
pub fn flags(text: &str) -> OFlags {
    let flag = |word: &str| match word {
        "r" | "stay" => OFlags::empty(),
        "w" => OFlags::WRONLY,
        "rw" => OFlags::RDWR,
        "nb" => OFlags::NONBLOCK,
        "append" => OFlags::APPEND,
        "trunc" => OFlags::TRUNC,
        "creat" => OFlags::CREATE,
        "excl" => OFlags::EXCL,
        "direct" => OFlags::DIRECT,
        "sync" => OFlags::SYNC,
        "path" => OFlags::PATH,
        "dir" => OFlags::DIRECTORY,
        "tmpfile" => OFlags::TMPFILE,
        other => panic!("{other}: no flag of open"),
    };
    text.split(',').map(flag).fold(OFlags::empty(), |all, it| all | it)
}

/// What the threads of a process share.
#[derive(Default)]
pub struct Table {
    slots: Mutex<BTreeMap<String, Fd>>,
    maps: Mutex<BTreeMap<String, Map>>,
}

impl Table {
    /// The descriptor in a slot. `:f` and `:n` are there from the first use: `file`, to read and write, and `:n` O_NONBLOCK.
    pub fn fd(&self, slot: &str) -> Result<Fd, Errno> {
        if let Some(&fd) = self.slots.lock().expect("the slots").get(slot) {
            return Ok(fd);
        }
        match slot {
            ":f" => self.open(slot, "file", OFlags::RDWR, Mode::empty()),
            ":n" => self.open(slot, "file", OFlags::RDWR | OFlags::NONBLOCK, Mode::empty()),
            _ => Err(Errno::BADF),
        }
    }

    /// open(2) into a slot.
    pub fn open(&self, slot: &str, name: &str, flags: OFlags, mode: Mode) -> Result<Fd, Errno> {
        let fd = Fd::of(rustix::fs::open(name, flags | OFlags::CLOEXEC, mode)?);
        self.keep(slot, fd);
        Ok(fd)
    }

    /// Puts a descriptor into a slot.
    pub fn keep(&self, slot: &str, fd: Fd) {
        let before = self.slots.lock().expect("the slots").insert(slot.to_owned(), fd);
        assert_eq!(before, None, "{slot} is in use");
    }

    /// Empties a slot; the number stays known to who uses it.
    pub fn forget(&self, slot: &str) -> Result<Fd, Errno> {
        self.slots.lock().expect("the slots").remove(slot).ok_or(Errno::BADF)
    }

    /// The mappings.
    pub fn maps(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Map>> {
        self.maps.lock().expect("the maps")
    }

    fn text(&self) -> String {
        let slots = self.slots.lock().expect("the slots");
        let list: Vec<String> = slots
            .iter()
            .map(|(slot, fd)| format!("{slot}={}", fd.number()))
            .collect();
        list.join(",")
    }
}

/// One line to the stage.
pub struct Player {
    /// Whose part it is.
    pub name: String,
    stage: String,
    /// What it shares with the other threads of its process.
    pub table: Arc<Table>,
}

impl Player {
    fn play(self) {
        let address = SocketAddr::from_abstract_name(&self.stage).expect("a name");
        let Ok(mut line) = UnixStream::connect_addr(&address) else {
            return;
        };
        let hello = format!("{} {} {}\n", self.name, nix::unistd::gettid(), line.as_raw_fd());
        line.write_all(hello.as_bytes()).expect("the stage listens");
        let mut orders = BufReader::new(line.try_clone().expect("a socket"));
        let mut text = String::new();
        loop {
            text.clear();
            if !matches!(orders.read_line(&mut text), Ok(1..)) {
                return;
            }
            let answer = match self.perform(&Order::of(&text)) {
                Ok((value, words)) => format!("{value} {words}\n"),
                Err(errno) => format!("{:?}\n", nix::errno::Errno::from_raw(errno.raw_os_error())),
            };
            if line.write_all(answer.as_bytes()).is_err() {
                return;
            }
        }
    }

    fn other(&self, name: &str) -> Self {
        Self {
            name: name.to_owned(),
            stage: self.stage.clone(),
            table: Arc::clone(&self.table),
        }
    }

    fn perform(&self, order: &Order<'_>) -> Done {
        match order.name {
            "thread" => {
                let other = self.other(order.word(0));
                drop(std::thread::spawn(move || other.play()));
                nothing(Ok(()))
            }
            "fork" | "share" => {
                let other = self.other(order.word(0));
                let child = move || {
                    other.play();
                    0
                };
                value(Ok(match order.name {
                    "fork" => raw::fork(child),
                    _ => mandatory::share_files(child),
                }
                .into()))
            }
            "unshare" => nothing(nix::sched::unshare(nix::sched::CloneFlags::CLONE_FILES).map_err(errno)),
            "reap" => value(Ok(raw::wait(order.number(0) as i32).into())),
            "exec" => Err(self.exec()),
            "exit" => std::process::exit(0),
            "become" => {
                become_user(order);
                nothing(Ok(()))
            }
            "alarm" => {
                mandatory::alarm(u32::try_from(order.number(0)).expect("seconds"));
                nothing(Ok(()))
            }
            "pid" => value(Ok(std::process::id().into())),
            "caught" => value(Ok(mandatory::caught() as i64)),
            "umask" => {
                rustix::process::umask(order.mode(0));
                nothing(Ok(()))
            }
            _ => self.on_the_filesystem(order),
        }
    }

    fn on_the_filesystem(&self, order: &Order<'_>) -> Done {
        transfers::perform(self, order)
            .or_else(|| locking::perform(self, order))
            .or_else(|| calls::perform(self, order))
            .or_else(|| calls::on_names(order))
            .or_else(|| tasks::perform(order))
            .or_else(|| hammer::perform(order))
            .or_else(|| calls::on_maps(self, order))
            .unwrap_or_else(|| panic!("nobody performs {}", order.name))
    }

    /// execve(2) of this program, which goes on with the same part.
    fn exec(&self) -> Errno {
        let error = command(&self.name, &self.stage, &self.table.text()).exec();
        Errno::from_io_error(&error).unwrap_or(Errno::IO)
    }
}

/// The errno of the one library as that of the other.
pub fn errno(error: nix::errno::Errno) -> Errno {
    Errno::from_raw_os_error(error as i32)
}

fn become_user(order: &Order<'_>) {
    use nix::unistd::{Gid, Uid, setgroups, setresgid, setresuid};
    let id = |at| u32::try_from(order.number(at)).expect("an id");
    let groups: Vec<Gid> = (2..)
        .map_while(|at| order.find(at))
        .map(|it| Gid::from_raw(number(it) as u32))
        .collect();
    let who = Identity {
        uid: id(0),
        gid: id(1),
        groups: &[],
    };
    let (uid, gid) = (Uid::from_raw(who.uid), Gid::from_raw(who.gid));
    setgroups(&groups).expect("setgroups");
    setresgid(gid, gid, gid).expect("setresgid");
    setresuid(uid, uid, uid).expect("setresuid");
}

/// The command that starts a player.
pub fn command(name: &str, stage: &str, slots: &str) -> Command {
    let entry = format!("{}::process", module_path!().split_once("::").expect("a crate").1);
    let mut command = Command::new("/proc/self/exe");
    command
        .args([&entry, "--exact", "--nocapture", "--test-threads=1"])
        .env(PART, format!("{name} {stage} {slots}"))
        .stdin(std::process::Stdio::null())
        .stdout(std::process::Stdio::null());
    command
}

/// The process itself; does nothing when it runs as one of the tests.
#[test]
fn process() {
    let Ok(part) = std::env::var(PART) else { return };
    let mut words = part.split(' ');
    let mut word = || words.next().expect("a word");
    let (name, stage) = (word().to_owned(), word().to_owned());
    let table = Arc::new(Table::default());
    for slot in word().split(',').filter(|it| !it.is_empty()) {
        let (slot, fd) = slot.split_once('=').expect("a slot and its descriptor");
        let fd = Fd::numbered(number(fd) as i32);
        if rustix::io::fcntl_getfd(fd).is_ok() {
            table.keep(slot, fd);
        }
    }
    rustix::process::umask(Mode::empty());
    mandatory::catch_signals();
    Player { name, stage, table }.play();
    std::process::exit(0);
}
