//! Ways around a lock that somebody may think of: other system calls, other names, other descriptors of the same file, another
//! filesystem on top. By semantics 5.3 none of them moves a locked byte.

use std::path::Path;
use std::process::Command;

use super::stage::{Cast, PATIENCE, Scene, make_file, mount, play_all};

fn scenes(rows: &[(&str, &str)]) -> Vec<Scene> {
    let scene = |(name, script): &(&str, &str)| Scene {
        name: (*name).to_owned(),
        script: (*script).to_owned(),
    };
    rows.iter().map(scene).collect()
}

/// Calls that get at bytes by another way.
const CALLS: &[(&str, &str)] = &[
    (
        "io_uring read",
        "A lock W 0-10; B uring_read :n 10@0 = EAGAIN; B uring_read :n 10@0 worker = EAGAIN; B uring_read :n 10@0 poller = EAGAIN",
    ),
    (
        "io_uring write",
        "A lock W 0-10; B uring_write :n 10@0 = EAGAIN; B uring_write :n 10@0 worker = EAGAIN; B uring_write :n 10@0 poller = EAGAIN; A read 10@0 = 10 [.10]",
    ),
    (
        "io_uring fixed buffers and files",
        "A lock W 0-10; B uring_fixed :n 10@0 read = EAGAIN; B uring_fixed :n 10@0 write = EAGAIN; A read 10@0 = 10 [.10]; B uring_fixed :n 10@50 read = 10",
    ),
    (
        "io_uring, waiting",
        "A lock W 0-10; B uring_read 10@0 = blocked; C uring_write 10@0 worker = blocked; A unlock; B = 10; C = 10",
    ),
    (
        "io_uring of the holder",
        "A lock W 0-10; A uring_write 10@0 = 10; A uring_read 10@0 = 10 [A10]; A uring_write 10@0 worker x = 10; A uring_write 10@0 poller = 10",
    ),
    (
        "io_uring, waiting, killed",
        "A lock W 0-10; B uring_read 10@0 = blocked; kill B; C uring_write 10@0 worker = blocked; kill C; A read 10@0 = 10 [.10]; A unlock",
    ),
    (
        "AIO of the holder",
        "A lock W 0-10; A aio_write 10@0 = 10; A aio_read 10@0 = 10 [A10]",
    ),
    (
        "O_DIRECT",
        "A lock W 0-10; B open :d file rw,nb,direct; B read :d 10@0 = EAGAIN; B write :d 10@0 = EAGAIN; B pread :d 10@5 = EAGAIN",
    ),
    (
        "RWF_APPEND",
        "A lock W 100-; B pwritev2 :n 10@0 append = EAGAIN; A size file = 100",
    ),
    (
        "RWF_NOWAIT",
        "A lock W 0-10; B preadv2 :n 10@0 nowait = EAGAIN|EOPNOTSUPP; B pwritev2 :n 10@0 nowait = EAGAIN|EOPNOTSUPP; A read 10@0 = 10 [.10]",
    ),
    (
        "a private mapping never writes",
        "A lock W 0-10; B mmap m private rw 100; B poke m 5; A read 10@0 = 10 [.10]",
    ),
    (
        "splice from it, read ahead or not",
        "B pipe :i :o; B splice :n :o 10@0 = 10; B readahead :n = *; B splice :n :o 10@0 = 10; B fadvise :n; B splice :n :o 10@0 = 10; A lock W 0-10; A write 10@0; B splice :n :o 10@0 = EAGAIN; B readahead :n = *; B splice :n :o 10@0 = EAGAIN; B uring_read :n 10@0 = EAGAIN; A unlock; B splice :n :o 10@0 = 10; B read :i 30 = 30 [.30]; B read :i 10 = 10 [A10]",
    ),
    (
        "sendfile and copy_file_range from it",
        "file plain 0666 0; B open :p plain rw; A lock W 0-10; B sendfile :n :p 10@50 = EINVAL; B copy :n :p 10@50 0 = EINVAL; B copy :n :n 10@50 70 = EINVAL; B sendfile :n :p 10@0 = EAGAIN; B size plain = 0",
    ),
    (
        "tee and splice out of a pipe",
        "A lock W 0-10; B pipe :i :o; B write :o 10; B splice :i :n 10 0 = EAGAIN; A read 10@0 = 10 [.10]",
    ),
    (
        "the holder splices to it",
        "A lock W 0-10; A pipe :i :o; A write :o 20; A splice :i :f 10 0 = 10; A read 10@0 = 10 [A10]",
    ),
    (
        "the holder of an OFD lock splices to it",
        "A ofd W 0-10; A pipe :i :o; A write :o 20; A splice :i :n 10 0 = EAGAIN; A splice :i :f 10 0 = 10; A read 10@0 = 10 [A10]",
    ),
    (
        "a private mapping before and after others write",
        "B mmap m private r 100; B peek m 5 = 0 [.1]; A write 10@0; B munmap m; B mmap m private r 100; B peek m 5 = 0 [A1]",
    ),
];

/// Other names and descriptors of the file.
const NAMES: &[(&str, &str)] = &[
    (
        "/proc/self/fd",
        "A lock W 0-10; B fsize :n; B reopen :n :2 rw,nb; B read :2 10@0 = EAGAIN; B write :2 10@0 = EAGAIN; B reopen :n :3 rw,trunc = EAGAIN",
    ),
    (
        "/proc/self/fd of an O_PATH descriptor",
        "A lock W 0-10; B open :p file path; B reopen :p :2 rw,nb; B read :2 10@0 = EAGAIN; B write :2 10@0 = EAGAIN",
    ),
    (
        "/proc/self/fd while a write waits there",
        "A lock W 0-10; B thread T; B fsize; T write 10@0 = blocked; B reopen :f :2 rw,nb; B read :2 10@50 = 10; T still; A unlock; T = 10",
    ),
    (
        "a file handle",
        "A lock W 0-10; B handle :h file rw,nb; B read :h 10@0 = EAGAIN; B write :h 10@0 = EAGAIN; B read :h 10@50 = 10; A unlock; B read :h 10@0 = 10",
    ),
    (
        "a hard link made before",
        "A link file other; A lock W 0-10; B open :o other rw,nb; B read :o 10@0 = EAGAIN; B write :o 10@0 = EAGAIN; B truncate other 5 = EAGAIN; B open :t other rw,trunc = EAGAIN",
    ),
    (
        "a file without a name",
        "A open :t . rw,tmpfile 2666; A write :t 100@0; A lock :t W 0-10; A linkfd :t named; B open :o named rw,nb; B read :o 10@0 = EAGAIN; B write :o 10@0 = EAGAIN; B read :o 10@50 = 10 [A10]",
    ),
    (
        "a file without a name, by a child",
        "A open :t . rw,tmpfile,nb 2666; A write :t 100@0; A lock :t W 0-10; A fork D; D read :t 10@0 = EAGAIN; D write :t 10@0 = EAGAIN; D reopen :t :2 rw,nb; D read :2 10@0 = EAGAIN",
    ),
    (
        "an unlinked file, reopened",
        "A lock W 0-10; B fsize :n; A unlink file; B reopen :n :2 rw,nb; B read :2 10@0 = EAGAIN; A unlock; B read :2 10@0 = 10",
    ),
    (
        "renamed to and fro",
        "A lock W 0-10; B rename file x; B open :o x rw,nb; B read :o 10@0 = EAGAIN; B rename x file; B read :n 10@0 = EAGAIN",
    ),
    (
        "exchanged with another by rename",
        "file y 0666 5; A lock W 0-10; B rename file x; B rename y file; B open :o x rw,nb; B read :o 10@0 = EAGAIN",
    ),
    (
        "the mark off and on in a moment",
        "A lock W 0-10; B fsize :n; C chmod file 0666; C chmod file 2666; B read :n 10@0 = EAGAIN; B write :n 10@0 = EAGAIN; C read :n 10@0 = EAGAIN",
    ),
    (
        "a descriptor opened while there was no mark",
        "A lock W 0-10; C chmod file 0666; B open :o file rw,nb; B read :o 10@0 = 10; C chmod file 2666; A read 10@0 = 10; B write :o 1@50 = 1",
    ),
];

/// None of them gets at what is locked.
#[test]
fn no_other_way_leads_to_what_is_locked() {
    for options in ["mode=0777,mand", "mode=0777,mand=marked"] {
        let mount = mount(options);
        play_all(&mount, &[scenes(CALLS), scenes(NAMES)].concat());
    }
}

/// An overlayfs on top opens the file as the process that uses it, who obeys; to copy up what is locked is refused.
#[test]
fn an_overlay_on_top_obeys() {
    let mount = mount("mode=0777,mand");
    let lower = mount.path().join("lower");
    std::fs::create_dir(&lower).unwrap();
    make_file(&lower.join("file"), 0o2666, 100);
    let top = mount.scratch().join("overlay");
    let place = top.join("on");
    std::fs::create_dir_all(&place).unwrap();
    let mut cast = Cast::new(&lower);
    cast.start(["A", "B"]);
    let mut call = |who: &str, order: &str, expected: &str| {
        cast.send(who, order);
        let answer = cast.answer(who, PATIENCE).expect("an answer");
        let value = answer.split(' ').next().unwrap_or_default();
        assert!(
            expected.split('|').any(|it| it == value),
            "{who} {order}: {answer}, not {expected}"
        );
    };
    call("A", "lock W 0-10", "0");
    let above = place.join("file");
    for (slot, flags, step) in [(":r", "r,nb", "read"), (":w", "rw,nb", "copy up")] {
        // Each look-up of a marked file gives overlayfs another inode, and it takes the first one only.
        if !overlay(&lower, &top, &place) {
            eprintln!("no overlayfs on this machine");
            return;
        }
        let _mounted = Mounted(&place);
        let open = format!("open {slot} {} {flags}", above.display());
        if step == "copy up" {
            call("B", &open, "EINVAL|EAGAIN");
            continue;
        }
        call("B", &open, "0");
        call("B", "read :r 10@0", "EAGAIN");
        call("B", "read :r 10@50", "10");
        call("A", "unlock", "0");
        call("B", "read :r 10@0", "10");
        call("B", "close :r", "0");
        call("A", "lock W 0-10", "0");
    }
}

struct Mounted<'a>(&'a Path);

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = rustix::mount::unmount(self.0, rustix::mount::UnmountFlags::DETACH);
    }
}

fn overlay(lower: &Path, top: &Path, place: &Path) -> bool {
    let (upper, work) = (top.join("upper"), top.join("work"));
    for path in [&upper, &work] {
        let _ = std::fs::remove_dir_all(path);
        std::fs::create_dir_all(path).unwrap();
    }
    let options = format!(
        "lowerdir={},upperdir={},workdir={}",
        lower.display(),
        upper.display(),
        work.display()
    );
    let status = Command::new("mount")
        .args(["-t", "overlay", "-o", &options, "overlay"])
        .arg(place)
        .stderr(std::process::Stdio::null())
        .status();
    status.is_ok_and(|status| status.success())
}
