//! Sizes, blocks and holes: whoever asks, by a name, a descriptor, a listing or after the last close, is told how it is now.

use rustix::fs::{FallocateFlags, OFlags, fallocate, fstat, ftruncate};
use rustix::io::{pwrite, write};
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use super::{Where, all, attributes, descriptors, fast, layout, path_only, punch};
use crate::common::call::{Answer, Attr, Call, Wire};
use crate::common::identity::ROOT;
use crate::common::map::Map;
use crate::common::mount::Setup;
use crate::common::{Actor, Dir, Kind, OFlags as Flags};

/// Size and blocks, asked for in every way there is; they agree.
fn asked(dir: &Dir, actor: &mut Actor, name: &str) -> (i64, i64) {
    let by_path = Attr::new(&dir.stat(name).unwrap());
    let node = path_only(dir, name);
    let reader = dir.open(name, OFlags::RDONLY, 0).unwrap();
    let answer: Answer = actor.call(&Call::Stat {
        name: name.to_owned(),
        flags: 0,
    });
    let by_actor = Attr::take(&mut &answer.data[..]);
    let listed = std::fs::read_dir(dir.path("")).unwrap().flatten();
    let listed = listed
        .filter(|entry| entry.file_name() == name)
        .map(|entry| entry.metadata().unwrap());
    let listed: Vec<_> = listed.map(|it| (it.size() as i64, it.blocks() as i64)).collect();
    let all = [by_path, attributes(&node), attributes(&reader), by_actor].map(|it| (it.size, it.blocks));
    assert_eq!(all, [all[0]; 4], "by path, O_PATH, descriptor, from another process");
    assert_eq!(listed, [all[0]]);
    all[0]
}

/// By semantics 1.1: every way to change a size or to make and give back pages is seen by everyone at once.
#[test]
fn are_seen_by_everyone() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        let mut actor = Actor::start(ROOT, &dir.path(""));
        let fd = dir.create("f");
        let mut told = vec![asked(dir, &mut actor, "f")];
        let mut tell = |what: (i64, i64)| told.push(what);
        pwrite(&fd, &[1; 5000], 0).unwrap();
        tell(asked(dir, &mut actor, "f"));
        let append = dir.open("f", OFlags::WRONLY | OFlags::APPEND, 0).unwrap();
        write(&append, &[2; 5000]).unwrap();
        tell(asked(dir, &mut actor, "f"));
        ftruncate(&fd, 100_000).unwrap();
        tell(asked(dir, &mut actor, "f"));
        Map::shared(&fd, 100_000).unwrap().put(50_000, b"x");
        if mount.passthrough() || dir.kind() == Kind::Tmpfs {
            tell(asked(dir, &mut actor, "f"));
        } else {
            // docs/semantics.md: the page is written back first.
            rustix::fs::fsync(&fd).unwrap();
            tell(asked(dir, &mut actor, "f"));
        }
        punch(&fd, 0, 4096);
        tell(asked(dir, &mut actor, "f"));
        fallocate(&fd, FallocateFlags::KEEP_SIZE, 200_000, 5000).unwrap();
        tell(asked(dir, &mut actor, "f"));
        fallocate(&fd, FallocateFlags::empty(), 100_000, 50_000).unwrap();
        tell(asked(dir, &mut actor, "f"));
        ftruncate(&fd, 6000).unwrap();
        tell(asked(dir, &mut actor, "f"));
        drop((fd, append));
        tell(asked(dir, &mut actor, "f"));
        drop(dir.open("f", OFlags::WRONLY | OFlags::TRUNC, 0).unwrap());
        tell(asked(dir, &mut actor, "f"));
        let expected = [
            (0, 0),
            (5000, 16),
            (10_000, 24),
            (100_000, 24),
            (100_000, 32),
            (100_000, 24),
            (100_000, 48),
            (150_000, 152),
            (6000, 8),
            (6000, 8),
            (0, 0),
        ];
        assert_eq!(told, expected);
    });
}

/// By semantics 1.1: SEEK_DATA and SEEK_HOLE know every page however it came and went.
#[test]
fn and_holes() {
    fast("mode=0777", |mount| {
        let dir = mount.dir();
        let fd = dir.create("f");
        assert!(layout(&fd).is_empty());
        pwrite(&fd, b"x", 20_000).unwrap();
        assert_eq!(layout(&fd), [16_384, 20_001]);
        ftruncate(&fd, 100_000).unwrap();
        let map = Map::shared(&fd, 100_000).unwrap();
        map.put(50_000, b"y");
        assert_eq!(layout(&fd), [16_384, 20_480, 49_152, 53_248]);
        drop(fd);
        map.put(60_000, b"y");
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        assert_eq!(layout(&fd), [16_384, 20_480, 49_152, 53_248, 57_344, 61_440]);
        punch(&fd, 16_384, 4096);
        drop(map);
        punch(&fd, 49_152, 4096);
        assert_eq!(layout(&fd), [57_344, 61_440]);
    });
}

/// By semantics 1.1: a listing shows the sizes of files that others are writing.
#[test]
fn in_a_listing_are_those_of_now() {
    all("mode=0777", |mount| {
        let dir = mount.dir();
        let files: Vec<_> = (0..50).map(|i| dir.create(&format!("f{i:02}"))).collect();
        for step in 1..10_u64 {
            for (i, fd) in files.iter().enumerate() {
                assert_eq!(pwrite(fd, &[1; 10], step * 1000 + i as u64), Ok(10));
            }
            let output = Command::new("ls")
                .args(["-l", "-U"])
                .current_dir(dir.path(""))
                .output()
                .unwrap();
            let text = String::from_utf8(output.stdout).unwrap();
            let lines: Vec<_> = text.lines().filter(|line| line.starts_with('-')).collect();
            assert_eq!(lines.len(), 50);
            for line in lines {
                let words: Vec<_> = line.split_whitespace().collect();
                let number: u64 = words[8][1..].parse().unwrap();
                assert_eq!(words[4].parse::<u64>().unwrap(), step * 1000 + number + 10, "{line}");
            }
        }
    });
}

/// By semantics 1.1, 1.3: files that were closed long ago, more than are kept at hand, have the size, the contents and the times
/// they were left with; one that is put away while somebody has it mapped too.
#[test]
fn of_files_closed_long_ago() {
    const FILES: u64 = 6000;
    let mut setup = Setup::new(Kind::Owltmp, "mode=0777,nr_inodes=20000,io=passthrough");
    setup.open_files = Some(2000);
    if crate::common::mount::tmpfs_plays_owltmp() {
        return;
    }
    let mount = setup.mount();
    let dir = mount.dir();
    dir.file("mapped", &[5; 8192], 0o644);
    let map = Map::shared(dir.open("mapped", OFlags::RDWR, 0).unwrap(), 8192).unwrap();
    let written: Vec<Attr> = (0..FILES)
        .map(|i| {
            let name = format!("f{i}");
            let fd = dir.create(&name);
            assert_eq!(pwrite(&fd, name.as_bytes(), i), Ok(name.len()));
            if i % 3 == 0 {
                // Left by close(2) alone, without a look before it.
                drop(fd);
                return Attr::new(&dir.stat(&name).unwrap());
            }
            Attr::new(&fstat(&fd).unwrap())
        })
        .collect();
    map.put(5000, b"stored while away");
    let stat = Attr::new(&dir.stat("mapped").unwrap());
    map.put(1, b"again");
    assert!(Attr::new(&dir.stat("mapped").unwrap()).times.mtime >= stat.times.mtime);
    assert_eq!(dir.read("mapped").unwrap()[5000..5017], *b"stored while away");
    for (i, written) in (0..FILES).zip(&written) {
        let name = format!("f{i}");
        assert_eq!(Attr::new(&dir.stat(&name).unwrap()), *written, "{name}");
    }
    let mut actor = Actor::start(ROOT, &dir.path(""));
    for i in (0..FILES).step_by(7) {
        let name = format!("f{i}");
        let bytes = dir.read(&name).unwrap();
        assert_eq!(bytes.len() as u64, i + name.len() as u64);
        assert_eq!(bytes[usize::try_from(i).unwrap()..], *name.as_bytes());
        assert_eq!(asked_size(&mut actor, &name), bytes.len() as i64);
        dir.truncate(&name, 3).unwrap();
        assert_eq!(dir.stat(&name).unwrap().st_size, 3);
    }
    let limit = descriptors(&mount);
    assert!(limit < 2000, "{limit} descriptors");
}

fn asked_size(actor: &mut Actor, name: &str) -> i64 {
    let answer = actor.call(&Call::Stat {
        name: name.to_owned(),
        flags: 0,
    });
    Attr::take(&mut &answer.data[..]).size
}

/// By semantics 1.1: a file without a name, made by O_TMPFILE and filled, is what it was when it gets one.
#[test]
fn of_a_file_that_gets_its_name_late() {
    for place in [Where::Tmpfs, Where::Passthrough, Where::Cached] {
        let mount = place.mount("mode=0777");
        let dir = mount.dir();
        let fd = dir.open(".", Flags::TMPFILE | Flags::RDWR, 0o600).unwrap();
        pwrite(&fd, &[8; 10_000], 0).unwrap();
        Map::shared(&fd, 10_000).unwrap().put(9999, b"!");
        dir.link_fd(&fd, "named").unwrap();
        drop(fd);
        let bytes = dir.read("named").unwrap();
        assert!(bytes.len() == 10_000 && bytes[9999] == b'!' && bytes[9998] == 8);
        assert_eq!(dir.stat("named").unwrap().st_blocks, 24);
    }
}
