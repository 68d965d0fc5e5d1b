//! The benchmark `compare` runs to its end in small, says what it is to say and leaves nothing.

#[allow(dead_code)]
#[path = "../../benches/compare/mod.rs"]
mod command;

use std::fs;
use std::process::Command;

use clap::Parser;
use serde_json::Value;

use crate::program::{mounts_below, running};

/// The rows of different kinds, on our own and on what else is there.
const ARGUMENTS: &str =
    "compare --bench --quick --rounds 1 --only pread,write-1m,mmap,stat,create,ls-cold,two-request,many";

#[test]
fn the_comparison_runs_and_leaves_nothing() {
    let folder = tempfile::tempdir_in("/var/tmp").unwrap();
    let (scratch, out) = (folder.path().join("scratch"), folder.path().join("out"));
    fs::create_dir(&scratch).unwrap();
    let mut args = command::Args::parse_from(ARGUMENTS.split(' '));
    (args.scratch, args.out) = (scratch.clone(), out.clone());
    // A thread of its own, as it takes a mount namespace of its own.
    let run = std::thread::spawn(move || command::run(&args, None).map_err(|error| error.to_string()));
    run.join().unwrap().unwrap();

    let json: Value = serde_json::from_slice(&fs::read(out.join("compare.json")).unwrap()).unwrap();
    assert!(json["machine"]["kernel"].is_string());
    let rows = json["rows"].as_array().unwrap();
    assert!(rows.len() > 12, "{rows:?}");
    for row in rows {
        for system in ["owltmp", "tmpfs"] {
            let figure = &row["figures"][system];
            let is_absent = row["id"] == "many-bytes" && system == "tmpfs";
            assert!(
                figure["median"].is_f64() || is_absent,
                "{} on {system}: {figure}",
                row["id"]
            );
        }
    }
    assert!(
        fs::read_to_string(out.join("compare.txt"))
            .unwrap()
            .contains("create + close + unlink")
    );
    let parse = "import sys, xml.dom.minidom; xml.dom.minidom.parse(sys.argv[1])";
    let mut python = Command::new("python3");
    assert!(
        python
            .args(["-c", parse])
            .arg(out.join("compare.svg"))
            .status()
            .unwrap()
            .success()
    );

    assert_eq!(fs::read_dir(&scratch).unwrap().count(), 0);
    assert_eq!(mounts_below(folder.path()), Vec::<String>::new());
    assert_eq!(running(folder.path()), []);
}

#[test]
fn unknown_rows_and_systems_are_refused() {
    for (line, word) in [
        ("compare --only nothing", "no such row"),
        ("compare --systems nothing", "no such system"),
    ] {
        let args = command::Args::parse_from(line.split(' '));
        let run = std::thread::spawn(move || command::run(&args, None).map_err(|error| error.to_string()));
        let error = run.join().unwrap().unwrap_err();
        assert!(error.contains(word), "{error}");
    }
}
