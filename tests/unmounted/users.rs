//! Limits for each user without a mount, contents in memory: what is charged to whom, and EDQUOT past the limits (semantics 1.5).

use std::collections::HashMap;
use std::sync::Arc;

use crate::direct::Direct;
use owltmp::content::{Content, INODE_SPACE, InodeCharge, Limits, PageCharge};
use owltmp::ops::Filesystem;
use owltmp::ops::attr::SetAttr;
use owltmp::ops::create::NewNode;
use owltmp::ops::io::Privileges;
use owltmp::ops::xattr::NewXattr;
use owltmp::tree::Precondition;
use owltmp::types::{Caller, Errno, FileType, NodeId, Settings};
use proptest::prelude::*;

use crate::entries::{ROOT, settings};

const PAGE: u64 = 4096;

fn user(uid: u32) -> Caller {
    Caller { uid, ..ROOT }
}

fn limited(pages: u64, user_pages: u64, user_inodes: u64) -> Settings {
    Settings {
        max_bytes: Some(pages * PAGE),
        user_bytes: Some(user_pages * PAGE),
        user_inodes: Some(user_inodes),
        ..settings()
    }
}

fn make(fs: &Filesystem, uid: u32, name: &str, file_type: FileType, target: &[u8]) -> Result<NodeId, Errno> {
    let new = NewNode {
        file_type,
        target,
        ..NewNode::regular(0o644, 0)
    };
    fs.make(user(uid), NodeId::ROOT, name.as_bytes(), new)
        .map(|entry| entry.node)
}

fn file(fs: &Filesystem, uid: u32, name: &str) -> Result<NodeId, Errno> {
    make(fs, uid, name, FileType::Regular, b"")
}

fn write(fs: &Filesystem, node: NodeId, pages: u64) -> Result<usize, Errno> {
    let bytes = vec![1; usize::try_from(pages * PAGE).unwrap()];
    fs.write_now(node, 0, &bytes, Privileges::KeepSetId)
}

fn chown(fs: &Filesystem, node: NodeId, uid: u32) -> Result<(), Errno> {
    let change = SetAttr {
        uid: Some(uid),
        ..SetAttr::default()
    };
    fs.setattr_now(ROOT, node, &change).map(drop)
}

fn used(fs: &Filesystem, uid: u32, limits: (u64, u64)) -> (u64, u64) {
    let figures = fs.statfs(user(uid));
    assert_eq!((figures.blocks, figures.inodes), limits);
    (limits.0 - figures.free_blocks, limits.1 - figures.free_inodes)
}

#[test]
fn a_user_is_held_to_his_limit_and_root_to_none() {
    let fs = Filesystem::new(&limited(100, 10, 3)).unwrap();
    let own = file(&fs, 7, "a").unwrap();
    assert_eq!(write(&fs, own, 11), Ok(10 * 4096), "as much as fits");
    assert_eq!(
        fs.write_now(own, 10 * PAGE, b"x", Privileges::KeepSetId),
        Err(Errno::EDQUOT)
    );
    assert_eq!(used(&fs, 7, (10, 3)), (10, 1));
    let other = file(&fs, 8, "b").unwrap();
    assert_eq!(write(&fs, other, 10), Ok(10 * 4096));
    let root = file(&fs, 0, "c").unwrap();
    assert_eq!(write(&fs, root, 60), Ok(60 * 4096));
    let rooted = fs.statfs(ROOT);
    assert_eq!((rooted.blocks, rooted.free_blocks), (100, 20));
    file(&fs, 7, "d").unwrap();
    make(&fs, 7, "e", FileType::Directory, b"").unwrap();
    assert_eq!(make(&fs, 7, "f", FileType::Fifo, b"").err(), Some(Errno::EDQUOT));
    file(&fs, 8, "f").unwrap();
    fs.unlink(NodeId::ROOT, b"a").unwrap();
    fs.forget(own, 1);
    assert_eq!(used(&fs, 7, (10, 3)), (0, 2));
}

#[test]
fn what_all_may_use_is_less_than_what_one_may() {
    let fs = Filesystem::new(&limited(12, 10, 100)).unwrap();
    let one = file(&fs, 7, "a").unwrap();
    let two = file(&fs, 8, "b").unwrap();
    write(&fs, one, 8).unwrap();
    assert_eq!(write(&fs, two, 8), Ok(4 * 4096));
    assert_eq!(
        fs.write_now(two, 4 * PAGE, b"x", Privileges::KeepSetId),
        Err(Errno::ENOSPC)
    );
    assert_eq!(fs.statfs(user(8)).free_blocks, 0);
}

#[test]
fn links_attributes_and_long_symlinks_are_the_owners() {
    let fs = Filesystem::new(&limited(100, 2, 3)).unwrap();
    let node = file(&fs, 7, "a").unwrap();
    fs.link(user(7), node, NodeId::ROOT, b"b").unwrap();
    fs.link(user(7), node, NodeId::ROOT, b"c").unwrap();
    assert_eq!(fs.link(user(7), node, NodeId::ROOT, b"d").err(), Some(Errno::EDQUOT));
    let attribute = NewXattr {
        name: b"user.a",
        value: b"v",
        precondition: Precondition::None,
        drop_set_gid: false,
    };
    assert_eq!(fs.setxattr(node, &attribute).err(), Some(Errno::EDQUOT));
    fs.unlink(NodeId::ROOT, b"c").unwrap();
    fs.setxattr(node, &attribute).unwrap();
    assert_eq!(used(&fs, 7, (2, 3)), (0, 3));
    let long = [b'x'; 200];
    make(&fs, 8, "l1", FileType::Symlink, &long).unwrap();
    let link = make(&fs, 8, "l2", FileType::Symlink, &long).unwrap();
    assert_eq!(used(&fs, 8, (2, 3)), (2, 2));
    assert_eq!(make(&fs, 8, "l3", FileType::Symlink, &long).err(), Some(Errno::EDQUOT));
    make(&fs, 8, "l3", FileType::Symlink, b"short").unwrap();
    assert_eq!(used(&fs, 8, (2, 3)), (2, 3));
    chown(&fs, link, 9).unwrap();
    assert_eq!((used(&fs, 8, (2, 3)), used(&fs, 9, (2, 3))), ((1, 2), (1, 1)));
}

#[test]
fn who_gets_a_file_is_charged_for_it_or_does_not_get_it() {
    let fs = Filesystem::new(&limited(100, 10, 2)).unwrap();
    let node = file(&fs, 7, "a").unwrap();
    write(&fs, node, 6).unwrap();
    chown(&fs, node, 8).unwrap();
    assert_eq!((used(&fs, 7, (10, 2)), used(&fs, 8, (10, 2))), ((0, 0), (6, 1)));
    let second = file(&fs, 7, "b").unwrap();
    write(&fs, second, 5).unwrap();
    let before = fs.getattr(second).unwrap();
    assert_eq!(chown(&fs, second, 8), Err(Errno::EDQUOT), "too many pages");
    assert_eq!(fs.getattr(second).unwrap(), before);
    assert_eq!((used(&fs, 7, (10, 2)), used(&fs, 8, (10, 2))), ((5, 1), (6, 1)));
    chown(&fs, second, 0).unwrap();
    assert_eq!(used(&fs, 7, (10, 2)), (0, 0));
    for name in ["c", "d"] {
        file(&fs, 7, name).unwrap();
    }
    let directory = make(&fs, 0, "e", FileType::Directory, b"").unwrap();
    assert_eq!(chown(&fs, directory, 7), Err(Errno::EDQUOT), "too many inodes");
    assert_eq!(fs.getattr(directory).unwrap().uid, 0);
}

#[test]
fn an_account_is_there_as_long_as_anything_is_charged_to_it() {
    let limits = Limits::of(&limited(100, 10, 10), None).unwrap();
    for uid in 1..=1000 {
        let inode = InodeCharge::inode(limits.account(uid)).unwrap();
        let mut content = Content::owned_by(limits.account(uid));
        content.write_at(0, b"x").unwrap();
        assert_eq!(limits.user_count(), 1);
        drop(inode);
        assert_eq!(limits.usage_of(uid).map(|usage| usage.used_pages), Some(1));
    }
    assert_eq!((limits.user_count(), limits.usage().used_pages), (0, 0));
    let unlimited = Limits::of(&settings(), None).unwrap();
    assert!(Arc::ptr_eq(&unlimited.account(1), &unlimited.account(2)));
    assert_eq!((unlimited.user_count(), unlimited.usage_of(1)), (0, None));
}

#[test]
fn a_charge_that_cannot_be_transferred_stays() {
    let limits = Limits::of(&limited(100, 4, 2), None).unwrap();
    let (one, two) = (limits.account(1), limits.account(2));
    let mut first = PageCharge::to(Arc::clone(&one));
    let mut second = PageCharge::to(Arc::clone(&two));
    first.grow(3).unwrap();
    second.grow(2).unwrap();
    assert_eq!(first.transfer(&two), Err(Errno::EDQUOT));
    second.transfer(&limits.account(0)).unwrap();
    first.transfer(&two).unwrap();
    assert_eq!(first.grow(2), Err(Errno::EDQUOT));
    let used = |uid| limits.usage_of(uid).unwrap().used_pages;
    assert_eq!((used(1), used(2), limits.usage().used_pages), (0, 3, 5));
    let mut inode = InodeCharge::inode(one).unwrap();
    inode.grow(INODE_SPACE).unwrap();
    assert_eq!(inode.grow(1), Err(Errno::EDQUOT));
}

/// What one user's files come to by their attributes.
fn sum(fs: &Filesystem, files: &HashMap<String, NodeId>, uid: u32) -> (u64, u64) {
    let owned = files.values().map(|&node| fs.getattr(node).unwrap());
    let owned: Vec<_> = owned.filter(|attr| attr.uid == uid).collect();
    let names: u64 = owned.iter().map(|attr| u64::from(attr.nlink)).sum();
    (owned.iter().map(|attr| attr.blocks / 8).sum(), names)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// After any operations by several users what each is charged is what his files show.
    #[test]
    fn the_sums_are_right(steps in prop::collection::vec((0..7u8, 0..12u8, 1..4u32, 0..12u64), 1..200)) {
        let fs = Filesystem::new(&limited(60, 25, 8)).unwrap();
        let mut files = HashMap::new();
        for (what, which, uid, amount) in steps {
            let name = format!("f{which}");
            match (what, files.get(&name).copied()) {
                (0, None) => { let _ = file(&fs, uid, &name).map(|node| files.insert(name, node)); },
                (1, None) => {
                    let made = make(&fs, uid, &name, FileType::Symlink, &[b'x'; 150]);
                    let _ = made.map(|node| files.insert(name, node));
                }
                (2, Some(node)) => drop(write(&fs, node, amount)),
                (3, Some(node)) => drop(fs.allocate_now(node, 0, amount * PAGE, 2 * PAGE)),
                (4, Some(node)) => {
                    let size = Some(amount * PAGE / 2);
                    let _ = fs.setattr_now(ROOT, node, &SetAttr { size, ..SetAttr::default() });
                }
                (5, Some(node)) => drop(chown(&fs, node, uid)),
                (6, Some(node)) => {
                    fs.unlink(NodeId::ROOT, name.as_bytes()).unwrap();
                    fs.forget(node, 1);
                    files.remove(&name);
                }
                _ => {}
            }
            for uid in 1..4 {
                let (pages, inodes) = used(&fs, uid, (25, 8));
                let (sum_pages, sum_inodes) = sum(&fs, &files, uid);
                let all: u64 = (1..4).map(|uid| sum(&fs, &files, uid).0).sum();
                // What is shown as free is also at most what all have left.
                prop_assert_eq!((pages, inodes), (sum_pages.max(25_u64.saturating_sub(60 - all)), sum_inodes));
            }
        }
    }
}
