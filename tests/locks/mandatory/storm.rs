//! Signals and deaths at any moment: an interrupted write did nothing, the dead leave nothing locked, and who waits when the daemon goes
//! gets an error. By semantics 4.2, 5.3, 5.7, 5.9.

use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::stage::{Cast, PATIENCE, SIZE, make_file, mount};
use crate::common::rng::Rng;

fn call(cast: &mut Cast, who: &str, order: &str) -> String {
    cast.send(who, order);
    let answer = cast.answer(who, PATIENCE);
    answer.unwrap_or_else(|| panic!("{who} {order}: no answer, {:?}", cast.state(who)))
}

/// Writers of pieces of their own are interrupted all the time while others lock those pieces: a write that says EINTR did nothing, one that
/// says it wrote did all.
#[test]
fn an_interrupted_write_did_nothing() {
    let mount = mount("mode=0777,mand=marked");
    make_file(&mount.path().join("file"), 0o2666, 6 * 4096);
    let mut cast = Cast::new(mount.path());
    let writers = ["A", "B", "C", "D"];
    cast.start(writers.into_iter().chain(["G", "H"]));
    let time = Duration::from_secs(4);
    for (slot, who) in writers.iter().enumerate() {
        cast.send(who, &format!("slot {slot} {}", time.as_millis()));
    }
    for (seed, who) in ["G", "H"].iter().enumerate() {
        cast.send(who, &format!("gate {seed} {}", time.as_millis()));
    }
    let end = Instant::now() + time - Duration::from_millis(300);
    let mut signals = 0;
    while Instant::now() < end {
        for who in writers {
            // Now and then one that would restart the call, if the call could be restarted.
            let signal = if signals % 7 == 0 {
                nix::libc::SIGUSR2
            } else {
                nix::libc::SIGUSR1
            };
            cast.signal(who, signal);
            signals += 1;
        }
        std::thread::sleep(Duration::from_micros(700));
    }
    let mut sums = [0_u64; 2];
    for who in writers {
        let answer = cast.answer(who, PATIENCE).expect("it ends");
        let numbers: Vec<u64> = answer.split(' ').map_while(|it| it.parse().ok()).collect();
        assert_eq!(numbers.len(), 2, "{who}: {answer}");
        sums = [sums[0] + numbers[0], sums[1] + numbers[1]];
    }
    for who in ["G", "H"] {
        cast.answer(who, PATIENCE).expect("it ends");
    }
    eprintln!(
        "{signals} signals: {} writes were done, {} interrupted",
        sums[0], sums[1]
    );
    assert!(sums[0] > 50 && sums[1] > 50, "{sums:?}");
}

/// Players that lock, read, write and truncate are killed at any moment, rounds long. Then nothing is locked, and nobody waits.
#[test]
fn the_killed_leave_nothing_behind() {
    let mount = mount("mode=0777,mand,size=1g");
    make_file(&mount.path().join("file"), 0o2666, SIZE as usize);
    make_file(&mount.path().join("plain"), 0o666, SIZE as usize);
    let roles = [
        "locker", "locker", "ofd", "watcher", "bytes", "large", "reader", "tail", "appender", "cutter",
    ];
    let mut rng = Rng(7);
    for round in 0..10 {
        let mut cast = Cast::new(mount.path());
        let names: Vec<String> = (0..roles.len()).map(|i| format!("P{i}")).collect();
        cast.start(names.iter().map(String::as_str));
        for ((name, role), seed) in names.iter().zip(roles).zip(round * 100..) {
            cast.send(name, &format!("hammer {role} {seed} 60000"));
        }
        std::thread::sleep(Duration::from_millis(50 + rng.below(150)));
        for name in &names {
            cast.signal_process(name, Signal::KILL);
        }
        for name in &names {
            assert!(
                cast.gone(name, PATIENCE),
                "round {round}: {name} lives on: {:?}",
                cast.state(name)
            );
        }
        let mut cast = Cast::new(mount.path());
        cast.start(["A", "B"]);
        // A secret may be left by one who was killed with it; it is nobody's now.
        assert_eq!(call(&mut cast, "A", "lock W 0-").trim(), "0", "round {round}");
        assert_eq!(call(&mut cast, "B", "read :n 10@0"), "EAGAIN");
        assert_eq!(call(&mut cast, "A", "fallocate punch 0 4194304").trim(), "0");
        assert_eq!(call(&mut cast, "A", "unlock").trim(), "0");
        assert_eq!(call(&mut cast, "B", "write :n 10@0").trim(), "10");
        assert_eq!(call(&mut cast, "A", "ftruncate 4194304").trim(), "0");
    }
}

/// The daemon is told to end, or killed, while some wait: all of them get an error, and nobody hangs.
#[test]
fn the_daemon_goes_while_some_wait() {
    for signal in [Signal::TERM, Signal::KILL] {
        let mut mount = mount("mode=0777,mand");
        mount.expect_death();
        make_file(&mount.path().join("file"), 0o2666, 100);
        let mut cast = Cast::new(mount.path());
        cast.start(["A", "B", "C", "D", "E"]);
        call(&mut cast, "A", "lock W 0-10");
        for (who, order) in [
            ("B", "read 10@0"),
            ("C", "write 10@0"),
            ("D", "lockw W 0-10"),
            ("E", "ftruncate 0"),
        ] {
            cast.send(who, order);
            cast.waits(who).unwrap();
        }
        mount.close_root();
        let Some(daemon) = mount.daemon_pid().and_then(rustix::process::Pid::from_raw) else {
            return;
        };
        rustix::process::kill_process(daemon, signal).unwrap();
        for who in ["B", "C", "D", "E"] {
            let answer = cast
                .answer(who, PATIENCE)
                .unwrap_or_else(|| panic!("{who} hangs: {:?}", cast.state(who)));
            assert!(answer.starts_with('E'), "{who}: {answer}");
        }
    }
}
