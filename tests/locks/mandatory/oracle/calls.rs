//! 3.11: all the other ways to move bytes, which errno comes first, and what is not checked.

use super::why::Why::{AsFuseLetsUsSee, FallocateIsAWrite, NoSharedExtents, NotSplicedFrom};
use super::{Row, differs, same};

/// The cases.
pub fn rows() -> Vec<Row> {
    let mut rows = errors();
    rows.extend(vectors());
    rows.extend(between());
    rows.extend(copies());
    rows.extend(space());
    rows
}

fn errors() -> Vec<Row> {
    vec![
        same(
            "F_SETLK against a lock is EAGAIN, marked or not",
            "file other 0666 10; A lock W 0-10; B lock W 0-10 = EAGAIN; B lock R 5-6 = EAGAIN; A open :o other rw; A lock :o W 0-; B open :o other rw; B lock :o W 0-10 = EAGAIN",
        ),
        same(
            "EBADF comes first",
            "A lock W 0-; B open :r file r; B write :r 10@0 = EBADF; B open :w file w; B read :w 10@0 = EBADF",
        ),
        same(
            "EINVAL for a bad offset comes first",
            "A lock W 0-; B pread :n 10@-1 = EINVAL; B pwrite :n 10@-5 = EINVAL",
        ),
        same(
            "ftruncate of a descriptor to read",
            "A lock W 0-; B open :r file r; B ftruncate :r 0 = EINVAL; B ftruncate -1 = EINVAL; B truncate file -1 = EINVAL",
        ),
        same(
            "truncate without permission",
            "file file 2644 100; A lock W 0-; B become 1000 1000; B truncate file 0 = EACCES",
        ),
    ]
}

fn vectors() -> Vec<Row> {
    vec![
        same(
            "readv",
            "A lock W 5-10; B readv :n 10@0 = EAGAIN; B readv 10@0 = blocked; A unlock; B = 10 [.10]",
        ),
        same(
            "writev",
            "A lock W 5-10; B writev :n 10@0 = EAGAIN; B writev 10@0 = blocked; C read :n 5@0 = 5 [.5]; A unlock; B = 10; C read 10@0 = 10 [B10]",
        ),
        same(
            "pread",
            "A lock W 5-10; B pread :n 10@0 = EAGAIN; B pread 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "pwrite",
            "A lock W 5-10; B pwrite :n 10@0 = EAGAIN; B pwrite 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "preadv2 without flags",
            "A lock W 5-10; B preadv2 :n 10@0 = EAGAIN; B preadv2 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "pwritev2 without flags",
            "A lock W 5-10; B pwritev2 :n 10@0 = EAGAIN; B pwritev2 10@0 = blocked; A unlock; B = 10",
        ),
        differs(
            AsFuseLetsUsSee,
            "preadv2(RWF_NOWAIT), blocking",
            "A lock W 5-10; B preadv2 10@0 nowait = EOPNOTSUPP|EAGAIN",
        ),
        differs(
            AsFuseLetsUsSee,
            "pwritev2(RWF_NOWAIT), blocking",
            "A lock W 5-10; B pwritev2 10@0 nowait = EOPNOTSUPP|EAGAIN; A read 10@0 = 10 [.10]",
        ),
        same(
            "io_submit, non-blocking",
            "A lock W 5-10; B aio_read :n 10@0 = EAGAIN; B aio_write :n 10@0 = EAGAIN; B aio_read :n 5@0 = 5; B aio_write :n 5@0 = 5",
        ),
        differs(
            AsFuseLetsUsSee,
            "io_submit of a read, blocking",
            "A lock W 5-10; B aio_read 10@0 = blocked; A unlock; B = 10",
        ),
        differs(
            AsFuseLetsUsSee,
            "io_submit of a write, blocking",
            "A lock W 5-10; B aio_write 10@0 = blocked; A unlock; B = 10; A read 10@0 = 10 [B10]",
        ),
        same(
            "O_DIRECT",
            "A lock W 5-10; B open :d file rw,direct,nb; B read :d 10@0 = EAGAIN; B write :d 10@0 = EAGAIN; B read :d 5@0 = 5; B open :e file rw,direct; B write :e 10@0 = blocked; A unlock; B = 10",
        ),
        same(
            "O_SYNC",
            "A lock W 5-10; B open :s file rw,sync,nb; B write :s 10@0 = EAGAIN; B write :s 5@0 = 5",
        ),
    ]
}

/// Beside it lies a plain file.
fn plain(rest: &str) -> String {
    format!("file plain 0666 100; A lock W 50-60; B open :p plain rw; {rest}")
}

fn between() -> Vec<Row> {
    let piped = |rest: &str| plain(&format!("B pipe :i :o; {rest}"));
    vec![
        same(
            "sendfile from it",
            &plain("B sendfile :n :p 10@50 = EAGAIN; B sendfile :n :p 51@0 = EAGAIN; A unlock; B sendfile :n :p 50@0 = 50"),
        ),
        differs(
            NotSplicedFrom,
            "sendfile of what lies on a page with locked bytes",
            &plain("B sendfile :n :p 50@0 = EINVAL; B sendfile :f :p 50@0 = EINVAL; B read :n 50@0 = 50"),
        ),
        same(
            "sendfile from it, blocking",
            &plain("B sendfile :f :p 100@0 = blocked; A unlock; B = 100; B size plain = 100"),
        ),
        same(
            "sendfile to it, non-blocking",
            &plain(
                "B lseek :n set 50; B sendfile :p :n 10@0 = EAGAIN; B lseek :n set 0; B sendfile :p :n 50@0 = 50; A read 100@0 = 100 [.100]",
            ),
        ),
        same(
            "sendfile to it, blocking",
            &plain("B lseek :f set 50; B sendfile :p :f 10@0 = blocked; A unlock; B = 10"),
        ),
        same("splice from it", &piped("B splice :n :o 10@50 = EAGAIN; B splice :n :o 51@0 = EAGAIN")),
        differs(
            NotSplicedFrom,
            "splice of what lies on a page with locked bytes",
            &piped("B splice :n :o 10@0 = EINVAL; B splice :f :o 10@0 = EINVAL"),
        ),
        same("splice from it, blocking", &piped("B splice :f :o 10@50 = blocked; A unlock; B = 10")),
        same("splice from it with SPLICE_F_NONBLOCK", &piped("B splice_nb :f :o 10@50 = blocked; A unlock; B = 10")),
        same(
            "splice from it with O_DIRECT: the kernel reads, and says for whom",
            &piped("B open :d file rw,nb,direct; B splice :d :o 10@50 = EAGAIN; B splice :d :o 51@0 = EAGAIN; B splice :d :o 10@0 = 10
                    B open :e file rw,direct; B splice :e :o 10@50 = blocked; A unlock; B = 10"),
        ),
        same(
            "splice to it, non-blocking",
            &piped(
                "B write :o 20; B splice :i :n 10 50 = EAGAIN; B splice :i :n 10 0 = 10; A read 50@0 = 50 [B10 .40]",
            ),
        ),
        same(
            "splice to it, blocking",
            &piped("B write :o 20; B splice :i :f 10 50 = blocked; A unlock; B = 10; A read 10@50 = 10 [B10]"),
        ),
    ]
}

fn copies() -> Vec<Row> {
    vec![
        same(
            "copy_file_range from it",
            &plain(
                "B copy :n :p 10@50 0 = EAGAIN; B copy :f :p 10@50 0 = blocked; A unlock; B = 10; B copy :n :p 50@0 0 = 50",
            ),
        ),
        differs(
            NotSplicedFrom,
            "copy_file_range of what lies on a page with locked bytes",
            &plain("B copy :n :p 50@0 0 = EINVAL; B copy :f :p 50@0 0 = EINVAL"),
        ),
        same(
            "copy_file_range to it, non-blocking",
            &plain("B copy :p :n 10@0 50 = EAGAIN; B copy :p :n 51@0 0 = EAGAIN; B copy :p :n 50@0 0 = 50"),
        ),
        same(
            "copy_file_range to it, blocking",
            &plain("B copy :p :f 10@0 50 = blocked; A unlock; B = 10"),
        ),
        same(
            "copy_file_range in one's own locked file",
            "A lock W 0-100; A copy :f :f 10@0 50 = 10; A read 10@50 = 10",
        ),
        same(
            "copy_file_range of a read-locked range",
            &plain("A unlock; A lock R 50-60; B copy :p :n 10@0 50 = EAGAIN"),
        ),
        differs(
            NoSharedExtents,
            "FICLONERANGE from it and to it",
            &plain(
                "B clone :n :p 0@0 0 = EOPNOTSUPP; B clone :p :n 0@0 0 = EOPNOTSUPP; B clone :p :n 0@0 60 = EOPNOTSUPP",
            ),
        ),
        differs(
            NoSharedExtents,
            "FIDEDUPERANGE into it",
            &plain("B dedupe :p :n 100@0 0 = EOPNOTSUPP|EINVAL"),
        ),
    ]
}

fn space() -> Vec<Row> {
    let mut rows = vec![];
    let range = "file file 2666 16384; A lock W 4096-4097";
    for (mode, free) in [
        ("plain", true),
        ("keep", true),
        ("punch", true),
        ("zero", true),
        ("collapse", false),
        ("insert", false),
    ] {
        let inside = format!(
            "{range}; B fallocate :n {mode} 4096 4096 = EAGAIN|EOPNOTSUPP; A fsize = 16384; A read 10@4096 = 10 [.10]"
        );
        rows.push(differs(
            FallocateIsAWrite,
            &format!("fallocate {mode}, non-blocking"),
            &inside,
        ));
        if free {
            let outside =
                format!("{range}; B fallocate :n {mode} 8192 4096 = ok|EOPNOTSUPP; A read 10@4096 = 10 [.10]");
            rows.push(differs(
                FallocateIsAWrite,
                &format!("fallocate {mode} of another range"),
                &outside,
            ));
        }
    }
    rows.extend([
        differs(
            FallocateIsAWrite,
            "fallocate punch, blocking",
            &format!("{range}; B fallocate punch 4096 4096 = blocked; A unlock; B = 0; A read 10@4096 = 10 [0x10]"),
        ),
        differs(
            FallocateIsAWrite,
            "fallocate by the holder",
            &format!("{range}; A fallocate punch 0 8192; A fallocate plain 0 20000; A fsize = 20000"),
        ),
        same(
            "fadvise, readahead, sync_file_range, fsync",
            "A lock W 0-; B fadvise; B readahead = ok|EINVAL; B sync_file_range; B fsync; B fdatasync",
        ),
    ]);
    rows.extend(programs());
    rows
}

/// A program: a file that says `#!/bin/true`.
fn programs() -> Vec<Row> {
    vec![
        same(
            "a program that is locked to read is run",
            "A program prog 2705; A open :r prog r; A lock :r R 0-; B run prog = 0; B open :r prog r,nb; B read :r 5 = 5",
        ),
        same(
            "a program that is open to write is not run",
            "A program prog 2707; A open :w prog rw; A lock :w W 0-; B run prog = ETXTBSY",
        ),
        same(
            "a program of mode 2715 is not marked",
            "A program prog 2717; A open :w prog rw; A lock :w W 0-; B open :r prog rw,nb; B read :r 5 = 5; B write :r 5@0 = 5",
        ),
    ]
}
