//! The run: every row on every system, in turns, several rounds. What fails is noted with its reason, and the run goes on.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::args::{Args, Named};
use super::interrupt;
use super::place::Place;
use super::row::{Outcome, Pace, Row, Sampler};
use super::rows::material::Material;
use super::server::{Mounted, Scratch};
use super::systems::{Kind, System};
use crate::common::watchdog::Watchdog;

/// How long a sample and its preparation may take before the server counts as hung and is killed.
const LIMIT: Duration = Duration::from_secs(150);
/// The same for rows that are measured once.
const LONG_LIMIT: Duration = Duration::from_secs(900);

/// What came out of one row on one system.
#[derive(Clone, Debug, Default)]
pub struct Cell {
    /// A sample of each round; None where the system failed or has no part in the row.
    pub samples: Vec<Option<f64>>,
    /// Why there are no (more) samples.
    pub failure: Option<String>,
}

/// What came out of a run.
pub struct Results {
    pub systems: Vec<System>,
    /// The type and options of each as the kernel shows them.
    pub shown: Vec<String>,
    /// Those left out, each with the reason.
    pub skipped: Vec<(String, String)>,
    /// Each row with a cell for each system.
    pub rows: Vec<(Row, Vec<Cell>)>,
    pub rounds: u32,
}

/// Everything a run needs.
pub struct Run {
    args: Arc<Args>,
    itself: Option<PathBuf>,
    material: Arc<Material>,
    scratch: Scratch,
}

impl Run {
    /// Nothing is mounted yet.
    pub fn new(args: &Args, itself: Option<PathBuf>) -> Outcome<Run> {
        let scratch = Scratch::new(&args.scratch)?;
        let folder = scratch.path().join("material");
        fs::create_dir(&folder)?;
        Ok(Run {
            args: Arc::new(args.clone()),
            itself,
            material: Arc::new(Material::new(folder)),
            scratch,
        })
    }

    /// Mounts the systems and measures the rows.
    pub fn measure(&self, rows: &[Row], systems: &[System]) -> Outcome<Results> {
        let (mut mounts, mut skipped) = (Vec::new(), Vec::new());
        for system in systems {
            interrupt::check()?;
            match self.mount(system) {
                Ok(mounted) => mounts.push(mounted),
                Err(reason) => {
                    println!("skipped  {}: {reason}", system.name);
                    skipped.push((system.name.clone(), reason.to_string()));
                }
            }
        }
        let mut results = Results {
            systems: mounts.iter().map(|it| it.system.clone()).collect(),
            shown: mounts.iter().map(Mounted::shown).collect(),
            skipped,
            rows: Vec::new(),
            rounds: self.args.rounds_of(false),
        };
        for row in rows {
            eprintln!("compare: {} ...", row.id);
            let cells = self.row(row, &mounts)?;
            for (cell, mounted) in cells.iter().zip(&mounts) {
                if let Some(failure) = &cell.failure {
                    println!("failed   {} on {}: {failure}", row.id, mounted.system.name);
                }
            }
            results.rows.push((*row, cells));
        }
        Ok(results)
    }

    fn mount(&self, system: &System) -> Outcome<Mounted> {
        Mounted::mount(system, self.scratch.path(), &self.args, self.itself.as_deref())
    }

    fn row(&self, row: &Row, mounts: &[Mounted]) -> Outcome<Vec<Cell>> {
        let mut cells = vec![Cell::default(); mounts.len()];
        if row.pace == Pace::Once {
            for (mounted, cell) in mounts.iter().zip(&mut cells) {
                if mounted.system.takes(row.on) {
                    cell.take(self.once(row, &mounted.system));
                }
                interrupt::check()?;
            }
            return Ok(cells);
        }
        let mut samplers: Vec<Option<Sampler>> = Vec::new();
        for (mounted, cell) in mounts.iter().zip(&mut cells) {
            let sampler = mounted.system.takes(row.on).then(|| self.prepare(row, mounted, LIMIT));
            samplers.push(sampler.and_then(|it| it.map_err(|error| cell.failure = Some(error.to_string())).ok()));
            interrupt::check()?;
        }
        let rounds = self.args.rounds_of(row.pace != Pace::Fast) as usize;
        for round in 0..rounds {
            for turn in 0..mounts.len() {
                let which = (round + turn) % mounts.len();
                let Some(sampler) = &mut samplers[which] else {
                    cells[which].samples.push(None);
                    continue;
                };
                let _watchdog = Watchdog::start(LIMIT, mounts[which].target());
                if !cells[which].take(sampler()) {
                    samplers[which] = None;
                }
                interrupt::check()?;
            }
        }
        drop(samplers);
        for mounted in mounts {
            self.clear(row, mounted);
        }
        Ok(cells)
    }

    /// A row that has a mount of its own.
    fn once(&self, row: &Row, system: &System) -> Outcome<f64> {
        let mounted = self.mount(system)?;
        let mut sampler = self.prepare(row, &mounted, LONG_LIMIT)?;
        sampler()
    }

    fn prepare(&self, row: &Row, mounted: &Mounted, limit: Duration) -> Outcome<Sampler> {
        let _watchdog = Watchdog::start(limit, mounted.target());
        let is_empty = mounted.system.kind == Kind::Empty;
        let dir = if is_empty {
            mounted.root.clone()
        } else {
            mounted.root.join(row.id())
        };
        if !is_empty {
            fs::create_dir(&dir)?;
        }
        (row.prepare)(&Place {
            dir,
            root: mounted.root.clone(),
            system: mounted.system.name.clone(),
            server: mounted.server(),
            args: Arc::clone(&self.args),
            material: Arc::clone(&self.material),
        })
    }

    /// What a row leaves goes before the next one; what cannot go will with the mount.
    fn clear(&self, row: &Row, mounted: &Mounted) {
        if mounted.system.takes(row.on) && mounted.system.kind != Kind::Empty {
            let _watchdog = Watchdog::start(LIMIT, mounted.target());
            let _goes_with_the_mount = fs::remove_dir_all(mounted.root.join(row.id()));
        }
    }
}

impl Cell {
    /// Notes a sample or the reason why there is none; true if there may be more.
    fn take(&mut self, sample: Outcome<f64>) -> bool {
        match sample {
            Ok(figure) => self.samples.push(Some(figure)),
            Err(error) => {
                self.samples.push(None);
                self.failure = Some(error.to_string());
            }
        }
        self.failure.is_none()
    }

    /// The samples there are.
    pub fn figures(&self) -> Vec<f64> {
        self.samples.iter().copied().flatten().collect()
    }
}
