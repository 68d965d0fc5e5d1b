//! A walk over many files beside somebody who works: his latency is printed, not judged. `OWLTMP_CLEANER_FILES` says how many.

use std::time::Instant;

use super::*;
use crate::common::env_number;

/// Times of a create(2) with O_EXCL and an unlink(2), in microseconds: half of them, all but a hundredth, all.
fn latency(mount: &Mount, until: impl Fn() -> bool) -> (usize, [u128; 3]) {
    let mut times = vec![];
    let path = mount.dir().path("probe");
    while !until() {
        let start = Instant::now();
        drop(fs::File::create_new(&path).unwrap());
        fs::remove_file(&path).unwrap();
        times.push(start.elapsed().as_micros());
        std::thread::sleep(Duration::from_micros(300));
    }
    times.sort_unstable();
    let at = |share: usize| times[(times.len() - 1) * share / 100];
    (times.len(), [at(50), at(99), at(100)])
}

#[test]
fn a_walk_over_many_files_disturbs_nobody() {
    let files = env_number("OWLTMP_CLEANER_FILES", 10_000);
    // Old are files by the time when all are made.
    let mount = mount("nr_inodes=0,size=0", 4000 + files / 10, 1000);
    let started = Instant::now();
    for number in 0..files {
        if number % 1000 == 0 {
            mount.dir().mkdir(&format!("{}", number / 1000), 0o755).unwrap();
        }
        mount
            .dir()
            .mknod(
                &format!("{}/{number}", number / 1000),
                crate::common::FileType::RegularFile,
                0o644,
                0,
            )
            .unwrap();
    }
    let quiet_until = Instant::now() + Duration::from_millis(1000);
    println!("{files} files made in {:?}", started.elapsed());
    let (count, quiet) = latency(&mount, || Instant::now() > quiet_until);
    println!("nothing to do:  {count} x create+unlink, us at 50%, 99%, 100%: {quiet:?}");
    wait_until("the walk has begun", PATIENCE * 60, || {
        mount.stderr().contains("removed max_age")
    });
    let (count, cleaning) = latency(&mount, || mount.stderr().contains("of "));
    println!("while it walks: {count} x create+unlink, us at 50%, 99%, 100%: {cleaning:?}");
    wait_until("all is gone", PATIENCE * 60, || mount.dir().names().is_empty());
    for line in mount.stderr().lines().filter(|line| line.contains("looked at in")) {
        println!("{}", line.split_once("max_age: ").map_or(line, |(_, said)| said));
    }
}
