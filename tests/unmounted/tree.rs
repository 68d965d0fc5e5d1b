//! The life of inodes and the rules of renaming, through the operations and without a mount.

use crate::direct::Direct;
use owltmp::content::Usage;
use owltmp::ops::Filesystem;
use owltmp::ops::attr::SetAttr;
use owltmp::ops::create::NewNode;
use owltmp::ops::io::Privileges;
use owltmp::ops::names::Move;
use owltmp::ops::xattr::NewXattr;
use owltmp::tree::Precondition;
use owltmp::types::{Caller, Errno, FileType, NodeId, OpenFlags, RenameMode, Settings};

use crate::entries::{ROOT, settings, touch};

fn mkdir(fs: &Filesystem, parent: NodeId, name: &str) -> NodeId {
    let new = NewNode {
        file_type: FileType::Directory,
        ..NewNode::regular(0o755, 0)
    };
    fs.make(ROOT, parent, name.as_bytes(), new).unwrap().node
}

fn rename(fs: &Filesystem, from: (NodeId, &str), to: (NodeId, &str), mode: RenameMode) -> Result<(), Errno> {
    let request = Move {
        from: from.0,
        old: from.1.as_bytes(),
        to: to.0,
        new: to.1.as_bytes(),
        mode,
        whiteout: false,
    };
    fs.rename(ROOT, &request)
}

/// semantics 1.3: an unlinked file lives until it is closed and forgotten; then nothing of it is left.
#[test]
fn an_unlinked_file_lives_as_long_as_it_is_used() {
    let fs = Filesystem::new(&Settings {
        max_bytes: Some(1 << 20),
        ..settings()
    })
    .unwrap();
    let node = touch(&fs, "a").unwrap();
    let opened = fs.open(ROOT, node, OpenFlags(2), false).unwrap();
    fs.write_now(node, 0, &[1; 100_000], Privileges::KeepSetId).unwrap();
    fs.unlink(NodeId::ROOT, b"a").unwrap();
    let mut buf = [0; 10];
    assert_eq!(fs.read_now(node, 99_995, &mut buf), Ok(5));
    let free = fs.statfs(ROOT).free_blocks;
    fs.forget(node, 1);
    assert_eq!(fs.getattr(node).unwrap().nlink, 0);
    fs.release(opened.fh).unwrap();
    assert_eq!(fs.getattr(node), Err(Errno::ESTALE));
    assert_eq!(fs.statfs(ROOT).free_blocks, free + 25);
    assert_eq!(fs.release(opened.fh), Err(Errno::EBADF));
}

/// semantics 1.4: inode numbers are never reused.
#[test]
fn inode_numbers_are_never_reused() {
    let fs = Filesystem::new(&settings()).unwrap();
    let mut last = 0;
    for _ in 0..10_000 {
        let node = touch(&fs, "a").unwrap();
        let ino = fs.getattr(node).unwrap().ino.0;
        assert!(ino > last);
        last = ino;
        fs.unlink(NodeId::ROOT, b"a").unwrap();
        fs.forget(node, 1);
    }
    assert_eq!(fs.inode_count(), 1);
}

/// semantics 1.5: names past the first, and attributes, count as on tmpfs.
#[test]
fn links_and_inodes_count_against_their_limit() {
    let fs = Filesystem::new(&Settings {
        max_inodes: Some(4),
        ..settings()
    })
    .unwrap();
    let node = touch(&fs, "a").unwrap();
    fs.link(ROOT, node, NodeId::ROOT, b"b").unwrap();
    fs.link(ROOT, node, NodeId::ROOT, b"c").unwrap();
    assert_eq!(fs.statfs(ROOT).free_inodes, 0);
    assert_eq!(touch(&fs, "d"), Err(Errno::ENOSPC));
    assert_eq!(fs.link(ROOT, node, NodeId::ROOT, b"d").err(), Some(Errno::ENOSPC));
    assert_eq!(fs.getattr(node).unwrap().nlink, 3);
    fs.unlink(NodeId::ROOT, b"a").unwrap();
    fs.unlink(NodeId::ROOT, b"b").unwrap();
    assert_eq!(fs.statfs(ROOT).free_inodes, 2);
    let usage = Usage {
        max_pages: None,
        used_pages: 0,
        max_inodes: Some(4),
        used_inodes: 2,
    };
    assert_eq!(usage.used_inodes, 4 - fs.statfs(ROOT).free_inodes);
}

#[test]
fn a_directory_cannot_come_to_lie_below_itself() {
    let fs = Filesystem::new(&settings()).unwrap();
    let a = mkdir(&fs, NodeId::ROOT, "a");
    let b = mkdir(&fs, a, "b");
    let c = mkdir(&fs, b, "c");
    for mode in [RenameMode::Replace, RenameMode::NoReplace] {
        assert_eq!(rename(&fs, (NodeId::ROOT, "a"), (a, "x"), mode), Err(Errno::EINVAL));
        assert_eq!(rename(&fs, (NodeId::ROOT, "a"), (c, "x"), mode), Err(Errno::EINVAL));
    }
    assert_eq!(
        rename(&fs, (NodeId::ROOT, "a"), (b, "c"), RenameMode::Exchange),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        rename(&fs, (b, "c"), (NodeId::ROOT, "a"), RenameMode::Exchange),
        Err(Errno::EINVAL)
    );
    assert_eq!(
        rename(&fs, (a, "b"), (NodeId::ROOT, "a"), RenameMode::Replace),
        Err(Errno::ENOTEMPTY)
    );
    assert_eq!(
        rename(&fs, (b, "c"), (NodeId::ROOT, "a"), RenameMode::Replace),
        Err(Errno::ENOTEMPTY)
    );
    rename(&fs, (a, "b"), (NodeId::ROOT, "moved"), RenameMode::NoReplace).unwrap();
    assert_eq!(fs.lookup(ROOT, b, b"..").unwrap().unwrap().node, NodeId::ROOT);
    rename(&fs, (NodeId::ROOT, "a"), (c, "a"), RenameMode::Replace).unwrap();
    let nlink = |node| fs.getattr(node).unwrap().nlink;
    assert_eq!((nlink(NodeId::ROOT), nlink(a), nlink(b), nlink(c)), (3, 2, 3, 3));
}

#[test]
fn link_counts_follow_exchanges_and_replacements() {
    let fs = Filesystem::new(&settings()).unwrap();
    let (a, b) = (mkdir(&fs, NodeId::ROOT, "a"), mkdir(&fs, NodeId::ROOT, "b"));
    let inner = mkdir(&fs, a, "inner");
    let file = touch(&fs, "file").unwrap();
    let nlink = |node| fs.getattr(node).unwrap().nlink;
    rename(&fs, (a, "inner"), (NodeId::ROOT, "file"), RenameMode::Exchange).unwrap();
    assert_eq!((nlink(NodeId::ROOT), nlink(a), nlink(file)), (5, 2, 1));
    assert_eq!(fs.lookup(ROOT, inner, b"..").unwrap().unwrap().node, NodeId::ROOT);
    rename(&fs, (NodeId::ROOT, "file"), (NodeId::ROOT, "b"), RenameMode::Replace).unwrap();
    assert_eq!((nlink(NodeId::ROOT), nlink(b), nlink(inner)), (4, 0, 2));
    assert_eq!(
        touch_in(&fs, b, "x"),
        Err(Errno::ENOENT),
        "a removed directory takes nothing"
    );
    assert_eq!(
        rename(&fs, (a, "inner"), (NodeId::ROOT, "b"), RenameMode::Replace),
        Err(Errno::EISDIR)
    );
    assert_eq!(
        rename(&fs, (NodeId::ROOT, "b"), (a, "inner"), RenameMode::Replace),
        Err(Errno::ENOTDIR)
    );
}

fn touch_in(fs: &Filesystem, parent: NodeId, name: &str) -> Result<NodeId, Errno> {
    Ok(fs.make(ROOT, parent, name.as_bytes(), NewNode::regular(0o600, 0))?.node)
}

/// semantics 1.1: a whiteout is a device 0:0 in the place of the old name.
#[test]
fn a_rename_can_leave_a_whiteout() {
    let fs = Filesystem::new(&settings()).unwrap();
    let node = touch(&fs, "a").unwrap();
    let (from, to) = (NodeId::ROOT, NodeId::ROOT);
    let request = Move {
        from,
        old: b"a",
        to,
        new: b"b",
        mode: RenameMode::Replace,
        whiteout: true,
    };
    fs.rename(ROOT, &request).unwrap();
    let whiteout = fs.lookup(ROOT, NodeId::ROOT, b"a").unwrap().unwrap().attr;
    assert_eq!(
        (whiteout.file_type, whiteout.rdev, whiteout.nlink),
        (FileType::CharDevice, 0, 1)
    );
    assert_eq!(fs.lookup(ROOT, NodeId::ROOT, b"b").unwrap().unwrap().node, node);
}

/// semantics 1.1: truncating to the size a file has marks its times and gives back what is beyond its end, as on tmpfs.
#[test]
fn truncating_to_the_same_size_is_a_change() {
    let fs = Filesystem::new(&settings()).unwrap();
    let node = touch(&fs, "a").unwrap();
    let keep = libc::FALLOC_FL_KEEP_SIZE.cast_unsigned();
    assert!(fs.allocate_now(node, keep, 0, 40960).unwrap().is_none());
    let before = fs.getattr(node).unwrap();
    assert_eq!((before.size, before.blocks), (0, 80));
    let truncate = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    let after = fs.setattr_now(ROOT, node, &truncate).unwrap();
    assert_eq!((after.size, after.blocks), (0, 0));
    assert!(after.mtime > before.mtime && after.ctime > before.ctime);
}

/// semantics 2.2, 6.1: names that can be none are refused before anything is made.
#[test]
fn names_are_checked() {
    let fs = Filesystem::new(&settings()).unwrap();
    assert_eq!(touch(&fs, &"x".repeat(256)), Err(Errno::ENAMETOOLONG));
    touch(&fs, &"x".repeat(255)).unwrap();
    for name in ["", ".", "..", "a/b", "a\0b"] {
        assert_eq!(touch(&fs, name), Err(Errno::EINVAL));
    }
    assert_eq!(
        fs.lookup(ROOT, NodeId::ROOT, &[b'x'; 256]).err(),
        Some(Errno::ENAMETOOLONG)
    );
    assert_eq!(fs.lookup(ROOT, NodeId(77), b"a").err(), Some(Errno::ESTALE));
    let caller = Caller { uid: 5, gid: 6, tid: 0 };
    let new = NewNode {
        file_type: FileType::Symlink,
        ..NewNode::regular(0, 0)
    };
    assert_eq!(fs.make(caller, NodeId::ROOT, b"l", new).err(), Some(Errno::ENOENT));
    let long = [b'x'; 4096];
    let new = NewNode { target: &long, ..new };
    assert_eq!(
        fs.make(caller, NodeId::ROOT, b"l", new).err(),
        Some(Errno::ENAMETOOLONG)
    );
}

/// A tree is let go of whatever its depth, on the small stack of a thread: clients decide how deep it is.
#[test]
fn a_deep_tree_ends() {
    let fs = Filesystem::new(&settings()).unwrap();
    let mut node = NodeId::ROOT;
    for _ in 0..100_000 {
        node = mkdir(&fs, node, "d");
    }
    let ended = std::thread::spawn(move || drop(fs)).join();
    assert!(ended.is_ok());
}

/// Setting the last of very many attributes takes no longer than the first: whoever sets them keeps a worker busy.
#[test]
fn attributes_do_not_slow_down_with_their_number() {
    let fs = Filesystem::new(&settings()).unwrap();
    let node = touch(&fs, "a").unwrap();
    let set = |range: std::ops::Range<u32>| {
        let began = std::time::Instant::now();
        for number in range {
            let name = format!("user.{number:08}");
            let new = NewXattr {
                name: name.as_bytes(),
                value: b"",
                precondition: Precondition::None,
                drop_set_gid: false,
            };
            fs.setxattr(node, &new).unwrap();
        }
        began.elapsed()
    };
    let first = set(0..2000);
    set(2000..98_000);
    let last = set(98_000..100_000);
    assert!(
        last < first * 20 + std::time::Duration::from_millis(20),
        "{first:?}, then {last:?}"
    );
    assert_eq!(fs.listxattr(ROOT, node, &mut []), Ok(100_000 * 14));
    assert_eq!(fs.listxattr(ROOT, node, &mut [0; 65536]), Err(Errno::ERANGE));
}
