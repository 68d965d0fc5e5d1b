//! Requests that wait, on a real mount: served by a small handler of the test's own in the test's process, waited for by
//! processes of their own (semantics 4.2, 6.4; the orders of events that only chance makes are in tests/unmounted/parking.rs).

mod world;

use std::time::Instant;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use owltmp::fuse::Delivery;
use owltmp::types::Errno;

use crate::common::wait_until;
use world::{Client, SOON, World, abort};

/// Each of `argv[2]` threads looks up a name of its own; then says what it got.
const MANY: &str = "
count = int(sys.argv[2])
results = [None] * count
def look_up(number):
    try: os.stat(f'{path}/wait-{number}')
    except OSError as error: results[number] = error.errno
threading.stack_size(128 << 10)
threads = [threading.Thread(target=look_up, args=(number,)) for number in range(count)]
for thread in threads: thread.start()
for thread in threads: thread.join()
say(*results)
";

/// Answered late, by a thread that is no worker, in another order, and each on the descriptor it was read from: the kernel
/// takes it from no other.
#[test]
fn answers_come_late_from_another_thread() {
    const COUNT: usize = 40;
    for workers in [1, 2, 8] {
        let world = World::new(workers);
        let mut client = Client::python(MANY, &world.mountpoint, &[&COUNT.to_string()]);
        world.until_waiting(COUNT);
        let errno = |number: usize| [libc::ENOENT, libc::EACCES, libc::ELOOP][number % 3];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for number in (0..COUNT).rev() {
                    let parked = world.take(&format!("wait-{number}"));
                    assert_eq!(parked.answer(Err(Errno(errno(number)))), Delivery::Taken);
                }
            });
        });
        let expected: Vec<_> = (0..COUNT).map(|number| errno(number).to_string()).collect();
        assert_eq!(client.line(), expected.join(" "), "{workers} workers");
        assert_eq!((world.waiting(), world.interrupts()), (0, 0));
    }
}

#[test]
fn sigkill_ends_the_wait_at_once() {
    for workers in [1, 2, 8] {
        let world = World::new(workers);
        let read = "os.read(os.open(path + '/file', os.O_RDONLY), 9)";
        for script in ["os.stat(path + '/wait')", read] {
            let mut client = Client::python(script, &world.mountpoint, &[]);
            world.until_waiting(1);
            let before = Instant::now();
            client.signal(Signal::SIGKILL);
            client.end();
            println!("{workers} workers: dead after {:?}", before.elapsed());
            world.until_waiting(0);
        }
        assert_eq!(world.interrupts(), 2);
    }
}

/// A signal runs its handler and ends the wait with EINTR. (Python repeats such calls by itself, the C library does not.)
#[test]
fn a_signal_ends_a_wait_with_eintr() {
    const SCRIPT: &str = "
signal.signal(signal.SIGALRM, lambda number, frame: say('handler'))
def call(what, result): say(what, result, ctypes.get_errno())
call('open', libc.open((path + '/wait').encode(), os.O_RDONLY))
file = os.open(path + '/file', os.O_RDONLY)
call('read', libc.read(file, ctypes.create_string_buffer(9), 9))
call('read', libc.read(file, ctypes.create_string_buffer(9), 9))
";
    let world = World::new(2);
    let mut client = Client::python(SCRIPT, &world.mountpoint, &[]);
    for call in ["open", "read"] {
        world.until_waiting(1);
        client.signal(Signal::SIGALRM);
        // The C library's call returns to python before python runs its handler, and that before the next line.
        assert_eq!(client.line(), "handler");
        assert_eq!(client.line(), format!("{call} -1 {}", libc::EINTR));
    }
    world.until_waiting(1);
    assert_eq!(world.take("read").answer(Ok(&[b"abc"])), Delivery::Taken);
    assert!(client.line().starts_with("read 3"));
    assert!(client.end().success());
    assert_eq!(world.interrupts(), 2);
}

/// By semantics 4.2: of all calls F_SETLKW is the one that the kernel restarts.
#[test]
fn a_wait_for_a_lock_is_restarted_or_ended_as_sa_restart_says() {
    const SCRIPT: &str = "
signal.signal(signal.SIGALRM, lambda number, frame: say('handler'))
file = os.open(path + '/file', os.O_RDWR)
for ends in (True, False):
    signal.siginterrupt(signal.SIGALRM, ends)
    result = libc.fcntl(file, 7, struct.pack('hhqqi', 1, 0, 0, 9, 0))
    say(result, ctypes.get_errno() if result else 0)
";
    for workers in [1, 2, 8] {
        let world = World::with_locks(workers);
        let mut client = Client::python(SCRIPT, &world.mountpoint, &[]);
        world.until_waiting(1);
        client.signal(Signal::SIGALRM);
        assert_eq!(client.line(), "handler");
        assert_eq!(client.line(), format!("-1 {}", libc::EINTR));
        world.until_waiting(1);
        assert_eq!(world.interrupts(), 1);
        client.signal(Signal::SIGALRM);
        wait_until("the signal ends the first wait", SOON, || world.interrupts() == 2);
        world.until_waiting(1);
        assert_eq!(world.take("lock").answer(Ok(&[])), Delivery::Taken);
        assert_eq!(client.line(), "handler");
        assert_eq!(client.line(), "0 0");
        assert!(client.end().success());
    }
}

/// Signals in a storm, read by other workers than the requests they mean, while requests come and go: none is lost, which
/// would leave a process that nothing can kill.
#[test]
fn no_signal_is_lost() {
    const SCRIPT: &str = "
signal.signal(signal.SIGALRM, lambda number, frame: None)
name = (path + '/wait-' + sys.argv[2]).encode()
for turn in range(300): libc.open(name, os.O_RDONLY)
say('done')
";
    let world = World::new(8);
    let mut clients: Vec<_> = (0..4)
        .map(|number: usize| Client::python(SCRIPT, &world.mountpoint, &[&number.to_string()]))
        .collect();
    wait_until("all wait", SOON, || world.waiting() == 4);
    let done = std::thread::scope(|scope| {
        let lines: Vec<_> = clients
            .iter_mut()
            .map(|client| {
                let pid = Pid::from_raw(client.0.id().cast_signed());
                let reader = scope.spawn(|| client.line());
                (pid, reader)
            })
            .collect();
        let began = Instant::now();
        while lines.iter().any(|(_, reader)| !reader.is_finished()) && began.elapsed() < SOON {
            for (pid, reader) in &lines {
                if !reader.is_finished() {
                    let _ = kill(*pid, Signal::SIGALRM);
                }
            }
            std::thread::yield_now();
        }
        let all = lines.iter().all(|(_, reader)| reader.is_finished());
        if !all {
            abort(&world.mountpoint);
        }
        all
    });
    assert!(done, "a wait was not ended by {} signals", world.interrupts());
}

fn serving_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("comm")).ok())
        .filter(|name| name.starts_with("owltmp-"))
        .count()
}

/// By semantics 4.2: waiting costs no thread, and hinders nobody.
#[test]
fn thousands_wait_and_others_are_served() {
    const COUNT: usize = 3000;
    let world = World::new(2);
    let mut client = Client::python(MANY, &world.mountpoint, &[&COUNT.to_string()]);
    world.until_waiting(COUNT);
    assert_eq!(serving_threads(), 2);
    let began = Instant::now();
    for number in 0..2000 {
        assert_eq!(world.stat(&format!("now-{number}")), Some(libc::ENOENT));
    }
    println!("{COUNT} wait; another is served in {:?}", began.elapsed() / 2000);
    assert_eq!(world.waiting(), COUNT);
    let began = Instant::now();
    client.signal(Signal::SIGKILL);
    client.end();
    println!("all {COUNT} killed in {:?}", began.elapsed());
    world.until_waiting(0);
    assert_eq!(serving_threads(), 2);
}

/// By semantics 6.4: what is forgotten or panics is EIO for its caller, and the only worker goes on.
#[test]
fn what_nobody_answers_is_eio() {
    let world = World::new(1);
    let mut client = Client::python(MANY, &world.mountpoint, &["1"]);
    world.until_waiting(1);
    for name in ["panic", "forgotten", "panic"] {
        assert_eq!(world.stat(name), Some(libc::EIO), "{name}");
    }
    assert_eq!(world.stat("now"), Some(libc::ENOENT));
    drop(world.take("wait-0"));
    assert_eq!(client.line(), libc::EIO.to_string());
}

/// The mount is taken away while requests wait: their callers are told, the session ends, and late answers go nowhere.
#[test]
fn unmounting_ends_all_waits() {
    for workers in [1, 2, 8] {
        let mut world = World::new(workers);
        let mut client = Client::python(MANY, &world.mountpoint, &["10"]);
        world.until_waiting(10);
        world.end();
        let results = client.line();
        let aborted = [libc::ECONNABORTED, libc::ENOTCONN].map(|errno| errno.to_string());
        assert!(
            results.split(' ').all(|result| aborted.contains(&result.to_owned())),
            "{results}"
        );
        let parked = std::mem::take(&mut *world.waits.parked.lock().unwrap());
        assert_eq!(parked.len(), 10);
        for late in parked.into_values() {
            assert_eq!(late.answer(Err(Errno::ENOENT)), Delivery::Refused);
        }
    }
}
