//! The table, in plain text.

use super::super::measure::Results;
use super::super::stats::short;
use super::super::systems::BASE;
use super::{Figure, Summary, aim_in_words, summaries};

/// All of it: a line for each row, a column for each system.
pub fn text(results: &Results) -> String {
    let rounds = results.rounds;
    let mut text =
        format!("medians of {rounds} rounds (a third of them for slow rows); in brackets the ratio to tmpfs\n");
    let mut lines = vec![heads(results)];
    lines.extend(summaries(results).iter().map(|it| cells(results, it)));
    let widths: Vec<usize> = (0..lines[0].len())
        .map(|column| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0))
        .collect();
    for line in &lines {
        let mut padded = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            let gap = " ".repeat(width - cell.chars().count());
            // Names to the left, figures to the right.
            let left = column == 0 || column + 2 >= line.len();
            padded += &if left {
                format!("{cell}{gap}  ")
            } else {
                format!("{gap}{cell}  ")
            };
        }
        text += padded.trim_end();
        text.push('\n');
    }
    text
}

fn heads(results: &Results) -> Vec<String> {
    let mut heads = vec![String::new(), "unit".to_owned()];
    heads.extend(results.systems.iter().map(|it| it.name.clone()));
    heads.extend(["aim".to_owned(), "met".to_owned()]);
    heads
}

fn cells(results: &Results, summary: &Summary<'_>) -> Vec<String> {
    let mut cells = vec![summary.row.name.to_owned(), summary.row.unit.text().to_owned()];
    for (system, figure) in results.systems.iter().zip(&summary.figures) {
        cells.push(
            figure
                .as_ref()
                .map_or("-".to_owned(), |it| cell(it, system.name == BASE)),
        );
    }
    cells.push(aim_in_words(summary.row));
    let met = summary.met.map_or("", |met| if met { "yes" } else { "NO" });
    cells.push(met.to_owned());
    cells
}

fn cell(figure: &Figure, is_base: bool) -> String {
    let value = short(figure.quartiles.median);
    match figure.ratio {
        Some(ratio) if !is_base => format!("{value} ({}×)", short(ratio)),
        _ => value,
    }
}
