//! What a step's changes come to: in the table, and in every kernel whatever it lets run first.

use std::collections::{BTreeMap, BTreeSet};

use super::super::linux::Linux;
use super::super::table::Table;
use super::super::{Change, Claim, Family, Kind, Owner, Verdict, Wait};
use super::{Expected, Outcome, World, minus};
use crate::common::Errno;

/// Kernels in different states that may all be the real one.
const MOST_KERNELS: usize = 12;
/// States that are looked at on the way to the end of a step.
const MOST_COURSES: usize = 300;

/// A kernel in the middle of a step, and what has been seen of it by then.
#[derive(Clone)]
struct Course {
    kernel: Linux,
    /// How many changes of the step are made.
    made: usize,
    /// What waits that were granted have yet to do, each in its order.
    later: Vec<Vec<Change>>,
    seen: Seen,
}

type Seen = (Verdict, BTreeMap<Wait, i32>);

fn number(verdict: Verdict) -> i32 {
    match verdict {
        Verdict::Again => minus(Errno::AGAIN),
        Verdict::Deadlock => minus(Errno::DEADLK),
        Verdict::Done | Verdict::Waits => 0,
    }
}

impl World {
    /// Makes the changes in the table and in every kernel; none if they do not all show the same.
    pub(super) fn settle(&mut self, answer: Expected, changes: &[Change]) -> Option<Outcome> {
        let only_closed = self.only_closed_hinder(changes);
        let (verdict, done) = self.in_table(changes)?;
        if verdict == Verdict::Again && only_closed {
            return None;
        }
        if self.table.has_cycle() {
            return None;
        }
        let seen = (verdict, done.clone());
        let (mut kernels, mut shapes) = (vec![], BTreeSet::new());
        let mut stirred = false;
        for kernel in std::mem::take(&mut self.kernels) {
            stirred |= self.explore(kernel, changes, &seen, &mut |end| {
                if shapes.insert(end.shape()) {
                    kernels.push(end);
                }
            })?;
        }
        if kernels.len() > MOST_KERNELS {
            return None;
        }
        self.kernels = kernels;
        let waits = changes.iter().any(|it| matches!(it, Change::Ask(_, Some(_))));
        let answer = match answer {
            Expected::Result(0) if !waits => Expected::Result(number(verdict)),
            other => other,
        };
        let ended = done
            .iter()
            .map(|(wait, result)| (self.waits[wait].who, self.waits[wait].thread, *result));
        let done = ended.collect();
        Some(Outcome { answer, done, stirred })
    }

    /// Whether all that hinders a request belongs to open files without a descriptor, which only somebody's wait keeps: a server that
    /// has been told of each close(2) may see to it that nobody is refused for what is about to end.
    fn only_closed_hinder(&self, changes: &[Change]) -> bool {
        let is_closed = |it: &Claim| matches!(it.owner, Owner::Open(open) if self.opens[&open].users == 0);
        changes.iter().any(|change| {
            let Change::Ask(claim, None) = change else { return false };
            let mut hindering = self.table.conflicts(claim).peekable();
            claim.kind != Kind::None && hindering.peek().is_some() && hindering.all(is_closed)
        })
    }

    /// What a wait comes to whose descriptor is gone when it ends: all locks of the process on the file go and the call gets
    /// EBADF, and with its last user an open file ends.
    fn afterwards(&self, wait: Wait, verdict: Verdict, done: &BTreeMap<Wait, i32>) -> (i32, Vec<Change>) {
        let it = &self.waits[&wait];
        let mut result = number(verdict);
        let mut changes = vec![];
        let process = matches!(it.claim.owner, Owner::Process(_));
        if verdict == Verdict::Done && process && self.slot(it.who, it.slot) != Some(it.open) {
            result = minus(Errno::BADF);
            changes.push(Change::Ask(
                Claim::nothing(it.claim.file, Family::Record, it.claim.owner),
                None,
            ));
        }
        let ended = |other: &Wait| *other == wait || done.contains_key(other);
        let kept = self
            .waits
            .iter()
            .any(|(other, its)| its.open == it.open && !ended(other));
        if self.opens[&it.open].users == 0 && !kept {
            changes.extend(self.last_close(it.open));
        }
        (result, changes)
    }

    /// What a table comes to by these changes, which give all that they free at once or each for itself. What follows from a grant
    /// follows at once.
    fn change_table(&self, mut table: Table, changes: &[&[Change]]) -> (Table, Seen) {
        let mut seen = (Verdict::Done, BTreeMap::new());
        for together in changes {
            self.change_together(&mut table, together, &mut seen);
            while let Some(wait) = table.serve_one() {
                for change in self.served(wait, &mut seen) {
                    table.change(change);
                }
            }
        }
        (table, seen)
    }

    fn change_together(&self, table: &mut Table, changes: &[Change], seen: &mut Seen) {
        for change in changes {
            let verdict = table.change(*change);
            self.note(*change, verdict, seen);
        }
    }

    fn served(&self, wait: Wait, seen: &mut Seen) -> Vec<Change> {
        let (result, changes) = self.afterwards(wait, Verdict::Done, &seen.1);
        seen.1.insert(wait, result);
        changes
    }

    /// Whether the changes come to the same if what follows from grants follows later, in any order.
    fn comes_to_this_whenever(&self, before: &Table, changes: &[Change], end: &(Table, Seen)) -> bool {
        let mut seen = (Verdict::Done, BTreeMap::new());
        let mut table = before.clone();
        self.change_together(&mut table, changes, &mut seen);
        let (mut open, mut known) = (vec![(table, vec![], seen)], BTreeSet::new());
        while let Some(state) = open.pop() {
            if !known.insert(format!("{state:?}")) {
                continue;
            }
            if known.len() > MOST_COURSES {
                return false;
            }
            let (table, later, seen): (Table, Vec<Change>, Seen) = state;
            for at in 0..later.len() {
                let (mut table, mut later) = (table.clone(), later.clone());
                table.change(later.remove(at));
                open.push((table, later, seen.clone()));
            }
            let over = later.is_empty();
            let (mut table, mut later, mut seen) = (table, later, seen);
            if let Some(wait) = table.serve_one() {
                later.extend(self.served(wait, &mut seen));
                open.push((table, later, seen));
            } else if over && (table, seen) != *end {
                return false;
            }
        }
        true
    }

    /// None where it depends on when and in which order descriptors are closed: a server hears of the last ones when the kernel likes.
    fn in_table(&mut self, changes: &[Change]) -> Option<Seen> {
        let before = std::mem::take(&mut self.table);
        let end = self.change_table(before.clone(), &[changes]);
        if !self.comes_to_this_whenever(&before, changes, &end) {
            return None;
        }
        let frees = |it: &Change| matches!(it, Change::Ask(claim, None) if claim.kind == Kind::None);
        if changes.len() > 1 && before.is_waited_for() && changes.iter().any(frees) {
            // Those who end wait no more.
            let first = changes.iter().take_while(|it| matches!(it, Change::Cancel(_))).count();
            let (cancelled, closed) = changes.split_at(first);
            let mut each: Vec<&[Change]> = closed.chunks(1).collect();
            for _ in 0..each.len().min(10) {
                let backwards: Vec<&[Change]> = each.iter().rev().copied().collect();
                for order in [&each, &backwards] {
                    let order: Vec<&[Change]> = std::iter::once(cancelled).chain(order.iter().copied()).collect();
                    if self.change_table(before.clone(), &order) != end {
                        return None;
                    }
                }
                each.rotate_left(1);
            }
        }
        self.table = end.0;
        Some(end.1)
    }

    /// What is seen of a request.
    fn note(&self, change: Change, verdict: Verdict, seen: &mut Seen) {
        let Change::Ask(claim, wait) = change else { return };
        if claim.kind != Kind::None {
            seen.0 = verdict;
        }
        if let Some(wait) = wait.filter(|_| verdict != Verdict::Waits) {
            seen.1.insert(wait, number(verdict));
        }
    }

    /// Lets a kernel make the changes, with those that it wakes running whenever they may, and hands over every state that it can end
    /// in; none if not all of that looks as it should. Says whether any were woken.
    fn explore(&self, kernel: Linux, changes: &[Change], seen: &Seen, end: &mut dyn FnMut(Linux)) -> Option<bool> {
        let start = Course {
            kernel,
            made: 0,
            later: vec![],
            seen: (Verdict::Done, BTreeMap::new()),
        };
        // Nothing is open where nobody is woken.
        let mut straight = start.clone();
        for change in changes {
            let verdict = straight.kernel.change(*change);
            self.note(*change, verdict, &mut straight.seen);
        }
        if straight.kernel.woken() == 0 {
            let right = straight.seen == *seen && straight.kernel.held() == self.table.held();
            end(straight.kernel);
            return right.then_some(false);
        }
        let mut open = vec![start];
        let mut known = BTreeSet::new();
        let mut woken = false;
        while let Some(course) = open.pop() {
            woken |= course.kernel.woken() > 0;
            let mut over = true;
            for next in self.choices(&course, changes) {
                over = false;
                let key = (
                    next.kernel.shape(),
                    next.made,
                    format!("{:?}{:?}", next.later, next.seen),
                );
                if known.insert(key) {
                    open.push(next);
                }
            }
            if known.len() > MOST_COURSES {
                return None;
            }
            if over {
                if course.seen != *seen || course.kernel.held() != self.table.held() {
                    return None;
                }
                end(course.kernel);
            }
        }
        Some(woken)
    }

    /// All that can happen next.
    fn choices(&self, course: &Course, changes: &[Change]) -> Vec<Course> {
        let mut choices = vec![];
        if let Some(change) = changes.get(course.made) {
            let mut next = course.clone();
            next.made += 1;
            let verdict = next.kernel.change(*change);
            self.note(*change, verdict, &mut next.seen);
            choices.push(next);
        }
        for at in 0..course.later.len() {
            let mut next = course.clone();
            let change = next.later[at].remove(0);
            next.later.retain(|it| !it.is_empty());
            next.kernel.change(change);
            choices.push(next);
        }
        for at in 0..course.kernel.woken() {
            let mut next = course.clone();
            if let Some((wait, verdict)) = next.kernel.run(at) {
                let (result, changes) = self.afterwards(wait, verdict, &next.seen.1);
                next.seen.1.insert(wait, result);
                next.later.extend((!changes.is_empty()).then_some(changes));
            }
            choices.push(next);
        }
        choices
    }
}
