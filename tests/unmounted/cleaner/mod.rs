//! The cleaner without a mount: what goes and what stays, and when, by clocks of the tests' own.

mod model;
mod races;
mod thread;

use std::collections::{BTreeSet, HashSet};
use std::ops::ControlFlow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use owltmp::clean::{Cleaner, Exclude, Order, Pace, Place, Summary, Surroundings};
use owltmp::events::Rule;
use owltmp::ops::Filesystem;
use owltmp::ops::ageing::{Kernel, Removed};
use owltmp::ops::attr::SetAttr;
use owltmp::ops::create::NewNode;
use owltmp::ops::names::Move;
use owltmp::policy::ageing::Spared;
use owltmp::tree::Stage;
use owltmp::types::{
    Caller, Enforcement, Errno, FileType, Ino, NodeId, OpenFlags, RenameMode, Rules, Settings, Timestamp,
};

use crate::direct::Direct;
use crate::entries::{ROOT, settings};

const AGE: Duration = Duration::from_secs(10 * 24 * 60 * 60);
const READ: OpenFlags = OpenFlags(libc::O_RDONLY as u32);

/// Remembers what the kernel would have been told, and gives up what it is asked to.
#[derive(Default)]
struct Told {
    gone: Mutex<Vec<(NodeId, Vec<u8>, bool)>>,
}

impl Kernel for Told {
    fn removed(&self, removed: &Removed<'_>) {
        let told = (removed.directory, removed.name.to_vec(), removed.last);
        self.gone.lock().unwrap().push(told);
    }

    fn let_go(&self, _node: NodeId) {}
}

/// The kernel shows this.
struct Around {
    mounted: Vec<Place>,
}

impl Surroundings for Around {
    fn mounted(&self) -> Vec<Place> {
        self.mounted.clone()
    }

    fn flocked(&self) -> HashSet<Ino> {
        HashSet::new()
    }
}

struct World {
    fs: Arc<Filesystem>,
    told: Arc<Told>,
    cleaner: Cleaner,
}

impl World {
    fn new(exclude: &[&str], mounted: &'static [&'static str]) -> World {
        // Callers are root, and no rule for sticky directories is to stand in their way.
        let not_sticky = Settings {
            root_perm: 0o777,
            rules: Rules {
                symlinks: Enforcement::Off,
                hardlinks: Enforcement::Off,
                squatting: Enforcement::Off,
            },
            ..settings()
        };
        let fs = Arc::new(Filesystem::new(&not_sticky).unwrap());
        let told = Arc::new(Told::default());
        let place = |path: &&str| Place {
            from: Ino::ROOT,
            path: path.as_bytes().to_vec(),
        };
        let places = mounted.iter().map(place).collect();
        let kernel: Arc<dyn Kernel> = Arc::clone(&told) as Arc<dyn Kernel>;
        let exclude = Exclude::new(exclude).unwrap();
        let cleaner = Cleaner::new(Arc::clone(&fs), kernel, exclude, Box::new(Around { mounted: places }));
        World { fs, told, cleaner }
    }

    fn make(&self, parent: NodeId, name: &str, file_type: FileType, perm: u32) -> NodeId {
        let new = NewNode {
            file_type,
            target: if file_type == FileType::Symlink {
                b"/etc/passwd"
            } else {
                b""
            },
            ..NewNode::regular(perm, 0)
        };
        let user = Caller {
            uid: 1000,
            gid: 1000,
            tid: 0,
        };
        self.fs.make(user, parent, name.as_bytes(), new).unwrap().node
    }

    fn file(&self, name: &str) -> NodeId {
        self.make(NodeId::ROOT, name, FileType::Regular, 0o644)
    }

    fn directory(&self, name: &str) -> NodeId {
        self.make(NodeId::ROOT, name, FileType::Directory, 0o755)
    }

    /// Changes the inode, and so its ctime, and nothing else.
    fn touch(&self, node: NodeId) -> Result<(), Errno> {
        let perm = self.fs.getattr(node)?.perm;
        let change = SetAttr {
            perm: Some(perm),
            ..SetAttr::default()
        };
        self.fs.setattr_now(ROOT, node, &change).map(drop)
    }

    fn rename(&self, from: NodeId, old: &str, to: NodeId, new: &str) {
        let request = Move {
            from,
            old: old.as_bytes(),
            to,
            new: new.as_bytes(),
            mode: RenameMode::Replace,
            whiteout: false,
        };
        self.fs.rename(ROOT, &request).unwrap();
    }

    /// What a walk takes that counts as old what was not touched since `then`.
    fn walk(&self, then: Timestamp, stage: Stage) -> (BTreeSet<String>, Summary) {
        let order = Order {
            now: Timestamp {
                secs: then.secs + AGE.as_secs().cast_signed(),
                ..then
            },
            age: AGE,
            stage,
            pace: Pace::GENTLE,
        };
        assert_eq!(order.cut_off(), then);
        let mut taken = BTreeSet::new();
        let summary = self.cleaner.walk(&order, &mut |it| {
            assert!(taken.insert(String::from_utf8(it.path.to_vec()).unwrap()), "once");
            ControlFlow::Continue(())
        });
        assert_eq!(summary.taken(), taken.len() as u64);
        (taken, summary)
    }

    /// Removes what is old now.
    fn clean(&self) -> BTreeSet<String> {
        self.walk(Timestamp::now(), Stage::Remove).0
    }

    fn exists(&self, path: &str) -> bool {
        self.fs.find(Ino::ROOT, path.as_bytes()).is_some()
    }
}

fn set(paths: &[&str]) -> BTreeSet<String> {
    paths.iter().map(|path| (*path).to_owned()).collect()
}

#[test]
fn what_is_old_goes_children_first_and_the_kernel_is_told() {
    let world = World::new(&[], &[]);
    let dir = world.directory("d");
    world.make(dir, "f", FileType::Regular, 0o644);
    world.make(dir, "l", FileType::Symlink, 0o777);
    let then = Timestamp::now();
    world.file("young");
    let before = world.walk(then, Stage::Look).0;
    assert!(world.exists("/d/f"), "only looked at");
    let (taken, summary) = world.walk(then, Stage::Remove);
    assert_eq!(taken, set(&["/d", "/d/f", "/d/l"]));
    assert_eq!(before, taken, "as it was foretold");
    assert_eq!((summary.files, summary.directories), (2, 1));
    assert_eq!(summary.spared(Spared::Young), 1);
    assert!(world.exists("/young") && !world.exists("/d"));
    let gone = world.told.gone.lock().unwrap().clone();
    assert_eq!(
        gone,
        [
            (dir, b"f".to_vec(), true),
            (dir, b"l".to_vec(), true),
            (NodeId::ROOT, b"d".to_vec(), true)
        ]
    );
    assert_eq!(world.fs.events().count(Rule::MaxAge), 3);
    let events = world.fs.events().recent();
    let line = events[0].to_string();
    assert!(line.starts_with("removed max_age: uid="), "{line}");
    assert!(
        line.contains("object=\"/d/f\" kind=file") && line.contains("owner=1000: not touched for 864000 s"),
        "{line}"
    );
    assert_eq!(world.walk(then, Stage::Remove).0, set(&[]), "nothing is left to do");
}

#[test]
fn removing_keeps_nothing_young() {
    let world = World::new(&[], &[]);
    let dir = world.directory("d");
    let file = world.make(dir, "a", FileType::Regular, 0o644);
    world.fs.link(ROOT, file, dir, b"b").unwrap();
    let kept = world.make(dir, "kept", FileType::Regular, 0o1644);
    let times = |node| {
        let attr = world.fs.getattr(node).unwrap();
        (attr.atime, attr.mtime, attr.ctime)
    };
    let (before, of_file) = (times(dir), times(file));
    let then = Timestamp::now();
    assert_eq!(
        world.walk(then, Stage::Remove).0,
        set(&["/d/a", "/d/b"]),
        "both names in one walk"
    );
    assert_eq!((times(dir), times(file)), (before, of_file));
    let attr = world.fs.getattr(dir).unwrap();
    assert_eq!(attr.size, 3 * 20, "one entry is left");
    world.fs.unlink(dir, b"kept").unwrap();
    world.fs.forget(kept, 1);
    assert_eq!(
        world.walk(then, Stage::Remove).0,
        set(&[]),
        "a user has changed the directory"
    );
    assert_eq!(world.clean(), set(&["/d"]));
}

#[test]
fn each_use_spares() {
    let world = World::new(&[], &[]);
    let nodes: Vec<NodeId> = ["open", "dir", "touched", "linked", "moved", "attribute"]
        .iter()
        .map(|name| match *name {
            "dir" => world.directory(name),
            _ => world.file(name),
        })
        .collect();
    let opened = world.fs.open(ROOT, nodes[0], READ, false).unwrap();
    let listed = world.fs.opendir(nodes[1], READ).unwrap();
    let then = Timestamp::now();
    world.touch(nodes[2]).unwrap();
    world.fs.link(ROOT, nodes[3], NodeId::ROOT, b"linked2").unwrap();
    world.rename(NodeId::ROOT, "moved", NodeId::ROOT, "moved2");
    let attribute = owltmp::ops::xattr::NewXattr {
        name: b"user.a",
        value: b"v",
        precondition: owltmp::tree::Precondition::None,
        drop_set_gid: false,
    };
    world.fs.setxattr(nodes[5], &attribute).unwrap();
    let (taken, summary) = world.walk(then, Stage::Remove);
    assert_eq!(taken, set(&[]));
    assert_eq!((summary.spared(Spared::InUse), summary.spared(Spared::Young)), (2, 5));
    world.fs.release(listed).unwrap();
    world.fs.release(opened.fh).unwrap();
    assert_eq!(world.clean().len(), 7);
}

#[test]
fn who_comes_by_an_old_name_is_told_to_look_again() {
    let world = World::new(&[], &[]);
    let (file, dir) = (world.file("f"), world.directory("d"));
    let link = world.make(NodeId::ROOT, "l", FileType::Symlink, 0o777);
    assert_eq!(world.clean().len(), 3);
    assert_eq!(world.fs.open(ROOT, file, READ, false).err(), Some(Errno::ESTALE));
    assert_eq!(world.fs.opendir(dir, READ).err(), Some(Errno::ESTALE));
    for node in [file, dir, link] {
        assert_eq!(world.touch(node), Err(Errno::ESTALE));
        assert_eq!(world.fs.removexattr(node, b"user.a").err(), Some(Errno::ESTALE));
        let attr = world.fs.getattr(node).unwrap();
        assert_eq!(attr.nlink, 0);
    }
    let truncate = SetAttr {
        size: Some(0),
        ..SetAttr::default()
    };
    assert_eq!(world.fs.setattr_now(ROOT, file, &truncate).err(), Some(Errno::ESTALE));
    assert_eq!(
        world.fs.link(ROOT, file, NodeId::ROOT, b"again").err(),
        Some(Errno::ENOENT)
    );
    assert_eq!(
        world.fs.make(ROOT, dir, b"x", NewNode::regular(0o644, 0)).err(),
        Some(Errno::ENOENT)
    );
    let before = world.fs.inode_count();
    [file, dir, link].iter().for_each(|node| world.fs.forget(*node, 1));
    assert_eq!(world.fs.inode_count(), before - 3, "their memory is free");
}

#[test]
fn patterns_and_mounts_spare() {
    let world = World::new(&["keep*", "d/x"], &["m/point", "m/root", "nowhere"]);
    let (dir, mounts) = (world.directory("d"), world.directory("m"));
    let keep = world.directory("keep.d");
    world.make(keep, "below", FileType::Regular, 0o644);
    world.make(dir, "x", FileType::Regular, 0o644);
    world.make(dir, "y", FileType::Regular, 0o644);
    let point = world.make(mounts, "point", FileType::Directory, 0o755);
    world.make(mounts, "root", FileType::Regular, 0o644);
    world.make(mounts, "other", FileType::Directory, 0o755);
    let then = Timestamp::now();
    let (taken, summary) = world.walk(then, Stage::Remove);
    assert_eq!(taken, set(&["/d/y", "/m/other"]));
    assert_eq!(
        (summary.spared(Spared::Excluded), summary.spared(Spared::Mounted)),
        (2, 2)
    );
    world.fs.forget(point, 1);
    assert_eq!(
        world.walk(then, Stage::Remove).0,
        set(&["/m/point"]),
        "the kernel does not know it"
    );
}

#[test]
fn a_walk_ends_when_it_is_told_to_and_however_deep_it_is() {
    let world = World::new(&["**/no"], &[]);
    let mut parent = NodeId::ROOT;
    for _ in 0..20_000 {
        parent = world.make(parent, "d", FileType::Directory, 0o755);
    }
    let order = Order {
        now: Timestamp::now(),
        age: Duration::ZERO,
        stage: Stage::Remove,
        pace: Pace {
            work: AGE,
            rest: Duration::ZERO,
        },
    };
    let mut count = 0;
    let summary = world.cleaner.walk(&order, &mut |_| {
        count += 1;
        if count == 5 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    });
    assert_eq!(summary.taken(), 5);
    assert_eq!(world.clean().len(), 20_000 - 5);
}

/// What the kernel reads from its own cache moves no access time; the last close(2) tells that it was in use till then.
#[test]
fn what_was_open_till_now_was_in_use_till_now() {
    let world = World::new(&[], &[]);
    let (read, unread) = (world.file("read"), world.file("unread"));
    let reader = world.fs.open(ROOT, read, READ, false).unwrap();
    let write_only = OpenFlags(libc::O_WRONLY as u32);
    let writer = world.fs.open(ROOT, unread, write_only, false).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    let then = Timestamp::now();
    std::thread::sleep(Duration::from_millis(1100));
    world.fs.release(reader.fh).unwrap();
    world.fs.release(writer.fh).unwrap();
    assert_eq!(world.walk(then, Stage::Remove).0, set(&["/unread"]));
}
