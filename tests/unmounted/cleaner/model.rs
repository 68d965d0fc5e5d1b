//! Random trees against a model of what may go.

use proptest::prelude::*;

use super::*;

/// Something in the tree, and what speaks for it.
#[derive(Clone, Debug)]
struct Thing {
    file_type: FileType,
    sticky: bool,
    touched: bool,
    open: bool,
    excluded: bool,
    known: bool,
    children: Vec<Thing>,
}

fn thing() -> impl Strategy<Value = Thing> {
    let types = prop::sample::select(vec![
        FileType::Regular,
        FileType::Regular,
        FileType::Symlink,
        FileType::Fifo,
        FileType::Socket,
        FileType::CharDevice,
    ]);
    let rare = || prop::bool::weighted(0.15);
    let traits = (rare(), rare(), rare(), rare(), any::<bool>());
    let leaf = (types, traits).prop_map(|(file_type, (sticky, touched, open, excluded, known))| Thing {
        file_type,
        sticky,
        touched,
        open: open && file_type == FileType::Regular,
        excluded,
        known: known || open,
        children: Vec::new(),
    });
    leaf.prop_recursive(4, 40, 6, move |inner| {
        let traits = (rare(), rare(), rare(), rare());
        (traits, prop::collection::vec(inner, 0..6)).prop_map(|((sticky, touched, open, excluded), children)| Thing {
            file_type: FileType::Directory,
            sticky,
            touched,
            open,
            excluded,
            known: true,
            children,
        })
    })
}

impl Thing {
    fn name(&self, number: usize) -> String {
        match self.excluded {
            true => format!("keep{number}"),
            false => format!("{number}"),
        }
    }

    /// The paths that go, and whether it goes itself.
    fn goes(&self, path: &str, gone: &mut BTreeSet<String>) -> bool {
        if self.excluded {
            return false;
        }
        let mut empty = true;
        for (number, child) in self.children.iter().enumerate() {
            empty &= child.goes(&format!("{path}/{}", child.name(number)), gone);
        }
        // A user's sticky directory is like any other, and a symlink is born with 0777.
        let kind_stays = match self.file_type {
            FileType::Directory | FileType::Symlink => false,
            FileType::Socket | FileType::CharDevice => true,
            FileType::Fifo => self.sticky || self.known,
            _ => self.sticky,
        };
        let goes = empty && !kind_stays && !self.touched && !self.open;
        if goes {
            gone.insert(path.to_owned());
        }
        goes
    }

    fn make(&self, world: &World, parent: NodeId, name: &str, used: &mut Vec<(NodeId, bool)>) {
        let perm = 0o755 | if self.sticky { 0o1000 } else { 0 };
        let node = world.make(parent, name, self.file_type, perm);
        for (number, child) in self.children.iter().enumerate() {
            child.make(world, node, &child.name(number), used);
        }
        match (self.open, self.file_type) {
            (true, FileType::Directory) => drop(world.fs.opendir(node, READ).unwrap()),
            (true, _) => drop(world.fs.open(ROOT, node, READ, false).unwrap()),
            _ => {}
        }
        used.push((node, self.touched));
        if !self.known && !self.touched {
            world.fs.forget(node, 1);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]
    #[test]
    fn what_goes_is_what_may_go(things in prop::collection::vec(thing(), 1..8)) {
        let world = World::new(&["**/keep*"], &[]);
        let mut used = Vec::new();
        let mut expected = BTreeSet::new();
        for (number, thing) in things.iter().enumerate() {
            let name = thing.name(number);
            thing.make(&world, NodeId::ROOT, &name, &mut used);
            thing.goes(&format!("/{name}"), &mut expected);
        }
        let then = Timestamp::now();
        for (node, touched) in used {
            if touched {
                world.touch(node).unwrap();
            }
        }
        prop_assert_eq!(&world.walk(then, Stage::Look).0, &expected, "looked");
        prop_assert_eq!(&world.walk(then, Stage::Remove).0, &expected, "removed");
        for path in &expected {
            prop_assert!(!world.exists(path));
        }
        prop_assert_eq!(world.walk(then, Stage::Remove).0, BTreeSet::new(), "again");
    }
}
