//! The rules for sticky directories through the operations, without a mount: callers here are threads that cannot be looked
//! at, so whatever depends on that is decided against them.

use owltmp::events::Rule;
use owltmp::ops::create::NewNode;
use owltmp::ops::names::Move;
use owltmp::ops::{Entry, Filesystem};
use owltmp::types::{Caller, Enforcement, Errno, FileType, NodeId, OpenFlags, RenameMode, Rules, Settings};

use crate::entries::{ROOT, settings};

const ALICE: Caller = Caller {
    uid: 1000,
    gid: 1000,
    tid: 0,
};
const BOB: Caller = Caller {
    uid: 1001,
    gid: 1001,
    tid: 0,
};
const READ: OpenFlags = OpenFlags(libc::O_RDONLY as u32);
const WRITE: OpenFlags = OpenFlags(libc::O_WRONLY as u32);

/// A filesystem whose root is root's, 1777, with these rules.
fn filesystem(rules: Rules) -> Filesystem {
    Filesystem::new(&Settings { rules, ..settings() }).unwrap()
}

fn make(fs: &Filesystem, who: Caller, parent: NodeId, name: &str, file_type: FileType, perm: u32) -> Entry {
    let new = NewNode {
        file_type,
        target: if file_type == FileType::Symlink { b"target" } else { b"" },
        ..NewNode::regular(perm, 0)
    };
    fs.make(who, parent, name.as_bytes(), new).unwrap()
}

fn symlink(fs: &Filesystem, who: Caller, parent: NodeId, name: &str) -> NodeId {
    make(fs, who, parent, name, FileType::Symlink, 0o777).node
}

fn directory(fs: &Filesystem, who: Caller, name: &str, perm: u32) -> NodeId {
    make(fs, who, NodeId::ROOT, name, FileType::Directory, perm).node
}

fn follow(fs: &Filesystem, who: Caller, node: NodeId) -> Result<usize, Errno> {
    fs.readlink(who, node, <[u8]>::len)
}

fn open(fs: &Filesystem, who: Caller, node: NodeId, flags: OpenFlags) -> Result<(), Errno> {
    let opened = fs.open(who, node, flags, false)?;
    fs.release(opened.fh)
}

fn moved(fs: &Filesystem, from: NodeId, old: &str, to: NodeId, new: &str, mode: RenameMode) {
    let request = Move {
        from,
        old: old.as_bytes(),
        to,
        new: new.as_bytes(),
        mode,
        whiteout: false,
    };
    fs.rename(ROOT, &request).unwrap();
}

fn find(fs: &Filesystem, parent: NodeId, name: &str) -> Entry {
    fs.lookup(ROOT, parent, name.as_bytes()).unwrap().unwrap()
}

/// semantics 3.2: the owner and the directory's owner decide; root is held like anyone; semantics 3.5: it is recorded.
#[test]
fn a_symlink_in_a_sticky_directory_is_for_its_owner() {
    let fs = filesystem(Rules::default());
    let link = symlink(&fs, ALICE, NodeId::ROOT, "link");
    assert_eq!(follow(&fs, ALICE, link), Ok(6));
    assert_eq!(follow(&fs, BOB, link), Err(Errno::EACCES));
    assert_eq!(follow(&fs, ROOT, link), Err(Errno::EACCES));
    let recent = fs.events().recent();
    assert_eq!(recent.len(), 2);
    assert_eq!(
        recent[1].to_string(),
        "refused symlinks: uid=0 pid=0 comm=\"\" object=\"/link\" kind=symlink inode=2 owner=1000 errno=EACCES"
    );
    let roots = symlink(&fs, ROOT, NodeId::ROOT, "root's");
    assert_eq!(follow(&fs, BOB, roots), Ok(6));
    let plain = directory(&fs, ALICE, "plain", 0o777);
    assert_eq!(follow(&fs, BOB, symlink(&fs, ALICE, plain, "link")), Ok(6));
    let narrow = directory(&fs, ROOT, "narrow", 0o1755);
    assert_eq!(
        follow(&fs, BOB, symlink(&fs, ALICE, narrow, "link")),
        Err(Errno::EACCES),
        "sticky counts, world-writable or not"
    );
    assert_eq!(fs.events().recent().len(), 3);
}

/// semantics 3.2: every sticky directory that holds a name has a say.
#[test]
fn a_symlink_with_several_names_is_judged_by_all() {
    let fs = filesystem(Rules::default());
    let plain = directory(&fs, ALICE, "plain", 0o755);
    let link = symlink(&fs, ALICE, plain, "one");
    assert_eq!(follow(&fs, BOB, link), Ok(6));
    fs.link(ALICE, link, NodeId::ROOT, b"two").unwrap();
    assert_eq!(follow(&fs, BOB, link), Err(Errno::EACCES));
    fs.unlink(NodeId::ROOT, b"two").unwrap();
    assert_eq!(
        follow(&fs, BOB, link),
        Err(Errno::ESTALE),
        "whoever may have come by it"
    );
    let anew = find(&fs, plain, "one");
    assert_ne!(anew.node, link);
    assert_eq!(follow(&fs, BOB, anew.node), Ok(6));
}

/// semantics 3.2: a symlink without a name gets none again, by none of its node ids: it would be judged by the new place,
/// whoever found it by the old one.
#[test]
fn a_symlink_that_lost_its_last_name_gets_none_again() {
    let fs = filesystem(Rules::default());
    let plain = directory(&fs, ALICE, "plain", 0o755);
    let former = symlink(&fs, ALICE, NodeId::ROOT, "link");
    moved(&fs, NodeId::ROOT, "link", plain, "link", RenameMode::Replace);
    moved(&fs, plain, "link", NodeId::ROOT, "link", RenameMode::Replace);
    let found = find(&fs, NodeId::ROOT, "link").node;
    assert_ne!(found, former);
    fs.unlink(NodeId::ROOT, b"link").unwrap();
    for node in [former, found] {
        let linked = fs.link(ALICE, node, plain, b"again").map(drop);
        assert_eq!(linked, Err(Errno::ENOENT));
    }
    assert_eq!(follow(&fs, BOB, found), Err(Errno::EACCES));
}

/// semantics 3.2: moving the name away while somebody is on his way through it gains nothing.
#[test]
fn a_symlink_that_left_is_judged_by_where_it_was_found() {
    for mode in [RenameMode::Replace, RenameMode::Exchange] {
        let fs = filesystem(Rules::default());
        let plain = directory(&fs, ALICE, "plain", 0o755);
        let link = symlink(&fs, ALICE, NodeId::ROOT, "link");
        make(&fs, ALICE, plain, "link", FileType::Regular, 0o644);
        moved(&fs, NodeId::ROOT, "link", plain, "link", mode);
        assert_eq!(follow(&fs, BOB, link), Err(Errno::ESTALE));
        assert_eq!(follow(&fs, ALICE, link), Ok(6));
        let anew = find(&fs, plain, "link");
        assert_eq!(anew.attr.ino, fs.getattr(link).unwrap().ino, "users see one inode");
        assert_eq!(follow(&fs, BOB, anew.node), Ok(6));
        moved(&fs, plain, "link", NodeId::ROOT, "back", RenameMode::Replace);
        assert_eq!(follow(&fs, BOB, anew.node), Err(Errno::EACCES));
        assert_eq!(follow(&fs, BOB, link), Err(Errno::EACCES));
        fs.forget(link, 1);
        assert_eq!(
            fs.getattr(link),
            Err(Errno::ESTALE),
            "a node id lives as long as the kernel knows it"
        );
        fs.unlink(NodeId::ROOT, b"back").unwrap();
        assert_eq!(follow(&fs, BOB, anew.node), Err(Errno::EACCES), "also without a name");
        let inodes = fs.inode_count();
        fs.forget(anew.node, 1);
        assert_eq!(fs.inode_count(), inodes - 1);
    }
}

/// semantics 3.2: whoever moves a link to and fro for ever gains nothing, and costs no more than a bounded list.
#[test]
fn a_symlink_that_leaves_too_often_is_not_followed_any_more() {
    let fs = filesystem(Rules::default());
    let plain = directory(&fs, ALICE, "plain", 0o755);
    symlink(&fs, ALICE, NodeId::ROOT, "link");
    let mut node = NodeId::ROOT;
    for _ in 0..1000 {
        moved(&fs, NodeId::ROOT, "link", plain, "link", RenameMode::Replace);
        node = find(&fs, plain, "link").node;
        moved(&fs, plain, "link", NodeId::ROOT, "link", RenameMode::Replace);
    }
    moved(&fs, NodeId::ROOT, "link", plain, "link", RenameMode::Replace);
    assert_eq!(follow(&fs, BOB, find(&fs, plain, "link").node), Err(Errno::EACCES));
    assert_eq!(follow(&fs, ALICE, node), Ok(6));
}

/// semantics 3.3.
#[test]
fn a_hard_link_is_for_the_owner() {
    let fs = filesystem(Rules::default());
    let plain = directory(&fs, ALICE, "plain", 0o777);
    let file = make(&fs, ALICE, plain, "file", FileType::Regular, 0o666).node;
    assert_eq!(fs.link(BOB, file, plain, b"bob's").err(), Some(Errno::EPERM));
    assert_eq!(
        fs.link(ROOT, file, plain, b"root's").err(),
        Some(Errno::EPERM),
        "fsuid 0 alone is no proof"
    );
    fs.link(ALICE, file, plain, b"alice's").unwrap();
    assert_eq!(fs.events().count(Rule::Hardlinks), 2);
    assert_eq!(fs.getattr(file).unwrap().nlink, 2);
}

/// semantics 3.4: opening for writing counts as O_CREAT where the flags cannot be seen.
#[test]
fn what_others_put_there_is_not_taken_for_ones_own() {
    let fs = filesystem(Rules::default());
    let file = make(&fs, ALICE, NodeId::ROOT, "file", FileType::Regular, 0o666).node;
    assert_eq!(open(&fs, ALICE, file, WRITE), Ok(()));
    assert_eq!(open(&fs, BOB, file, WRITE), Err(Errno::EACCES));
    assert_eq!(open(&fs, ROOT, file, WRITE), Err(Errno::EACCES));
    assert_eq!(open(&fs, BOB, file, READ), Ok(()));
    let roots = make(&fs, ROOT, NodeId::ROOT, "root's", FileType::Regular, 0o666).node;
    assert_eq!(open(&fs, BOB, roots, WRITE), Ok(()));
    for (name, perm, expected) in [
        ("narrow", 0o1755, Ok(())),
        ("plain", 0o777, Ok(())),
        ("group", 0o1770, Err(Errno::EACCES)),
    ] {
        let parent = directory(&fs, ROOT, name, perm);
        let file = make(&fs, ALICE, parent, "file", FileType::Regular, 0o666).node;
        assert_eq!(open(&fs, BOB, file, WRITE), expected, "{name}");
    }
    assert_eq!(fs.events().count(Rule::Squatting), 3);
}

/// semantics 3.4: nor by moving it away at the right moment.
#[test]
fn a_file_that_left_is_looked_at_twice() {
    let nobody_knows = Caller { tid: u32::MAX, ..BOB };
    let fs = filesystem(Rules::default());
    let plain = directory(&fs, ALICE, "plain", 0o777);
    let file = make(&fs, ALICE, NodeId::ROOT, "file", FileType::Regular, 0o666).node;
    moved(&fs, NodeId::ROOT, "file", plain, "file", RenameMode::Replace);
    let look = |parent| fs.lookup(nobody_knows, parent, b"file").map(drop);
    look(plain).unwrap();
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Err(Errno::ESTALE));
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Err(Errno::ESTALE), "did not look");
    look(plain).unwrap();
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Ok(()));
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Err(Errno::ESTALE), "each time");
    moved(&fs, plain, "file", NodeId::ROOT, "file", RenameMode::Replace);
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Err(Errno::EACCES));
    look(NodeId::ROOT).unwrap();
    moved(&fs, NodeId::ROOT, "file", plain, "file", RenameMode::Replace);
    assert_eq!(
        open(&fs, nobody_knows, file, WRITE),
        Err(Errno::EACCES),
        "has left since"
    );
    assert_eq!(
        open(&fs, BOB, file, WRITE),
        Err(Errno::EACCES),
        "a thread without a number cannot come again"
    );
    fs.unlink(plain, b"file").unwrap();
    assert_eq!(open(&fs, nobody_knows, file, WRITE), Err(Errno::EACCES));
}

/// semantics 3.4: the kernel opens FIFOs by itself, so it has to look them up each time.
#[test]
fn a_fifo_of_others_is_not_found() {
    let fs = filesystem(Rules::default());
    let fifo = make(&fs, ALICE, NodeId::ROOT, "fifo", FileType::Fifo, 0o666);
    assert!(!fifo.lasting);
    assert_eq!(fs.lookup(BOB, NodeId::ROOT, b"fifo").err(), Some(Errno::EACCES));
    assert_eq!(
        fs.lookup(ALICE, NodeId::ROOT, b"fifo").unwrap().unwrap().node,
        fifo.node
    );
    fs.unlink(NodeId::ROOT, b"fifo").unwrap();
    fs.forget(fifo.node, 2);
    assert_eq!(fs.inode_count(), 1, "the refused look-up left no reference");
}

/// semantics 3.2: `strict`, `log` and `off`.
#[test]
fn rules_can_be_changed() {
    let tried = |enforcement| {
        let rules = Rules {
            symlinks: enforcement,
            hardlinks: enforcement,
            squatting: enforcement,
        };
        let fs = filesystem(rules);
        let link = symlink(&fs, ALICE, NodeId::ROOT, "link");
        let file = make(&fs, ALICE, NodeId::ROOT, "file", FileType::Regular, 0o666).node;
        make(&fs, ALICE, NodeId::ROOT, "fifo", FileType::Fifo, 0o666);
        let refused = [
            follow(&fs, BOB, link).is_err(),
            fs.link(BOB, file, NodeId::ROOT, b"second").is_err(),
            open(&fs, BOB, file, WRITE).is_err(),
            fs.lookup(BOB, NodeId::ROOT, b"fifo").is_err(),
        ];
        assert!(refused.iter().all(|it| *it == refused[0]), "{refused:?}");
        (refused[0], fs.events().recent().len())
    };
    assert_eq!(tried(Enforcement::On), (true, 4));
    assert_eq!(tried(Enforcement::Strict), (true, 4));
    assert_eq!(tried(Enforcement::Log), (false, 4));
    assert_eq!(tried(Enforcement::Off), (false, 0));
}

/// The umask of the mount is added to the caller's; a default ACL goes before both, as before the caller's alone.
#[test]
fn the_umask_of_the_mount_counts_for_everything_made() {
    let fs = Filesystem::new(&Settings {
        umask: 0o077,
        ..settings()
    })
    .unwrap();
    for (name, file_type) in [
        ("file", FileType::Regular),
        ("directory", FileType::Directory),
        ("fifo", FileType::Fifo),
    ] {
        assert_eq!(make(&fs, ALICE, NodeId::ROOT, name, file_type, 0o777).attr.perm, 0o700);
    }
    let (nameless, opened) = fs
        .tmpfile(ALICE, NodeId::ROOT, NewNode::regular(0o666, 0o700), WRITE)
        .unwrap();
    assert_eq!(nameless.attr.perm, 0);
    fs.release(opened.fh).unwrap();
}
