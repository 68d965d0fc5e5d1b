//! The sysctls with which the kernel itself protects sticky directories. They are the machine's, and tests run side by side, so
//! a test that depends on them holds a guard; knows nothing of what the values do.
//!
//! [`off`]: all are 0, so that only the filesystem can refuse; any number of tests may hold that. [`as_oracle`]: all are as strict as
//! can be, so that tmpfs shows what the kernel would do; one test at a time, and none with [`off`] meanwhile. The last guard to go
//! puts back what was there, also when its test panics. Other processes that use this file wait their turn.

use rustix::fs::FlockOperation;
use std::fs::File;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Their names, and the strictest value of each.
const STRICTEST: [(&str, &str); 4] = [
    ("protected_symlinks", "1"),
    ("protected_hardlinks", "1"),
    ("protected_regular", "2"),
    ("protected_fifos", "2"),
];

/// How long another process of tests may keep them.
const PATIENCE: Duration = Duration::from_secs(900);

static STATE: Mutex<State> = Mutex::new(State { holders: 0, held: None });
static CHANGED: Condvar = Condvar::new();

struct State {
    holders: usize,
    held: Option<Held>,
}

/// Values in force, what was there before, and what keeps other processes out.
struct Held {
    values: Values,
    before: Vec<(&'static str, String)>,
    turn: File,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Values {
    Off,
    Oracle,
}

/// Keeps the values as they are until dropped.
#[derive(Debug)]
#[must_use = "the values go back when this is dropped"]
pub struct Guard(());

/// All protections of the kernel off; shared with others who want that, and one test may hold several.
pub fn off() -> Guard {
    acquire(Values::Off)
}

/// All protections of the kernel on, alone; never to be asked for by a test that holds a guard already.
pub fn as_oracle() -> Guard {
    acquire(Values::Oracle)
}

fn path(name: &str) -> String {
    format!("/proc/sys/fs/{name}")
}

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn acquire(values: Values) -> Guard {
    let mut state = state();
    while let Some(held) = &state.held
        && (held.values, values) != (Values::Off, Values::Off)
    {
        state = CHANGED.wait(state).unwrap_or_else(PoisonError::into_inner);
    }
    if state.held.is_none() {
        state.held = Some(Held::new(values));
    }
    state.holders += 1;
    Guard(())
}

impl Drop for Guard {
    fn drop(&mut self) {
        let mut state = state();
        state.holders -= 1;
        if state.holders == 0 {
            state.held = None;
            CHANGED.notify_all();
        }
    }
}

impl Held {
    fn new(values: Values) -> Self {
        let turn = File::open(path(STRICTEST[0].0)).unwrap_or_else(|e| panic!("{}: {e}", path(STRICTEST[0].0)));
        super::wait_until("another process of tests gives fs.protected_* back", PATIENCE, || {
            rustix::fs::flock(&turn, FlockOperation::NonBlockingLockExclusive).is_ok()
        });
        // What is written goes back by Drop, also if the next cannot be written.
        let mut held = Self {
            values,
            before: vec![],
            turn,
        };
        for (name, strictest) in STRICTEST {
            let before = std::fs::read_to_string(path(name)).unwrap_or_else(|e| panic!("{}: {e}", path(name)));
            let wanted = if values == Values::Off { "0" } else { strictest };
            if before.trim() == wanted {
                continue;
            }
            if let Err(error) = std::fs::write(path(name), wanted) {
                panic!("this test needs fs.{name} = {wanted} and cannot set it: {error}");
            }
            held.before.push((name, before.trim().to_owned()));
        }
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        for (name, before) in self.before.drain(..) {
            if let Err(error) = std::fs::write(path(name), &before) {
                eprintln!("fs.{name} was {before} and cannot be set back: {error}");
            }
        }
        // By name, since a child of another thread may have a copy of the descriptor for a moment.
        let _ = rustix::fs::flock(&self.turn, FlockOperation::Unlock);
    }
}

fn now() -> Vec<String> {
    let read = |(name, _): (&str, &str)| std::fs::read_to_string(path(name)).expect("a sysctl").trim().to_owned();
    STRICTEST.map(read).to_vec()
}

#[test]
fn guards_set_the_values_and_put_them_back() {
    let strictest = STRICTEST.map(|(_, value)| value.to_owned());
    let one = off();
    let two = off();
    assert_eq!(now(), ["0", "0", "0", "0"]);
    std::thread::scope(|scope| {
        let other = scope.spawn(|| {
            let _oracle = as_oracle();
            assert_eq!(now(), strictest);
        });
        drop(one);
        assert_eq!(now(), ["0", "0", "0", "0"]);
        drop(two);
        other.join().expect("the other thread");
    });
    let panicked = std::panic::catch_unwind(|| {
        let _oracle = as_oracle();
        assert_eq!(now(), strictest);
        panic!("on purpose");
    });
    assert!(panicked.is_err());
    let _again = off();
    assert_eq!(now(), ["0", "0", "0", "0"]);
}
