//! Where a thread of ours may run, and who goes before it.
#![allow(unsafe_code, reason = "one system call that nix does not have")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::{Pid, gettid};

/// A CPU by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cpu(pub usize);

/// Who goes before a thread that could run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// Everybody has his share.
    Share,
    /// All others, and a CPU that runs nothing else counts as free (SCHED_IDLE).
    Last,
}

/// A thread of this process.
#[derive(Clone, Copy, Debug)]
pub struct Thread {
    tid: Pid,
    /// The CPUs it was started with.
    home: CpuSet,
}

impl Thread {
    /// The calling one. Errors where the machine has more CPUs than we can count.
    pub fn current() -> io::Result<Thread> {
        let tid = gettid();
        let home = sched_getaffinity(tid)?;
        Ok(Thread { tid, home })
    }

    /// Ties the thread to one CPU. Errors where it may not be there.
    pub fn tie(&self, cpu: Cpu) -> io::Result<()> {
        if !self.home.is_set(cpu.0)? {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        let mut only = CpuSet::new();
        only.set(cpu.0)?;
        Ok(sched_setaffinity(self.tid, &only)?)
    }

    /// The CPU of the given number among those where the thread may run, where there are just `count` of them.
    pub fn nth_of(&self, count: usize, number: usize) -> Option<Cpu> {
        let mut allowed = (0..CpuSet::count()).filter(|&cpu| self.home.is_set(cpu).unwrap_or(false));
        let found = allowed.clone().nth(number);
        (allowed.by_ref().count() == count).then_some(found?).map(Cpu)
    }

    /// Lets it run wherever it could at first.
    pub fn untie(&self) -> io::Result<()> {
        Ok(sched_setaffinity(self.tid, &self.home)?)
    }

    /// Gives it a turn. Errors: EPERM for taking back [`Turn::Last`] without CAP_SYS_NICE.
    pub fn give(&self, turn: Turn) -> io::Result<()> {
        let policy = match turn {
            Turn::Share => libc::SCHED_OTHER,
            Turn::Last => libc::SCHED_IDLE,
        };
        let param = libc::sched_param { sched_priority: 0 };
        // SAFETY: the call reads one struct, which outlives it.
        let done = unsafe { libc::sched_setscheduler(self.tid.as_raw(), policy, &raw const param) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

/// How long a thread has waited for a CPU though it could have run.
#[derive(Debug)]
pub struct Waits(File);

impl Waits {
    /// Those of the calling thread. Errors where the kernel keeps no account of it.
    pub fn of_current() -> io::Result<Waits> {
        let waits = Waits(File::open("/proc/thread-self/schedstat")?);
        waits.total().ok_or(io::ErrorKind::Unsupported)?;
        Ok(waits)
    }

    /// In all its life. `None` where the kernel does not say.
    pub fn total(&self) -> Option<Duration> {
        let mut text = [0; 64];
        let length = self.0.read_at(&mut text, 0).ok()?;
        waited_in(std::str::from_utf8(&text[..length]).ok()?)
    }
}

fn waited_in(schedstat: &str) -> Option<Duration> {
    schedstat
        .split_whitespace()
        .nth(1)?
        .parse()
        .ok()
        .map(Duration::from_nanos)
}

/// The CPU that a thread of anybody's runs on, or ran on when it went to sleep. `None` where it cannot be seen.
pub fn cpu_of(tid: u32) -> Option<Cpu> {
    cpu_in(&fs::read(format!("/proc/{tid}/stat")).ok()?)
}

/// The 39th field; what the program calls itself is the second, in parentheses, and may hold anything.
fn cpu_in(stat: &[u8]) -> Option<Cpu> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let after = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    after.split_ascii_whitespace().nth(36)?.parse().ok().map(Cpu)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cpu_is_read_behind_any_name() {
        let fields: Vec<String> = (3..=52).map(|field: u32| field.to_string()).collect();
        let stat = format!("7 (a) b ( 1 2) {}", fields.join(" "));
        assert_eq!(cpu_in(stat.as_bytes()), Some(Cpu(39)));
        assert_eq!(cpu_in(b"7 (a) S 1 2"), None);
        assert_eq!(cpu_in(b""), None);
        let cpu = cpu_of(gettid().as_raw().cast_unsigned()).unwrap();
        assert!(Thread::current().unwrap().home.is_set(cpu.0).unwrap());
        assert_eq!(cpu_of(u32::MAX), None);
    }

    #[test]
    fn a_wait_is_read() {
        assert_eq!(waited_in("1073204 96843 2\n"), Some(Duration::from_nanos(96843)));
        assert_eq!(waited_in("1073204"), None);
        assert!(Waits::of_current().unwrap().total().unwrap() < Duration::from_secs(3600));
    }

    #[test]
    fn a_thread_is_tied_and_let_go() {
        let allowed = std::thread::spawn(|| {
            let thread = Thread::current().unwrap();
            let cpu = cpu_of(thread.tid.as_raw().cast_unsigned()).unwrap();
            thread.tie(cpu).unwrap();
            let tied = sched_getaffinity(thread.tid).unwrap();
            thread.untie().unwrap();
            assert!(thread.tie(Cpu(1 << 20)).is_err());
            (thread.home, tied, sched_getaffinity(thread.tid).unwrap())
        });
        let (before, tied, after) = allowed.join().unwrap();
        assert_eq!(before, after);
        assert_eq!((0..CpuSet::count()).filter(|&cpu| tied.is_set(cpu).unwrap()).count(), 1);
    }
}
