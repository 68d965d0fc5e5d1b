//! Locks as semantics 4 has them: a table of what is held and a queue of who waits, in order of arrival.

use std::collections::{BTreeMap, BTreeSet};

use super::{Change, Claim, Family, Kind, Owner, Verdict, Wait};

/// The locks held and the requests that wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table {
    held: Vec<Claim>,
    waiting: Vec<(Wait, Claim)>,
}

impl Table {
    /// All locks held, sorted.
    pub fn held(&self) -> &[Claim] {
        &self.held
    }

    /// Whether anybody waits.
    pub fn is_waited_for(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Makes a change, without a look at those who wait.
    pub fn change(&mut self, change: Change) -> Verdict {
        match change {
            Change::Cancel(wait) => {
                self.waiting.retain(|(it, _)| *it != wait);
                Verdict::Done
            }
            Change::Ask(claim, wait) => self.ask(claim, wait),
        }
    }

    fn ask(&mut self, claim: Claim, wait: Option<Wait>) -> Verdict {
        // flock(2) gives up what it has before it asks for another kind.
        if claim.family == Family::Whole && !self.held.contains(&claim) {
            self.set(Claim {
                kind: Kind::None,
                ..claim
            });
        }
        if claim.kind == Kind::None || !self.hindered(&claim) {
            self.set(claim);
            return Verdict::Done;
        }
        let Some(wait) = wait else { return Verdict::Again };
        if claim.family == Family::Record && self.closes_cycle(&claim) {
            return Verdict::Deadlock;
        }
        self.waiting.push((wait, claim));
        Verdict::Waits
    }

    /// Grants what the first can be granted of those who wait, in order of arrival; which wait that was.
    pub fn serve_one(&mut self) -> Option<Wait> {
        let at = self.waiting.iter().position(|(_, claim)| !self.hindered(claim))?;
        let (wait, claim) = self.waiting.remove(at);
        self.ask(claim, None);
        Some(wait)
    }

    fn hindered(&self, claim: &Claim) -> bool {
        self.held.iter().any(|it| it.conflicts(claim))
    }

    /// What hinders a request, or what it asks about: with `Kind::None`, the owner's own locks.
    pub fn conflicts<'a>(&'a self, claim: &'a Claim) -> impl Iterator<Item = &'a Claim> {
        self.held.iter().filter(|it| match claim.kind {
            Kind::None => it.same_list(claim) && it.owner == claim.owner && it.overlaps(claim),
            _ => it.conflicts(claim),
        })
    }

    /// Puts the claim in place of whatever its owner has in its range; neighbours of one kind become one lock.
    fn set(&mut self, claim: Claim) {
        let mut own = vec![];
        self.held.retain(|it| {
            let mine = it.same_list(&claim) && it.owner == claim.owner;
            if mine {
                own.push(*it);
            }
            !mine
        });
        let mut new = vec![];
        for it in own {
            if it.start < claim.start {
                let end = it.end.min(claim.start - 1);
                new.push(Claim { end, ..it });
            }
            if it.end > claim.end {
                let start = it.start.max(claim.end + 1);
                new.push(Claim { start, ..it });
            }
        }
        if claim.kind != Kind::None {
            new.push(claim);
        }
        new.sort_by_key(|it| it.start);
        let mut merged: Vec<Claim> = vec![];
        for it in new {
            match merged.last_mut() {
                Some(last) if last.kind == it.kind && last.end == it.start - 1 => last.end = it.end,
                _ => merged.push(it),
            }
        }
        self.held.extend(merged);
        self.held.sort();
    }

    /// Who waits for whom, of processes: OFD locks take no part.
    fn edges(&self) -> BTreeMap<Owner, BTreeSet<Owner>> {
        let mut edges: BTreeMap<Owner, BTreeSet<Owner>> = BTreeMap::new();
        for (_, claim) in &self.waiting {
            let process = |owner: &Owner| matches!(owner, Owner::Process(_));
            if process(&claim.owner) {
                let holders = self.conflicts(claim).map(|it| it.owner).filter(process);
                edges.entry(claim.owner).or_default().extend(holders);
            }
        }
        edges
    }

    fn closes_cycle(&self, claim: &Claim) -> bool {
        if matches!(claim.owner, Owner::Open(_)) {
            return false;
        }
        let edges = self.edges();
        let mut open: Vec<Owner> = self.conflicts(claim).map(|it| it.owner).collect();
        open.retain(|it| matches!(it, Owner::Process(_)));
        reaches(&edges, open, claim.owner)
    }

    /// Whether some who wait do so for each other in a circle, which a grant can bring about though no wait may.
    pub fn has_cycle(&self) -> bool {
        let edges = self.edges();
        edges
            .iter()
            .any(|(owner, to)| reaches(&edges, to.iter().copied().collect(), *owner))
    }
}

fn reaches(edges: &BTreeMap<Owner, BTreeSet<Owner>>, mut open: Vec<Owner>, goal: Owner) -> bool {
    let mut seen = BTreeSet::new();
    while let Some(owner) = open.pop() {
        if owner == goal {
            return true;
        }
        if seen.insert(owner) {
            open.extend(edges.get(&owner).into_iter().flatten());
        }
    }
    false
}
