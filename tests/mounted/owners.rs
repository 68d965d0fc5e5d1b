//! A file gets another owner while there are limits for each user (docs/semantics.md, "Limits for each user"), with and without
//! passthrough: he is charged for it or does not get it.

use std::time::Duration;

use rustix::fs::{FallocateFlags, fallocate, fchown, ftruncate};
use rustix::process::{Gid, Uid};

use crate::common::dir::{pread, write_all};
use crate::common::identity::{ALICE, BOB, ROOT};
use crate::common::map::Map;
use crate::common::mount::tmpfs_plays_owltmp;
use crate::common::{Errno, Mount, OFlags, as_user};
use crate::users::{MIB, chown_to, fill, free, in_both_modes, wait_for_free};

#[test]
fn a_new_owner_is_charged() {
    in_both_modes("size=64m,user_size=4m,user_inodes=10", |mount| {
        let dir = mount.dir();
        let mut bytes = vec![0; 3 * MIB];
        (0..bytes.len()).step_by(1000).for_each(|at| bytes[at] = at as u8);
        as_user(ALICE, || {
            dir.file("a", &bytes, 0o644);
            let fd = dir.open("a", OFlags::RDWR, 0).unwrap();
            ftruncate(&fd, 10 * MIB as u64).unwrap();
        });
        wait_for_free(dir, ALICE, MIB);
        let before = dir.lstat("a").unwrap();
        chown_to(dir, "a", BOB).unwrap();
        assert_eq!((free(dir, ALICE), free(dir, BOB)), ((4 << 20, 10), (1 << 20, 9)));
        let after = dir.lstat("a").unwrap();
        assert_eq!(
            (after.st_blocks, after.st_size),
            (before.st_blocks, before.st_size),
            "holes stay"
        );
        assert_eq!(
            (after.st_mtime, after.st_mtime_nsec),
            (before.st_mtime, before.st_mtime_nsec)
        );
        assert_eq!(dir.read("a").unwrap()[..3 * MIB], bytes);
        // Now it is Bob who is full, and Alice who may write.
        assert_eq!(as_user(BOB, || fill(dir, "b").0), MIB);
        assert_eq!(as_user(ALICE, || fill(dir, "c").0), 4 * MIB);
        let before = dir.lstat("c").unwrap();
        assert_eq!(chown_to(dir, "c", BOB), Err(Errno::DQUOT));
        let after = dir.lstat("c").unwrap();
        assert_eq!(
            (after.st_uid, after.st_ctime_nsec),
            (before.st_uid, before.st_ctime_nsec)
        );
        chown_to(dir, "c", ROOT).unwrap();
        assert_eq!(free(dir, ALICE).0, 4 << 20);
        dir.unlink("a").unwrap();
        wait_for_free(dir, BOB, 3 * MIB);
    });
}

/// With passthrough the contents of a file that is open stay where they are until it is closed.
#[test]
fn a_file_that_is_open_changes_its_owner() {
    in_both_modes("size=64m,user_size=4m", |mount| {
        let dir = mount.dir();
        let fd = dir.create("a");
        write_all(&fd, &vec![7; MIB]);
        fchown(&fd, Some(Uid::from_raw(ALICE.uid)), Some(Gid::from_raw(ALICE.gid))).unwrap();
        let expected = if mount.passthrough() { 4 * MIB } else { 3 * MIB };
        assert_eq!(free(dir, ALICE).0, expected as u64);
        write_all(&fd, &vec![8; MIB]);
        assert_eq!(pread(&fd, 1, MIB as u64 - 1).unwrap(), [7]);
        drop(fd);
        wait_for_free(dir, ALICE, 2 * MIB);
        assert_eq!(dir.read("a").unwrap(), [vec![7; MIB], vec![8; MIB]].concat());
        let stat = dir.lstat("a").unwrap();
        assert_eq!((stat.st_uid, stat.st_blocks as usize), (ALICE.uid, 2 * MIB / 512));
        assert_eq!(as_user(ALICE, || fill(dir, "b").0), 2 * MIB);
    });
}

/// With passthrough a file of more than 64 MiB stays where it is, and one that is mapped until it is closed again.
#[test]
fn what_does_not_move_with_its_owner() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let mount = Mount::owltmp("mode=0777,io=passthrough,size=256m,user_size=100m");
    let dir = mount.dir();
    let fd = dir.create("large");
    fallocate(&fd, FallocateFlags::empty(), 0, 65 << 20).unwrap();
    drop(fd);
    chown_to(dir, "large", ALICE).unwrap();
    let fd = dir.create("mapped");
    write_all(&fd, &vec![1; MIB]);
    let map = Map::shared(&fd, MIB).unwrap();
    drop(fd);
    chown_to(dir, "mapped", BOB).unwrap();
    map.put(5, b"later");
    std::thread::sleep(Duration::from_millis(300));
    assert_eq!((free(dir, ALICE).0, free(dir, BOB).0), (100 << 20, 100 << 20));
    drop(map);
    assert_eq!(dir.read("mapped").unwrap()[5..10], *b"later");
    wait_for_free(dir, BOB, 99 * MIB);
    assert_eq!(dir.read("mapped").unwrap()[5..10], *b"later");
    let too_much = dir.create("too much");
    fallocate(&too_much, FallocateFlags::empty(), 0, 101 << 20).unwrap();
    assert_eq!(chown_to(dir, "too much", ALICE), Err(Errno::DQUOT));
}
