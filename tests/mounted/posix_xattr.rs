//! Extended attributes and POSIX ACLs, on tmpfs and on owltmp.

use rustix::fs::{XattrFlags, lsetxattr};

use crate::common::identity::{ALICE, BOB, CAROL, SHARED};
use crate::common::xattr::{self, ACCESS, DEFAULT, Entry, acl};
use crate::common::{Errno, FileType, OFlags, as_user, both, both_with};

/// By semantics 1.1: user attributes: set, get, list, replace, remove, with their errnos.
#[test]
fn user_attributes() {
    both(|dir| {
        dir.file("f", b"", 0o644);
        let path = dir.path("f");
        assert_eq!(xattr::get(&path, "user.a").unwrap_err(), Errno::NODATA);
        assert_eq!(xattr::remove(&path, "user.a").unwrap_err(), Errno::NODATA);
        assert_eq!(
            lsetxattr(&path, "user.a", b"1", XattrFlags::REPLACE).unwrap_err(),
            Errno::NODATA
        );
        lsetxattr(&path, "user.a", b"1", XattrFlags::CREATE).unwrap();
        assert_eq!(
            lsetxattr(&path, "user.a", b"2", XattrFlags::CREATE).unwrap_err(),
            Errno::EXIST
        );
        let both_flags = XattrFlags::CREATE | XattrFlags::REPLACE;
        assert_eq!(lsetxattr(&path, "user.a", b"2", both_flags).unwrap_err(), Errno::EXIST);
        assert_eq!(lsetxattr(&path, "user.b", b"2", both_flags).unwrap_err(), Errno::NODATA);
        lsetxattr(&path, "user.a", b"two", XattrFlags::REPLACE).unwrap();
        xattr::set(&path, "user.empty", b"").unwrap();
        assert_eq!(xattr::get(&path, "user.a").unwrap(), b"two");
        assert_eq!(xattr::get(&path, "user.empty").unwrap(), b"");
        assert_eq!(
            xattr::list(&path).unwrap().into_iter().collect::<Vec<_>>(),
            ["user.a", "user.empty"]
        );
        assert_eq!(
            rustix::fs::lgetxattr(&path, "user.a", &mut [0; 2][..]).unwrap_err(),
            Errno::RANGE
        );
        assert_eq!(xattr::sizes(&path, "user.a"), (3, 18));
        assert_eq!(
            rustix::fs::llistxattr(&path, &mut [0; 5][..]).unwrap_err(),
            Errno::RANGE
        );
        xattr::remove(&path, "user.a").unwrap();
        assert_eq!(xattr::list(&path).unwrap().len(), 1);
        let fd = dir.open("f", OFlags::RDONLY, 0).unwrap();
        assert_eq!(xattr::fget(&fd, "user.empty").unwrap(), b"");
        dir.link("f", "g").unwrap();
        assert_eq!(xattr::list(&dir.path("g")).unwrap().len(), 1);
    });
}

/// By semantics 1.1: limits of names and values, and name spaces that do not exist.
#[test]
fn limits() {
    both(|dir| {
        dir.file("f", b"", 0o644);
        let path = dir.path("f");
        let longest = format!("user.{}", "n".repeat(250));
        xattr::set(&path, &longest, b"x").unwrap();
        assert_eq!(xattr::get(&path, &longest).unwrap(), b"x");
        assert_eq!(
            xattr::set(&path, &format!("{longest}n"), b"x").unwrap_err(),
            Errno::RANGE
        );
        xattr::set(&path, "user.big", &vec![7; 65_536]).unwrap();
        assert_eq!(xattr::get(&path, "user.big").unwrap(), vec![7; 65_536]);
        assert_eq!(
            xattr::set(&path, "user.big", &vec![7; 65_537]).unwrap_err(),
            Errno::TOOBIG
        );
        assert_eq!(xattr::set(&path, "user.", b"x").unwrap_err(), Errno::INVAL);
        assert_eq!(xattr::set(&path, "nospace.x", b"x").unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(xattr::get(&path, "nospace.x").unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(xattr::set(&path, "", b"x").unwrap_err(), Errno::RANGE);
        assert_eq!(xattr::set(&path, "system.x", b"x").unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(
            lsetxattr(&path, "user.x", b"x", XattrFlags::from_bits_retain(8)).unwrap_err(),
            Errno::INVAL
        );
    });
}

/// By semantics 1.1: many attributes on one file are listed whole.
#[test]
fn many_attributes() {
    both_with("mode=0777,size=64m", |dir| {
        dir.file("f", b"", 0o644);
        let path = dir.path("f");
        for i in 0..500 {
            xattr::set(&path, &format!("user.attribute-{i}"), format!("{i}").as_bytes()).unwrap();
        }
        assert_eq!(xattr::list(&path).unwrap().len(), 500);
        for i in (0..500).step_by(2) {
            xattr::remove(&path, &format!("user.attribute-{i}")).unwrap();
        }
        assert_eq!(xattr::list(&path).unwrap().len(), 250);
        assert_eq!(xattr::get(&path, "user.attribute-499").unwrap(), b"499");
    });
}

/// By semantics 1.1: user attributes are for regular files and directories; in a sticky directory for its owner.
#[test]
fn where_user_attributes_go() {
    both(|dir| {
        dir.mkdir("d", 0o755).unwrap();
        dir.symlink("d", "l").unwrap();
        dir.mknod("p", FileType::Fifo, 0o666, 0).unwrap();
        xattr::set(&dir.path("d"), "user.x", b"1").unwrap();
        assert_eq!(xattr::set(&dir.path("l"), "user.x", b"1").unwrap_err(), Errno::PERM);
        assert_eq!(xattr::set(&dir.path("p"), "user.x", b"1").unwrap_err(), Errno::PERM);
        assert_eq!(xattr::get(&dir.path("p"), "user.x").unwrap_err(), Errno::NODATA);
        xattr::set(&dir.path("l"), "trusted.x", b"1").unwrap();
        xattr::set(&dir.path("p"), "trusted.x", b"1").unwrap();
        xattr::set(&dir.path("l"), "security.x", b"1").unwrap();
        dir.subdir("t", 0o1777);
        as_user(ALICE, || {
            assert_eq!(xattr::set(&dir.path("t"), "user.x", b"1").unwrap_err(), Errno::PERM);
            assert_eq!(xattr::set(&dir.path("d"), "user.x", b"1").unwrap_err(), Errno::ACCESS);
        });
    });
}

/// By semantics 1.1: trusted attributes are root's and hidden from others; security ones are seen by all, set by root.
#[test]
fn trusted_and_security() {
    both(|dir| {
        dir.file("f", b"", 0o666);
        let path = dir.path("f");
        for name in ["trusted.t", "security.s", "user.u"] {
            xattr::set(&path, name, b"value").unwrap();
        }
        assert_eq!(xattr::list(&path).unwrap().len(), 3);
        as_user(CAROL, || {
            let seen: Vec<String> = xattr::list(&path).unwrap().into_iter().collect();
            assert_eq!(seen, ["security.s", "user.u"]);
            assert_eq!(xattr::get(&path, "trusted.t").unwrap_err(), Errno::NODATA);
            assert_eq!(xattr::set(&path, "trusted.t", b"x").unwrap_err(), Errno::PERM);
            assert_eq!(xattr::remove(&path, "trusted.t").unwrap_err(), Errno::PERM);
            assert_eq!(xattr::get(&path, "security.s").unwrap(), b"value");
            assert_eq!(xattr::set(&path, "security.s", b"x").unwrap_err(), Errno::PERM);
            xattr::set(&path, "user.u", b"changed").unwrap();
        });
        dir.chmod("f", 0o600).unwrap();
        as_user(CAROL, || {
            assert_eq!(xattr::get(&path, "user.u").unwrap_err(), Errno::ACCESS);
            assert_eq!(xattr::set(&path, "user.u", b"").unwrap_err(), Errno::ACCESS);
            assert_eq!(xattr::list(&path).unwrap().len(), 2);
        });
    });
}

/// By semantics 1.1: a file capability goes when the file is written.
#[test]
fn file_capabilities() {
    both(|dir| {
        dir.file("f", b"x", 0o777);
        let path = dir.path("f");
        let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        let set = || xattr::set(&path, "security.capability", &capability).unwrap();
        set();
        assert_eq!(xattr::get(&path, "security.capability").unwrap(), capability);
        let fd = dir.open("f", OFlags::WRONLY, 0).unwrap();
        rustix::io::pwrite(&fd, b"y", 0).unwrap();
        assert_eq!(xattr::get(&path, "security.capability").unwrap_err(), Errno::NODATA);
        set();
        let fd = dir.open("f", OFlags::RDWR, 0).unwrap();
        let map = crate::common::map::Map::shared(&fd, 1).unwrap();
        map.put(0, b"z");
        map.sync().unwrap();
        assert_eq!(
            xattr::get(&path, "security.capability").unwrap(),
            capability,
            "a store is no write"
        );
        dir.truncate("f", 0).unwrap();
        assert_eq!(xattr::get(&path, "security.capability").unwrap_err(), Errno::NODATA);
        set();
        dir.chown("f", Some(5), None).unwrap();
        assert_eq!(xattr::get(&path, "security.capability").unwrap_err(), Errno::NODATA);
    });
}

fn named(user: u32, perm: u16, mask: u16) -> Vec<u8> {
    use Entry::{GroupObj, Mask, Other, User, UserObj};
    acl(&[UserObj(6), User(user, perm), GroupObj(4), Mask(mask), Other(0)])
}

/// By semantics 1.1: an access ACL decides, shows in the mode, and its mask moves with chmod.
#[test]
fn access_lists() {
    both(|dir| {
        dir.file("f", b"text", 0o600);
        let path = dir.path("f");
        assert_eq!(xattr::get(&path, ACCESS).unwrap_err(), Errno::NODATA);
        xattr::set(&path, ACCESS, &named(ALICE.uid, 6, 6)).unwrap();
        assert_eq!(dir.mode("f"), 0o660);
        assert_eq!(xattr::list(&path).unwrap().into_iter().collect::<Vec<_>>(), [ACCESS]);
        as_user(ALICE, || assert!(dir.open("f", OFlags::RDWR, 0).is_ok()));
        as_user(BOB, || {
            assert_eq!(dir.open("f", OFlags::RDONLY, 0).unwrap_err(), Errno::ACCESS)
        });
        dir.chmod("f", 0o640).unwrap();
        assert_eq!(xattr::get(&path, ACCESS).unwrap(), named(ALICE.uid, 6, 4));
        as_user(ALICE, || {
            assert!(dir.open("f", OFlags::RDONLY, 0).is_ok());
            assert_eq!(dir.open("f", OFlags::WRONLY, 0).unwrap_err(), Errno::ACCESS);
            assert_eq!(
                xattr::set(&path, ACCESS, &named(ALICE.uid, 7, 7)).unwrap_err(),
                Errno::PERM
            );
            assert_eq!(xattr::remove(&path, ACCESS).unwrap_err(), Errno::PERM);
        });
        xattr::remove(&path, ACCESS).unwrap();
        assert_eq!(dir.mode("f"), 0o640);
        assert_eq!(xattr::get(&path, ACCESS).unwrap_err(), Errno::NODATA);
    });
}

/// By semantics 1.1: a minimal ACL becomes the mode and is not kept; malformed ones are refused.
#[test]
fn minimal_and_malformed_lists() {
    use Entry::{Group, GroupObj, Mask, Other, User, UserObj};
    both(|dir| {
        dir.file("f", b"", 0o600);
        let path = dir.path("f");
        xattr::set(&path, ACCESS, &acl(&[UserObj(7), GroupObj(5), Other(1)])).unwrap();
        assert_eq!(dir.mode("f"), 0o751);
        assert_eq!(xattr::get(&path, ACCESS).unwrap_err(), Errno::NODATA);
        let bad = [
            acl(&[UserObj(7), User(1, 5), GroupObj(5), Other(1)]),
            acl(&[UserObj(7), Group(1, 5), GroupObj(5), Mask(7), Other(1)]),
            acl(&[UserObj(9), GroupObj(5), Other(1)]),
            acl(&[GroupObj(5), Other(1)]),
            vec![2, 0, 0, 0, 1],
        ];
        for value in bad {
            assert_eq!(
                xattr::set(&path, ACCESS, &value).unwrap_err(),
                Errno::INVAL,
                "{value:?}"
            );
        }
        assert_eq!(xattr::set(&path, ACCESS, &[3, 0, 0, 0]).unwrap_err(), Errno::OPNOTSUPP);
        let list = acl(&[UserObj(6), GroupObj(4), Other(0)]);
        assert_eq!(xattr::set(&path, DEFAULT, &list).unwrap_err(), Errno::ACCESS);
        dir.symlink("f", "l").unwrap();
        assert_eq!(xattr::set(&dir.path("l"), ACCESS, &list).unwrap_err(), Errno::OPNOTSUPP);
        assert_eq!(dir.mode("f"), 0o751);
        assert_eq!(
            xattr::remove(&path, DEFAULT).map_err(|e| e.raw_os_error()),
            xattr::remove(&path, ACCESS).map_err(|e| e.raw_os_error())
        );
    });
}

/// By semantics 1.1, 2.2: a default ACL is inherited by all that is created below, in place of the umask.
#[test]
fn default_lists() {
    use Entry::{GroupObj, Mask, Other, User, UserObj};
    both(|dir| {
        let d = dir.subdir("d", 0o777);
        let list = |mask| acl(&[UserObj(7), User(BOB.uid, 7), GroupObj(7), Mask(mask), Other(5)]);
        xattr::set(&dir.path("d"), DEFAULT, &list(7)).unwrap();
        assert_eq!(dir.mode("d"), 0o777);
        as_user(ALICE, || {
            drop(d.open("f", OFlags::CREATE | OFlags::WRONLY, 0o666).unwrap());
            d.mkdir("sub", 0o777).unwrap();
            d.mknod("p", FileType::Fifo, 0o600, 0).unwrap();
            d.symlink("x", "l").unwrap();
            let nameless = d.open(".", OFlags::TMPFILE | OFlags::RDWR, 0o666).unwrap();
            assert_eq!(rustix::fs::fstat(&nameless).unwrap().st_mode & 0o777, 0o664);
        });
        assert_eq!(d.mode("f"), 0o664);
        let expected = acl(&[UserObj(6), User(BOB.uid, 7), GroupObj(7), Mask(6), Other(4)]);
        assert_eq!(xattr::get(&d.path("f"), ACCESS).unwrap(), expected);
        assert_eq!(xattr::get(&d.path("f"), DEFAULT).unwrap_err(), Errno::NODATA);
        assert_eq!(d.mode("sub"), 0o775);
        assert_eq!(xattr::get(&d.path("sub"), DEFAULT).unwrap(), list(7));
        assert_eq!(xattr::get(&d.path("sub"), ACCESS).unwrap(), list(7));
        assert_eq!(d.mode("p"), 0o600);
        let expected = acl(&[UserObj(6), User(BOB.uid, 7), GroupObj(7), Mask(0), Other(0)]);
        assert_eq!(xattr::get(&d.path("p"), ACCESS).unwrap(), expected);
        assert!(xattr::list(&d.path("l")).unwrap().is_empty());
        as_user(BOB, || assert!(d.open("f", OFlags::RDWR, 0).is_ok()));
        xattr::remove(&dir.path("d"), DEFAULT).unwrap();
        as_user(ALICE, || {
            drop(d.open("plain", OFlags::CREATE | OFlags::WRONLY, 0o666).unwrap())
        });
        assert_eq!(d.mode("plain"), 0o644);
        xattr::set(&dir.path("d"), DEFAULT, &acl(&[UserObj(7), GroupObj(0), Other(0)])).unwrap();
        as_user(ALICE, || {
            drop(d.open("strict", OFlags::CREATE | OFlags::WRONLY, 0o666).unwrap())
        });
        assert_eq!(d.mode("strict"), 0o600);
        assert!(xattr::list(&d.path("strict")).unwrap().is_empty());
    });
}

/// By semantics 1.1: setting an ACL by a user outside the file's group takes S_ISGID away.
#[test]
fn lists_and_set_group_id() {
    both(|dir| {
        dir.file("f", b"", 0o770);
        dir.chown("f", Some(ALICE.uid), Some(CAROL.gid)).unwrap();
        dir.chmod("f", 0o2770).unwrap();
        let list = named(BOB.uid, 6, 7);
        as_user(ALICE, || xattr::set(&dir.path("f"), ACCESS, &list).unwrap());
        assert_eq!(dir.mode("f"), 0o670);
        dir.chown("f", None, Some(SHARED)).unwrap();
        dir.chmod("f", 0o2770).unwrap();
        as_user(ALICE, || xattr::set(&dir.path("f"), ACCESS, &list).unwrap());
        assert_eq!(dir.mode("f"), 0o2670);
    });
}
