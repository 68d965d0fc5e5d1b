//! The numbered promises of semantics, and which tests quote them: `semantics 1.2` or `semantics 2.1, 2.3`.

use std::collections::BTreeSet;

use crate::Source;

/// How many promises each section has, from section 1 on.
const SECTIONS: [usize; 6] = [6, 3, 5, 6, 9, 4];

/// The sections that are built: each of their promises needs a test.
const BUILT: usize = 5;

fn promises(sections: usize) -> BTreeSet<String> {
    let numbered = SECTIONS.iter().take(sections).zip(1..);
    numbered
        .flat_map(|(count, section)| (1..=*count).map(move |item| format!("{section}.{item}")))
        .collect()
}

/// Complaints about promises without a test, and about citations of promises that nobody made.
pub fn uncited(sources: &[Source]) -> Vec<String> {
    let tests = sources
        .iter()
        .filter(|it| it.path.starts_with("tests/") && !it.path.starts_with("tests/tidy"));
    let mut cited = BTreeSet::new();
    let mut complaints = Vec::new();
    let all = promises(SECTIONS.len());
    for source in tests {
        for promise in citations(&source.text) {
            if !all.contains(&promise) {
                complaints.push(format!("{}: there is no promise {promise}", source.path));
            }
            cited.insert(promise);
        }
    }
    let missing = promises(BUILT).into_iter().filter(|it| !cited.contains(it));
    complaints.extend(missing.map(|it| format!("no test cites semantics {it}")));
    complaints
}

/// The numbers that follow the word.
pub fn citations(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for rest in text.split("semantics ").skip(1) {
        let numbers = rest.split(", ").map(|it| {
            let end = it
                .find(|mark: char| !mark.is_ascii_digit() && mark != '.')
                .unwrap_or(it.len());
            (it[..end].trim_end_matches('.'), end == it.len())
        });
        for (number, more) in numbers {
            let Some((section, item)) = number.split_once('.') else {
                break;
            };
            if section.parse::<u8>().is_err() || item.parse::<u8>().is_err() {
                break;
            }
            found.push(number.to_owned());
            if !more {
                break;
            }
        }
    }
    found
}
