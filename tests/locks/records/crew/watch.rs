//! What threads are doing, seen from outside: whether one sleeps in a lock call, and whether a whole process has come to rest.

use std::fs::File;
use std::os::unix::fs::FileExt;

use nix::libc;

/// A thread that waits for locks.
pub struct Thread {
    /// Its id.
    pub id: i32,
    call: File,
}

/// /proc/…/syscall: `running`, or the number of the call that the thread sleeps in and its arguments.
fn call(file: &File) -> Option<i64> {
    let mut bytes = [0; 32];
    let len = file.read_at(&mut bytes, 0).ok()?;
    let text = std::str::from_utf8(&bytes[..len]).ok()?;
    text.split_whitespace().next()?.parse().ok()
}

/// Whether all threads of a process have stopped.
pub fn has_stopped(process: i32) -> bool {
    let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("it lives");
    let states = tasks
        .flatten()
        .map(|it| std::fs::read_to_string(it.path().join("stat")));
    states.flatten().all(|text| text.contains(") T "))
}

impl Thread {
    /// A thread of a process.
    pub fn new(process: i32, id: i32) -> Self {
        let call = File::open(format!("/proc/{process}/task/{id}/syscall")).expect("a living thread");
        Self { id, call }
    }

    /// Whether it sleeps in fcntl(2) or flock(2): what woke it before, it has seen.
    pub fn waits(&self) -> bool {
        call(&self.call).is_some_and(|it| it == libc::SYS_fcntl || it == libc::SYS_flock)
    }
}

/// The threads of a daemon.
pub struct Quiet {
    process: Option<i32>,
    threads: Vec<Thread>,
    looks: u64,
}

impl Quiet {
    /// Of the daemon with that pid; without one everything is always done.
    pub fn new(process: Option<i32>) -> Self {
        Self {
            process,
            threads: vec![],
            looks: 0,
        }
    }

    fn list(&mut self) {
        let Some(process) = self.process else { return };
        let tasks = std::fs::read_dir(format!("/proc/{process}/task")).expect("the daemon lives");
        let ids = tasks.flatten().filter_map(|it| it.file_name().to_str()?.parse().ok());
        self.threads = ids.map(|id| Thread::new(process, id)).collect();
    }

    /// Waits until all threads sleep, twice in a row: whatever was sent to the daemon before, it has dealt with. A thread that a
    /// request wakes counts as running from the moment of that, so none is overlooked.
    pub fn settle(&mut self) {
        if self.process.is_none() {
            return;
        }
        if self.looks.is_multiple_of(256) {
            self.list();
        }
        self.looks += 1;
        let mut calm = 0;
        while calm < 2 {
            let all = self.threads.iter().all(|it| call(&it.call).is_some());
            calm = if all { calm + 1 } else { 0 };
            if !all && self.threads.iter().any(|it| it.call.read_at(&mut [0; 1], 0).is_err()) {
                self.list();
            }
        }
    }

    /// How many threads there are.
    pub fn count(&mut self) -> usize {
        self.list();
        self.threads.len()
    }
}
