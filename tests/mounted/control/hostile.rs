//! Whatever comes over the socket, the mount and other clients go on as before.

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use owltmp::control::client::Client;
use owltmp::control::protocol::{Answer, Body, Code};

use super::{SOON, client, device_of, mounted, raw, socket_of};
use crate::common::identity::{ALICE, BOB, CAROL};
use crate::common::rng::Rng;
use crate::common::{Mount, as_user, sysctl, wait_until};

/// How long creating and removing a file takes: the middle, and one in a hundred.
fn latency(mount: &Mount, count: usize) -> (Duration, Duration) {
    let path = mount.path().join("probe");
    let mut times: Vec<Duration> = (0..count)
        .map(|_| {
            let start = Instant::now();
            drop(fs::File::create(&path).unwrap());
            fs::remove_file(&path).unwrap();
            start.elapsed()
        })
        .collect();
    times.sort();
    (times[count / 2], times[count * 99 / 100])
}

fn descriptors(mount: &Mount) -> usize {
    let pid = mount.daemon_pid().unwrap();
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// Everything that can be said wrongly, again and again, until told to stop. Nothing of it is waited for.
fn storm(mount: &Mount, seed: u64, stop: &AtomicBool) -> usize {
    let socket = socket_of(device_of(mount.path()));
    let mut rng = Rng(seed);
    let mut kept: Vec<UnixStream> = Vec::new();
    let mut connected = 0;
    while !stop.load(Ordering::Relaxed) {
        let Ok(mut stream) = UnixStream::connect(&socket) else {
            continue;
        };
        connected += 1;
        stream.set_nonblocking(true).unwrap();
        let _answered_or_not = match rng.below(7) {
            0 => stream.write(b"{\"version\":1,\"ask\":\"sta"),
            1 => stream.write(&[0, 255, 10, 1, 2, 3, 10]),
            2 => stream.write(&[b'x'; 100_000]),
            3 => stream.write(&b"{\"version\":1,\"ask\":\"status\"}\n".repeat(100)),
            4 => stream.write(b"{\"version\":1,\"ask\":\"events\",\"follow\":true}\n"),
            5 => stream.write(&b"[".repeat(8000)),
            _ => stream.write(b"{\"version\":1,\"ask\":\"locks\"}\n"),
        };
        kept.push(stream);
        if kept.len() > 300 {
            kept.drain(..100);
        }
    }
    connected
}

/// Whether a storm is to end.
struct Stop(AtomicBool);

/// Ends it when dropped.
struct End<'a>(&'a Stop);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.0.store(true, Ordering::Relaxed);
    }
}

#[test]
fn a_storm_on_the_socket_leaves_the_mount_alone() {
    let Some(mount) = mounted("") else { return };
    latency(&mount, 500);
    let quiet = latency(&mount, 2000);
    let (rss, open) = (mount.daemon_rss().unwrap(), descriptors(&mount));
    let stop = Stop(AtomicBool::new(false));
    thread::scope(|scope| {
        let storms: Vec<_> = [(ALICE, 1), (BOB, 2), (CAROL, 3)]
            .map(|(who, seed)| {
                let (mount, stop) = (&mount, &stop.0);
                scope.spawn(move || as_user(who, || storm(mount, seed, stop)))
            })
            .into();
        // Also where the test fails.
        let end = End(&stop);
        thread::sleep(Duration::from_millis(200));
        let stormy = latency(&mount, 2000);
        let most = descriptors(&mount);
        let grown = mount.daemon_rss().unwrap().saturating_sub(rss) >> 20;
        // Root is answered in between.
        let start = Instant::now();
        let answered = client(&mount).status(false).is_ok();
        let waited = start.elapsed();
        drop(end);
        let connected: usize = storms.into_iter().map(|it| it.join().unwrap()).sum();
        println!("create and remove, quiet: {quiet:?}; in the storm: {stormy:?} (middle, one in a hundred)");
        println!(
            "{connected} connections, {most} descriptors (before: {open}), {grown} MiB more; root waited {waited:?}"
        );
        assert!(answered && connected > 100);
        assert!(most <= open + 128 + 16 + 8, "{most} descriptors");
        assert!(grown < 64, "{grown} MiB");
    });
    wait_until("the connections are gone", SOON * 10, || {
        descriptors(&mount) <= open + 2
    });
}

#[test]
fn a_thousand_connections_at_once_are_bounded() {
    let Some(mount) = mounted("") else { return };
    let open = descriptors(&mount);
    let mut kept: Vec<UnixStream> = (0..1000).map(|_| raw(&mount)).collect();
    // Of root, who is asked for no more than all may have.
    let mut refused = 0;
    for stream in &mut kept {
        stream.set_read_timeout(Some(Duration::from_millis(1))).unwrap();
        let mut said = String::new();
        match stream.read_to_string(&mut said) {
            Ok(_) => {
                let answer: Answer = serde_json::from_str(&said).unwrap();
                assert!(matches!(answer.body, Body::Error(refusal) if refusal.code == Code::Busy));
                refused += 1;
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionReset),
                "{error}"
            ),
        }
    }
    assert!(refused >= 1000 - 128 - 32, "{refused}");
    assert!(descriptors(&mount) <= open + 128 + 8);
    drop(kept);
    wait_until("there is room again", SOON, || {
        Client::connect(device_of(mount.path()), 0).is_ok()
    });
}

#[test]
fn one_user_leaves_room_for_others() {
    let Some(mount) = mounted("") else { return };
    let hoard = as_user(ALICE, || (0..100).map(|_| raw(&mount)).collect::<Vec<_>>());
    as_user(BOB, || assert!(client(&mount).status(true).is_ok()));
    assert!(client(&mount).status(true).is_ok());
    assert!(
        as_user(ALICE, || owltmp::control::client::Client::connect(
            device_of(mount.path()),
            0
        ))
        .is_err()
    );
    drop(hoard);
}

#[test]
fn lines_are_answered_one_by_one_and_bad_ones_end_it() {
    let Some(mount) = mounted("") else { return };
    let mut stream = raw(&mount);
    // In two pieces, and two at once.
    stream.write_all(b"{\"version\":1,\"ask\":\"sta").unwrap();
    thread::sleep(Duration::from_millis(20));
    stream
        .write_all(b"tus\",\"brief\":true,\"unknown\":[1]}\n{\"version\":1,\"ask\":\"locks\"}\nnonsense\n")
        .unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).unwrap();
    let codes: Vec<Body> = said
        .lines()
        .map(|line| serde_json::from_str::<Answer>(line).unwrap().body)
        .collect();
    assert_eq!(codes.len(), 3, "{said}");
    assert!(matches!(&codes[0], Body::Status(_)) && matches!(&codes[1], Body::Locks(_)));
    assert!(matches!(&codes[2], Body::Error(refusal) if refusal.code == Code::Malformed));
    for (line, code) in [
        (&b"{\"version\":2,\"ask\":\"status\"}\n"[..], Code::Version),
        (&[b'x'; 9000][..], Code::Malformed),
        (b"\n", Code::Malformed),
        (b"\xff\xfe\n", Code::Malformed),
    ] {
        let mut stream = raw(&mount);
        stream.write_all(line).unwrap();
        let mut said = Vec::new();
        // What was not read of a line that is too long resets the connection after the answer.
        let _read = stream.read_to_end(&mut said);
        let answer: Answer = serde_json::from_slice(&said).unwrap();
        assert!(
            matches!(&answer.body, Body::Error(refusal) if refusal.code == code),
            "{answer:?}"
        );
    }
}

#[test]
fn who_follows_events_and_does_not_read_is_let_go() {
    let _off = sysctl::off();
    let Some(mount) = mounted("") else { return };
    as_user(ALICE, || {
        std::os::unix::fs::symlink("/etc/passwd", mount.path().join("l")).unwrap()
    });
    let deaf: Vec<UnixStream> = (0..8)
        .map(|_| {
            let mut stream = raw(&mount);
            stream
                .write_all(b"{\"version\":1,\"ask\":\"events\",\"follow\":true}\n")
                .unwrap();
            stream
        })
        .collect();
    wait_until("they are listened to", SOON, || client(&mount).status(true).is_ok());
    let (rss, open) = (mount.daemon_rss().unwrap(), descriptors(&mount));
    let start = Instant::now();
    let mut refused = 0;
    while start.elapsed() < Duration::from_secs(3) {
        for _ in 0..100 {
            fs::read(mount.path().join("l")).unwrap_err();
            refused += 1;
        }
    }
    let grown = mount.daemon_rss().unwrap().saturating_sub(rss) >> 20;
    println!(
        "{refused} refused, 8 deaf followers: {grown} MiB more, {} descriptors of {open}",
        descriptors(&mount)
    );
    assert!(grown < 16 && client(&mount).status(true).is_ok());
    drop(deaf);
    wait_until("they are gone", SOON, || descriptors(&mount) <= open.saturating_sub(8));
}
