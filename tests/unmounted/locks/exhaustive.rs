//! Small worlds: everything that three owners can do to four bytes.

use std::collections::HashSet;
use std::ops::Range as Pieces;

use owltmp::lock::{Kind, Own, Owner, Purse, Purses, Table};
use owltmp::types::{Fh, LockOwner};

use super::bytes::Bytes;

const OFFSETS: usize = 4;

/// Two processes and an open file. The processes are alike, so the second does nothing before the first does.
const OWNERS: [Owner; 3] = [
    Owner::Process(LockOwner(1)),
    Owner::Process(LockOwner(2)),
    Owner::OpenFile(Fh(1)),
];

type Step = (usize, Pieces<usize>, Option<Kind>);

struct World {
    table: Table,
    bytes: Bytes,
    purse: Purse,
    compared: u64,
}

fn whole_steps(ranges: &[Pieces<usize>]) -> Vec<Step> {
    let mut steps = Vec::new();
    for owner in 0..OWNERS.len() {
        for range in ranges {
            for what in [Some(Kind::Read), Some(Kind::Write), None] {
                steps.push((owner, range.clone(), what));
            }
        }
    }
    steps
}

fn all_ranges() -> Vec<Pieces<usize>> {
    let from = |start| (start + 1..=OFFSETS).map(move |end| start..end);
    (0..OFFSETS).flat_map(from).collect()
}

impl World {
    fn new() -> World {
        World {
            table: Table::new(),
            bytes: Bytes::new((0..=OFFSETS as u64).collect(), OWNERS.to_vec()),
            purse: Purses::new().of(1),
            compared: 0,
        }
    }

    fn put(&mut self, (owner, pieces, what): &Step) {
        let range = self.bytes.range(pieces.clone());
        match what {
            Some(kind) => {
                let pid = Bytes::pid(*owner);
                self.table.set(OWNERS[*owner], pid, &self.purse, *kind, range).unwrap();
            }
            None => {
                let had = self.bytes.has(*owner, pieces.clone());
                assert_eq!(self.table.unset(OWNERS[*owner], range), Ok(had));
            }
        }
        self.bytes.set(*owner, pieces.clone(), *what);
    }

    /// Takes a step if nobody is in the way, and compares. Whether it changed anything.
    fn step(&mut self, step: &Step) -> bool {
        let (owner, pieces, what) = step;
        self.compared += 1;
        if let Some(kind) = *what {
            let range = self.bytes.range(pieces.clone());
            let own = OWNERS[*owner].own();
            let stopped = self.table.conflict(own, kind, range).map(|lock| lock.range.start());
            let others = self.bytes.conflicts(own, kind, range);
            assert_eq!(stopped, others.map(|lock| lock.range.start()).min());
            if stopped.is_some() {
                return false;
            }
        }
        let held = self.bytes.held[*owner].clone();
        self.put(step);
        self.bytes.assert_same(&self.table);
        held != self.bytes.held[*owner]
    }

    fn undo(&mut self, owner: usize, pieces: Pieces<usize>, held: &[Option<Kind>]) {
        for piece in pieces {
            self.put(&(owner, piece..piece + 1, held[piece]));
        }
    }

    /// All sequences of so many steps. After one that changed nothing the rest is as without it, and has been seen.
    fn explore(&mut self, steps: &[Step], depth: usize, second: bool) {
        for step in steps {
            let (owner, pieces, _) = step;
            if *owner == 1 && !second {
                continue;
            }
            let held = self.bytes.held[*owner].clone();
            if !self.step(step) {
                continue;
            }
            if depth > 1 {
                self.explore(steps, depth - 1, second || *owner == 0);
            }
            self.undo(*owner, pieces.clone(), &held);
        }
    }

    fn assert_all_answers(&self) {
        let both = Own {
            process: Some(LockOwner(1)),
            file: Some(Fh(1)),
        };
        for own in OWNERS.map(Owner::own).into_iter().chain([both, Own::default()]) {
            for pieces in all_ranges() {
                let range = self.bytes.range(pieces);
                for kind in [Kind::Read, Kind::Write] {
                    self.bytes.assert_answers(&self.table, own, kind, range);
                }
            }
        }
    }
}

#[test]
fn five_steps_on_single_bytes() {
    let bytes: Vec<Pieces<usize>> = (0..OFFSETS).map(|at| at..at + 1).collect();
    let mut world = World::new();
    world.explore(&whole_steps(&bytes), 5, false);
    println!("{} sequences compared", world.compared);
    assert!(world.compared > 1_000_000);
}

#[test]
fn three_steps_on_ranges() {
    let mut world = World::new();
    world.explore(&whole_steps(&all_ranges()), 3, false);
    println!("{} sequences compared", world.compared);
    assert!(world.compared > 100_000);
}

/// Every step from every state that can be reached, and every answer in each of them.
#[test]
fn every_state_of_four_bytes() {
    let steps = whole_steps(&all_ranges());
    let mut world = World::new();
    let mut seen = HashSet::from([world.bytes.held.clone()]);
    let mut open = vec![world.bytes.held.clone()];
    while let Some(state) = open.pop() {
        for (owner, held) in state.iter().enumerate() {
            world.undo(owner, 0..OFFSETS, held);
        }
        world.assert_all_answers();
        for step in &steps {
            let (owner, pieces, _) = step;
            if world.step(step) {
                if seen.insert(world.bytes.held.clone()) {
                    open.push(world.bytes.held.clone());
                }
                world.undo(*owner, pieces.clone(), &state[*owner]);
            }
        }
    }
    println!("{} states, {} steps compared", seen.len(), world.compared);
    // A byte is free, or written by one of three, or read by some of them.
    assert_eq!(seen.len(), (1 + 3 + 7_usize).pow(4));
}
