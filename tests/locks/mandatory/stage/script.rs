//! The language of rows, and who reads it. Statements end with a semicolon or a line.
//!
//! `A write :n 10@5 = EAGAIN`: process A makes the call and it gives that. Without `=` it must work. `B read 10@0 = blocked`: it
//! must be waiting; `B = 10`: now it is done, and gave that; `B still`: it still waits; `B = interrupted` after `signal B usr1`:
//! it waited until the signal, EINTR. `= soon 10`: it is made again and again until it gives that. `10|EAGAIN` is the one or the other, `*` anything, `10 [A5 .5]` also what was read. A
//! process is there from the start (A, B, C) or made by `A thread T`, `A fork D`, `A share D`. Statements in small letters
//! are the stage's: `file NAME MODE SIZE`, `signal`, `kill`, `stop`, `cont`, `ended`, `bind`.

use rustix::fs::{CWD, Mode, OFlags, chmodat};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use super::cast::{Answer, Cast, PATIENCE};
use crate::common::dir::write_all;

/// Who reads a script: the processes, and the directory they work in.
pub struct Script<'a> {
    cast: Cast,
    place: &'a Path,
}

/// What went wrong.
pub type Outcome = Result<(), String>;

fn is_player(word: &str) -> bool {
    word.starts_with(|c: char| c.is_ascii_uppercase())
}

fn statements(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().map(|line| line.split('#').next().expect("a part"));
    lines
        .flat_map(|line| line.split(';'))
        .map(str::trim)
        .filter(|it| !it.is_empty())
}

/// The processes that are there from the start: all that speak and that nobody makes.
fn first_ones(text: &str) -> BTreeSet<&str> {
    let mut made = BTreeSet::new();
    let mut all = BTreeSet::new();
    for statement in statements(text) {
        let words: Vec<&str> = statement.split_whitespace().collect();
        if !is_player(words[0]) {
            continue;
        }
        all.insert(words[0]);
        if words.len() > 2 && ["thread", "fork", "share"].contains(&words[1]) {
            made.insert(words[2]);
        }
    }
    &all - &made
}

/// Makes a file with that mode, of that many dots, that nobody has open.
pub fn make_file(path: &Path, mode: u32, size: usize) {
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::CLOEXEC;
    let fd = rustix::fs::open(path, flags, Mode::from_raw_mode(0o600)).expect("a new file");
    write_all(&fd, &vec![b'.'; size]);
    drop(fd);
    chmodat(CWD, path, Mode::from_raw_mode(mode), rustix::fs::AtFlags::empty()).expect("chmod");
}

/// Plays a script in a directory. `file` is there from the start, marked and of 100 bytes, where the script makes none.
pub fn play(text: &str, place: &Path) -> Outcome {
    let makes = statements(text).any(|it| it.starts_with("file file ") || it == "empty");
    if !makes {
        make_file(&place.join("file"), 0o2666, 100);
    }
    let mut script = Script {
        cast: Cast::new(place),
        place,
    };
    script.cast.start(first_ones(text));
    for statement in statements(text) {
        script
            .statement(statement)
            .map_err(|what| format!("{statement:?}: {what}"))?;
    }
    Ok(())
}

impl Script<'_> {
    fn statement(&mut self, text: &str) -> Outcome {
        let (call, expected) = match text.split_once(" = ") {
            Some((call, expected)) => (call.trim(), Some(expected.trim())),
            None => (text, None),
        };
        let (who, order) = call.split_once(' ').unwrap_or((call, ""));
        if !is_player(who) {
            return self.of_the_stage(who, order);
        }
        match (order, expected) {
            ("", Some("interrupted")) => self.judge(who, "EINTR"),
            ("", Some(expected)) => self.judge(who, expected),
            ("still", None) => self.cast.waits(who),
            _ => self.call(who, order.trim(), expected.unwrap_or("ok")),
        }
    }

    fn call(&mut self, who: &str, order: &str, expected: &str) -> Outcome {
        self.cast.send(who, order);
        let mut words = order.split_whitespace();
        match words.next().expect("a call") {
            "exec" => {
                let name = self.cast.admit();
                return if name == who {
                    Ok(())
                } else {
                    Err(format!("{name} came"))
                };
            }
            "exit" => return self.gone(who),
            "thread" | "fork" | "share" => {
                self.judge(who, "ok")?;
                let name = self.cast.admit();
                return if Some(name.as_str()) == words.next() {
                    Ok(())
                } else {
                    Err(format!("{name} came"))
                };
            }
            _ => {}
        }
        if let Some(expected) = expected.strip_prefix("soon ") {
            return self.soon(who, order, expected);
        }
        match expected {
            "blocked" => self.cast.waits(who),
            "pending" => Ok(()),
            expected => self.judge(who, expected),
        }
    }

    /// Makes the call again and again until it gives that; it has been made already.
    fn soon(&mut self, who: &str, order: &str, expected: &str) -> Outcome {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.judge(who, expected) {
                Err(_) if Instant::now() < end => std::thread::sleep(Duration::from_millis(1)),
                outcome => return outcome,
            }
            self.cast.send(who, order);
        }
    }

    fn gone(&mut self, who: &str) -> Outcome {
        match self.cast.gone(who, PATIENCE) {
            true => Ok(()),
            false => Err(format!("{who} lives on: {:?}", self.cast.state(who))),
        }
    }

    /// Takes the answer and compares.
    fn judge(&mut self, who: &str, expected: &str) -> Outcome {
        let Some(answer) = self.cast.answer(who, PATIENCE) else {
            let (state, call) = self.cast.state(who);
            let stack = self.cast.stack(who);
            return Err(format!("no answer; state {state}, in {}, {stack}", call.trim()));
        };
        let answer = self.with_names(&answer);
        if fits(&answer, expected) {
            return Ok(());
        }
        Err(format!("gave {answer}, not {expected}"))
    }

    /// A pid in the answer of F_GETLK becomes the name of the process.
    fn with_names(&self, answer: &str) -> Answer {
        let words: Vec<&str> = answer.split(' ').collect();
        if let [_, "R" | "W", range, pid] = words[..]
            && range.contains('-')
        {
            let name = pid.parse().ok().and_then(|pid| self.cast.name(pid)).unwrap_or(pid);
            return format!("{} {} {range} {name}", words[0], words[1]);
        }
        answer.to_owned()
    }

    fn of_the_stage(&mut self, what: &str, rest: &str) -> Outcome {
        let words: Vec<&str> = rest.split_whitespace().collect();
        match what {
            "file" => {
                let mode = u32::from_str_radix(words[1], 8).expect("a mode");
                let size = words[2].parse().expect("a size");
                make_file(&self.place.join(words[0]), mode, size);
            }
            "empty" => {}
            "signal" => {
                let signal = match words[1] {
                    "usr1" => nix::libc::SIGUSR1,
                    "usr2" => nix::libc::SIGUSR2,
                    other => panic!("{other}: no signal"),
                };
                self.cast.signal(words[0], signal);
            }
            "kill" => {
                self.cast.signal_process(words[0], Signal::KILL);
                return self.gone(words[0]);
            }
            "stop" => self.cast.signal_process(words[0], Signal::STOP),
            "cont" => self.cast.signal_process(words[0], Signal::CONT),
            "ended" => return self.gone(words[0]),
            "pause" => std::thread::sleep(Duration::from_millis(words[0].parse().expect("milliseconds"))),
            other => panic!("{other}: no such statement"),
        }
        Ok(())
    }
}

/// Whether an answer is what was expected.
fn fits(answer: &str, expected: &str) -> bool {
    let (value, words) = answer.split_once(' ').unwrap_or((answer, ""));
    let number: Option<i64> = value.parse().ok();
    if let Some((value, inside)) = expected.split_once(" [") {
        return fits(number.map_or(answer.to_owned(), |n| n.to_string()).as_str(), value)
            && inside.strip_suffix(']') == Some(words);
    }
    expected.split('|').any(|expected| match expected {
        "*" => true,
        "ok" => number.is_some_and(|n| n >= 0),
        _ if number.is_some() => expected == value || (!words.is_empty() && expected == words),
        _ => expected == answer,
    })
}

/// The language is read as it says.
#[test]
fn answers_are_compared() {
    for (answer, expected) in [
        ("10 A10", "10"),
        ("10 A10", "10 [A10]"),
        ("10 A10", "ok"),
        ("0 U", "U"),
        ("0 W 0-10 A", "W 0-10 A"),
        ("EAGAIN", "EAGAIN"),
        ("EAGAIN", "10|EAGAIN"),
        ("EINVAL", "*"),
    ] {
        assert!(fits(answer, expected), "{answer} {expected}");
    }
    for (answer, expected) in [
        ("10 A10", "1"),
        ("10 A10", "10 [B10]"),
        ("EAGAIN", "ok"),
        ("EAGAIN", "EINTR"),
        ("0 W 0-10 A", "U"),
    ] {
        assert!(!fits(answer, expected), "{answer} {expected}");
    }
    assert_eq!(
        first_ones("A fork D; D read 1 # B\nfile x 0 0\nC = 1"),
        BTreeSet::from(["A", "C"])
    );
}
