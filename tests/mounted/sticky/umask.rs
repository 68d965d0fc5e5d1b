//! umask=: a mask added to every creation, on top of the caller's, except where a default ACL governs.

use std::os::unix::net::{UnixDatagram, UnixListener};

use super::*;
use crate::common::FileType;
use crate::common::xattr::{self, Entry};

/// What a call of each kind creates when it asks for everything, with the caller's umask 022.
fn create_each(dir: &Dir) -> Vec<(&'static str, u32)> {
    as_user(BOB, || {
        drop(
            dir.open("file", OFlags::CREATE | OFlags::EXCL | OFlags::RDWR, 0o777)
                .unwrap(),
        );
        drop(dir.open("opened", OFlags::CREATE | OFlags::WRONLY, 0o777).unwrap());
        dir.mkdir("dir", 0o777).unwrap();
        dir.mknod("fifo", FileType::Fifo, 0o777, 0).unwrap();
        dir.mknod("node", FileType::RegularFile, 0o777, 0).unwrap();
        dir.mknod("socket", FileType::Socket, 0o777, 0).unwrap();
        drop(UnixListener::bind(dir.path("bound")).unwrap());
        drop(UnixDatagram::bind(dir.path("datagram")).unwrap());
        let unnamed = dir.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o777).unwrap();
        dir.link_fd(&unnamed, "tmpfile").unwrap();
        dir.symlink("x", "link").unwrap();
    });
    let names = [
        "file", "opened", "dir", "fifo", "node", "socket", "bound", "datagram", "tmpfile", "link",
    ];
    names.map(|name| (name, dir.mode(name))).to_vec()
}

/// All of them with one mode, but for the link.
fn all(mode: u32) -> Vec<(&'static str, u32)> {
    let names = [
        "file", "opened", "dir", "fifo", "node", "socket", "bound", "datagram", "tmpfile",
    ];
    let mut all = names.map(|name| (name, mode)).to_vec();
    all.push(("link", 0o777));
    all
}

/// The caller's umask and the mount's are added up; neither touches the root, chmod(2) or what exists.
#[test]
fn both_masks_apply() {
    for (options, mode) in [
        ("mode=0777", 0o755),
        ("mode=0777,umask=0", 0o755),
        ("mode=0777,umask=077", 0o700),
        ("mode=0777,umask=0027", 0o750),
        ("mode=0777,umask=700", 0o055),
        ("mode=0777,umask=0777", 0),
    ] {
        let Some(place) = Place::new(options) else { return };
        let dir = place.dir();
        assert_eq!(create_each(dir), all(mode), "{options}");
        assert_eq!(dir.mode("."), 0o777);
        as_user(BOB, || {
            dir.chmod("file", 0o666).unwrap();
            drop(dir.open("file", OFlags::CREATE | OFlags::RDWR, 0o777).unwrap());
        });
        assert_eq!(dir.mode("file"), 0o666);
    }
}

/// It takes away permissions, no other bit: the group's is inherited as ever, the sticky bit is set as asked for.
#[test]
fn special_bits_stay() {
    let Some(place) = Place::new("mode=0777,umask=077") else {
        return;
    };
    let dir = place.dir();
    dir.subdir("d", 0o2777);
    dir.chown("d", None, Some(SHARED)).unwrap();
    as_user(BOB, || dir.mkdir("d/sub", 0o1777).unwrap());
    assert_eq!(dir.mode("d/sub"), 0o3700);
    assert_eq!(dir.lstat("d/sub").unwrap().st_gid, SHARED);
    as_user(BOB, || dir.mknod("program", FileType::RegularFile, 0o4777, 0).unwrap());
    assert_eq!(dir.mode("program"), 0o4700);
}

/// A default ACL governs alone, as it does with the caller's umask: here it gives everybody everything.
#[test]
fn a_default_acl_governs() {
    let Some(place) = Place::new("mode=0777,umask=077") else {
        return;
    };
    let dir = place.dir();
    let sub = dir.subdir("d", 0o777);
    let path = sub.path("");
    let acl = xattr::acl(&[Entry::UserObj(7), Entry::GroupObj(7), Entry::Other(7)]);
    xattr::set(&path, xattr::DEFAULT, &acl).unwrap();
    // bind(2) takes the caller's umask off before it asks for the socket, on every filesystem.
    let mut expected = all(0o777);
    for (name, mode) in &mut expected {
        if ["bound", "datagram"].contains(name) {
            *mode = 0o755;
        }
    }
    assert_eq!(create_each(&sub), expected);
    assert_eq!(xattr::get(&path.join("dir"), xattr::DEFAULT).unwrap(), acl);
    as_user(BOB, || {
        sub.mkdir("dir/again", 0o777).unwrap();
        sub.mkdir("dir/less", 0o750).unwrap();
    });
    assert_eq!((sub.mode("dir/again"), sub.mode("dir/less")), (0o777, 0o750));
    assert_eq!(create_each(dir), all(0o700));
}
