//! The sysctls with which the kernel itself protects sticky directories. They are the machine's, and tests run side by side, so
//! a test that depends on them holds a guard; knows nothing of what the values do.
//!
//! [`off`]: all are 0, so that only the filesystem can refuse; any number of tests may hold that. [`as_oracle`]: all are as strict as
//! can be, so that tmpfs shows what the kernel would do; one test at a time, and none with [`off`] meanwhile. When the last guard
//! goes, what was there is put back, also when its test panics and when this process is killed: by a shell in a process group of its
//! own. Other processes that use this file wait their turn.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Their names, and the strictest value of each.
const STRICTEST: [(&str, &str); 4] = [
    ("protected_symlinks", "1"),
    ("protected_hardlinks", "1"),
    ("protected_regular", "2"),
    ("protected_fifos", "2"),
];

/// Sets them to its arguments and keeps the lock until its input ends. Another process of tests may have them for a while.
const KEEPER: &str = r#"
trap '' HUP INT QUIT TERM
cd /proc/sys/fs && exec 9< protected_symlinks && flock -w 900 9 || exit 1
s=$(cat protected_symlinks) h=$(cat protected_hardlinks) r=$(cat protected_regular) f=$(cat protected_fifos)
one() { [ "$(cat "protected_$1")" = "$2" ] || echo "$2" > "protected_$1"; }
put() { one symlinks "$1" && one hardlinks "$2" && one regular "$3" && one fifos "$4"; }
put "$@" && echo set && read -r _
put "$s" "$h" "$r" "$f"
"#;

static STATE: Mutex<State> = Mutex::new(State { holders: 0, held: None });
static CHANGED: Condvar = Condvar::new();

struct State {
    holders: usize,
    held: Option<Held>,
}

/// Values in force, and who puts back what was there.
struct Held {
    values: Values,
    keeper: Child,
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
        let wanted = STRICTEST.map(|(_, strictest)| if values == Values::Off { "0" } else { strictest });
        let keeper = Command::new("sh")
            .args(["-c", KEEPER, "keeper"])
            .args(wanted)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .expect("a shell");
        let mut held = Self { values, keeper };
        let mut line = String::new();
        let stdout = held.keeper.stdout.take().expect("it is piped");
        let read = BufReader::new(stdout).read_line(&mut line);
        let set = read.is_ok() && line == "set\n" && now() == wanted;
        assert!(
            set,
            "this test needs fs.protected_* = {wanted:?} and cannot set them; they are {:?}",
            now()
        );
        held
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let status = self.keeper.wait();
        if !status.as_ref().is_ok_and(std::process::ExitStatus::success) {
            eprintln!("fs.protected_* may not be what they were: {status:?}");
        }
    }
}

fn now() -> Vec<String> {
    let read = |name: &str| std::fs::read_to_string(format!("/proc/sys/fs/{name}")).expect("a sysctl");
    STRICTEST.map(|(name, _)| read(name).trim().to_owned()).to_vec()
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
