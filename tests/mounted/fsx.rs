//! fsx: long random sequences of file operations, each read compared with fsx's own model of the file.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::common::mount::Setup;
use crate::common::{Kind, Mount};
use crate::shell;

/// Operations in all, unless OWLTMP_FSX_OPS says otherwise.
const OPERATIONS: u64 = 100_000;
/// Operations of one run: fsx leaves mappings behind, and every truncation has to look at all of them.
const PER_RUN: u64 = 25_000;
const SEEDS: [u64; 4] = [1, 7, 42, 1984];

/// Every operation fsx has on Linux. `SIZES` stands for the lines of one of the worlds below.
const CONFIGURATION: &str = "
SIZES
align = 1
[weights]
close_open = 1
read = 10
write = 10
mapread = 10
mapwrite = 10
invalidate = 1
truncate = 5
fsync = 1
fdatasync = 1
posix_fallocate = 3
punch_hole = 5
sendfile = 5
posix_fadvise = 2
copy_file_range = 5
";

/// A file of a few pages, where everything overlaps everything.
const SMALL: &str = "flen = 262144\n[opsize]\nmax = 65536\nmin = 0";

/// Operations longer than one FUSE request (1 MiB), so that the kernel has to cut them.
const LARGE: &str = "flen = 8388608\n[opsize]\nmax = 2500000\nmin = 0";

/// semantics 1.1: the bytes of a file are what was written, however they were written.
#[test]
fn no_operation_is_mismatched() {
    let further = 10_000..;
    let runs = usize::try_from(operations().div_ceil(PER_RUN)).unwrap();
    for seed in SEEDS.into_iter().chain(further).take(runs) {
        exercise(SMALL, seed, PER_RUN);
    }
}

/// semantics 1.1: the same with operations that take several requests.
#[test]
fn no_long_operation_is_mismatched() {
    exercise(LARGE, 3, operations() / 50);
}

fn operations() -> u64 {
    std::env::var("OWLTMP_FSX_OPS").map_or(OPERATIONS, |text| text.parse().expect("OWLTMP_FSX_OPS is a number"))
}

/// A shorter run on tmpfs first: what fails there says nothing about us.
fn exercise(sizes: &str, seed: u64, operations: u64) {
    let place = tempfile::tempdir().unwrap();
    let configuration = place.path().join("fsx.toml");
    fs::write(&configuration, CONFIGURATION.replace("SIZES", sizes)).unwrap();
    run("tmpfs", &Mount::tmpfs(""), &configuration, seed, operations.div_ceil(5));
    let mut setup = Setup::new(Kind::Owltmp, "");
    setup.limit += limit(operations);
    run("owltmp", &setup.mount(), &configuration, seed, operations);
}

/// Far more time than so many operations need on a busy machine.
fn limit(operations: u64) -> Duration {
    Duration::from_secs(120) + Duration::from_millis(5 * operations)
}

fn run(name: &str, mount: &Mount, configuration: &Path, seed: u64, operations: u64) {
    let artifacts = configuration.parent().unwrap();
    let mut command = Command::new(shell::tool("fsx"));
    command.arg("-f").arg(configuration).arg("-P").arg(artifacts);
    command
        .args(["-N", &operations.to_string(), "-S", &seed.to_string()])
        .arg(mount.path().join("file"));
    let start = Instant::now();
    let ended = shell::run_within(limit(operations), &mut command);
    assert!(
        ended.status.success(),
        "fsx on {name}, seed {seed}, {operations} operations:\n{}",
        ended.text
    );
    assert!(
        ended.text.contains("All operations completed A-OK!"),
        "fsx on {name} said:\n{}",
        ended.text
    );
    println!(
        "fsx on {name}: seed {seed}, {operations} operations without a mismatch in {:.1?}",
        start.elapsed()
    );
}
