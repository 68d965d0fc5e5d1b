//! Every caller × directory × object × operation of the sticky rules: semantics 3.2, 3.3, 3.4. What must come of each stands in
//! `sticky_matrix/model.rs`; tmpfs with the kernel's own protections shows that the model is right where the rules coincide.

mod model;

use crate::common::call::Call;
use crate::common::identity::SHARED;
use crate::common::mount::{Setup, tmpfs_plays_owltmp};
use crate::common::{Actor, Dir, Errno, FileType, Kind, Mount, sysctl};

use model::{CALLERS, Caller, Case, DIRECTORY_OWNER, KINDS, MODES, OPERATIONS, OWNERS, Operation, Rules, TARGET_OWNER};

const OPEN: u32 = 0o2;
const WRITE: u32 = 0o1;
const CREATE: u32 = 0o100;
const EXCLUSIVE: u32 = 0o200;
const NOFOLLOW: u32 = 0o400_000;
const AT_SYMLINK_NOFOLLOW: u32 = 0x100;
const AT_SYMLINK_FOLLOW: u32 = 0x400;

/// A mount with every directory and object of the matrix, and its callers, who leave before it goes.
struct World {
    callers: Vec<(Caller, Actor)>,
    mount: Mount,
}

fn object(case: &Case) -> String {
    format!("d{:o}/{:?}-{}", case.mode, case.kind, case.owner.uid)
}

impl World {
    fn new(kind: Kind, options: &str) -> Self {
        let mount = Setup::new(kind, options).mount();
        let dir = mount.dir();
        for name in ["plain", "out"] {
            dir.subdir(name, 0o777);
        }
        dir.file("plain/file", b"text", 0o666);
        dir.chown("plain/file", Some(TARGET_OWNER.uid), None).unwrap();
        fill(&dir.subdir("plain/dir", 0o777));
        for mode in MODES {
            let name = format!("d{mode:o}");
            let place = dir.subdir(&name, 0o700);
            for kind in KINDS {
                for owner in OWNERS {
                    create(&place, kind, &format!("{kind:?}-{}", owner.uid), owner.uid);
                }
            }
            dir.chown(&name, Some(DIRECTORY_OWNER.uid), Some(SHARED)).unwrap();
            dir.chmod(&name, mode).unwrap();
        }
        let start = |&caller: &Caller| match caller {
            Caller::User(who) => (caller, Actor::start(who, mount.mountpoint())),
            Caller::NamespaceRoot(who) => (caller, Actor::start_as_namespace_root(who, mount.mountpoint())),
        };
        let callers = CALLERS.iter().map(start).collect();
        Self { callers, mount }
    }

    /// Everything that came out otherwise than it must by `rules`.
    fn complaints(&mut self, rules: Rules) -> Vec<String> {
        let mut complaints = vec![];
        let mut cases = 0;
        for (caller, actor) in &mut self.callers {
            for (mode, kind) in MODES.iter().flat_map(|mode| KINDS.map(|kind| (*mode, kind))) {
                for (owner, operation) in OWNERS.iter().flat_map(|owner| OPERATIONS.map(|it| (*owner, it))) {
                    let case = Case {
                        mode,
                        kind,
                        owner,
                        caller: *caller,
                        operation,
                    };
                    let expected = case.expected(rules);
                    let found = perform(self.mount.dir(), actor, &case);
                    cases += 1;
                    if found != expected {
                        complaints.push(format!("{case:?}: {found:?}, must be {expected:?}"));
                    }
                }
            }
        }
        assert_eq!(
            cases,
            CALLERS.len() * MODES.len() * KINDS.len() * OWNERS.len() * OPERATIONS.len()
        );
        complaints
    }
}

/// What lies below a directory of the matrix.
fn fill(dir: &Dir) {
    dir.file("inner", b"", 0o666);
    dir.symlink("inner", "inner-link").unwrap();
}

fn create(place: &Dir, kind: model::Kind, name: &str, owner: u32) {
    match kind {
        model::Kind::File => place.file(name, b"text", 0o666),
        model::Kind::Fifo | model::Kind::Socket => {
            let kind = if kind == model::Kind::Fifo {
                FileType::Fifo
            } else {
                FileType::Socket
            };
            place.mknod(name, kind, 0o600, 0).unwrap();
            place.chmod(name, 0o666).unwrap();
        }
        model::Kind::Directory => fill(&place.subdir(name, 0o777)),
        model::Kind::LinkToFile => place.symlink("../plain/file", name).unwrap(),
        model::Kind::LinkToDirectory => place.symlink("../plain/dir", name).unwrap(),
        model::Kind::Dangling => place.symlink("../plain/nothing", name).unwrap(),
    }
    place.chown(name, Some(owner), Some(owner)).unwrap();
}

/// Makes the call, and undoes what it did.
fn perform(dir: &Dir, actor: &mut Actor, case: &Case) -> Option<Errno> {
    let name = dir.path(&object(case)).display().to_string();
    let below = |inner: &str| format!("{name}/{inner}");
    let open = |flags| Call::Open {
        slot: 0,
        name: name.clone(),
        flags,
        mode: 0o600,
    };
    let link = |flags| Call::Link {
        old: name.clone(),
        new: dir.path("out/new").display().to_string(),
        flags,
    };
    let stat = |name, flags| Call::Stat { name, flags };
    let call = match case.operation {
        Operation::OpenRead => open(0),
        Operation::OpenWrite => open(WRITE),
        Operation::OpenCreate => open(CREATE | OPEN),
        Operation::OpenCreateRead => open(CREATE),
        Operation::OpenExclusive => open(CREATE | EXCLUSIVE | OPEN),
        Operation::OpenNoFollow => open(NOFOLLOW),
        Operation::Stat => stat(name.clone(), 0),
        Operation::Chdir => Call::Chdir { name: name.clone() },
        Operation::Below => stat(below("inner"), 0),
        Operation::Lstat => stat(name.clone(), AT_SYMLINK_NOFOLLOW),
        Operation::Readlink => Call::Readlink { name: name.clone() },
        Operation::ReadlinkBelow => Call::Readlink {
            name: below("inner-link"),
        },
        Operation::Link => link(0),
        Operation::LinkFollowed => link(AT_SYMLINK_FOLLOW),
    };
    let errno = actor.call(&call).errno();
    match (errno, &call) {
        (None, Call::Open { .. }) => {
            actor.call(&Call::Close { slot: 0 });
            if case.kind == model::Kind::Dangling {
                dir.unlink("plain/nothing").unwrap();
            }
        }
        (None, Call::Link { .. }) => dir.unlink("out/new").unwrap(),
        _ => {}
    }
    errno
}

fn none(complaints: &[String]) {
    let some: Vec<_> = complaints.iter().take(40).map(String::as_str).collect();
    assert!(
        complaints.is_empty(),
        "{} wrong, such as:\n{}",
        complaints.len(),
        some.join("\n")
    );
}

/// The model of the kernel's rules is the kernel's, and it differs from semantics 3.2, 3.3, 3.4 where the table says so.
#[test]
fn the_oracle_agrees_where_rules_coincide() {
    let oracle = sysctl::as_oracle();
    let mut world = World::new(Kind::Tmpfs, "mode=0777");
    none(&world.complaints(Rules::Kernels));
    drop(oracle);
    let _off = sysctl::off();
    none(&world.complaints(Rules::Nobodys));
}

/// The table of differences is neither too short nor too long.
#[test]
fn the_differences_from_the_oracle_are_listed() {
    let mut reasons = std::collections::BTreeMap::new();
    for (caller, mode) in CALLERS.iter().flat_map(|caller| MODES.map(|mode| (*caller, mode))) {
        for (kind, owner) in KINDS.iter().flat_map(|kind| OWNERS.map(|owner| (*kind, owner))) {
            for operation in OPERATIONS {
                let case = Case {
                    mode,
                    kind,
                    owner,
                    caller,
                    operation,
                };
                let differs = case.expected(Rules::Owltmps) != case.expected(Rules::Kernels);
                assert_eq!(differs, case.difference().is_some(), "{case:?}");
                *reasons.entry(case.difference().unwrap_or("the same")).or_insert(0) += 1;
            }
        }
    }
    println!("{reasons:#?}");
    assert_eq!(reasons.len(), 4);
}

/// semantics 3.2, 3.3, 3.4: the whole matrix, with nothing but owltmp to refuse.
#[test]
fn every_case_comes_out_by_the_rules() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let _off = sysctl::off();
    none(&World::new(Kind::Owltmp, "mode=0777").complaints(Rules::Owltmps));
}

/// semantics 3.2, 3.3, 3.4: turned off, no rule is in anybody's way.
#[test]
fn without_rules_nothing_is_refused() {
    if tmpfs_plays_owltmp() {
        return;
    }
    let _off = sysctl::off();
    let options = "mode=0777,symlinks=off,hardlinks=off,squatting=off";
    none(&World::new(Kind::Owltmp, options).complaints(Rules::Nobodys));
}
