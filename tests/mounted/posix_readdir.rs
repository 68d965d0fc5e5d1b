//! Reading directories while they change, on tmpfs and on owltmp.

use rustix::fd::BorrowedFd;
use rustix::fs::{RawDir, SeekFrom, seek};
use std::collections::{BTreeMap, BTreeSet};
use std::mem::MaybeUninit;

use crate::common::{Dir, Errno, FileType, OFlags, both};

/// One getdents(2) with a small buffer: (name, cookie) of each entry; empty at the end.
fn some_entries(fd: BorrowedFd<'_>) -> Vec<(String, u64)> {
    let mut buffer = [MaybeUninit::uninit(); 512];
    let mut raw = RawDir::new(fd, &mut buffer);
    let mut entries = vec![];
    while let Some(entry) = raw.next() {
        let entry = entry.unwrap();
        entries.push((
            entry.file_name().to_string_lossy().into_owned(),
            entry.next_entry_cookie(),
        ));
        if raw.is_buffer_empty() {
            break;
        }
    }
    entries
}

fn rest(fd: BorrowedFd<'_>) -> Vec<String> {
    let mut names = vec![];
    loop {
        let some = some_entries(fd);
        if some.is_empty() {
            return names;
        }
        names.extend(some.into_iter().map(|(name, _)| name));
    }
}

fn fill(dir: &Dir, count: u32) -> BTreeSet<String> {
    let names: BTreeSet<String> = (0..count).map(|i| format!("file-{i}")).collect();
    for name in &names {
        dir.file(name, b"", 0o644);
    }
    names
}

fn counted(names: &[String]) -> BTreeMap<&str, u32> {
    let mut counts = BTreeMap::new();
    for name in names {
        *counts.entry(name.as_str()).or_insert(0) += 1;
    }
    counts
}

/// By semantics 1.2: an entry present throughout a scan comes exactly once, whatever is made, renamed and removed meanwhile.
#[test]
fn each_entry_once() {
    both(|dir| {
        let names = fill(dir, 500);
        let (stay, change): (Vec<_>, Vec<_>) = names.iter().enumerate().partition(|(i, _)| i % 2 == 0);
        let open = dir.open(".", OFlags::RDONLY, 0).unwrap();
        let mut seen = vec![];
        let mut changes = change.into_iter();
        let mut round = 0;
        loop {
            let some = some_entries(rustix::fd::AsFd::as_fd(&open));
            if some.is_empty() {
                break;
            }
            seen.extend(some.into_iter().map(|(name, _)| name));
            for (i, name) in changes.by_ref().take(12) {
                match i % 3 {
                    0 => dir.unlink(name).unwrap(),
                    1 => dir.rename(name, &format!("renamed-{name}")).unwrap(),
                    _ => dir
                        .rename_with(name, ".", crate::common::RenameFlags::NOREPLACE)
                        .unwrap_err()
                        .swallow(),
                }
            }
            dir.file(&format!("new-{round}"), b"", 0o644);
            round += 1;
        }
        let counts = counted(&seen);
        for (_, name) in stay {
            assert_eq!(counts.get(name.as_str()), Some(&1), "{name}");
        }
        assert!(counts.values().all(|&n| n == 1), "{counts:?}");
        assert_eq!((counts["."], counts[".."]), (1, 1));
    });
}

trait Swallow {
    fn swallow(self);
}

impl Swallow for Errno {
    /// The call was made for its side effects, of which there must be none.
    fn swallow(self) {
        assert!(matches!(self, Errno::BUSY | Errno::EXIST), "{self:?}");
    }
}

/// By semantics 1.2: renaming every entry that a scan returns comes to an end, and each file is returned once.
#[test]
fn renaming_every_entry() {
    both(|dir| {
        let names = fill(dir, 400);
        let open = dir.open(".", OFlags::RDONLY, 0).unwrap();
        let mut files = vec![];
        loop {
            let some = some_entries(rustix::fd::AsFd::as_fd(&open));
            if some.is_empty() {
                break;
            }
            for (name, _) in some.into_iter().filter(|(n, _)| !n.starts_with('.')) {
                files.push(name.trim_start_matches("renamed-").to_owned());
                dir.rename(&name, &format!("renamed-{name}")).unwrap();
                assert!(files.len() < 4000, "the scan does not end");
            }
        }
        let counts = counted(&files);
        assert!(
            counts.len() == names.len() && counts.values().all(|&n| n == 1),
            "{} of {}",
            files.len(),
            names.len()
        );
    });
}

/// By semantics 1.2: removing every entry that a scan returns leaves an empty directory.
#[test]
fn removing_while_scanning() {
    both(|dir| {
        fill(dir, 700);
        let open = dir.open(".", OFlags::RDONLY, 0).unwrap();
        loop {
            let some = some_entries(rustix::fd::AsFd::as_fd(&open));
            if some.is_empty() {
                break;
            }
            for (name, _) in some.iter().filter(|(n, _)| !n.starts_with('.')) {
                dir.unlink(name).unwrap();
            }
        }
        assert!(dir.names().is_empty());
    });
}

/// By semantics 1.2: telldir/seekdir hold: the cookie of an entry leads to the ones behind it, also after changes.
#[test]
fn cookies_hold() {
    both(|dir| {
        let names = fill(dir, 200);
        let open = dir.open(".", OFlags::RDONLY, 0).unwrap();
        let fd = rustix::fd::AsFd::as_fd(&open);
        let mut order = vec![];
        loop {
            let some = some_entries(fd);
            if some.is_empty() {
                break;
            }
            order.extend(some);
        }
        assert_eq!(order.len(), names.len() + 2);
        let cookies: BTreeSet<u64> = order.iter().map(|(_, cookie)| *cookie).collect();
        assert_eq!(cookies.len(), order.len(), "cookies differ");
        assert!(cookies.iter().all(|&c| i64::try_from(c).is_ok()), "cookies fit telldir");
        for at in [0, 1, 2, 57, 120, order.len() - 2] {
            seek(fd, SeekFrom::Start(order[at].1)).unwrap();
            let behind: Vec<String> = order[at + 1..].iter().map(|(name, _)| name.clone()).collect();
            assert_eq!(rest(fd), behind, "behind entry {at}");
        }
        let removed = &order[100].0;
        dir.unlink(removed).unwrap();
        seek(fd, SeekFrom::Start(order[100].1)).unwrap();
        let behind: Vec<String> = order[101..].iter().map(|(name, _)| name.clone()).collect();
        assert_eq!(rest(fd), behind, "behind an entry that is gone");
        seek(fd, SeekFrom::Start(order[50].1)).unwrap();
        assert!(!rest(fd).contains(removed));
    });
}

/// By semantics 1.2: rewinddir sees what is new; a scan of an old descriptor too, once it is rewound.
#[test]
fn rewinding() {
    both(|dir| {
        fill(dir, 3);
        let open = dir.open(".", OFlags::RDONLY, 0).unwrap();
        let fd = rustix::fd::AsFd::as_fd(&open);
        assert_eq!(rest(fd).len(), 5);
        dir.file("new", b"", 0o644);
        dir.unlink("file-1").unwrap();
        seek(fd, SeekFrom::Start(0)).unwrap();
        let names: BTreeSet<String> = rest(fd).into_iter().collect();
        let expected = [".", "..", "file-0", "file-2", "new"];
        assert_eq!(names, expected.into_iter().map(str::to_owned).collect());
    });
}

/// By semantics 1.1: d_type and d_ino agree with lstat.
#[test]
fn types_and_numbers() {
    both(|dir| {
        dir.file("file", b"", 0o644);
        dir.mkdir("dir", 0o755).unwrap();
        dir.symlink("x", "link").unwrap();
        dir.mknod("fifo", FileType::Fifo, 0o644, 0).unwrap();
        dir.mknod("socket", FileType::Socket, 0o644, 0).unwrap();
        dir.mknod("char", FileType::CharacterDevice, 0o644, 0).unwrap();
        let sub = dir.sub("dir");
        for dir in [dir, &sub] {
            for entry in rustix::fs::Dir::read_from(dir.fd()).unwrap() {
                let entry = entry.unwrap();
                let name = entry.file_name().to_str().unwrap();
                let stat = dir.lstat(name).unwrap();
                assert_eq!(entry.file_type(), FileType::from_raw_mode(stat.st_mode), "{name}");
                if dir.path("").ends_with("dir") || name != ".." {
                    assert_eq!(entry.ino(), stat.st_ino, "{name}");
                }
            }
        }
    });
}

/// By semantics 1.1: names with odd bytes and of all lengths come back as they went in.
#[test]
fn odd_names() {
    both(|dir| {
        let mut names: BTreeSet<String> = (1..=255).map(|n| "x".repeat(n)).collect();
        names.extend(["\u{1}\n\t", "\\", "*?[]", "...", "-rf", "ünïcödé", " "].map(str::to_owned));
        for name in &names {
            dir.file(name, b"", 0o644);
        }
        assert_eq!(dir.names(), names);
    });
}
