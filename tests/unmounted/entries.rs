//! The entries of a directory against a naive model, and scans of one that changes (semantics 1.2).

use std::collections::hash_map::RandomState;
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use owltmp::ops::Filesystem;
use owltmp::ops::create::NewNode;
use owltmp::ops::names::Move;
use owltmp::ops::readdir::{Listed, Sink};
use owltmp::tree::Entries;
use owltmp::types::{Caller, Cookie, Errno, Name, NodeId, OpenFlags, RenameMode, Settings};
use proptest::prelude::*;

pub fn settings() -> Settings {
    Settings {
        max_bytes: None,
        max_inodes: None,
        user_bytes: None,
        user_inodes: None,
        root_perm: 0o1777,
        root_uid: 0,
        root_gid: 0,
        atime: owltmp::types::AtimePolicy::Relatime,
        umask: 0,
        rules: owltmp::types::Rules::default(),
        diratime: true,
        mandatory: owltmp::types::Mandatory::Marked,
    }
}

pub const ROOT: Caller = Caller { uid: 0, gid: 0, tid: 0 };

pub fn touch(fs: &Filesystem, name: &str) -> Result<NodeId, Errno> {
    Ok(fs
        .make(ROOT, NodeId::ROOT, name.as_bytes(), NewNode::regular(0o600, 0))?
        .node)
}

fn rename(fs: &Filesystem, old: &str, new: &str, mode: RenameMode) -> Result<(), Errno> {
    let (from, to) = (NodeId::ROOT, NodeId::ROOT);
    let (old, new) = (old.as_bytes(), new.as_bytes());
    fs.rename(
        ROOT,
        &Move {
            from,
            old,
            to,
            new,
            mode,
            whiteout: false,
        },
    )
}

/// Takes `room` entries a call, as getdents(2) with a small buffer.
struct Scan {
    names: Vec<String>,
    offset: Cookie,
    room: usize,
}

impl Sink for Scan {
    fn take(&mut self, entry: Listed<'_>) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.offset = entry.next;
        self.names.push(String::from_utf8(entry.name.to_vec()).unwrap());
        true
    }
}

#[derive(Clone, Debug)]
enum Change {
    Make(u8),
    Remove(u8),
    Rename(u8, u8),
    Exchange(u8, u8),
}

fn change(names: std::ops::Range<u8>) -> impl Strategy<Value = Change> {
    prop_oneof![
        names.clone().prop_map(Change::Make),
        names.clone().prop_map(Change::Remove),
        (names.clone(), names.clone()).prop_map(|(old, new)| Change::Rename(old, new)),
        (names.clone(), names).prop_map(|(one, other)| Change::Exchange(one, other)),
    ]
}

fn make_changes(fs: &Filesystem, changes: &[Change]) {
    for change in changes {
        // Whether a change succeeds is of no matter here.
        let _done = match change {
            Change::Make(name) => touch(fs, &format!("n{name}")).map(drop),
            Change::Remove(name) => fs.unlink(NodeId::ROOT, format!("n{name}").as_bytes()),
            Change::Rename(old, new) => rename(fs, &format!("n{old}"), &format!("n{new}"), RenameMode::Replace),
            Change::Exchange(one, other) => rename(fs, &format!("n{one}"), &format!("n{other}"), RenameMode::Exchange),
        };
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// semantics 1.2: names that nobody touches appear exactly once, whatever happens to the others; no name twice at all
    /// unless it was removed and made again meanwhile.
    #[test]
    fn what_stays_is_listed_exactly_once(
        start in prop::collection::vec(0..40u8, 0..40),
        rounds in prop::collection::vec((prop::collection::vec(change(0..40), 0..20), 1..12usize), 1..30),
    ) {
        let fs = Filesystem::new(&settings()).unwrap();
        for name in start {
            let _exists = touch(&fs, &format!("n{name}"));
        }
        for name in 0..20 {
            touch(&fs, &format!("stays{name}")).unwrap();
        }
        let fh = fs.opendir(NodeId::ROOT, OpenFlags(0)).unwrap();
        let mut scan = Scan { names: Vec::new(), offset: Cookie(0), room: 0 };
        for (changes, room) in rounds {
            scan.room = room;
            fs.readdir(fh, scan.offset, &mut scan).unwrap();
            make_changes(&fs, &changes);
        }
        loop {
            let before = scan.names.len();
            scan.room = 7;
            fs.readdir(fh, scan.offset, &mut scan).unwrap();
            if scan.names.len() == before {
                break;
            }
        }
        let times = |name: &str| scan.names.iter().filter(|listed| *listed == name).count();
        for name in 0..20 {
            prop_assert_eq!(times(&format!("stays{name}")), 1);
        }
        prop_assert_eq!((times("."), times("..")), (1, 1));
        fs.release(fh).unwrap();
    }

    #[test]
    fn entries_are_those_of_a_map(changes in prop::collection::vec(change(0..60), 0..400)) {
        let fs = Filesystem::new(&settings()).unwrap();
        let mut model = BTreeMap::new();
        let mut next = 0u32;
        for change in &changes {
            let name = |name: &u8| format!("n{name}");
            match change {
                Change::Make(at) => {
                    let made = touch(&fs, &name(at));
                    prop_assert_eq!(made.is_err(), model.contains_key(at));
                    if !model.contains_key(at) {
                        next += 1;
                        model.insert(*at, (next, made.unwrap()));
                    }
                }
                Change::Remove(at) => {
                    let removed = fs.unlink(NodeId::ROOT, name(at).as_bytes());
                    prop_assert_eq!(removed.is_ok(), model.remove(at).is_some());
                }
                Change::Rename(old, new) => {
                    let renamed = rename(&fs, &name(old), &name(new), RenameMode::Replace);
                    prop_assert_eq!(renamed.is_ok(), model.contains_key(old));
                    if let Some(moved) = model.remove(old) {
                        model.insert(*new, moved);
                    }
                }
                Change::Exchange(one, other) => {
                    let exchanged = rename(&fs, &name(one), &name(other), RenameMode::Exchange);
                    let both = model.contains_key(one) && model.contains_key(other);
                    prop_assert_eq!(exchanged.is_ok(), both);
                    if both && one != other {
                        let (first, second) = (model[one], model[other]);
                        model.insert(*one, second);
                        model.insert(*other, first);
                    }
                }
            }
        }
        for at in 0..60u8 {
            let found = fs.lookup(ROOT, NodeId::ROOT, format!("n{at}").as_bytes()).unwrap();
            prop_assert_eq!(found.map(|entry| entry.node), model.get(&at).map(|&(_, node)| node));
        }
        prop_assert_eq!(fs.getattr(NodeId::ROOT).unwrap().size, 40 + 20 * model.len() as u64);
    }
}

/// semantics 1.2: a scan ends although every entry it meets is renamed or made anew.
#[test]
fn a_scan_that_renames_what_it_meets_ends() {
    let fs = Filesystem::new(&settings()).unwrap();
    for name in 0..100 {
        touch(&fs, &format!("old{name}")).unwrap();
    }
    let fh = fs.opendir(NodeId::ROOT, OpenFlags(0)).unwrap();
    let mut scan = Scan {
        names: Vec::new(),
        offset: Cookie(0),
        room: 0,
    };
    for round in 0.. {
        assert!(round < 1000, "the scan does not end");
        scan.room = 1;
        let before = scan.names.len();
        fs.readdir(fh, scan.offset, &mut scan).unwrap();
        if scan.names.len() == before {
            break;
        }
        let name = scan.names[before].clone();
        if name.starts_with('.') {
            continue;
        }
        rename(&fs, &name, &format!("new-{name}"), RenameMode::Replace).unwrap();
        touch(&fs, &format!("made-{name}")).unwrap();
    }
    let met: HashSet<_> = scan.names.iter().collect();
    assert_eq!((met.len(), scan.names.len()), (102, 102));
    scan.room = 1000;
    fs.readdir(fh, Cookie(0), &mut scan).unwrap();
    assert_eq!(
        scan.names.len(),
        102 + 202,
        "rewinddir(3) shows what was made meanwhile"
    );
    fs.release(fh).unwrap();
}

#[test]
fn a_directory_that_was_large_closes_up() {
    let entries = Entries::new(RandomState::new());
    assert!(entries.is_empty() && entries.get(Name::new(b"a").unwrap()).is_none());
    let fs = Arc::new(Filesystem::new(&settings()).unwrap());
    for name in 0..10_000 {
        touch(&fs, &name.to_string()).unwrap();
    }
    for name in (0..10_000).filter(|name| name % 100 != 0) {
        fs.unlink(NodeId::ROOT, name.to_string().as_bytes()).unwrap();
    }
    for name in (0..10_000).step_by(100) {
        assert!(
            fs.lookup(ROOT, NodeId::ROOT, name.to_string().as_bytes())
                .unwrap()
                .is_some()
        );
    }
}
