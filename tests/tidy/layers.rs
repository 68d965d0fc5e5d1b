//! Who may use whom. A file may use only layers with a smaller number than its own, or its own folder.

use std::collections::BTreeMap;

use crate::Source;
use crate::lexer::{Piece, Token, tokens};

/// The layers of the house, as its plan numbers them. A layer that is not built yet needs no place in the map.
pub const LAYERS: &[(&str, u8)] = &[
    ("types", 0),
    ("sys", 1),
    ("sync", 1),
    ("policy", 2),
    ("lock", 2),
    ("events", 3),
    ("content", 3),
    ("tree", 4),
    ("ops", 5),
    ("fuse", 6),
    ("clean", 6),
    ("control", 7),
    ("mount", 8),
    ("cli", 9),
];

fn number(layer: &str) -> Option<u8> {
    LAYERS
        .iter()
        .find(|(name, _)| *name == layer)
        .map(|(_, number)| *number)
}

/// `src/ops/io.rs` is module `ops::io`; src/lib.rs and src/main.rs are the root.
fn module(path: &str) -> Option<Vec<String>> {
    let inside = path.strip_prefix("src/")?.strip_suffix(".rs")?;
    let mut names: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if matches!(names.last().map(String::as_str), Some("mod" | "lib" | "main")) {
        names.pop();
    }
    Some(names)
}

/// Complaints about what one file of src/ uses.
pub fn uses(source: &Source) -> Vec<String> {
    let Some(module) = module(&source.path) else {
        return Vec::new();
    };
    let Some(own) = module.first() else { return Vec::new() };
    let Some(own_number) = number(own) else {
        return vec![format!("{}: {own} is no known layer", source.path)];
    };
    let judge = |(used, line): (String, usize)| {
        let place = format!("{}:{line}", source.path);
        match number(&used) {
            _ if used == *own => None,
            None => Some(format!(
                "{place}: crate::{used} is no known layer; name things by their layer"
            )),
            Some(it) if it < own_number => None,
            Some(it) => Some(format!("{place}: {own} ({own_number}) may not use {used} ({it})")),
        }
    };
    roots(&tokens(&source.text), &module)
        .into_iter()
        .filter_map(judge)
        .collect()
}

/// The first name below the crate's root of every path that starts at the root, by `crate` or by enough `super`.
fn roots(tokens: &[Token], module: &[String]) -> Vec<(String, usize)> {
    let mut found = Vec::new();
    let mut inner: Vec<usize> = Vec::new();
    let mut depth = 0_usize;
    for (at, token) in tokens.iter().enumerate() {
        match &token.piece {
            Piece::Mark('{') => {
                depth += 1;
                if at >= 2 && tokens[at - 2].is("mod") {
                    inner.push(depth);
                }
            }
            Piece::Mark('}') => {
                if inner.last() == Some(&depth) {
                    inner.pop();
                }
                depth = depth.saturating_sub(1);
            }
            Piece::Word(word) if word == "crate" => below(&tokens[at + 1..], &mut found),
            Piece::Word(word)
                if word == "super" && !(at >= 3 && path_mark(tokens, at - 2) && tokens[at - 3].is("super")) =>
            {
                let count = supers(&tokens[at..]);
                if count >= module.len() + inner.len() {
                    below(&tokens[at + 3 * count - 2..], &mut found);
                }
            }
            _ => {}
        }
    }
    found
}

fn path_mark(tokens: &[Token], at: usize) -> bool {
    tokens.get(at).is_some_and(|it| it.mark(':')) && tokens.get(at + 1).is_some_and(|it| it.mark(':'))
}

/// How many `super` stand in a row: `super::super::x` has two.
fn supers(tokens: &[Token]) -> usize {
    let mut count = 1;
    while path_mark(tokens, 3 * count - 2) && tokens.get(3 * count).is_some_and(|it| it.is("super")) {
        count += 1;
    }
    count
}

/// After the root: `::name…` gives that name, `::{a::…, b}` each first name of the group.
fn below(tokens: &[Token], found: &mut Vec<(String, usize)>) {
    if !path_mark(tokens, 0) {
        return;
    }
    let Some(first) = tokens.get(2) else { return };
    match &first.piece {
        Piece::Word(word) => found.push((word.clone(), first.line)),
        Piece::Mark('*') => found.push(("*".to_owned(), first.line)),
        Piece::Mark('{') => group(&tokens[3..], found),
        _ => {}
    }
}

fn group(tokens: &[Token], found: &mut Vec<(String, usize)>) {
    let mut depth = 1;
    let mut begins = true;
    for token in tokens {
        match &token.piece {
            Piece::Mark('{') => depth += 1,
            Piece::Mark('}') => depth -= 1,
            Piece::Mark(',') => begins = depth == 1,
            Piece::Word(word) if begins && depth == 1 => {
                found.push((word.clone(), token.line));
                begins = false;
            }
            _ => {}
        }
        if depth == 0 {
            return;
        }
    }
}

/// Complaints about the map in src/lib.rs: it shows exactly the layers that exist, each with its number. A line of the map is
/// `//! src/NAME/ N …` or `//! src/NAME.rs N …`.
pub fn diagram(sources: &[Source]) -> Vec<String> {
    let text = sources
        .iter()
        .find(|it| it.path == "src/lib.rs")
        .map_or("", |it| it.text.as_str());
    let shown: BTreeMap<String, u8> = text.lines().filter_map(entry).collect();
    let mut real = BTreeMap::new();
    let mut complaints = Vec::new();
    for name in sources
        .iter()
        .filter_map(|it| module(&it.path))
        .filter_map(|names| names.into_iter().next())
    {
        match number(&name) {
            Some(number) => drop(real.insert(name, number)),
            None => complaints.push(format!("src/{name} is no known layer")),
        }
    }
    for (name, number) in &real {
        if shown.get(name) != Some(number) {
            complaints.push(format!(
                "src/lib.rs: the map lacks `src/{name}` with its number {number}"
            ));
        }
    }
    let gone = shown.keys().filter(|name| !real.contains_key(*name));
    complaints.extend(gone.map(|name| format!("src/lib.rs: the map shows src/{name}, which does not exist")));
    complaints.dedup();
    complaints
}

fn entry(line: &str) -> Option<(String, u8)> {
    let mut words = line.strip_prefix("//!")?.split_whitespace();
    let name = words.next()?.strip_prefix("src/")?;
    let name = name.strip_suffix('/').or_else(|| name.strip_suffix(".rs"))?;
    Some((name.to_owned(), words.next()?.parse().ok()?))
}
