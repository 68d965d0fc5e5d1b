//! The pure parts of the benchmark `compare`: its arguments, its medians, its chart.

#[allow(dead_code)]
#[path = "../../benches/compare/args.rs"]
mod args;
#[allow(dead_code, clippy::cast_sign_loss)]
#[path = "../../benches/compare/stats.rs"]
mod stats;
#[allow(dead_code)]
#[path = "../../benches/compare/report/svg.rs"]
mod svg;

use args::{Args, Named};
use clap::Parser;
use stats::{Quartiles, median, median_ratio, quartiles, short};

fn parse(line: &str) -> Result<Args, clap::Error> {
    Args::try_parse_from(["compare"].into_iter().chain(line.split_whitespace()))
}

/// A row by its name; those of programs end with `!`.
struct Fake(&'static str);

impl Named for Fake {
    fn id(&self) -> &'static str {
        self.0
    }

    fn is_slow(&self) -> bool {
        self.0.ends_with('!')
    }
}

fn chosen(line: &str) -> Result<Vec<&'static str>, String> {
    let all = ["read", "read-large", "stat", "git!"].map(Fake).into();
    let rows = parse(line).unwrap().rows(all)?;
    Ok(rows.iter().map(Fake::id).collect())
}

#[test]
fn arguments_are_read() {
    let args =
        parse("--bench --rounds 7 --systems owltmp,bindfs --with one=workers=1,size=1g --size 64M --out x").unwrap();
    assert_eq!((args.rounds, args.size), (7, 64 << 20));
    assert_eq!(args.systems, ["owltmp", "bindfs"]);
    assert_eq!(args.with, [("one".to_owned(), "workers=1,size=1g".to_owned())]);
    assert_eq!((args.rounds_of(false), args.rounds_of(true)), (7, 3));
    assert_eq!(parse("--quick").unwrap().rounds_of(true), 2);
    assert_eq!(parse("--quick --size 1g").unwrap().large(), 16 << 20);
    for wrong in [
        "--rounds 0",
        "--size 9",
        "--size x",
        "--size 1t",
        "--with one",
        "--with =x",
        "--with a/b=x",
        "--nothing",
        "x",
    ] {
        assert!(parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn rows_are_chosen_by_the_beginnings_of_their_names() {
    assert_eq!(chosen("").unwrap(), ["read", "read-large", "stat", "git!"]);
    assert_eq!(chosen("--quick").unwrap(), ["read", "read-large", "stat"]);
    assert_eq!(chosen("--quick --only git").unwrap(), ["git!"]);
    assert_eq!(chosen("--only stat,read").unwrap(), ["read", "read-large", "stat"]);
    assert_eq!(chosen("--only read-").unwrap(), ["read-large"]);
    assert!(
        chosen("--only stat,tsat")
            .unwrap_err()
            .contains("tsat: no such row; there are read, ")
    );
}

#[test]
fn quartiles_lie_between_samples() {
    assert_eq!(quartiles(&[]), None);
    assert_eq!(median(&[7.0]), Some(7.0));
    assert_eq!(median(&[9.0, 1.0]), Some(5.0));
    let expected = Quartiles {
        lower: 2.0,
        median: 3.0,
        upper: 4.0,
    };
    assert_eq!(quartiles(&[5.0, 1.0, 4.0, 2.0, 3.0]), Some(expected));
}

/// A disturbance of one round does not move the ratio, and rounds without one of the two do not count.
#[test]
fn ratios_are_taken_round_by_round() {
    let some = |all: [f64; 4]| all.map(Some);
    assert_eq!(
        median_ratio(&some([2.0, 4.0, 200.0, 6.0]), &some([1.0, 2.0, 100.0, 3.0])),
        Some(2.0)
    );
    assert_eq!(median_ratio(&[None, Some(6.0)], &[Some(1.0), Some(2.0)]), Some(3.0));
    assert_eq!(median_ratio(&[Some(1.0), None], &[Some(0.0), Some(1.0)]), None);
    assert_eq!(median_ratio(&[], &[]), None);
}

#[test]
fn numbers_are_short() {
    let all = [0.0123, 1.234, 9.999, 12.34, 99.96, 1234.5].map(short);
    assert_eq!(all, ["0.01", "1.23", "10.0", "12.3", "100", "1234"]);
}

#[test]
fn text_in_a_chart_cannot_become_markup() {
    assert_eq!(
        svg::escaped("a<b> & \"c\" 'd'"),
        "a&lt;b&gt; &amp; &quot;c&quot; &apos;d&apos;"
    );
    assert_eq!(svg::escaped("a\tb\u{1}\u{ffff}\u{1b}[0m"), "a b???[0m");
    let line = svg::Line {
        label: "</text><script>".to_owned(),
        note: "1 < 2".to_owned(),
        dots: vec![Some(1.0), Some(3.0), None],
        aim: Some(1.5),
    };
    let chart = svg::chart(&svg::Chart {
        title: "A & B".to_owned(),
        systems: ["tmpfs", "ours<", "other"].map(str::to_owned).into(),
        ours: Some(1),
        base: Some(0),
        lines: vec![line],
        ..svg::Chart::default()
    });
    assert!(!chart.contains("<script") && chart.contains("&lt;script&gt;") && chart.contains("ours&lt;"));
    assert!(chart.contains("A &amp; B") && chart.contains(">3.00×<"));
}

/// Whatever was measured, every coordinate is a number within the picture.
#[test]
fn a_chart_takes_any_ratio() {
    let dots = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-12, 1e12].map(Some).to_vec();
    let chart = svg::chart(&svg::Chart {
        systems: vec![String::new(); dots.len()],
        ours: Some(5),
        lines: vec![svg::Line {
            dots,
            ..svg::Line::default()
        }],
        ..svg::Chart::default()
    });
    for attribute in ["x1=\"", "x2=\"", "cx=\"", " x=\""] {
        for value in chart.split(attribute).skip(1) {
            let number: f64 = value.split('"').next().unwrap().parse().unwrap();
            assert!((0.0..=1080.0).contains(&number), "{attribute}{number}");
        }
    }
    // None at all is a chart, too.
    assert!(svg::chart(&svg::Chart::default()).ends_with("</svg>\n"));
}
