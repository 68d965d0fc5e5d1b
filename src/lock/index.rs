//! Ranges of many owners, to be asked: which is the lowest that ends after here and is not of that owner?
//!
//! Treaps in one arena, ordered by (start, owner). Each node knows how far its subtree reaches, and how far without the owner
//! who reaches furthest: so whoever asks is left out of the answer without walking over what he holds.
//!
//! ```text
//!                [20, 30) A          reaches 90 by B; without B: 30
//!               /          \
//!     [5, 90) B             [40, 50) B
//! ```

use std::ops::ControlFlow;

use super::range::Range;

/// Who holds something in a table: its place there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Slot(pub(super) u32);

impl Slot {
    /// Of nobody.
    pub(super) const NOBODY: Slot = Slot(u32::MAX);
}

/// No node.
const NONE: u32 = u32::MAX;

/// The root of one treap.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree(u32);

impl Tree {
    pub(super) const EMPTY: Tree = Tree(NONE);

    pub(super) fn is_empty(self) -> bool {
        self.0 == NONE
    }
}

#[derive(Clone, Copy, Debug)]
struct Node {
    run: Range,
    /// The greatest end in the subtree,
    reach: u64,
    /// and the greatest of other owners than `furthest`.
    other_reach: u64,
    slot: Slot,
    /// Whose `reach` is.
    furthest: Slot,
    priority: u32,
    left: u32,
    right: u32,
}

impl Node {
    fn key(&self) -> (u64, Slot) {
        (self.run.start(), self.slot)
    }

    /// How far its subtree reaches without `except`.
    fn reach_without(&self, except: Slot) -> u64 {
        if self.furthest == except {
            self.other_reach
        } else {
            self.reach
        }
    }
}

/// The nodes of some treaps.
#[derive(Debug)]
pub(super) struct Forest {
    nodes: Vec<Node>,
    /// The first of the nodes that are not in use; the next one is at its left.
    free: u32,
    len: usize,
    random: u64,
    #[cfg(test)]
    pub(super) visits: std::sync::atomic::AtomicUsize,
}

impl Forest {
    /// An empty one. `seed`: nobody should be able to guess it, lest he make the treaps deep.
    pub(super) fn new(seed: u64) -> Forest {
        Forest {
            nodes: Vec::new(),
            free: NONE,
            len: 0,
            random: seed | 1,
            #[cfg(test)]
            visits: std::sync::atomic::AtomicUsize::new(0),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// How many nodes it has memory for.
    pub(super) fn room(&self) -> usize {
        self.nodes.len()
    }

    pub(super) fn insert(&mut self, tree: &mut Tree, run: Range, slot: Slot) {
        let new = self.allocate(run, slot);
        tree.0 = self.insert_below(tree.0, new);
        self.len += 1;
    }

    /// Takes a range out that is there.
    pub(super) fn remove(&mut self, tree: &mut Tree, run: Range, slot: Slot) {
        tree.0 = self.remove_below(tree.0, (run.start(), slot));
        self.len -= 1;
    }

    /// The lowest range that ends after `beyond` and is not of `except`.
    pub(super) fn first(&self, tree: Tree, beyond: u64, except: Slot) -> Option<(Range, Slot)> {
        let mut at = self.get(tree.0)?;
        while at.reach_without(except) > beyond {
            let left = self.get(at.left);
            match left.filter(|left| left.reach_without(except) > beyond) {
                Some(left) => at = left,
                None if at.slot != except && at.run.end() > beyond => return Some((at.run, at.slot)),
                // It is neither here nor to the left, and it is in this subtree.
                None => at = self.get(at.right)?,
            }
        }
        None
    }

    /// Tells of every range that overlaps `over` and is not of `except`, lowest first.
    pub(super) fn each(
        &self,
        tree: Tree,
        over: Range,
        except: Slot,
        tell: &mut dyn FnMut(Range, Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        self.each_below(tree.0, over, except, tell)
    }

    fn each_below(
        &self,
        at: u32,
        over: Range,
        except: Slot,
        tell: &mut dyn FnMut(Range, Slot) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let Some(node) = self.get(at) else {
            return ControlFlow::Continue(());
        };
        if node.reach_without(except) <= over.start() {
            return ControlFlow::Continue(());
        }
        self.each_below(node.left, over, except, tell)?;
        if node.run.start() >= over.end() {
            return ControlFlow::Continue(());
        }
        if node.slot != except && node.run.overlaps(over) {
            tell(node.run, node.slot)?;
        }
        self.each_below(node.right, over, except, tell)
    }

    /// Gives back the memory of nodes that are not in use. `renamed` gives each owner's new place; it keeps their order.
    pub(super) fn compact(&mut self, trees: &mut [Tree], renamed: &dyn Fn(Slot) -> Slot) {
        let mut packed = Vec::with_capacity(self.len);
        for tree in trees {
            tree.0 = self.copy_below(tree.0, renamed, &mut packed);
        }
        self.nodes = packed;
        self.free = NONE;
    }

    fn copy_below(&self, at: u32, renamed: &dyn Fn(Slot) -> Slot, packed: &mut Vec<Node>) -> u32 {
        let Some(node) = self.get(at) else { return NONE };
        let left = self.copy_below(node.left, renamed, packed);
        let right = self.copy_below(node.right, renamed, packed);
        packed.push(Node {
            slot: renamed(node.slot),
            furthest: renamed(node.furthest),
            left,
            right,
            ..*node
        });
        place(packed.len() - 1)
    }

    fn get(&self, at: u32) -> Option<&Node> {
        #[cfg(test)]
        self.visits.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        // NONE is beyond the end.
        self.nodes.get(at as usize)
    }

    /// Preconditions: `at` is a node.
    fn node(&mut self, at: u32) -> &mut Node {
        &mut self.nodes[at as usize]
    }

    fn allocate(&mut self, run: Range, slot: Slot) -> u32 {
        let node = Node {
            run,
            reach: run.end(),
            other_reach: 0,
            slot,
            furthest: slot,
            priority: self.draw(),
            left: NONE,
            right: NONE,
        };
        let at = self.free;
        match self.nodes.get_mut(at as usize) {
            Some(free) => {
                self.free = free.left;
                *free = node;
                at
            }
            None => {
                self.nodes.push(node);
                place(self.nodes.len() - 1)
            }
        }
    }

    /// Xorshift64*, the upper half.
    fn draw(&mut self) -> u32 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let [.., a, b, c, d] = self.random.wrapping_mul(0x2545_f491_4f6c_dd1d).to_le_bytes();
        u32::from_le_bytes([a, b, c, d])
    }

    /// Computes anew how far a subtree reaches whose children are right.
    fn renew(&mut self, at: u32) {
        let node = *self.node(at);
        let (mut reach, mut other, mut furthest) = (node.run.end(), 0, node.slot);
        for child in [node.left, node.right] {
            let Some(child) = self.nodes.get(child as usize) else {
                continue;
            };
            if child.furthest == furthest {
                other = other.max(child.other_reach);
                reach = reach.max(child.reach);
            } else if child.reach > reach {
                other = reach.max(child.other_reach);
                (reach, furthest) = (child.reach, child.furthest);
            } else {
                other = other.max(child.reach);
            }
        }
        let node = self.node(at);
        (node.reach, node.other_reach, node.furthest) = (reach, other, furthest);
    }

    fn insert_below(&mut self, at: u32, new: u32) -> u32 {
        let (key, priority) = (self.node(new).key(), self.node(new).priority);
        let Some(node) = self.nodes.get(at as usize).copied() else {
            return new;
        };
        if priority > node.priority {
            let (left, right) = self.split(at, key);
            self.node(new).left = left;
            self.node(new).right = right;
            self.renew(new);
            return new;
        }
        if key < node.key() {
            let left = self.insert_below(node.left, new);
            self.node(at).left = left;
        } else {
            let right = self.insert_below(node.right, new);
            self.node(at).right = right;
        }
        self.renew(at);
        at
    }

    fn remove_below(&mut self, at: u32, key: (u64, Slot)) -> u32 {
        let Some(node) = self.nodes.get(at as usize).copied() else {
            debug_assert!(false, "{key:?} is not there");
            return NONE;
        };
        if key == node.key() {
            self.node(at).left = self.free;
            self.free = at;
            return self.join(node.left, node.right);
        }
        if key < node.key() {
            let left = self.remove_below(node.left, key);
            self.node(at).left = left;
        } else {
            let right = self.remove_below(node.right, key);
            self.node(at).right = right;
        }
        self.renew(at);
        at
    }

    /// What comes before `key`, and the rest.
    fn split(&mut self, at: u32, key: (u64, Slot)) -> (u32, u32) {
        let Some(node) = self.nodes.get(at as usize).copied() else {
            return (NONE, NONE);
        };
        if node.key() < key {
            let (before, after) = self.split(node.right, key);
            self.node(at).right = before;
            self.renew(at);
            (at, after)
        } else {
            let (before, after) = self.split(node.left, key);
            self.node(at).left = after;
            self.renew(at);
            (before, at)
        }
    }

    /// One subtree of two, the first of which comes before the second.
    fn join(&mut self, before: u32, after: u32) -> u32 {
        let (Some(one), Some(two)) = (self.nodes.get(before as usize), self.nodes.get(after as usize)) else {
            return if before == NONE { after } else { before };
        };
        if one.priority > two.priority {
            let right = self.join(one.right, after);
            self.node(before).right = right;
            self.renew(before);
            before
        } else {
            let left = self.join(before, two.left);
            self.node(after).left = left;
            self.renew(after);
            after
        }
    }
}

/// Tables are bounded far below where this would matter.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(NONE)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::Ordering;

    use super::*;

    /// What is in a tree, in order, after checking the order, the heap and how far each subtree is said to reach.
    fn content(forest: &Forest, at: u32, most: u32, into: &mut Vec<(Range, Slot)>) {
        let Some(node) = forest.nodes.get(at as usize) else {
            return;
        };
        assert!(node.priority <= most);
        let begin = into.len();
        content(forest, node.left, node.priority, into);
        into.push((node.run, node.slot));
        content(forest, node.right, node.priority, into);
        let below = &into[begin..];
        assert!(below.is_sorted_by_key(|(run, slot)| (run.start(), *slot)));
        let reach = |except: Slot| {
            let others = below.iter().filter(|(_, slot)| *slot != except);
            others.map(|(run, _)| run.end()).max().unwrap_or(0)
        };
        assert_eq!(node.reach, reach(Slot::NOBODY));
        assert_eq!(node.other_reach, reach(node.furthest));
        assert!(
            below
                .iter()
                .any(|(run, slot)| (run.end(), *slot) == (node.reach, node.furthest))
        );
    }

    fn compare(forest: &Forest, tree: Tree, model: &[(Range, Slot)], draw: &mut impl FnMut(u64) -> u64) {
        let mut found = Vec::new();
        content(forest, tree.0, u32::MAX, &mut found);
        assert_eq!(found, model);
        for except in (0..5).map(Slot).chain([Slot::NOBODY]) {
            let start = draw(110);
            let over = Range::new(start, start + 1 + draw(20)).unwrap();
            let others = || model.iter().copied().filter(|(_, slot)| *slot != except);
            let first = others().find(|(run, _)| run.end() > start);
            assert_eq!(forest.first(tree, start, except), first);
            let mut each = Vec::new();
            let end = forest.each(tree, over, except, &mut |run, slot| {
                each.push((run, slot));
                ControlFlow::Continue(())
            });
            assert!(end.is_continue());
            assert!(each.into_iter().eq(others().filter(|(run, _)| run.overlaps(over))));
        }
    }

    #[test]
    fn it_answers_as_a_sorted_list_would() {
        for seed in 1..200 {
            let mut forest = Forest::new(seed);
            let mut random = Forest::new(seed + 1000);
            let mut draw = |limit: u64| u64::from(random.draw()) % limit;
            let mut trees = [Tree::EMPTY; 2];
            let mut models: [Vec<(Range, Slot)>; 2] = Default::default();
            for _ in 0..100 {
                let which = usize::try_from(draw(2)).unwrap();
                let (tree, model) = (&mut trees[which], &mut models[which]);
                let start = draw(100);
                let slot = Slot(u32::try_from(draw(5)).unwrap());
                let run = Range::new(start, start + 1 + draw(30)).unwrap();
                match model.binary_search_by_key(&(start, slot), |(run, slot)| (run.start(), *slot)) {
                    Ok(at) => {
                        let (run, _) = model.remove(at);
                        forest.remove(tree, run, slot);
                    }
                    Err(at) => {
                        model.insert(at, (run, slot));
                        forest.insert(tree, run, slot);
                    }
                }
                compare(&forest, *tree, model, &mut draw);
                if draw(20) == 0 {
                    forest.compact(&mut trees, &|slot| slot);
                    assert_eq!(forest.room(), forest.len());
                }
            }
            for (tree, model) in trees.into_iter().zip(&models) {
                compare(&forest, tree, model, &mut draw);
            }
        }
    }

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 56);
    }

    #[test]
    fn a_question_visits_few_nodes() {
        let mut forest = Forest::new(7);
        let mut tree = Tree::EMPTY;
        for at in 0..100_000 {
            let run = Range::new(3 * at, 3 * at + 1).unwrap();
            forest.insert(&mut tree, run, Slot(0));
        }
        forest.insert(&mut tree, Range::new(299_990, 299_991).unwrap(), Slot(1));
        let visits = |beyond, except| {
            let before = forest.visits.load(Ordering::Relaxed);
            let found = forest.first(tree, beyond, except);
            let visits = forest.visits.load(Ordering::Relaxed) - before;
            assert!(visits < 200, "{visits}");
            found.map(|(run, _)| run.start())
        };
        assert_eq!(visits(0, Slot(0)), Some(299_990));
        assert_eq!(visits(299_991, Slot(0)), None);
        assert_eq!(visits(150_000, Slot(1)), Some(150_000));
    }
}
