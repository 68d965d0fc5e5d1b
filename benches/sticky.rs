//! What the rules of sticky directories (semantics 3) cost: following and reading symlinks, hard links, and the stat of a known
//! name for comparison, on owltmp against tmpfs in the same run.
//!
//! `cargo bench --bench sticky`, as root. It mounts both itself, measures them in turns, so that whatever else the machine does
//! hits both, and prints the medians of all rounds. `OWLTMP_BENCH_ROUNDS` sets how many there are.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used)]
#![allow(clippy::cast_possible_truncation, clippy::cast_possible_wrap, clippy::cast_sign_loss)]

#[path = "../tests/common/mod.rs"]
mod common;

use std::time::{Duration, Instant};

use common::identity::{ALICE, BOB, ROOT};
use common::{Dir, Identity, Mount, as_user, env_number, sysctl};

/// How long one sample is to take at least.
const SAMPLE: Duration = Duration::from_millis(10);

/// Something to measure: who does what, in a directory of root's that is 1777.
struct Case {
    name: &'static str,
    who: Identity,
    run: fn(&Dir),
}

const CASES: [Case; 11] = [
    Case {
        name: "stat of a known name",
        who: ALICE,
        run: |dir| assert!(dir.stat("file").is_ok()),
    },
    // The kernel makes the inode of a FUSE mount's root before it knows whether ACLs may be kept, and asks for them ever after.
    Case {
        name: "stat of a known name in the mount's root",
        who: ALICE,
        run: |dir| assert!(dir.stat("../file").is_ok()),
    },
    Case {
        name: "stat of a known symlink itself",
        who: ALICE,
        run: |dir| assert!(dir.lstat("alices").is_ok()),
    },
    Case {
        name: "follow one's own symlink",
        who: ALICE,
        run: |dir| assert!(dir.stat("alices").is_ok()),
    },
    Case {
        name: "follow the directory owner's symlink",
        who: ALICE,
        run: |dir| assert!(dir.stat("roots").is_ok()),
    },
    Case {
        name: "follow a foreign symlink elsewhere",
        who: ALICE,
        run: |dir| assert!(dir.stat("plain/bobs").is_ok()),
    },
    Case {
        name: "open and close through one's own symlink",
        who: ALICE,
        run: |dir| assert!(dir.open("alices", common::OFlags::RDONLY, 0).is_ok()),
    },
    Case {
        name: "readlink of one's own",
        who: ALICE,
        run: |dir| assert!(dir.readlink("alices").is_ok()),
    },
    Case {
        name: "readlink of a foreign one",
        who: ALICE,
        run: |dir| assert!(dir.readlink("bobs").is_ok()),
    },
    Case {
        name: "link + unlink of one's own file",
        who: ALICE,
        run: link_and_unlink,
    },
    Case {
        name: "link + unlink of another's file by root",
        who: ROOT,
        run: link_and_unlink,
    },
];

fn link_and_unlink(dir: &Dir) {
    dir.link("file", "another").unwrap();
    dir.unlink("another").unwrap();
}

/// What the cases find on each filesystem.
fn furnish(mount: &Mount) -> Dir {
    mount.dir().file("file", b"", 0o666);
    let dir = mount.dir().subdir("sticky", 0o1777);
    dir.subdir("plain", 0o777).file("file", b"", 0o666);
    dir.symlink("plain/file", "roots").unwrap();
    as_user(ALICE, || {
        dir.file("file", b"", 0o666);
        dir.symlink("plain/file", "alices").unwrap();
    });
    as_user(BOB, || {
        dir.symlink("plain/file", "bobs").unwrap();
        dir.symlink("file", "plain/bobs").unwrap();
    });
    dir
}

/// The time that one of `times` takes.
fn measure(case: &Case, dir: &Dir, times: u32) -> Duration {
    as_user(case.who, || {
        let start = Instant::now();
        for _ in 0..times {
            (case.run)(dir);
        }
        start.elapsed() / times
    })
}

/// How many make a sample long enough; warms up, too.
fn calibrate(case: &Case, dir: &Dir) -> u32 {
    let mut times = 16;
    while measure(case, dir, times) * times < SAMPLE {
        times *= 2;
    }
    times
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// The value a share of the way through, after sorting.
fn quantile(values: &mut [f64], share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    values[((values.len() - 1) as f64 * share).round() as usize]
}

fn main() {
    let rounds = env_number("OWLTMP_BENCH_ROUNDS", 15).max(1);
    let _off = sysctl::off();
    let mounts = [Mount::tmpfs("mode=1777"), Mount::owltmp("mode=1777")];
    let dirs = [furnish(&mounts[0]), furnish(&mounts[1])];
    let times: Vec<[u32; 2]> = CASES
        .iter()
        .map(|case| [0, 1].map(|which: usize| calibrate(case, &dirs[which])))
        .collect();
    let mut samples = vec![[vec![], vec![]]; CASES.len()];
    for _ in 0..rounds {
        for (number, case) in CASES.iter().enumerate() {
            for (which, dir) in dirs.iter().enumerate() {
                let time = measure(case, dir, times[number][which]);
                samples[number][which].push(micros(time));
            }
        }
    }
    println!("median of {rounds} interleaved rounds, in µs; in brackets the quartiles");
    println!("{:<42} {:>8} {:>8} {:>17} {:>7}", "", "tmpfs", "owltmp", "", "ratio");
    for (case, [tmpfs, owltmp]) in CASES.iter().zip(&mut samples) {
        let mut ratios: Vec<f64> = owltmp
            .iter()
            .zip(tmpfs.iter())
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        let brackets = format!("({:.2}-{:.2})", quantile(owltmp, 0.25), quantile(owltmp, 0.75));
        let (theirs, ours) = (quantile(tmpfs, 0.5), quantile(owltmp, 0.5));
        let ratio = quantile(&mut ratios, 0.5);
        println!(
            "{:<42} {theirs:>8.2} {ours:>8.2} {brackets:>17} {ratio:>7.1}",
            case.name
        );
    }
}
