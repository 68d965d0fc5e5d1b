//! What a row is: a name, a unit, an aim, and how a sample is taken on one system.

use super::args::Named;
use super::place::Place;

/// How things end here. The text of an error is shown to the user as the reason why a figure is missing.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Takes one sample, in the unit of its row.
pub type Sampler = Box<dyn FnMut() -> Outcome<f64>>;

/// What a figure counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Microseconds for one.
    Micros,
    /// Milliseconds for all.
    Millis,
    /// Seconds for all.
    Seconds,
    /// MiB in a second.
    Rate,
    /// A factor.
    Times,
    /// Bytes.
    Bytes,
}

impl Unit {
    /// As it is shown.
    pub fn text(self) -> &'static str {
        match self {
            Unit::Micros => "µs",
            Unit::Millis => "ms",
            Unit::Seconds => "s",
            Unit::Rate => "MiB/s",
            Unit::Times => "×",
            Unit::Bytes => "B",
        }
    }
}

/// Which figure is the better one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Better {
    /// The lower.
    Lower,
    /// The higher.
    Higher,
}

/// What owltmp is to reach.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Aim {
    /// It is only printed.
    None,
    /// So many times the figure of tmpfs, at most or (where higher is better) at least.
    Ratio(f64),
    /// A figure in the row's unit, at most or at least.
    Figure(f64),
}

/// How much of a run's time a sample takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// Milliseconds: every round.
    Fast,
    /// Up to a second: every third round.
    Slow,
    /// Whole programs, or as much work: every third round, and not in a quick run.
    Program,
    /// Once in a run, on a mount of its own.
    Once,
}

/// Where it makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    /// Real filesystems.
    Files,
    /// These, and the empty server, which shows the floor.
    FilesAndFloor,
    /// owltmp and tmpfs.
    Us,
    /// owltmp.
    Owltmp,
    /// owltmp and tmpfs, and owltmp with other settings of `mand=`, which take no other row.
    Locks,
}

/// A row of the table.
#[derive(Clone, Copy)]
pub struct Row {
    /// What `--only` calls it.
    pub id: &'static str,
    /// What the table calls it.
    pub name: &'static str,
    /// What exactly is done.
    pub what: &'static str,
    pub unit: Unit,
    pub better: Better,
    pub aim: Aim,
    pub pace: Pace,
    pub on: On,
    /// Makes everything ready in an empty directory of the row's own.
    pub prepare: fn(&Place) -> Outcome<Sampler>,
}

impl Row {
    /// What most rows are: microseconds, the fewer the better, on all filesystems, every round.
    pub const fn micros(
        id: &'static str,
        name: &'static str,
        what: &'static str,
        prepare: fn(&Place) -> Outcome<Sampler>,
    ) -> Row {
        Row {
            id,
            name,
            what,
            unit: Unit::Micros,
            better: Better::Lower,
            aim: Aim::None,
            pace: Pace::Fast,
            on: On::Files,
            prepare,
        }
    }

    pub const fn aim(mut self, aim: Aim) -> Row {
        self.aim = aim;
        self
    }

    pub const fn unit(mut self, unit: Unit, better: Better) -> Row {
        self.unit = unit;
        self.better = better;
        self
    }

    pub const fn pace(mut self, pace: Pace) -> Row {
        self.pace = pace;
        self
    }

    pub const fn on(mut self, on: On) -> Row {
        self.on = on;
        self
    }
}

impl Named for Row {
    fn id(&self) -> &'static str {
        self.id
    }

    fn is_slow(&self) -> bool {
        self.pace == Pace::Program
    }
}
