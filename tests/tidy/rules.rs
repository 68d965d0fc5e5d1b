//! Rules about one file at a time: its sizes, its first line, unsafe code, and traces of the machine it was written on.

use crate::Source;
use crate::lexer::{Token, tokens};

const FILE_LINES: usize = 500;
const FUNCTION_LINES: usize = 70;

/// Complaints about a file or a function that is too long.
pub fn sizes(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let mut complaints = Vec::new();
    if lines > FILE_LINES {
        complaints.push(format!("{}: {lines} lines, at most {FILE_LINES}", source.path));
    }
    let long = functions(&tokens(&source.text))
        .into_iter()
        .filter(|(_, _, lines)| *lines > FUNCTION_LINES);
    complaints.extend(long.map(|(name, line, lines)| {
        format!(
            "{}:{line}: fn {name} has {lines} lines, at most {FUNCTION_LINES}",
            source.path
        )
    }));
    complaints
}

/// Name, first line and length of every function that has a body.
fn functions(all: &[Token]) -> Vec<(String, usize, usize)> {
    let mut found = Vec::new();
    for at in 0..all.len().saturating_sub(1) {
        let Some(name) = all[at + 1].word().filter(|_| all[at].is("fn")) else {
            continue;
        };
        if let Some(end) = end_of_body(&all[at..]) {
            found.push((name.to_owned(), all[at].line, end + 1 - all[at].line));
        }
    }
    found
}

/// The line of the brace that closes the body; none for a declaration.
fn end_of_body(all: &[Token]) -> Option<usize> {
    let mut nested = 0;
    let mut braces = 0;
    for token in all {
        if token.mark('(') || token.mark('[') {
            nested += 1;
        } else if token.mark(')') || token.mark(']') {
            nested -= 1;
        } else if token.mark(';') && nested == 0 && braces == 0 {
            return None;
        } else if token.mark('{') && (nested == 0 || braces > 0) {
            braces += 1;
        } else if token.mark('}') && braces > 0 {
            braces -= 1;
            if braces == 0 {
                return Some(token.line);
            }
        }
    }
    None
}

/// A complaint about a file that does not begin by saying what it is.
pub fn first_line(source: &Source) -> Vec<String> {
    let told = source
        .text
        .lines()
        .next()
        .and_then(|line| line.strip_prefix("//! "))
        .is_some_and(|it| !it.trim().is_empty());
    if told {
        Vec::new()
    } else {
        vec![format!("{}: the first line is no `//! …`", source.path)]
    }
}

/// Complaints about `unsafe`, or leave to use it, outside the places for it.
pub fn unsafe_address(source: &Source) -> Vec<String> {
    let allowed = ["src/sys/", "tests/common/"]
        .iter()
        .any(|place| source.path.starts_with(place))
        || source.path == "src/sys.rs";
    let words = tokens(&source.text)
        .into_iter()
        .filter(|it| !allowed && (it.is("unsafe") || it.is("unsafe_code")));
    words
        .map(|it| format!("{}:{}: unsafe outside src/sys/", source.path, it.line))
        .collect()
}

/// What betrays one machine or one registry. In pieces, so that this file is no case of it.
const TRACES: &[&str] = &[
    concat!("/ho", "me/"),
    concat!("/o", "pt/"),
    concat!("/ro", "ot/."),
    concat!(".cargo/", "registry"),
    concat!("index.", "crates.io"),
    concat!("static.", "crates.io"),
    concat!("py", "pi.org"),
    concat!("npm", "js.org"),
    concat!("proxy.", "golang.org"),
    concat!("deb.", "debian.org"),
    concat!("artif", "actory"),
    concat!("://", "localhost"),
    concat!("://", "127."),
    concat!("://", "10."),
    concat!("://", "192.168."),
];

/// Where cargo says that a crate comes from crates.io.
const CRATES_IO: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Complaints about machine paths and registry hosts.
pub fn machine(source: &Source) -> Vec<String> {
    let place = |at: usize| format!("{}:{}", source.path, at + 1);
    let mut complaints = Vec::new();
    for (at, line) in source.text.lines().enumerate() {
        let traces = TRACES.iter().filter(|trace| line.contains(*trace));
        complaints.extend(traces.map(|trace| format!("{}: {trace} means something on one machine only", place(at))));
        let registry = line
            .split('"')
            .nth(1)
            .filter(|_| line.starts_with("source = "))
            .unwrap_or(CRATES_IO);
        if source.path.ends_with("Cargo.lock") && registry != CRATES_IO {
            complaints.push(format!("{}: {registry} is not crates.io", place(at)));
        }
    }
    complaints
}
