//! The node ids of marked files: a new one for each look-up, and nobody is to notice.

use std::sync::mpsc::channel;
use std::time::Duration;

use rustix::fs::{OFlags, fchmod, fstat};
use rustix::io::{pread, pwrite};

use super::{Ask, PATIENCE, WRITE, both_modes, lock};
use crate::common::dir::write_all;
use crate::common::xattr::{ACCESS, Entry, acl, set};
use crate::common::{Dir, Errno, Mode, Mount};

/// Time for the kernel to learn what it is told behind the answer.
const A_MOMENT: Duration = Duration::from_millis(100);

fn by_descriptor(fd: &impl std::os::fd::AsRawFd, flags: OFlags) -> Result<rustix::fd::OwnedFd, Errno> {
    let path = format!("/proc/self/fd/{}", fd.as_raw_fd());
    rustix::fs::open(path, flags | OFlags::CLOEXEC, Mode::empty())
}

fn four(fd: &rustix::fd::OwnedFd) -> [u8; 4] {
    let mut bytes = [0; 4];
    pread(fd, &mut bytes, 0).unwrap();
    bytes
}

/// Two see each other's writes, in both directions.
fn agree(one: &rustix::fd::OwnedFd, other: &rustix::fd::OwnedFd) {
    for (from, to, text) in [(one, other, b"1111"), (other, one, b"2222"), (one, other, b"3333")] {
        assert_eq!(four(from), four(to));
        pwrite(from, text, 0).unwrap();
        assert_eq!(&four(to), text);
        assert_eq!(fstat(from).unwrap().st_size, fstat(to).unwrap().st_size);
    }
}

/// Whoever has looked a file up while it was marked has a node of his own, and without passthrough a page cache of his own. He must
/// not use it beside others: nobody may read what is no longer there. By semantics 1.1.
#[test]
fn a_node_from_the_time_of_the_mark() {
    both_modes("mand=marked", |mount| {
        let dir = mount.dir();
        dir.file("file", &[b'x'; 8192], 0o2666);
        std::thread::sleep(A_MOMENT);
        let old = dir.open("file", OFlags::PATH, 0).unwrap();
        dir.chmod("file", 0o666).unwrap();
        // Alone he may have it; and who comes later goes by what he does.
        let alone = by_descriptor(&old, OFlags::RDWR).unwrap();
        let later = dir.open("file", OFlags::RDWR, 0).unwrap();
        agree(&alone, &later);
        drop((alone, later));
        std::thread::sleep(A_MOMENT);
        let by_name = dir.open("file", OFlags::RDWR, 0).unwrap();
        assert_eq!(four(&by_name), *b"3333");
        match by_descriptor(&old, OFlags::RDWR) {
            Ok(beside) => agree(&by_name, &beside),
            Err(error) => assert!(error == Errno::STALE && !mount.passthrough(), "{error:?}"),
        }
        // Marked again, with one from before.
        dir.chmod("file", 0o2666).unwrap();
        let marked = dir.open("file", OFlags::RDWR, 0).unwrap();
        agree(&by_name, &marked);
        match by_descriptor(&old, OFlags::RDWR) {
            Ok(beside) => agree(&by_name, &beside),
            Err(error) => assert!(error == Errno::STALE && !mount.passthrough(), "{error:?}"),
        }
        assert_eq!(fstat(&by_name).unwrap().st_ino, fstat(&old).unwrap().st_ino);
        // Nobody else has it: then by every node.
        drop((by_name, marked));
        std::thread::sleep(A_MOMENT);
        let (one, other) = (
            by_descriptor(&old, OFlags::RDWR).unwrap(),
            dir.open("file", OFlags::RDWR, 0).unwrap(),
        );
        agree(&one, &other);
    });
}

/// Two who open a file have a node each, so that the one who locks can lengthen the file while the other waits to.
fn hinder_nobody(dir: &Dir) {
    let holder = dir.open("file", OFlags::RDWR, 0).unwrap();
    let waiter = dir.open("file", OFlags::RDWR, 0).unwrap();
    lock(&holder, Ask::Open, WRITE, 0, 0).unwrap();
    std::thread::scope(|scope| {
        let (done, is_done) = channel();
        scope.spawn(|| assert_eq!(pwrite(&waiter, b"late", 1000), Ok(4)));
        std::thread::sleep(Duration::from_millis(2));
        let holder = &holder;
        scope.spawn(move || {
            let written = pwrite(holder, b"early", 500);
            done.send(written).unwrap();
        });
        let written = is_done.recv_timeout(Duration::from_secs(5));
        // Whatever came of it, nobody waits for ever.
        dir.chmod("file", 0o666).unwrap();
        assert_eq!(written, Ok(Ok(5)), "who holds the lock waits for who waits");
    });
}

/// By semantics 5.9, also at once after the mark, when the kernel still remembers the name by the one node.
#[test]
fn at_once_after_the_mark() {
    for mand in ["marked", "full"] {
        let mount = Mount::owltmp(&format!("mode=0777,mand={mand}"));
        let dir = mount.dir();
        for round in 0..150 {
            drop(dir.create("file"));
            match round % 3 {
                0 => dir.chmod("file", 0o2666).unwrap(),
                1 => {
                    // As an access control list may mark a file as well.
                    dir.chmod("file", 0o2676).unwrap();
                    let list = acl(&[Entry::UserObj(6), Entry::GroupObj(6), Entry::Other(6)]);
                    set(&dir.path("file"), ACCESS, &list).unwrap();
                }
                _ => {
                    dir.chmod("file", 0o2666).unwrap();
                    dir.rename("file", "other").unwrap();
                    dir.rename("other", "file").unwrap();
                }
            }
            assert_eq!(dir.mode("file"), 0o2666);
            if round % 2 == 0 {
                hinder_nobody(dir);
            } else {
                let (one, other) = (dir.open("file", OFlags::RDWR, 0), dir.open("file", OFlags::RDONLY, 0));
                assert!(one.is_ok() && other.is_ok());
            }
            dir.unlink("file").unwrap();
        }
    }
}

/// An access control list that ends the mark lets those go who wait, as chmod(2) does. By semantics 5.7.
#[test]
fn a_list_that_ends_the_mark() {
    both_modes("mand=marked", |mount| {
        let dir = mount.dir();
        dir.file("file", b"text", 0o2666);
        let holder = dir.open("file", OFlags::RDWR, 0).unwrap();
        let waiter = dir.open("file", OFlags::RDWR, 0).unwrap();
        lock(&holder, Ask::Open, WRITE, 0, 0).unwrap();
        std::thread::scope(|scope| {
            let (done, is_done) = channel();
            let waiter = &waiter;
            scope.spawn(move || done.send(pwrite(waiter, b"TEXT", 0)).unwrap());
            assert!(is_done.recv_timeout(A_MOMENT).is_err(), "it waits");
            let list = acl(&[Entry::UserObj(7), Entry::GroupObj(7), Entry::Other(7)]);
            set(&dir.path("file"), ACCESS, &list).unwrap();
            assert_eq!(dir.mode("file"), 0o2777);
            let released = is_done.recv_timeout(PATIENCE);
            let _ = lock(&holder, Ask::Open, super::NONE, 0, 0);
            assert_eq!(released, Ok(Ok(4)));
        });
        assert_eq!(dir.read("file").unwrap(), b"TEXT");
    });
}

/// Listings give no node of a marked file away, and say its number all the same.
#[test]
fn listings_and_handles() {
    both_modes("mand=marked", |mount| {
        let dir = mount.dir();
        for number in 0..50 {
            let fd = dir.create(&format!("f{number}"));
            write_all(&fd, b"text");
            fchmod(&fd, Mode::from_raw_mode(if number % 2 == 0 { 0o2660 } else { 0o660 })).unwrap();
        }
        let inode = |name: &str| dir.stat(name).unwrap().st_ino;
        for _ in 0..3 {
            let listing = rustix::fs::Dir::read_from(dir.fd()).unwrap();
            for entry in listing.map(Result::unwrap) {
                let name = entry.file_name().to_string_lossy().into_owned();
                if name.starts_with('f') {
                    assert_eq!(entry.ino(), inode(&name));
                }
            }
            let handle = crate::common::handle::Handle::of(dir.fd(), "f0").unwrap();
            let fd = handle.open(dir.fd(), OFlags::RDWR).unwrap();
            assert_eq!(fstat(&fd).unwrap().st_ino, inode("f0"));
            assert_eq!(&four(&fd), b"text");
            assert_eq!(
                fstat(by_descriptor(&fd, OFlags::RDONLY).unwrap()).unwrap().st_ino,
                inode("f0")
            );
        }
    });
}
