//! In which directories an inode has names: what the rules for sticky directories go by, as a request names the inode alone.
//! Also what is left to know when a name goes while somebody may be on his way through it.
//!
//! The kernel finds a name, and then asks us for what it names: to read a symlink, to open a file. In between an attacker
//! may have moved the name out of the sticky directory, and the rule would no longer apply. So the departure leaves a trace:
//!
//! - A symlink gets a new node id. The kernel keeps the old one where it has found it already, and whoever comes with that is
//!   judged as one who came by the sticky directory; who looks the name up anew gets the new one.
//! - A file cannot: its pages and locks hang on the kernel's inode. Its departures are counted, and the operation that meets
//!   such a file makes the caller look his path up again.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::entries::FIRST_COOKIE;
use super::inode::{Inode, Meta};
use super::table::Tree;
use crate::policy::verdict::Home;
use crate::types::{Errno, FileType, Ino, NodeId};

/// How many directories are told apart. An inode with names in more counts as one with a name in a sticky directory of
/// somebody else, so that no judgement takes long.
const MAX_DIRECTORIES: usize = 64;

/// How many node ids a symlink may have had that the kernel still knows. One with more is no longer told apart by them.
const MAX_FORMERS: usize = 64;

/// How many entries are looked at for the name of one inode, for a message.
const NAME_BUDGET: usize = 2_000;

/// The directories that hold a name of an inode that is no directory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Places {
    /// None ever had one (O_TMPFILE).
    #[default]
    Nowhere,
    /// None has, and this is what the last one was like when it lost it.
    Gone(Home),
    /// One directory has one.
    One(Ino),
    /// Any number of them.
    Several(Box<Several>),
}

/// Directories with the number of names in each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Several {
    directories: Vec<(Ino, u32)>,
    /// There were more than are told apart.
    overflown: bool,
}

impl Places {
    /// A directory has one more name of it.
    pub(super) fn arrive(&mut self, directory: Ino) {
        match self {
            Places::Nowhere | Places::Gone(_) => *self = Places::One(directory),
            Places::One(first) => {
                let mut several = Several::default();
                several.arrive(*first);
                several.arrive(directory);
                *self = Places::Several(Box::new(several));
            }
            Places::Several(several) => several.arrive(directory),
        }
    }

    /// A directory, which is like `home`, has one name less of it.
    pub(super) fn leave(&mut self, directory: Ino, home: Home) {
        match self {
            Places::Nowhere | Places::Gone(_) => {}
            Places::One(_) => *self = Places::Gone(home),
            Places::Several(several) => {
                several.leave(directory);
                match several.directories[..] {
                    _ if several.overflown => {}
                    [] => *self = Places::Gone(home),
                    [(last, 1)] => *self = Places::One(last),
                    _ => {}
                }
            }
        }
    }

    /// From now on it counts as one with a name in a sticky directory of somebody else.
    fn give_up(&mut self) {
        let directories = self.directories().map(|ino| (ino, 1)).collect();
        *self = Places::Several(Box::new(Several {
            directories,
            overflown: true,
        }));
    }

    fn directories(&self) -> impl Iterator<Item = Ino> {
        let (one, several) = match self {
            Places::One(one) => (Some(*one), None),
            Places::Several(several) => (None, Some(several)),
            _ => (None, None),
        };
        let several = several.into_iter().flat_map(|several| &several.directories);
        one.into_iter().chain(several.map(|(ino, _)| *ino))
    }
}

impl Several {
    fn arrive(&mut self, directory: Ino) {
        if let Some((_, names)) = self.directories.iter_mut().find(|(ino, _)| *ino == directory) {
            *names += 1;
        } else if self.directories.len() < MAX_DIRECTORIES {
            self.directories.push((directory, 1));
        } else {
            self.overflown = true;
        }
    }

    fn leave(&mut self, directory: Ino) {
        if let Some(at) = self.directories.iter().position(|(ino, _)| *ino == directory) {
            let names = &mut self.directories[at].1;
            *names -= 1;
            if *names == 0 {
                self.directories.swap_remove(at);
            }
        }
    }
}

impl Meta {
    /// `directory` has one more name of the inode, whose attributes these are.
    pub(super) fn arrive(&mut self, inode: &Inode, directory: Ino) {
        if !inode.is_directory() {
            self.places.arrive(directory);
        }
    }

    /// What a rule wants to know of it, a directory.
    pub fn home(&self) -> Home {
        Home {
            perm: self.perm,
            uid: self.uid,
        }
    }

    /// Whether the inode, a symlink, had this node id until it left a sticky directory.
    pub fn is_former(&self, node: NodeId) -> bool {
        self.others.contains(node)
    }
}

impl Tree {
    /// A name of the inode has gone from `directory`, which is like `home`. Preconditions: the directory is locked; `meta`
    /// is the inode's.
    pub(super) fn depart(&self, inode: &Arc<Inode>, meta: &mut Meta, directory: Ino, home: Home) {
        if inode.is_directory() {
            return;
        }
        meta.places.leave(directory, home);
        if !home.is_sticky_of_another(meta.uid) {
            return;
        }
        match inode.file_type {
            FileType::Symlink if meta.nlink > 0 => self.renew_node(inode, meta),
            FileType::Symlink => {}
            // So many departures are not made; and if they were, the count must not look as if there was none.
            _ => meta.departures = meta.departures.saturating_add(1),
        }
    }

    /// Gives the inode a node id that nobody has found it by so far.
    fn renew_node(&self, inode: &Arc<Inode>, meta: &mut Meta) {
        let held = inode.lookups.load(Ordering::Relaxed).saturating_sub(meta.others.held());
        if held == 0 {
            return;
        }
        if meta.others.len() == MAX_FORMERS {
            meta.places.give_up();
            return;
        }
        let node = inode.node();
        meta.others.insert(node, held);
        let renewed = NodeId(self.next_ino.fetch_add(1, Ordering::Relaxed));
        inode.node.store(renewed.0, Ordering::Relaxed);
        self.inodes.insert(renewed, Arc::clone(inode));
    }

    /// Whether `test` holds for a directory in which an inode has a name, or for the last one that had one. What is not
    /// known counts as a yes. Preconditions: no attributes are locked by the caller.
    pub fn any_home(&self, places: &Places, test: impl Fn(Home) -> bool) -> bool {
        match places {
            Places::Gone(home) => return test(*home),
            Places::Several(several) if several.overflown => return true,
            _ => {}
        }
        let mut homes = places.directories().map(|directory| {
            let inode = self.inode(NodeId(directory.0)).ok()?;
            let home = inode.meta.lock().home();
            Some(home)
        });
        homes.any(|home| home.is_none_or(&test))
    }

    /// The directories that hold names of an inode, as far as those are told apart.
    pub fn homes_of(&self, inode: &Inode) -> Vec<NodeId> {
        let places = inode.meta.lock().places.clone();
        places.directories().map(|directory| NodeId(directory.0)).collect()
    }

    /// The names of an inode in a directory. Takes long where that holds many others. Errors: ESTALE. Preconditions: nothing is
    /// locked by the caller.
    pub fn names_in(&self, directory: NodeId, node: NodeId) -> Result<Vec<Vec<u8>>, Errno> {
        Ok(names_in(&*self.inode(directory)?, self.inode(node)?.ino))
    }

    /// A path of the inode from the root, for a message: found by a search that is given up where it takes long. Preconditions:
    /// nothing is locked by the caller.
    pub fn path_of(&self, inode: &Inode, places: &Places) -> Option<Vec<u8>> {
        let mut budget = NAME_BUDGET;
        let (mut ino, mut above) = (inode.ino, places.directories().next()?);
        let mut names = Vec::new();
        loop {
            let directory = self.inode(NodeId(above.0)).ok()?;
            names.push(name_in(&directory, ino, &mut budget)?);
            if above == Ino::ROOT {
                break;
            }
            (ino, above) = (above, directory.parent()?);
        }
        let path = names.into_iter().rev().flat_map(|name| [b"/".to_vec(), name]);
        Some(path.flatten().collect())
    }
}

/// The names of an inode in a directory.
fn names_in(directory: &Inode, ino: Ino) -> Vec<Vec<u8>> {
    let Ok(entries) = directory.entries() else {
        return Vec::new();
    };
    let entries = entries.read();
    let all = entries.iter_from(FIRST_COOKIE);
    all.filter(|(_, _, child)| child.ino == ino)
        .map(|(_, name, _)| name.to_vec())
        .collect()
}

/// The name of an inode in a directory. What was made last is looked at first.
fn name_in(directory: &Inode, ino: Ino, budget: &mut usize) -> Option<Vec<u8>> {
    let entries = directory.entries().ok()?.read();
    for (_, name, child) in entries.iter_from(FIRST_COOKIE).rev() {
        *budget = budget.checked_sub(1)?;
        if child.ino == ino {
            return Some(name.to_vec());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const STICKY: Home = Home { perm: 0o1777, uid: 0 };

    #[test]
    fn names_come_and_go() {
        let mut places = Places::default();
        places.arrive(Ino(5));
        assert_eq!(places, Places::One(Ino(5)));
        places.arrive(Ino(6));
        places.arrive(Ino(5));
        assert_eq!(places.directories().collect::<Vec<_>>(), [Ino(5), Ino(6)]);
        places.leave(Ino(5), STICKY);
        assert_eq!(places.directories().count(), 2);
        places.leave(Ino(6), STICKY);
        assert_eq!(places, Places::One(Ino(5)));
        places.leave(Ino(5), STICKY);
        assert_eq!(places, Places::Gone(STICKY));
        places.arrive(Ino(7));
        assert_eq!(places, Places::One(Ino(7)));
    }

    #[test]
    fn two_names_in_one_directory_are_two() {
        let mut places = Places::default();
        places.arrive(Ino(5));
        places.arrive(Ino(5));
        places.leave(Ino(5), STICKY);
        assert_eq!(places, Places::One(Ino(5)));
    }

    #[test]
    fn too_many_to_tell_apart_is_remembered() {
        let mut places = Places::default();
        let many = (10..).take(MAX_DIRECTORIES + 1).map(Ino);
        many.clone().for_each(|ino| places.arrive(ino));
        many.for_each(|ino| places.leave(ino, STICKY));
        assert!(matches!(places, Places::Several(several) if several.overflown));
    }
}
