//! Each rule on a sample it must pass and on samples it must refuse.

use crate::lexer::{Piece, tokens};
use crate::{Source, layers, modules, promises, rules};

fn source(path: &str, text: &str) -> Source {
    Source {
        path: path.to_owned(),
        text: text.to_owned(),
    }
}

fn words(text: &str) -> Vec<String> {
    let word = |it: crate::lexer::Token| {
        if let Piece::Word(word) = it.piece {
            Some(word)
        } else {
            None
        }
    };
    tokens(text).into_iter().filter_map(word).collect()
}

#[test]
fn comments_and_strings_hide_words() {
    assert_eq!(words("a // b\nc /* d /* e */ f */ g"), ["a", "c", "g"]);
    assert_eq!(
        words(r##"a "b \" c" d r#"e " f"# g br"h\" i b'j' 'k' '\'' '\u{1f}' l"##),
        ["a", "d", "g", "i", "l"]
    );
    assert_eq!(
        words("fn a<'b>(c: &'b str) -> r#type"),
        ["fn", "a", "b", "c", "b", "str", "type"]
    );
    assert_eq!(words("b\"a\" c\"a\" cr#\"a\"# rest"), ["rest"]);
    assert_eq!(
        tokens("a\n\"b\nc\"\nd").iter().map(|it| it.line).collect::<Vec<_>>(),
        [1, 2, 4]
    );
}

#[test]
fn layers_are_kept() {
    let complaints = |path: &str, text: &str| layers::uses(&source(path, text)).len();
    assert_eq!(
        complaints(
            "src/ops/io.rs",
            "use crate::types::Errno; use crate::tree::{Inode, Table}; use super::open;"
        ),
        0
    );
    assert_eq!(
        complaints(
            "src/ops/io.rs",
            "use crate::ops::open; // crate::fuse\nconst A: &str = \"crate::fuse\";"
        ),
        0
    );
    assert_eq!(complaints("src/ops/io.rs", "use crate::fuse::wire;"), 1);
    assert_eq!(
        complaints("src/ops/io.rs", "fn a() { crate::cli::run(); crate::mount::run() }"),
        2
    );
    assert_eq!(
        complaints("src/ops/io.rs", "use crate::{types::{Errno, Ino}, fuse, tree::{a, b}};"),
        1
    );
    assert_eq!(complaints("src/policy/mod.rs", "use crate::lock::Range;"), 1);
    assert_eq!(complaints("src/sync.rs", "use crate::types::A; use crate::sys::B;"), 1);
    assert_eq!(complaints("src/sys/mod.rs", "use super::ops::A;"), 1);
    assert_eq!(
        complaints(
            "src/sys/mod.rs",
            "mod tests { use super::*; use super::super::ops::A; }"
        ),
        1
    );
    assert_eq!(
        complaints(
            "src/sys/deep/file.rs",
            "use super::super::ops; use super::super::super::ops;"
        ),
        1
    );
    assert_eq!(complaints("src/types/ids.rs", "use crate::Shortcut;"), 1);
    assert_eq!(complaints("src/types/ids.rs", "use crate::*;"), 1);
    assert_eq!(complaints("src/main.rs", "use owltmp::cli; use crate::anything;"), 0);
    assert_eq!(complaints("src/attic/mod.rs", ""), 1);
    assert_eq!(complaints("tests/x.rs", "use crate::cli;"), 0);
}

#[test]
fn the_map_is_compared() {
    let check = |map: &str, other: &str| layers::diagram(&[source("src/lib.rs", map), source(other, "")]);
    assert!(
        check(
            "//! ```text\n//! src/main.rs   text\n//! src/ops/  5  what\n//! ```",
            "src/ops/io.rs"
        )
        .is_empty()
    );
    assert!(check("//! src/sync.rs  1  order", "src/sync.rs").is_empty());
    assert_eq!(check("//! src/ops/  4  what", "src/ops/io.rs").len(), 1);
    assert_eq!(check("//! nothing", "src/ops/io.rs").len(), 1);
    assert_eq!(
        check("//! src/ops/  5  what\n//! src/cli/  8  gone", "src/ops/io.rs").len(),
        1
    );
    assert_eq!(check("", "src/attic/mod.rs").len(), 1);
}

#[test]
fn long_things_are_refused() {
    let function = |lines: usize| {
        format!(
            "trait T {{ fn d(a: [u8; 3]); }}\nfn a(b: [u8; {{ 2 }}]) {{\n{}}}\n",
            "x();\n".repeat(lines - 2)
        )
    };
    assert!(rules::sizes(&source("a.rs", &function(70))).is_empty());
    assert_eq!(rules::sizes(&source("a.rs", &function(71))).len(), 1);
    assert!(rules::sizes(&source("a.rs", &"\n".repeat(500))).is_empty());
    assert_eq!(rules::sizes(&source("a.rs", &"\n".repeat(501))).len(), 1);
    let braces = format!(
        "fn a() {{ let b = \"}}\"; /* }} */ let c = '}}';\n{}}}",
        "y();\n".repeat(80)
    );
    assert_eq!(rules::sizes(&source("a.rs", &braces)).len(), 1);
}

#[test]
fn a_first_line_is_wanted() {
    assert!(rules::first_line(&source("a.rs", "//! It is.\n")).is_empty());
    for text in ["", "\n//! Late.\n", "// No.\n", "//! \n", "fn a() {}\n"] {
        assert_eq!(rules::first_line(&source("a.rs", text)).len(), 1, "{text}");
    }
}

#[test]
fn unsafe_is_found() {
    let complaints = |path: &str, text: &str| rules::unsafe_address(&source(path, text)).len();
    assert_eq!(
        complaints("src/ops/io.rs", "// unsafe\nlet a = \"unsafe\"; let unsafely = 1;"),
        0
    );
    assert_eq!(complaints("src/ops/io.rs", "unsafe { a() }"), 1);
    assert_eq!(complaints("src/ops/io.rs", "#![allow(unsafe_code)]"), 1);
    assert_eq!(complaints("tests/mounted/a.rs", "unsafe { a() }"), 1);
    assert_eq!(
        complaints("src/sys/io.rs", "unsafe { a() }") + complaints("tests/common/mod.rs", "unsafe fn a() {}"),
        0
    );
}

#[test]
fn lost_files_are_found() {
    let tree = |list: &str| {
        let files = [
            "src/lib.rs",
            "src/ops/mod.rs",
            "src/ops/io.rs",
            "src/ops/io/fast.rs",
            "tests/t/main.rs",
            "tests/c/mod.rs",
        ];
        let text = |path: &str| match path {
            "src/lib.rs" => "pub mod ops;",
            "src/ops/mod.rs" => list,
            "src/ops/io.rs" => "mod fast;",
            "tests/t/main.rs" => "#[path = \"../c/mod.rs\"]\npub(crate) mod common;",
            _ => "",
        };
        modules::lost(&files.map(|path| source(path, text(path))))
    };
    assert!(tree("mod io;").is_empty());
    assert_eq!(tree("// mod io;").len(), 2);
    assert_eq!(tree("mod other;").len(), 2);
    assert_eq!(
        modules::lost(&[source("tests/t/main.rs", ""), source("tests/c/mod.rs", "")]).len(),
        1
    );
}

#[test]
fn machine_traces_are_found() {
    let complaints = |path: &str, text: &str| rules::machine(&source(path, text)).len();
    assert_eq!(
        complaints(
            "README.md",
            "cargo run in target/release, /usr/bin and https://github.com/a/b"
        ),
        0
    );
    assert_eq!(complaints("README.md", concat!("cd /ho", "me/me")), 1);
    assert_eq!(complaints("README.md", concat!("index.", "crates.io")), 1);
    assert_eq!(
        complaints(
            "Cargo.lock",
            "source = \"registry+https://github.com/rust-lang/crates.io-index\""
        ),
        0
    );
    assert_eq!(
        complaints("Cargo.lock", "source = \"registry+https://mirror.example.org/index\""),
        1
    );
}

#[test]
fn citations_are_read() {
    assert_eq!(
        promises::citations("semantics 1.1: a; semantics 2.1, 2.3. Also semantics say, semantics 9.9, then"),
        ["1.1", "2.1", "2.3", "9.9"]
    );
    let all = "/// semantics 1.1, 1.2, 1.3, 1.4, 1.5, 1.6, 2.1, 2.2, 2.3, 3.1, 3.2, 3.3, 3.4, 3.5, 4.1, 4.2, 4.3, 4.4, 4.5, 4.6, \
               5.1, 5.2, 5.3, 5.4, 5.5, 5.6, 5.7, 5.8, 5.9";
    assert!(promises::uncited(&[source("tests/a.rs", all)]).is_empty());
    assert_eq!(promises::uncited(&[source("src/a.rs", all)]).len(), 29);
    assert_eq!(
        promises::uncited(&[source("tests/a.rs", &all.replace("1.4, ", ""))]),
        ["no test cites semantics 1.4"]
    );
    assert_eq!(
        promises::uncited(&[source("tests/a.rs", &all.replace("1.4", "1.4, 1.7"))]).len(),
        1
    );
}
