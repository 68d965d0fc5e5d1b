//! The locks that are held on one file.
//!
//! What an owner holds of one kind is a set of disjoint ranges; no byte is in both of his sets. All ranges of all owners are
//! besides in four indexes (whose owners are processes or open files; reads or writes): at most one owner of each is the
//! caller himself, which is what the indexes can leave out. So the cost of everything grows with the logarithm of the locks
//! on the file, but for what an operation itself removes or reports (semantics 4.4).

use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;

use hashbrown::HashMap;

use super::held::{Access, Kind, Lock, Own, Owner};
use super::index::{Forest, Slot, Tree};
use super::purse::{MAX_OF_USER, Purse};
use super::range::Range;
use super::runs::{Change, Runs};
use crate::types::{Errno, Timestamp};

/// The most locks of one owner on one file.
pub const MAX_OF_OWNER: usize = 1 << 18;
/// The most locks on one file.
pub const MAX_OF_FILE: usize = 1 << 20;

/// An unlock that splits a lock in two goes beyond each limit by at most one part in so many: nobody should be kept from
/// unlocking by locks that others set.
const RESERVE: usize = 8;

/// Memory is given back where less than one part in four is in use, unless it is as little as this (in nodes).
const SMALL: usize = 64;

pub(super) const KINDS: [Kind; 2] = [Kind::Read, Kind::Write];

/// What one owner holds.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) slot: Slot,
    pub(super) purse: Purse,
    /// Since when he has held anything.
    pub(super) since: Timestamp,
    /// How many locks are counted in the purse.
    charged: usize,
    /// Reads, writes.
    pub(super) runs: [Runs; 2],
}

impl Holder {
    pub(super) fn count(&self) -> usize {
        self.runs.iter().map(Runs::len).sum()
    }

    /// Takes note that so many locks come. Errors: ENOLCK where the user has then more than `most`.
    fn charge(&mut self, growth: usize, most: usize) -> Result<(), Errno> {
        if growth > 0 {
            self.purse.take(growth, most)?;
        }
        self.charged += growth;
        Ok(())
    }

    /// Gives back what is charged for locks that are gone.
    fn settle(&mut self) {
        let count = self.count();
        self.purse.give_back(self.charged - count);
        self.charged = count;
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        self.purse.give_back(self.charged);
    }
}

/// One set of ranges of one owner, and the index they are in.
struct Set<'a> {
    runs: &'a mut Runs,
    forest: &'a mut Forest,
    tree: &'a mut Tree,
    slot: Slot,
}

impl Set<'_> {
    fn put(&mut self, run: Range) {
        self.runs.put(run);
        self.forest.insert(self.tree, run, self.slot);
    }

    fn take(&mut self, run: Range) {
        self.runs.take(run);
        self.forest.remove(self.tree, run, self.slot);
    }

    /// Takes bytes out; whether there were any.
    ///
    /// ```text
    /// held    [-----) [--)   [------)
    /// range      [--------------)
    ///         [--)              [---)
    /// ```
    fn carve(&mut self, range: Range) -> bool {
        let mut found = false;
        while let Some(run) = self.runs.first_overlapping(range) {
            found = true;
            self.take(run);
            for rest in run.minus(range).into_iter().flatten() {
                self.put(rest);
            }
        }
        found
    }

    /// Adds bytes: what they touch becomes one range with them.
    fn unite(&mut self, range: Range) {
        let mut whole = range;
        while let Some(run) = self.runs.first_touching(range) {
            if run.contains(range) {
                return;
            }
            self.take(run);
            whole = whole.hull(run);
        }
        self.put(whole);
    }
}

/// Who holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Named {
    pub(super) owner: Owner,
    /// The process that last set a lock for him.
    pub(super) pid: u32,
    /// Whose purse it is.
    pub(super) uid: u32,
}

/// The locks on one file.
#[derive(Debug)]
pub struct Table {
    pub(super) holders: HashMap<Owner, Holder>,
    /// By slot.
    pub(super) names: Vec<Named>,
    /// Slots of nobody.
    vacant: Vec<Slot>,
    forest: Forest,
    /// By [`tree_of`].
    trees: [Tree; 4],
}

impl Default for Table {
    fn default() -> Table {
        Table::new()
    }
}

/// Which index the locks of an owner are in.
fn tree_of(owner: Owner, kind: Kind) -> usize {
    let class = match owner {
        Owner::Process(_) => 0,
        Owner::OpenFile(_) => 2,
    };
    class + kind as usize
}

impl Table {
    /// Nothing is locked.
    pub fn new() -> Table {
        let seed = RandomState::new().hash_one(0_u8);
        Table {
            holders: HashMap::new(),
            names: Vec::new(),
            vacant: Vec::new(),
            forest: Forest::new(seed),
            trees: [Tree::EMPTY; 4],
        }
    }

    /// How many locks are held.
    pub fn len(&self) -> usize {
        self.forest.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All locks, owner by owner.
    pub fn iter(&self) -> impl Iterator<Item = Lock> {
        let holders = self.holders.values();
        holders
            .flat_map(|holder| KINDS.map(|kind| (holder, kind)))
            .flat_map(move |(holder, kind)| {
                let runs = holder.runs[kind as usize].iter();
                runs.map(move |run| self.lock(run, kind, holder.slot))
            })
    }

    /// The lowest lock that stops `own` from a lock or an access of `kind` on `range`.
    pub fn conflict(&self, own: Own, kind: Kind, range: Range) -> Option<Lock> {
        self.searches(own, kind)
            .filter_map(|(tree, kind, except)| {
                let (run, slot) = self.forest.first(tree, range.start(), except)?;
                (run.start() < range.end()).then(|| self.lock(run, kind, slot))
            })
            .min_by_key(|lock| lock.range.start())
    }

    pub(super) fn is_stopped(&self, access: &Access) -> bool {
        self.conflict(access.own, access.kind, access.range).is_some()
    }

    /// Tells of all locks that stop `own` from a lock or an access of `kind` on `range`, until told to stop.
    pub fn conflicts(
        &self,
        own: Own,
        kind: Kind,
        range: Range,
        tell: &mut dyn FnMut(Lock) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        for (tree, kind, except) in self.searches(own, kind) {
            let mut of_slot = |run, slot| tell(self.lock(run, kind, slot));
            self.forest.each(tree, range, except, &mut of_slot)?;
        }
        ControlFlow::Continue(())
    }

    /// Whether a lock of `owner` stops `access`.
    pub fn stops(&self, owner: Owner, access: &Access) -> bool {
        !access.own.has(owner)
            && KINDS
                .into_iter()
                .any(|kind| kind.conflicts(access.kind) && self.has(owner, kind, access.range))
    }

    /// Whether `owner` holds a lock of `kind` on any byte of `range`.
    pub fn has(&self, owner: Owner, kind: Kind, range: Range) -> bool {
        let holder = self.holders.get(&owner);
        holder.is_some_and(|holder| holder.runs[kind as usize].first_overlapping(range).is_some())
    }

    /// The lowest lock of `owner` that has a byte of `range`.
    pub fn first_of(&self, owner: Owner, range: Range) -> Option<Lock> {
        let holder = self.holders.get(&owner)?;
        let first = |kind: Kind| {
            let run = holder.runs[kind as usize].first_overlapping(range)?;
            Some(self.lock(run, kind, holder.slot))
        };
        KINDS
            .into_iter()
            .filter_map(first)
            .min_by_key(|lock| lock.range.start())
    }

    /// Whether `owner` holds anything.
    pub fn holds(&self, owner: Owner) -> bool {
        self.holders.contains_key(&owner)
    }

    /// Whether anybody holds a lock that is not the caller's own (semantics 5.4). `own` is asked about one lock of each owner.
    pub fn is_any_of_another(&self, own: impl Fn(&Lock) -> bool) -> bool {
        self.holders.values().any(|holder| {
            let of_kind = |kind: Kind| holder.runs[kind as usize].hull().map(|it| (it, kind));
            let one = KINDS.into_iter().find_map(of_kind);
            one.is_some_and(|(range, kind)| !own(&self.lock(range, kind, holder.slot)))
        })
    }

    /// Gives `owner` a lock of `kind` on exactly these bytes more: those he has of the other kind change, what touches merges
    /// (fcntl(2)). Whether others hold what conflicts is not looked at. His first lock decides whose purse they count in.
    ///
    /// Errors: ENOLCK beyond [`MAX_OF_OWNER`], [`MAX_OF_FILE`] or [`MAX_OF_USER`]; then nothing has changed.
    pub fn set(&mut self, owner: Owner, pid: u32, purse: &Purse, kind: Kind, range: Range) -> Result<(), Errno> {
        let growth = match self.holders.get(&owner) {
            Some(Holder { runs, .. }) => growth([
                runs[kind.other() as usize].carving(range),
                runs[kind as usize].uniting(range),
            ]),
            None => 1,
        };
        if growth > 0 {
            self.check_room(owner, growth, 1)?;
        }
        match self.holders.get_mut(&owner) {
            Some(holder) => holder.charge(growth, MAX_OF_USER)?,
            None => self.admit(owner, pid, purse, growth)?,
        }
        let Some(holder) = self.holders.get_mut(&owner) else {
            return Ok(());
        };
        self.names[holder.slot.0 as usize].pid = pid;
        for (kind, add) in [(kind.other(), false), (kind, true)] {
            let mut set = Set {
                runs: &mut holder.runs[kind as usize],
                forest: &mut self.forest,
                tree: &mut self.trees[tree_of(owner, kind)],
                slot: holder.slot,
            };
            if add {
                set.unite(range);
            } else {
                set.carve(range);
            }
        }
        holder.settle();
        self.trim();
        Ok(())
    }

    /// Takes from `owner` what he holds of these bytes; whether that was anything.
    ///
    /// Errors: ENOLCK where it splits a lock in two and even the reserve for that is used up; then nothing has changed.
    pub fn unset(&mut self, owner: Owner, range: Range) -> Result<bool, Errno> {
        let Some(holder) = self.holders.get(&owner) else {
            return Ok(false);
        };
        let growth = growth(KINDS.map(|kind| holder.runs[kind as usize].carving(range)));
        if growth > 0 {
            self.check_room(owner, growth, RESERVE)?;
        }
        let Some(holder) = self.holders.get_mut(&owner) else {
            return Ok(false);
        };
        holder.charge(growth, MAX_OF_USER + MAX_OF_USER / RESERVE)?;
        let mut found = false;
        for kind in KINDS {
            found |= Set {
                runs: &mut holder.runs[kind as usize],
                forest: &mut self.forest,
                tree: &mut self.trees[tree_of(owner, kind)],
                slot: holder.slot,
            }
            .carve(range);
        }
        holder.settle();
        if holder.count() == 0 {
            self.dismiss(owner);
        }
        self.trim();
        Ok(found)
    }

    /// Takes from `owner` everything; whether that was anything.
    pub fn release(&mut self, owner: Owner) -> bool {
        self.released(owner).is_some()
    }

    /// As [`Table::release`]: the smallest range that has all he held.
    pub(super) fn released(&mut self, owner: Owner) -> Option<Range> {
        let hull = self.hull(owner)?;
        if self.holders.len() == 1 {
            *self = Table::new();
            return Some(hull);
        }
        let holder = self.holders.get(&owner)?;
        for kind in KINDS {
            let tree = &mut self.trees[tree_of(owner, kind)];
            for run in holder.runs[kind as usize].iter() {
                self.forest.remove(tree, run, holder.slot);
            }
        }
        self.dismiss(owner);
        self.trim();
        Some(hull)
    }

    /// The smallest range that has all that `owner` holds.
    fn hull(&self, owner: Owner) -> Option<Range> {
        let hulls = self.holders.get(&owner)?.runs.iter().filter_map(Runs::hull);
        hulls.reduce(Range::hull)
    }

    /// How many nodes of the indexes were looked at so far.
    #[cfg(test)]
    pub(super) fn visits(&self) -> usize {
        self.forest.visits.load(std::sync::atomic::Ordering::Relaxed)
    }

    /// For how many locks there is memory.
    #[cfg(test)]
    pub(super) fn room(&self) -> usize {
        self.forest.room().max(self.names.len())
    }

    pub(super) fn lock(&self, range: Range, kind: Kind, slot: Slot) -> Lock {
        let Named { owner, pid, .. } = self.names[slot.0 as usize];
        Lock {
            range,
            kind,
            owner,
            pid,
        }
    }

    /// The indexes that have what can stop `own`: each with the kind of its locks, and who is left out.
    fn searches(&self, own: Own, kind: Kind) -> impl Iterator<Item = (Tree, Kind, Slot)> {
        let kinds = KINDS.into_iter().filter(move |it| it.conflicts(kind));
        let classes = [own.process.map(Owner::Process), own.file.map(Owner::OpenFile)];
        kinds
            .flat_map(move |kind| [(kind, 0), (kind, 1)])
            .map(move |(kind, class)| (self.trees[2 * class + kind as usize], kind, classes[class]))
            .filter(|(tree, _, _)| !tree.is_empty())
            .map(|(tree, kind, owner)| {
                let holder = owner.and_then(|owner| self.holders.get(&owner));
                (tree, kind, holder.map_or(Slot::NOBODY, |holder| holder.slot))
            })
    }

    /// Errors: ENOLCK where so many locks more are too many, but for one part in `reserve` (1: no reserve).
    fn check_room(&self, owner: Owner, growth: usize, reserve: usize) -> Result<(), Errno> {
        let most = |limit: usize| if reserve == 1 { limit } else { limit + limit / reserve };
        let own = self.holders.get(&owner).map_or(0, Holder::count);
        if own + growth > most(MAX_OF_OWNER) || self.len() + growth > most(MAX_OF_FILE) {
            return Err(Errno::ENOLCK);
        }
        Ok(())
    }

    /// Makes room for an owner who held nothing. Errors: ENOLCK.
    fn admit(&mut self, owner: Owner, pid: u32, purse: &Purse, growth: usize) -> Result<(), Errno> {
        purse.take(growth, MAX_OF_USER)?;
        let uid = purse.uid();
        let named = Named { owner, pid, uid };
        let slot = self.vacant.pop().unwrap_or_else(|| {
            self.names.push(named);
            Slot(u32::try_from(self.names.len() - 1).unwrap_or(u32::MAX))
        });
        self.names[slot.0 as usize] = named;
        let holder = Holder {
            slot,
            purse: purse.clone(),
            since: Timestamp::recent(),
            charged: growth,
            runs: Default::default(),
        };
        self.holders.insert(owner, holder);
        Ok(())
    }

    /// Forgets an owner who holds nothing.
    fn dismiss(&mut self, owner: Owner) {
        if let Some(holder) = self.holders.remove(&owner) {
            self.vacant.push(holder.slot);
        }
    }

    /// Gives memory back where most of it is unused. Costs no more than the removals that made it so.
    fn trim(&mut self) {
        let sparse = |used: usize, room: usize| room > SMALL && used < room / 4;
        if !sparse(self.forest.len(), self.forest.room()) && !sparse(self.holders.len(), self.names.len()) {
            return;
        }
        let mut holders: Vec<&mut Holder> = self.holders.values_mut().collect();
        holders.sort_unstable_by_key(|holder| holder.slot);
        let mut renamed = vec![Slot::NOBODY; self.names.len()];
        let mut names = Vec::with_capacity(holders.len());
        for (new, holder) in (0..).zip(holders) {
            renamed[holder.slot.0 as usize] = Slot(new);
            names.push(self.names[holder.slot.0 as usize]);
            holder.slot = Slot(new);
        }
        self.forest.compact(&mut self.trees, &|slot| renamed[slot.0 as usize]);
        self.names = names;
        self.vacant = Vec::new();
        self.holders.shrink_to_fit();
    }
}

/// By how many the locks become more; 0 where they become fewer.
fn growth(changes: [Change; 2]) -> usize {
    let goes: usize = changes.iter().map(|it| it.goes).sum();
    let comes: usize = changes.iter().map(|it| it.comes).sum();
    comes.saturating_sub(goes)
}
