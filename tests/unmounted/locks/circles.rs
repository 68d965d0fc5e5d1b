//! Circles of waits, long and short, and other courses that have a name (semantics 4.3, 4.6, 5.3, 5.6, 5.7).

use owltmp::lock::{Access, Kind, Own, Owner, Range, Request, Ticket};
use owltmp::types::{Errno, Fh, LockOwner};

use super::files::Files;

fn process(number: u64) -> Owner {
    Owner::Process(LockOwner(number))
}

fn open_file(number: u64) -> Owner {
    Owner::OpenFile(Fh(number))
}

fn range(start: u64, end: u64) -> Range {
    Range::new(start, end).unwrap()
}

fn request(owner: Owner, kind: Kind, range: Range) -> Request {
    let pid = 1;
    Request {
        owner,
        pid,
        kind,
        range,
    }
}

fn access(own: Own, kind: Kind, range: Range) -> Access {
    Access { own, kind, range }
}

fn hold(files: &Files, file: usize, owner: Owner, kind: Kind, range: Range) {
    assert_eq!(files.lock(file, request(owner, kind, range), None), Ok(None));
}

/// Makes a request wait, as number `id`.
fn wait(files: &Files, file: usize, owner: Owner, kind: Kind, range: Range, id: usize) -> Ticket {
    files
        .lock(file, request(owner, kind, range), Some(id))
        .unwrap()
        .unwrap()
}

const BYTE: Range = Range::ALL;

/// Each of `length` processes holds a file of its own and waits for the next one's, the last for the first one's: as locks, or
/// every second one as an access.
fn circle(length: usize, files: &Files, accesses: bool) {
    let number = |at: usize| process(at as u64);
    for at in 0..length {
        hold(files, at, number(at), Kind::Write, BYTE);
    }
    for at in 0..length {
        let next = (at + 1) % length;
        let found = if accesses && at % 2 == 1 {
            files.access(next, access(number(at).own(), Kind::Read, BYTE), at)
        } else {
            files.lock(next, request(number(at), Kind::Write, BYTE), Some(at))
        };
        if at + 1 < length {
            assert!(matches!(found, Ok(Some(_))), "{at} of {length}");
        } else {
            assert_eq!(found, Err(Errno::EDEADLK));
        }
    }
    assert_eq!(files.waits.len(), length - 1);
    assert_eq!(files.told(), []);
    // The one that was refused gives up, and all get on.
    for at in (0..length).rev() {
        files.release(at, number(at));
        if at > 0 {
            assert_eq!(files.told(), [(at - 1, Ok(()))]);
        }
    }
}

#[test]
fn circles_across_files() {
    for length in [2, 3, 4, 50] {
        circle(length, &Files::new(length), false);
        circle(length, &Files::new(length), true);
    }
}

#[test]
fn two_that_read_both_want_to_write() {
    let files = Files::new(1);
    hold(&files, 0, process(1), Kind::Read, BYTE);
    hold(&files, 0, process(2), Kind::Read, BYTE);
    wait(&files, 0, process(1), Kind::Write, BYTE, 1);
    let second = files.lock(0, request(process(2), Kind::Write, BYTE), Some(2));
    assert_eq!(second, Err(Errno::EDEADLK));
    files.release(0, process(2));
    assert_eq!(files.told(), [(1, Ok(()))]);
}

#[test]
fn open_files_are_in_no_circle() {
    for second in [process(1), open_file(2)] {
        let files = Files::new(2);
        hold(&files, 0, open_file(1), Kind::Write, BYTE);
        hold(&files, 1, second, Kind::Write, BYTE);
        wait(&files, 1, open_file(1), Kind::Write, BYTE, 1);
        // It may be that nobody will ever unlock. As on Linux that is not looked for.
        wait(&files, 0, second, Kind::Write, BYTE, 2);
        files.unlock(0, open_file(1), BYTE);
        assert_eq!(files.told(), [(2, Ok(()))]);
    }
}

/// The two threads of a process: while one waits the other gets a lock that somebody waits for.
#[test]
fn a_second_thread_closes_a_circle() {
    let files = Files::new(2);
    hold(&files, 0, process(2), Kind::Write, range(5, 6));
    hold(&files, 1, process(3), Kind::Write, range(0, 1));
    // Process 1 waits for process 2.
    wait(&files, 0, process(1), Kind::Write, range(5, 6), 1);
    // Process 2 waits for process 3; that it also wants what nobody holds stops nobody from taking that.
    wait(&files, 1, process(2), Kind::Write, range(0, 2), 2);
    assert_eq!(files.told(), []);
    hold(&files, 1, process(1), Kind::Write, range(1, 2));
    assert_eq!(files.told(), [(2, Err(Errno::EDEADLK))]);
    assert_eq!(files.waits.len(), 1);
}

#[test]
fn two_threads_of_a_process_wait_for_the_same() {
    let files = Files::new(1);
    hold(&files, 0, process(1), Kind::Write, BYTE);
    wait(&files, 0, process(2), Kind::Write, BYTE, 1);
    wait(&files, 0, process(3), Kind::Write, BYTE, 2);
    wait(&files, 0, process(2), Kind::Write, BYTE, 3);
    files.release(0, process(1));
    assert_eq!(files.told(), [(1, Ok(())), (3, Ok(()))]);
    files.release(0, process(2));
    assert_eq!(files.told(), [(2, Ok(()))]);
}

#[test]
fn a_downgrade_lets_readers_in() {
    let files = Files::new(1);
    hold(&files, 0, process(1), Kind::Write, BYTE);
    wait(&files, 0, process(2), Kind::Read, BYTE, 1);
    wait(&files, 0, process(3), Kind::Write, BYTE, 2);
    wait(&files, 0, process(4), Kind::Read, BYTE, 3);
    hold(&files, 0, process(1), Kind::Read, BYTE);
    assert_eq!(files.told(), [(1, Ok(())), (3, Ok(()))]);
}

/// The grant of a waiting downgrade lets in one that came before it.
#[test]
fn a_downgrade_that_waited_lets_readers_in() {
    let files = Files::new(1);
    hold(&files, 0, process(1), Kind::Write, range(0, 1));
    hold(&files, 0, process(2), Kind::Write, range(1, 2));
    wait(&files, 0, process(3), Kind::Read, range(0, 1), 1);
    wait(&files, 0, process(1), Kind::Read, range(0, 2), 2);
    wait(&files, 0, process(4), Kind::Read, range(1, 2), 3);
    files.release(0, process(2));
    assert_eq!(files.told(), [(2, Ok(())), (1, Ok(())), (3, Ok(()))]);
}

/// An access whose turn it is keeps the locks that wait behind it out, and lets in who is faster.
#[test]
fn whose_turn_it_is_is_not_overtaken_by_those_behind() {
    let files = Files::new(1);
    let own = process(2).own();
    hold(&files, 0, process(1), Kind::Write, range(0, 10));
    let ticket = files
        .access(0, access(own, Kind::Write, range(0, 5)), 1)
        .unwrap()
        .unwrap();
    wait(&files, 0, process(3), Kind::Write, range(4, 5), 2);
    wait(&files, 0, process(4), Kind::Write, range(5, 6), 3);
    files.release(0, process(1));
    assert_eq!(files.told(), [(1, Ok(())), (3, Ok(()))]);
    hold(&files, 0, process(5), Kind::Read, range(0, 1));
    let perform = || files.perform(0, 1, ticket, Kind::Write, range(0, 5), true);
    // Somebody was faster, and the one behind is stopped by no lock.
    assert_eq!(perform(), Some(false));
    assert_eq!(files.told(), [(2, Ok(()))]);
    files.release(0, process(5));
    assert_eq!(files.told(), []);
    files.release(0, process(3));
    assert_eq!(files.told(), [(1, Ok(()))]);
    assert_eq!(perform(), Some(true));
    assert_eq!(perform(), None);
    assert_eq!(files.waits.len(), 0);
}

#[test]
fn an_access_that_was_given_up_at_its_turn_is_not_performed() {
    let files = Files::new(1);
    hold(&files, 0, open_file(1), Kind::Write, BYTE);
    let own = open_file(2).own();
    let ticket = files.access(0, access(own, Kind::Read, BYTE), 1).unwrap().unwrap();
    wait(&files, 0, process(3), Kind::Write, BYTE, 2);
    files.release(0, open_file(1));
    assert_eq!(files.told(), [(1, Ok(()))]);
    assert!(!files.cancel(0, ticket));
    assert_eq!(files.told(), [(2, Ok(()))]);
    assert_eq!(files.perform(0, 1, ticket, Kind::Read, BYTE, true), None);
}

#[test]
fn a_cleared_mark_lets_accesses_go() {
    let files = Files::new(1);
    hold(&files, 0, process(1), Kind::Write, BYTE);
    let ticket = files
        .access(0, access(process(2).own(), Kind::Read, BYTE), 1)
        .unwrap()
        .unwrap();
    wait(&files, 0, process(3), Kind::Write, BYTE, 2);
    files.files[0].release_accesses(&files.waits).run();
    assert_eq!(files.told(), [(1, Ok(()))]);
    assert_eq!(files.perform(0, 1, ticket, Kind::Read, BYTE, false), Some(true));
    assert_eq!(files.files[0].waiting(), 1);
}

#[test]
fn what_cannot_be_kept_is_not_promised() {
    let mut files = Files::new(1);
    hold(&files, 0, process(1), Kind::Write, BYTE);
    wait(&files, 0, process(2), Kind::Write, BYTE, 1);
    files.may_grant = Err(Errno::EAGAIN);
    files.release(0, process(1));
    assert_eq!(files.told(), [(1, Err(Errno::EAGAIN))]);
    let now = files.lock(0, request(process(1), Kind::Read, BYTE), Some(2));
    assert_eq!(now, Err(Errno::EAGAIN));
    assert!(files.files[0].is_idle() && files.waits.is_empty());
}

#[test]
fn a_refused_conversion_loses_the_old_lock() {
    let files = Files::new(1);
    for number in [1, 2] {
        hold(&files, 0, open_file(number), Kind::Read, BYTE);
    }
    wait(&files, 0, open_file(3), Kind::Write, BYTE, 1);
    let found = files.convert(0, request(open_file(1), Kind::Write, BYTE), None);
    assert_eq!(found, Err(Errno::EAGAIN));
    assert!(!files.files[0].holds(open_file(1)));
    let found = files.convert(0, request(open_file(2), Kind::Read, BYTE), None);
    assert_eq!((found, files.told()), (Ok(None), vec![]));
    // Who converts comes before those who wait.
    let found = files.convert(0, request(open_file(2), Kind::Write, BYTE), Some(2));
    assert_eq!((found, files.told()), (Ok(None), vec![]));
    files.release(0, open_file(2));
    assert_eq!(files.told(), [(1, Ok(()))]);
}

/// Ten thousand wait for one byte, and each lets the next one in.
#[test]
fn ten_thousand_wait_for_one_byte() {
    const MANY: u64 = 10_000;
    let files = Files::new(1);
    hold(&files, 0, process(0), Kind::Write, BYTE);
    for number in 1..=MANY {
        let id = usize::try_from(number).unwrap();
        wait(&files, 0, process(number), Kind::Write, BYTE, id);
    }
    for number in 0..MANY {
        files.release(0, process(number));
        let next = usize::try_from(number + 1).unwrap();
        assert_eq!(files.told(), [(next, Ok(()))]);
    }
    assert_eq!(files.files[0].waiting(), 0);
}
