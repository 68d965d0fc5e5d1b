//! The same random calls, by the same users in as many processes, on tmpfs and on owltmp: every result, errno and byte read
//! is compared, and regularly the whole tree. `OWLTMP_DIFF_SEED` repeats a run, `OWLTMP_DIFF_STEPS` lengthens it.
//!
//! What is kept out of the calls, because owltmp promises something else than tmpfs there (docs/semantics.md, "differential"):
//! - marked files (S_ISGID without S_IXGRP): semantics 5.8, so their mark is taken away at once;
//! - hard links to the files of others: semantics 3.3;
//! - sticky directories: semantics 3.2 and 3.4;
//! - FALLOC_FL_ZERO_RANGE: the kernel ends set-id bits before it asks whether FUSE has it (posix_data has its errno).
//!
//! And out of the comparison: times after writes through mappings, which reach a server when the kernel likes, and atime, for
//! relatime depends on what was read within the same tick of the clock (posix_attr tests it).

mod generate;

use rustix::fs::{AtFlags, OFlags};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::common::call::{Answer, Attr, Call, Times, Wire};
use crate::common::identity::{ALICE, BOB, CAROL, Identity, ROOT};
use crate::common::mount::Setup;
use crate::common::rng::Rng;
use crate::common::{Actor, Errno, Kind, Mount, env_number};

const USERS: [Identity; 5] = [ROOT, ALICE, BOB, CAROL, ROOT];
const NOFOLLOW: u32 = AtFlags::SYMLINK_NOFOLLOW.bits();
/// The observer's own slot.
const OWN: u8 = 0;

/// One filesystem and those who act in it. Dropped in this order: actors let go of the mount.
struct Side {
    actors: Vec<Actor>,
    observer: Actor,
    _mount: Mount,
}

impl Side {
    fn new(kind: Kind) -> Self {
        let mut setup = Setup::new(kind, "mode=0777,size=1g");
        setup.limit = Duration::from_secs(60 + env_number("OWLTMP_DIFF_STEPS", 0) / 100);
        let mut mount = setup.mount();
        let root = mount.mountpoint().to_owned();
        mount.close_root();
        let actors = USERS.iter().map(|&who| Actor::start(who, &root)).collect();
        Self {
            actors,
            observer: Actor::start(ROOT, &root),
            _mount: mount,
        }
    }

    fn attr(&mut self, name: &str) -> Option<Attr> {
        attr(&self.observer.call(&Call::Stat {
            name: name.to_owned(),
            flags: NOFOLLOW,
        }))
    }
}

fn attr(answer: &Answer) -> Option<Attr> {
    (answer.value == 0).then(|| Attr::take(&mut &answer.data[..]))
}

/// Both sides, and what happened to them.
struct World {
    sides: [Side; 2],
    rng: Rng,
    recent: VecDeque<String>,
    seed: u64,
    step: u64,
    counts: HashMap<String, (u64, u64)>,
}

/// What is compared of attributes; inode numbers and times have their own rules.
fn comparable(mut attr: Attr) -> Attr {
    attr.ino = 0;
    attr.times = Times {
        atime: 0,
        mtime: 0,
        ctime: 0,
    };
    attr
}

fn same(call: &Call, a: &Answer, b: &Answer) -> bool {
    match (call, attr_of(call, a), attr_of(call, b)) {
        (_, Some(a), Some(b)) => comparable(a) == comparable(b),
        _ => a == b,
    }
}

fn attr_of(call: &Call, answer: &Answer) -> Option<Attr> {
    matches!(call, Call::Stat { .. } | Call::Fstat { .. })
        .then(|| attr(answer))
        .flatten()
}

fn kind_of(call: &Call) -> String {
    let text = format!("{call:?}");
    text.split(' ').next().unwrap().to_owned()
}

fn short(call: &Call) -> String {
    let text = format!("{call:?}");
    if text.len() > 220 {
        format!("{}... ({} characters)", &text[..200], text.len())
    } else {
        text
    }
}

fn which_changed(before: Times, after: Times) -> String {
    let pairs = [('m', before.mtime, after.mtime), ('c', before.ctime, after.ctime)];
    pairs
        .iter()
        .filter(|(_, b, a)| a != b)
        .map(|(letter, ..)| *letter)
        .collect()
}

impl World {
    fn new(seed: u64) -> Self {
        let sides = [Side::new(Kind::Tmpfs), Side::new(Kind::Owltmp)];
        Self {
            sides,
            rng: Rng(seed),
            recent: VecDeque::new(),
            seed,
            step: 0,
            counts: HashMap::new(),
        }
    }

    fn fail(&self, what: &str, answers: &str) -> ! {
        let recent: Vec<&str> = self.recent.iter().map(String::as_str).collect();
        let (seed, step) = (self.seed, self.step);
        panic!(
            "tmpfs and owltmp differ at step {step} of OWLTMP_DIFF_SEED={seed}: {what}\n{answers}\nthe last calls:\n{}",
            recent.join("\n")
        );
    }

    /// Lets the same actor of both sides make the call, and compares the answers.
    fn both(&mut self, who: usize, call: &Call) -> Answer {
        for side in &mut self.sides {
            side.actors[who].send(call);
        }
        let [a, b] = self.sides.each_mut().map(|side| side.actors[who].answer());
        self.judge(&format!("{:?}", USERS[who].uid), call, a, b)
    }

    /// The same for the observer, root.
    fn observe(&mut self, call: &Call) -> Answer {
        for side in &mut self.sides {
            side.observer.send(call);
        }
        let [a, b] = self.sides.each_mut().map(|side| side.observer.answer());
        if same(call, &a, &b) {
            return a;
        }
        self.fail(&format!("observer: {}", short(call)), &self.show(call, &a, &b))
    }

    fn show(&self, call: &Call, a: &Answer, b: &Answer) -> String {
        match (attr_of(call, a), attr_of(call, b)) {
            (Some(a), Some(b)) => format!("tmpfs:  {a:?}\nowltmp: {b:?}"),
            _ => {
                let at = a.data.iter().zip(&b.data).position(|(x, y)| x != y);
                format!("tmpfs:  {a:?}\nowltmp: {b:?}\nfirst differing byte: {at:?}")
            }
        }
    }

    fn judge(&mut self, who: &str, call: &Call, a: Answer, b: Answer) -> Answer {
        let line = format!("  {}: {who}: {} -> {a:?}", self.step, short(call));
        if self.recent.len() == 40 {
            self.recent.pop_front();
        }
        self.recent.push_back(line);
        if !same(call, &a, &b) {
            self.fail(&format!("{who}: {}", short(call)), &self.show(call, &a, &b));
        }
        a
    }

    /// False for a call that owltmp refuses by a rule of its own (see the head of this file).
    fn allowed(&mut self, who: usize, call: &Call) -> bool {
        let uid = USERS[who].uid;
        let owner = match call {
            Call::Link { old, flags, .. } => {
                let follow = if *flags == 0 { NOFOLLOW } else { 0 };
                attr(&self.sides[0].observer.call(&Call::Stat {
                    name: old.clone(),
                    flags: follow,
                }))
            }
            Call::LinkFd { slot, .. } => attr(&self.sides[0].actors[who].call(&Call::Fstat { slot: *slot })),
            _ => None,
        };
        uid == 0 || owner.is_none_or(|attr| attr.uid == uid)
    }

    fn times(&mut self, who: usize, call: &Call) -> [Vec<Option<Attr>>; 2] {
        let names = generate::touched(call);
        let slot = generate::used_slot(call);
        self.sides.each_mut().map(|side| {
            let mut attrs: Vec<Option<Attr>> = names.iter().map(|name| side.attr(name)).collect();
            attrs.extend(slot.map(|slot| attr(&side.actors[who].call(&Call::Fstat { slot }))));
            attrs
        })
    }

    /// Makes the call and compares which times of what it touches have changed.
    fn both_with_times(&mut self, who: usize, call: &Call) {
        let before = self.times(who, call);
        std::thread::sleep(Duration::from_millis(9));
        let answer = self.both(who, call);
        let after = self.times(who, call);
        let changes: [Vec<String>; 2] = std::array::from_fn(|side| {
            let pairs = before[side].iter().zip(&after[side]);
            let change = |(before, after): (&Option<Attr>, &Option<Attr>)| match (before, after) {
                (Some(before), Some(after)) if before.ino == after.ino => which_changed(before.times, after.times),
                (None, None) => "none".to_owned(),
                _ => "another".to_owned(),
            };
            pairs.map(change).collect()
        });
        if changes[0] != changes[1] {
            let names = generate::touched(call);
            let text = format!(
                "tmpfs:  {:?}\nowltmp: {:?}\nof {names:?} (and the open file)",
                changes[0], changes[1]
            );
            self.fail(&format!("changed times: {} -> {answer:?}", short(call)), &text);
        }
    }

    /// Takes the mandatory mark from what the call touched.
    fn clear_marks(&mut self, call: &Call) {
        for name in generate::touched(call) {
            let Some(attr) = self.sides[0].attr(&name) else {
                continue;
            };
            if attr.mode & 0o172_010 == 0o102_000 {
                self.observe(&Call::Chmod { name, mode: 0o755 });
            }
        }
    }

    fn step(&mut self) {
        let who = self.rng.below(USERS.len() as u64) as usize;
        let call = generate::call(&mut self.rng);
        if !self.allowed(who, &call) {
            return;
        }
        if self.rng.one_in(80) && !matches!(call, Call::MapWrite { .. }) {
            self.both_with_times(who, &call);
        } else {
            let answer = self.both(who, &call);
            let count = self.counts.entry(kind_of(&call)).or_default();
            if answer.value < 0 { count.1 += 1 } else { count.0 += 1 }
        }
        if matches!(
            call,
            Call::Chmod { .. } | Call::Setxattr { .. } | Call::Open { .. } | Call::Mknod { .. }
        ) {
            self.clear_marks(&call);
        }
    }

    /// Root puts some directories and files back, so that most calls find something.
    fn tend(&mut self) {
        for name in ["d", "e", "d/d", "d/e"] {
            let (name, mode) = (name.to_owned(), 0o777);
            if self.rng.one_in(4) {
                self.observe(&Call::Unlink { name: name.clone() });
            }
            self.observe(&Call::Mkdir {
                name: name.clone(),
                mode,
            });
            self.observe(&Call::Chmod { name, mode });
        }
        for name in ["a", "b", "d/a", "e/c", "d/e/b"] {
            let (name, mode) = (name.to_owned(), 0o666);
            let flags = (OFlags::CREATE | OFlags::WRONLY | OFlags::NOFOLLOW).bits();
            self.observe(&Call::Open {
                slot: OWN,
                name: name.clone(),
                flags,
                mode,
            });
            self.observe(&Call::Chmod { name, mode });
        }
    }

    /// Compares everything there is.
    fn compare_trees(&mut self) {
        let mut folders = vec![".".to_owned()];
        let mut numbers = HashMap::new();
        while let Some(folder) = folders.pop() {
            let flags = OFlags::DIRECTORY.bits();
            self.observe(&Call::Open {
                slot: OWN,
                name: folder.clone(),
                flags,
                mode: 0,
            });
            let listing = String::from_utf8(self.observe(&Call::ReadDir { slot: OWN }).data).unwrap();
            for line in listing.lines() {
                let name = line.rsplit_once(' ').unwrap().0;
                if name == "." || name == ".." {
                    continue;
                }
                let path = format!("{folder}/{name}");
                self.compare_node(&path, &mut numbers, &mut folders);
            }
        }
        self.observe(&Call::Close { slot: OWN });
    }

    fn compare_node(&mut self, path: &str, numbers: &mut HashMap<u64, u64>, folders: &mut Vec<String>) {
        let call = Call::Stat {
            name: path.to_owned(),
            flags: NOFOLLOW,
        };
        self.observe(&call);
        let [a, b] = self.sides.each_mut().map(|side| side.attr(path).expect("it was there"));
        if *numbers.entry(a.ino).or_insert(b.ino) != b.ino {
            self.fail(&format!("{path} is the same file as another on one side only"), "");
        }
        let names = self.observe(&Call::Listxattr { name: path.to_owned() });
        for key in String::from_utf8(names.data).unwrap().lines() {
            self.observe(&Call::Getxattr {
                name: path.to_owned(),
                key: key.to_owned(),
            });
        }
        match a.mode & 0o170_000 {
            0o040_000 => folders.push(path.to_owned()),
            0o120_000 => drop(self.observe(&Call::Readlink { name: path.to_owned() })),
            0o100_000 => {
                let flags = OFlags::NOATIME.bits();
                self.observe(&Call::Open {
                    slot: OWN + 1,
                    name: path.to_owned(),
                    flags,
                    mode: 0,
                });
                for offset in (0..a.size.cast_unsigned().min(1 << 20)).step_by(1 << 17) {
                    self.observe(&Call::Pread {
                        slot: OWN + 1,
                        len: 1 << 17,
                        offset,
                    });
                }
                self.observe(&Call::Close { slot: OWN + 1 });
            }
            _ => {}
        }
    }
}

/// By semantics 1.1: whatever works on tmpfs works the same on owltmp.
#[test]
fn random_calls() {
    let seed = env_number("OWLTMP_DIFF_SEED", 11_886_785);
    let steps = env_number("OWLTMP_DIFF_STEPS", 20_000);
    println!("OWLTMP_DIFF_SEED={seed} OWLTMP_DIFF_STEPS={steps}");
    let mut world = World::new(seed);
    for step in 0..steps {
        world.step = step;
        if step % 25 == 0 {
            world.tend();
        }
        world.step();
        if step % 500 == 499 {
            world.compare_trees();
        }
    }
    world.compare_trees();
    let mut counts: Vec<_> = world.counts.iter().collect();
    counts.sort();
    println!("call: successes, errors");
    for (call, (good, bad)) in counts {
        println!("{call:12} {good:6} {bad:6}");
        let rare = matches!(call.as_str(), "Removexattr" | "Mknod" | "LinkFd" | "Readlink");
        assert!(
            *good > 0 || steps < 10_000 || rare,
            "{call} never succeeds: the generator is at fault"
        );
    }
}

/// The comparison itself: a difference is found and told.
#[test]
fn differences_are_found() {
    let mut world = World::new(1);
    world.sides[1].observer.call(&Call::Mkdir {
        name: "only-here".to_owned(),
        mode: 0o755,
    });
    let found = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.compare_trees()));
    assert!(
        found
            .unwrap_err()
            .downcast_ref::<String>()
            .unwrap()
            .contains("only-here")
    );
    let errno = world.sides[0]
        .observer
        .call(&Call::Rmdir {
            name: "only-here".to_owned(),
        })
        .errno();
    assert_eq!(errno, Some(Errno::NOENT));
}
