//! From results to what people and programs read.

pub mod json;
pub mod svg;
pub mod table;

use std::fs;
use std::path::Path;

use super::machine::Machine;
use super::measure::{Cell, Results};
use super::row::{Aim, Better, Outcome, Row};
use super::stats::{Quartiles, median_ratio, quartiles};
use super::systems::{BASE, OURS};

/// What a report says of one row on one system.
pub struct Figure {
    pub quartiles: Quartiles,
    /// The median ratio to tmpfs, round by round.
    pub ratio: Option<f64>,
}

/// What a report says of one row.
pub struct Summary<'a> {
    pub row: &'a Row,
    /// For each system.
    pub figures: Vec<Option<Figure>>,
    /// Whether owltmp reaches the aim, where there is one and it was measured.
    pub met: Option<bool>,
}

/// The place of a system among those measured.
fn place_of(results: &Results, name: &str) -> Option<usize> {
    results.systems.iter().position(|it| it.name == name)
}

fn summaries(results: &Results) -> Vec<Summary<'_>> {
    let (base, ours) = (place_of(results, BASE), place_of(results, OURS));
    let summary = |(row, cells): &'_ (Row, Vec<Cell>)| {
        let figure = |cell: &Cell| {
            let quartiles = quartiles(&cell.figures())?;
            let ratio = base.and_then(|base| median_ratio(&cell.samples, &cells[base].samples));
            Some(Figure { quartiles, ratio })
        };
        let figures: Vec<_> = cells.iter().map(figure).collect();
        let met = ours.and_then(|ours| is_met(row, figures[ours].as_ref()?));
        (figures, met)
    };
    let pair = |it| {
        let (figures, met) = summary(it);
        Summary {
            row: &it.0,
            figures,
            met,
        }
    };
    results.rows.iter().map(pair).collect()
}

fn is_met(row: &Row, figure: &Figure) -> Option<bool> {
    let (figure, aim) = match row.aim {
        Aim::None => return None,
        Aim::Ratio(aim) => (figure.ratio?, aim),
        Aim::Figure(aim) => (figure.quartiles.median, aim),
    };
    Some(match row.better {
        Better::Lower => figure <= aim,
        Better::Higher => figure >= aim,
    })
}

/// The aim in words: `≤ 1.5×`, `≥ 0.9×`, `≤ 40 µs`.
fn aim_in_words(row: &Row) -> String {
    let sign = match row.better {
        Better::Lower => '≤',
        Better::Higher => '≥',
    };
    match row.aim {
        Aim::None => String::new(),
        Aim::Ratio(aim) => format!("{sign} {aim}× tmpfs"),
        Aim::Figure(aim) => format!("{sign} {aim} {}", row.unit.text()),
    }
}

/// Writes the table, the JSON and the chart.
pub fn write(folder: &Path, machine: &Machine, results: &Results) -> Outcome<()> {
    let summaries = summaries(results);
    fs::create_dir_all(folder)?;
    let table = format!("{}\n\n{}", machine.lines(), table::text(results));
    fs::write(folder.join("compare.txt"), table)?;
    let json = serde_json::to_string_pretty(&json::value(machine, results, &summaries))?;
    fs::write(folder.join("compare.json"), json + "\n")?;
    fs::write(
        folder.join("compare.svg"),
        svg::chart(&chart_of(machine, results, &summaries)),
    )?;
    Ok(())
}

/// What of the results a chart shows: how many times slower than tmpfs.
fn chart_of(machine: &Machine, results: &Results, summaries: &[Summary<'_>]) -> svg::Chart {
    let base = place_of(results, BASE);
    let lines = summaries.iter().filter_map(|it| {
        let slower = |ratio: f64| match it.row.better {
            Better::Lower => ratio,
            Better::Higher => 1.0 / ratio,
        };
        let tmpfs = it.figures[base?].as_ref()?.quartiles.median;
        let dots: Vec<_> = it.figures.iter().map(|it| Some(slower(it.as_ref()?.ratio?))).collect();
        let is_comparison = !matches!(it.row.unit, super::row::Unit::Times);
        is_comparison.then(|| svg::Line {
            label: it.row.name.to_owned(),
            note: format!("{} {}", super::stats::short(tmpfs), it.row.unit.text()),
            dots,
            aim: match it.row.aim {
                Aim::None => None,
                Aim::Ratio(aim) => Some(slower(aim)),
                Aim::Figure(aim) => Some(slower(aim / tmpfs)),
            },
        })
    });
    let lines = lines.collect();
    let fact = |name: &str| {
        machine
            .facts
            .iter()
            .find(|it| it.0 == name)
            .map_or("", |it| it.1.as_str())
    };
    svg::Chart {
        title: "How many times slower than tmpfs (medians; further left is better)".to_owned(),
        note: format!(
            "{}, Linux {}, commit {}, {}",
            fact("cpu"),
            fact("kernel"),
            fact("commit"),
            fact("date")
        ),
        systems: results.systems.iter().map(|it| it.name.clone()).collect(),
        ours: place_of(results, OURS),
        base,
        lines,
    }
}
