//! The results for programs.

use serde_json::{Map, Value, json};

use super::super::machine::Machine;
use super::super::measure::Results;
use super::super::row::{Aim, Better};
use super::{Summary, aim_in_words};

/// All of it, every sample included.
pub fn value(machine: &Machine, results: &Results, summaries: &[Summary<'_>]) -> Value {
    let facts: Map<_, _> = machine
        .facts
        .iter()
        .map(|(name, fact)| ((*name).to_owned(), json!(fact)))
        .collect();
    let systems: Vec<_> = results
        .systems
        .iter()
        .zip(&results.shown)
        .map(|(it, shown)| json!({"name": it.name, "options": it.options, "mounted": shown, "version": it.version()}))
        .collect();
    let skipped: Vec<_> = results
        .skipped
        .iter()
        .map(|(name, reason)| json!({"name": name, "reason": reason}))
        .collect();
    let rows: Vec<_> = (0..summaries.len()).map(|at| row(results, summaries, at)).collect();
    json!({
        "machine": facts,
        "rounds": results.rounds,
        "systems": systems,
        "skipped": skipped,
        "rows": rows,
    })
}

fn row(results: &Results, summaries: &[Summary<'_>], at: usize) -> Value {
    let (summary, (row, cells)) = (&summaries[at], &results.rows[at]);
    let mut figures = Map::new();
    for ((system, cell), figure) in results.systems.iter().zip(cells).zip(&summary.figures) {
        if figure.is_none() && cell.failure.is_none() {
            continue;
        }
        let figure = json!({
            "median": figure.as_ref().map(|it| it.quartiles.median),
            "lower_quartile": figure.as_ref().map(|it| it.quartiles.lower),
            "upper_quartile": figure.as_ref().map(|it| it.quartiles.upper),
            "ratio_to_tmpfs": figure.as_ref().and_then(|it| it.ratio),
            "samples": cell.samples,
            "failure": cell.failure,
        });
        figures.insert(system.name.clone(), figure);
    }
    json!({
        "id": row.id,
        "name": row.name,
        "what": row.what,
        "unit": row.unit.text(),
        "better": match row.better { Better::Lower => "lower", Better::Higher => "higher" },
        "aim": aim(row.aim),
        "aim_in_words": aim_in_words(row),
        "met": summary.met,
        "figures": figures,
    })
}

fn aim(aim: Aim) -> Value {
    match aim {
        Aim::None => Value::Null,
        Aim::Ratio(ratio) => json!({"ratio_to_tmpfs": ratio}),
        Aim::Figure(figure) => json!({"figure": figure}),
    }
}
