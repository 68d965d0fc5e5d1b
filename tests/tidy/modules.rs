//! Finds files that no `mod` list names: they are not compiled, and nobody would notice.

use std::collections::BTreeSet;

use crate::Source;
use crate::lexer::{Piece, Token, tokens};

/// Complaints about files that cannot be reached from a crate's root.
pub fn lost(sources: &[Source]) -> Vec<String> {
    let mut reached = BTreeSet::new();
    let mut open: Vec<&Source> = sources.iter().filter(|it| is_root(&it.path)).collect();
    while let Some(source) = open.pop() {
        if !reached.insert(source.path.as_str()) {
            continue;
        }
        let children = children(source);
        open.extend(sources.iter().filter(|it| children.contains(&it.path)));
    }
    let lost = sources.iter().filter(|it| !reached.contains(it.path.as_str()));
    lost.map(|it| format!("{}: in no mod list", it.path)).collect()
}

/// What cargo takes for a crate's root.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    matches!(
        parts.as_slice(),
        ["build.rs"]
            | ["src", "lib.rs" | "main.rs"]
            | ["src", "bin", ..]
            | ["tests" | "benches" | "examples", _]
            | ["tests" | "benches" | "examples", _, "main.rs"]
            | [_, "fuzz_targets", _]
    )
}

/// Every path at which a module that `source` declares may lie.
fn children(source: &Source) -> BTreeSet<String> {
    let (folder, file) = source.path.rsplit_once('/').unwrap_or(("", &source.path));
    let stem = file.trim_end_matches(".rs");
    let own = is_root(&source.path) || stem == "mod";
    let base = if own {
        folder.to_owned()
    } else {
        format!("{folder}/{stem}")
    };
    let mut found = BTreeSet::new();
    let all = tokens(&source.text);
    for at in 0..all.len().saturating_sub(2) {
        let Some(name) = all[at + 1].word() else { continue };
        if !all[at].is("mod") || !all[at + 2].mark(';') {
            continue;
        }
        match path_attribute(&all[..at]) {
            Some(path) => drop(found.insert(normal(&format!("{folder}/{path}")))),
            None => found.extend([format!("{base}/{name}.rs"), format!("{base}/{name}/mod.rs")]),
        }
    }
    found
}

/// The text of `#[path = "…"]` when it stands just before, perhaps with `pub` or `pub(crate)` between.
fn path_attribute(before: &[Token]) -> Option<&str> {
    let end = before.iter().rposition(|it| it.mark(']'))?;
    let between = &before[end + 1..];
    let visibility = |it: &Token| it.mark('(') || it.mark(')') || matches!(it.word(), Some("pub" | "crate" | "super"));
    if end < 3 || !between.iter().all(visibility) || !before[end - 2].mark('=') || !before[end - 3].is("path") {
        return None;
    }
    if let Piece::Text(text) = &before[end - 1].piece {
        Some(text)
    } else {
        None
    }
}

/// `tests/mounted/../common/mod.rs` is `tests/common/mod.rs`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." | "" => {}
            _ => parts.push(part),
        }
    }
    parts.join("/")
}
