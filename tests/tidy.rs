//! The house rules as tests: layers, sizes, first lines, modules, unsafe, the map in src/lib.rs, stray paths, promises cited.
//! Every rule is a function from text to complaints, tried on small samples in `tidy/samples.rs`: none is unable to fail.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::path::{Path, PathBuf};
use std::{fs, process::Command};

#[path = "tidy/layers.rs"]
mod layers;
#[path = "tidy/lexer.rs"]
mod lexer;
#[path = "tidy/modules.rs"]
mod modules;
#[path = "tidy/promises.rs"]
mod promises;
#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/samples.rs"]
mod samples;

/// A file of the repository: its path from the root, and its text.
pub struct Source {
    /// As git writes it: `src/ops/mod.rs`.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// Every text file that git has or would take.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let output = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-files",
            "-z",
            "--cached",
            "--others",
            "--exclude-standard",
        ])
        .current_dir(root)
        .output()
        .expect("git is installed");
    assert!(
        output.status.success(),
        "git ls-files: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let names = String::from_utf8(output.stdout).unwrap();
    let paths = names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from);
    let mut sources: Vec<Source> = paths
        .filter_map(|path| {
            let text = fs::read_to_string(root.join(&path)).ok()?;
            Some(Source {
                path: path.display().to_string(),
                text,
            })
        })
        .collect();
    sources.sort_by(|a, b| a.path.cmp(&b.path));
    sources.dedup_by(|a, b| a.path == b.path);
    assert!(
        sources.iter().any(|source| source.path == "src/lib.rs"),
        "the sources were not found"
    );
    sources
}

fn rust() -> Vec<Source> {
    repository()
        .into_iter()
        .filter(|source| source.path.ends_with(".rs"))
        .collect()
}

fn none(complaints: &[String]) {
    assert!(
        complaints.is_empty(),
        "{} complaints:\n{}",
        complaints.len(),
        complaints.join("\n")
    );
}

#[test]
fn a_file_uses_only_lower_layers() {
    none(&rust().iter().flat_map(layers::uses).collect::<Vec<_>>());
}

#[test]
fn the_map_in_lib_rs_is_true() {
    none(&layers::diagram(&rust()));
}

#[test]
fn files_and_functions_are_short() {
    none(&rust().iter().flat_map(rules::sizes).collect::<Vec<_>>());
}

#[test]
fn a_file_says_first_what_it_is() {
    none(&rust().iter().flat_map(rules::first_line).collect::<Vec<_>>());
}

#[test]
fn unsafe_has_an_address() {
    none(&rust().iter().flat_map(rules::unsafe_address).collect::<Vec<_>>());
}

#[test]
fn every_file_is_a_module_of_something() {
    none(&modules::lost(&rust()));
}

#[test]
fn nothing_depends_on_one_machine() {
    none(&repository().iter().flat_map(rules::machine).collect::<Vec<_>>());
}

#[test]
fn every_promise_is_cited_by_a_test() {
    none(&promises::uncited(&rust()));
}
