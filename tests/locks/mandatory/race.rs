//! The race that old kernels had, and said so: a lock granted in the middle of a transfer. By semantics 5.3 never: processes hammer one
//! file for some seconds; with `OWLTMP_LOCK_TRANSFERS` until there were that many transfers and a tenth as many grants.

use std::time::Duration;

use super::stage::{Cast, SIZE, make_file, mount_for};
use crate::common::{Mount, env_number};

const ROLES: [&str; 14] = [
    "locker", "locker", "ofd", "watcher", "bytes", "pages", "large", "eager", "reader", "reader", "mover", "tail",
    "appender", "cutter",
];

/// One slice of time; how many transfers and grants, and how many were refused.
fn slice(mount: &Mount, number: u64, time: Duration) -> (u64, u64, u64) {
    let mut cast = Cast::new(mount.path());
    let names: Vec<String> = (0..ROLES.len()).map(|i| format!("P{i}")).collect();
    cast.start(names.iter().map(String::as_str));
    for ((name, role), at) in names.iter().zip(ROLES).zip(0..) {
        let seed = number * 1000 + at;
        cast.send(name, &format!("hammer {role} {seed} {}", time.as_millis()));
    }
    let mut sums = (0, 0, 0);
    for (name, role) in names.iter().zip(ROLES) {
        let answer = cast
            .answer(name, time + Duration::from_secs(30))
            .unwrap_or_else(|| panic!("{role} does not end: {:?}", cast.state(name)));
        let numbers: Vec<u64> = answer.split(' ').map_while(|it| it.parse().ok()).collect();
        let [transfers, grants, refused] = numbers[..] else {
            panic!("{role} ended otherwise: {answer}");
        };
        if std::env::var_os("OWLTMP_LOCK_ROLES").is_some() {
            eprintln!("{role}: {transfers} transfers, {grants} grants, {refused} refused");
        }
        sums = (sums.0 + transfers, sums.1 + grants, sums.2 + refused);
    }
    sums
}

fn hammer(options: &str, seconds: u64) {
    let wanted = env_number("OWLTMP_LOCK_TRANSFERS", 0);
    let limit = if wanted > 0 { 3600 } else { 120 };
    let mount = mount_for(options, Duration::from_secs(limit));
    make_file(&mount.path().join("file"), 0o2666, SIZE as usize);
    make_file(&mount.path().join("plain"), 0o666, SIZE as usize);
    let mut sums = (0, 0, 0);
    for number in 1.. {
        let (transfers, grants, refused) = slice(&mount, number, Duration::from_secs(seconds));
        sums = (sums.0 + transfers, sums.1 + grants, sums.2 + refused);
        if sums.0 >= wanted && sums.1 >= wanted / 10 {
            break;
        }
    }
    eprintln!(
        "{options}: {} transfers and {} grants, {} refused; nothing changed under a lock, nothing locked was read",
        sums.0, sums.1, sums.2
    );
}

/// Files that were marked before they were opened.
#[test]
fn nothing_moves_under_a_lock() {
    hammer("mode=0777,mand=marked,size=1g", env_number("OWLTMP_LOCK_SECONDS", 8));
}

/// The same where every read and write is checked.
#[test]
fn nothing_moves_under_a_lock_with_full() {
    hammer("mode=0777,mand=full,size=1g", env_number("OWLTMP_LOCK_SECONDS", 8));
}
