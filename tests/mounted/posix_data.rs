//! Contents: truncation, allocation, holes, copies, mappings and the edges of offsets; on tmpfs and on owltmp.

use nix::fcntl::{FallocateFlags as F, fallocate};
use rustix::fs::{SeekFrom, copy_file_range, fstat, ftruncate, seek};
use rustix::io::{pwrite, write};

use crate::common::dir::{pread, write_all};
use crate::common::map::Map;
use crate::common::{Dir, Errno, FileType, OFlags, both, both_with};

fn blocks(fd: &rustix::fd::OwnedFd) -> (i64, i64) {
    let stat = fstat(fd).unwrap();
    (stat.st_size, stat.st_blocks)
}

fn allocate(fd: &rustix::fd::OwnedFd, mode: F, offset: i64, len: i64) -> Result<(), Errno> {
    fallocate(fd, mode, offset, len).map_err(|e| Errno::from_raw_os_error(e as i32))
}

/// By semantics 1.1: truncation grows with zeros, shrinks for good, and has its errnos.
#[test]
fn truncation() {
    both(|dir| {
        let fd = dir.create("f");
        write_all(&fd, &[b'x'; 10_000]);
        ftruncate(&fd, 5000).unwrap();
        ftruncate(&fd, 12_000).unwrap();
        let bytes = dir.read("f").unwrap();
        assert_eq!(bytes.len(), 12_000);
        assert!(bytes[..5000].iter().all(|&b| b == b'x') && bytes[5000..].iter().all(|&b| b == 0));
        assert_eq!(blocks(&fd), (12_000, 16));
        dir.truncate("f", 0).unwrap();
        assert_eq!(blocks(&fd), (0, 0));
        assert_eq!(dir.truncate("f", -1).unwrap_err(), Errno::INVAL);
        assert_eq!(dir.truncate("missing", 0).unwrap_err(), Errno::NOENT);
        dir.mkdir("d", 0o755).unwrap();
        assert_eq!(dir.truncate("d", 0).unwrap_err(), Errno::ISDIR);
        dir.mknod("p", FileType::Fifo, 0o644, 0).unwrap();
        assert_eq!(dir.truncate("p", 0).unwrap_err(), Errno::INVAL);
        dir.symlink("f", "l").unwrap();
        dir.truncate("l", 77).unwrap();
        assert_eq!(blocks(&fd), (77, 0));
    });
}

/// By semantics 6.1: offsets at the edge of 2^63.
#[test]
fn the_largest_offsets() {
    both(|dir| {
        let fd = dir.create("f");
        let max = i64::MAX;
        ftruncate(&fd, max.cast_unsigned()).unwrap();
        assert_eq!(blocks(&fd), (max, 0));
        assert_eq!(seek(&fd, SeekFrom::End(0)).unwrap(), max.cast_unsigned());
        assert_eq!(seek(&fd, SeekFrom::Current(1)).unwrap_err(), Errno::INVAL);
        assert_eq!(seek(&fd, SeekFrom::Start(1 << 63)).unwrap_err(), Errno::INVAL);
        assert_eq!(pread(&fd, 3, max.cast_unsigned() - 3).unwrap(), [0; 3]);
        assert_eq!(pread(&fd, 10, max.cast_unsigned() - 3).unwrap_err(), Errno::INVAL);
        assert_eq!(pread(&fd, 0, max.cast_unsigned()).unwrap(), b"");
        ftruncate(&fd, 0).unwrap();
        assert_eq!(pwrite(&fd, b"end", max.cast_unsigned() - 3).unwrap(), 3);
        assert_eq!(blocks(&fd), (max, 8));
        assert_eq!(
            pwrite(&fd, b"toolong", max.cast_unsigned() - 3).unwrap_err(),
            Errno::INVAL
        );
        assert_eq!(pwrite(&fd, b"x", max.cast_unsigned()).unwrap_err(), Errno::INVAL);
        assert_eq!(pwrite(&fd, b"x", 1 << 63).unwrap_err(), Errno::INVAL);
        assert_eq!(allocate(&fd, F::empty(), max, 1).unwrap_err(), Errno::FBIG);
        assert_eq!(allocate(&fd, F::empty(), max - 5, 100).unwrap_err(), Errno::FBIG);
        dir.truncate("f", 0).unwrap();
        let small = dir.create("g");
        write_all(&small, b"abc");
        let (mut from, mut to) = (0, max.cast_unsigned() - 2);
        assert_eq!(
            copy_file_range(&small, Some(&mut from), &fd, Some(&mut to), 3).map(|n| n as u64),
            Ok(2)
        );
    });
}

/// By semantics 1.1: each mode of fallocate(2) does as on tmpfs, the unsupported ones with the same errno.
#[test]
fn allocation() {
    both(|dir| {
        let fd = dir.create("f");
        allocate(&fd, F::empty(), 0, 10_000).unwrap();
        assert_eq!(blocks(&fd), (10_000, 24));
        allocate(&fd, F::FALLOC_FL_KEEP_SIZE, 20_000, 5000).unwrap();
        assert_eq!(fstat(&fd).unwrap().st_size, 10_000);
        assert_eq!(fstat(&fd).unwrap().st_blocks, 24 + 24);
        write_all(&fd, &[b'x'; 10_000]);
        let punch = F::FALLOC_FL_PUNCH_HOLE | F::FALLOC_FL_KEEP_SIZE;
        allocate(&fd, punch, 1000, 8000).unwrap();
        let bytes = dir.read("f").unwrap();
        assert!(bytes[..1000].iter().chain(&bytes[9000..]).all(|&b| b == b'x'));
        assert!(bytes[1000..9000].iter().all(|&b| b == 0));
        assert_eq!(fstat(&fd).unwrap().st_blocks, 24 + 24 - 8);
        let unsupported = [
            F::FALLOC_FL_PUNCH_HOLE,
            F::FALLOC_FL_ZERO_RANGE,
            F::FALLOC_FL_ZERO_RANGE | F::FALLOC_FL_KEEP_SIZE,
            F::FALLOC_FL_COLLAPSE_RANGE,
            F::FALLOC_FL_INSERT_RANGE,
            F::FALLOC_FL_UNSHARE_RANGE,
            F::from_bits_retain(0x1000),
        ];
        for mode in unsupported {
            assert_eq!(allocate(&fd, mode, 0, 4096).unwrap_err(), Errno::OPNOTSUPP, "{mode:?}");
        }
        assert_eq!(allocate(&fd, F::empty(), 0, 0).unwrap_err(), Errno::INVAL);
        assert_eq!(allocate(&fd, F::empty(), -1, 1).unwrap_err(), Errno::INVAL);
        let reader = dir.open("f", OFlags::RDONLY, 0).unwrap();
        assert_eq!(allocate(&reader, F::empty(), 0, 1).unwrap_err(), Errno::BADF);
        let here = dir.open(".", OFlags::RDONLY, 0).unwrap();
        assert_eq!(allocate(&here, F::empty(), 0, 1).unwrap_err(), Errno::BADF);
    });
}

/// By semantics 1.5: an allocation that does not fit is ENOSPC and leaves nothing allocated.
#[test]
fn allocation_beyond_the_limit() {
    both_with("mode=0777,size=1m", |dir| {
        let fd = dir.create("f");
        assert_eq!(allocate(&fd, F::empty(), 0, 2 << 20).unwrap_err(), Errno::NOSPC);
        assert_eq!(blocks(&fd), (0, 0));
        allocate(&fd, F::empty(), 0, 1 << 20).unwrap();
        assert_eq!(blocks(&fd), (1 << 20, 2048));
        dir.file("g", b"", 0o644);
        let other = dir.open("g", OFlags::WRONLY, 0).unwrap();
        assert_eq!(write(&other, b"x").unwrap_err(), Errno::NOSPC);
        assert_eq!(pwrite(&fd, b"fits", 1 << 19).unwrap(), 4);
    });
}

/// By semantics 1.1: SEEK_DATA and SEEK_HOLE see the holes.
#[test]
fn holes() {
    both(|dir| {
        let fd = dir.create("f");
        pwrite(&fd, b"one", 8192).unwrap();
        pwrite(&fd, b"two", 65_536).unwrap();
        ftruncate(&fd, 100_000).unwrap();
        let data = |at| seek(&fd, SeekFrom::Data(at));
        let hole = |at| seek(&fd, SeekFrom::Hole(at));
        assert_eq!(data(0), Ok(8192));
        assert_eq!(data(8193), Ok(8193));
        assert_eq!(hole(0), Ok(0));
        assert_eq!(hole(8192), Ok(12_288));
        assert_eq!(data(12_288), Ok(65_536));
        assert_eq!(hole(65_536), Ok(69_632));
        assert_eq!(hole(99_999), Ok(99_999));
        assert_eq!(data(70_000), Err(Errno::NXIO));
        assert_eq!(data(100_000), Err(Errno::NXIO));
        assert_eq!(hole(100_000), Err(Errno::NXIO));
        assert_eq!(hole(200_000), Err(Errno::NXIO));
        pwrite(&fd, b"end", 99_997).unwrap();
        assert_eq!(hole(99_990), Ok(100_000));
        assert_eq!(seek(&fd, SeekFrom::Current(0)), Ok(100_000));
    });
}

/// By semantics 1.1: copy_file_range(2) within and between files.
#[test]
fn copies() {
    both(|dir| {
        let copy = |from, mut i: u64, to, mut o: u64, len| copy_file_range(from, Some(&mut i), to, Some(&mut o), len);
        let a = dir.create("a");
        let b = dir.create("b");
        write_all(&a, b"0123456789");
        assert_eq!(copy(&a, 2, &b, 5, 4), Ok(4));
        assert_eq!(dir.read("b").unwrap(), b"\0\0\0\0\x002345");
        assert_eq!(copy(&a, 8, &b, 0, 100), Ok(2));
        assert_eq!(copy(&a, 10, &b, 0, 100), Ok(0));
        assert_eq!(copy(&a, 50, &b, 0, 100), Ok(0));
        assert_eq!(copy(&a, 0, &a, 5, 5), Ok(5));
        assert_eq!(copy(&a, 0, &a, 3, 5), Err(Errno::INVAL));
        assert_eq!(dir.read("a").unwrap(), b"0123401234");
        let append = dir.open("b", OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
        assert_eq!(copy(&a, 0, &append, 0, 1), Err(Errno::BADF));
        let reader = dir.open("b", OFlags::RDONLY, 0).unwrap();
        assert_eq!(copy(&a, 0, &reader, 0, 1), Err(Errno::BADF));
        let here = dir.open(".", OFlags::RDONLY, 0).unwrap();
        assert_eq!(copy(&here, 0, &b, 0, 1), Err(Errno::ISDIR));
        seek(&a, SeekFrom::Start(3)).unwrap();
        seek(&b, SeekFrom::Start(0)).unwrap();
        assert_eq!(copy_file_range(&a, None, &b, None, 2), Ok(2));
        assert_eq!(seek(&a, SeekFrom::Current(0)), Ok(5));
        assert_eq!(dir.read("b").unwrap(), b"34\0\0\x002345");
        let big = dir.create("big");
        write_all(&big, &vec![7; 5 << 20]);
        let mut done = 0;
        while done < 5 << 20 {
            done += copy(&big, done as u64, &b, 100 + done as u64, (5 << 20) - done).unwrap();
        }
        assert_eq!(dir.read("b").unwrap()[100..], vec![7; 5 << 20]);
    });
}

/// By semantics 1.1: shared mappings and read(2)/write(2) see one another; private ones keep to themselves.
#[test]
fn mappings() {
    both(|dir| {
        let fd = dir.create("f");
        ftruncate(&fd, 20_000).unwrap();
        let one = Map::shared(&fd, 20_000).unwrap();
        let other = dir.open("f", OFlags::RDWR, 0).unwrap();
        let two = Map::shared(&other, 20_000).unwrap();
        one.put(5000, b"mapped");
        assert_eq!(two.get(5000, 6), b"mapped");
        assert_eq!(pread(&other, 6, 5000).unwrap(), b"mapped");
        pwrite(&other, b"written", 5002).unwrap();
        assert_eq!(one.get(5000, 9), b"mawritten");
        let private = Map::private(&fd, 20_000).unwrap();
        private.put(5000, b"PRIVATE");
        assert_eq!(two.get(5000, 2), b"ma");
        one.put(4095, b"across");
        one.sync().unwrap();
        assert_eq!(dir.read("f").unwrap()[4095..4101], *b"across");
        let reader = dir.open("f", OFlags::RDONLY, 0).unwrap();
        assert_eq!(Map::shared(&reader, 100).map(|_| ()).unwrap_err(), Errno::ACCESS);
        assert_eq!(Map::shared_read(&reader, 20_000).unwrap().get(5002, 4), b"writ");
        let here = dir.open(".", OFlags::RDONLY, 0).unwrap();
        assert_eq!(Map::shared_read(&here, 100).map(|_| ()).unwrap_err(), Errno::NODEV);
        drop((fd, other, reader));
        dir.unlink("f").unwrap();
        one.put(0, b"nameless");
        assert_eq!(two.get(0, 8), b"nameless");
    });
}

/// By semantics 1.1: a mapping sees truncation: what comes back is zeros.
#[test]
fn mappings_and_truncation() {
    both(|dir| {
        let fd = dir.create("f");
        write_all(&fd, &[b'x'; 8192]);
        let map = Map::shared(&fd, 8192).unwrap();
        assert_eq!(map.get(6000, 1), b"x");
        ftruncate(&fd, 5000).unwrap();
        assert_eq!(map.get(5000, 3), [0; 3]);
        ftruncate(&fd, 8192).unwrap();
        assert_eq!(map.get(4999, 9), b"x\0\0\0\0\0\0\0\0");
        assert_eq!(pread(&fd, 9, 4999).unwrap(), b"x\0\0\0\0\0\0\0\0");
    });
}

/// By semantics 1.1: sendfile(2), readv, writev and pipes through splice(2) carry whole contents.
#[test]
fn other_transfers() {
    both(|dir| {
        let contents: Vec<u8> = (0..3_000_000_u32).map(|i| (i % 251) as u8).collect();
        let from = dir.create("from");
        write_all(&from, &contents);
        let to = dir.create("to");
        let mut done = 0;
        while done < contents.len() {
            let mut at = done as u64;
            done += rustix::fs::sendfile(&to, &from, Some(&mut at), contents.len() - done).unwrap();
        }
        assert!(dir.read("to").unwrap() == contents);
        let parts = [std::io::IoSlice::new(b"first,"), std::io::IoSlice::new(b"second")];
        assert_eq!(rustix::io::pwritev(&to, &parts, 100), Ok(12));
        assert_eq!(pread(&to, 12, 100).unwrap(), b"first,second");
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        let mut at = 100;
        let flags = rustix::pipe::SpliceFlags::empty();
        assert_eq!(
            rustix::pipe::splice(&to, Some(&mut at), &writer, None, 12, flags),
            Ok(12)
        );
        let mut back = 0;
        assert_eq!(
            rustix::pipe::splice(&reader, None, &from, Some(&mut back), 12, flags),
            Ok(12)
        );
        assert_eq!(pread(&from, 12, 0).unwrap(), b"first,second");
    });
}

fn many_sizes(dir: &Dir) {
    let fd = dir.create("f");
    let mut expected = vec![0; 3 << 20];
    for (i, size) in [1, 4095, 4096, 4097, 131_072, (1 << 20) - 1, 1 << 20, (1 << 20) + 1]
        .into_iter()
        .enumerate()
    {
        let offset = i * 300_001;
        let bytes = vec![i as u8 + 1; size.min(expected.len() - offset)];
        expected[offset..offset + bytes.len()].copy_from_slice(&bytes);
        let mut done = 0;
        while done < bytes.len() {
            done += pwrite(&fd, &bytes[done..], (offset + done) as u64).unwrap();
        }
    }
    let size = fstat(&fd).unwrap().st_size as usize;
    assert!(dir.read("f").unwrap() == expected[..size]);
}

/// By semantics 1.1: writes of all sizes around a page and around the largest request.
#[test]
fn sizes_of_transfers() {
    both(many_sizes);
}

/// By semantics 1.1: fsync, fdatasync, syncfs, posix_fadvise and readahead succeed, also on directories.
#[test]
fn syncing() {
    both(|dir| {
        let fd = dir.create("f");
        write_all(&fd, b"x");
        let here = dir.open(".", OFlags::RDONLY, 0).unwrap();
        for fd in [&fd, &here] {
            rustix::fs::fsync(fd).unwrap();
            rustix::fs::fdatasync(fd).unwrap();
            rustix::fs::syncfs(fd).unwrap();
        }
        rustix::fs::fadvise(&fd, 0, None, rustix::fs::Advice::DontNeed).unwrap();
        assert_eq!(pread(&fd, 1, 0).unwrap(), b"x");
    });
}
