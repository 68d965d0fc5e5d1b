//! A chart of ratios on a logarithmic axis: a line for each row, a dot for each system. Knows nothing of what was measured.

use std::fmt::Write as _;

/// What is drawn.
#[derive(Clone, Debug, Default)]
pub struct Chart {
    pub title: String,
    pub note: String,
    pub systems: Vec<String>,
    /// The system whose dots are large and have their figures beside them.
    pub ours: Option<usize>,
    /// The system that is the line at 1.
    pub base: Option<usize>,
    pub lines: Vec<Line>,
}

/// One row of the chart.
#[derive(Clone, Debug, Default)]
pub struct Line {
    pub label: String,
    /// What 1 is here.
    pub note: String,
    /// A ratio for each system.
    pub dots: Vec<Option<f64>>,
    /// Where the aim is.
    pub aim: Option<f64>,
}

impl Line {
    /// The ratio of a system, if there is one that a logarithmic axis can show.
    fn dot(&self, system: usize) -> Option<f64> {
        self.dots.get(system).copied().flatten().filter(|dot| fits(*dot))
    }
}

fn fits(ratio: f64) -> bool {
    ratio.is_finite() && ratio > 0.0
}

const LEFT: f64 = 330.0;
const RIGHT: f64 = 70.0;
const TOP: f64 = 104.0;
const STEP: f64 = 24.0;
const WIDTH: f64 = 1080.0;
/// Told apart by the colour-blind too; the base comes first.
const COLOURS: [&str; 9] = [
    "#555555", "#d55e00", "#0072b2", "#009e73", "#cc79a7", "#b8860b", "#999999", "#000000", "#6a3d9a",
];

/// The chart as an SVG document.
pub fn chart(chart: &Chart) -> String {
    let bottom = TOP + STEP * chart.lines.len() as f64;
    let axis = Axis::around(chart);
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        height = bottom + 56.0
    );
    text(
        &mut out,
        16.0,
        28.0,
        "font-size=\"18\" font-weight=\"bold\"",
        &chart.title,
    );
    text(&mut out, 16.0, 50.0, "fill=\"#555555\"", &chart.note);
    legend(&mut out, chart);
    grid(&mut out, &axis, bottom);
    for (number, line) in chart.lines.iter().enumerate() {
        row(&mut out, chart, &axis, line, TOP + STEP * (number as f64 + 0.5));
    }
    text(
        &mut out,
        16.0,
        bottom + 40.0,
        "fill=\"#555555\" font-size=\"12\"",
        "In grey beside each name: the figure of tmpfs, which is the line at 1. A bracket marks the aim where there is one.",
    );
    out + "</svg>\n"
}

/// The ratios between which everything lies.
struct Axis {
    low: f64,
    high: f64,
}

impl Axis {
    fn around(chart: &Chart) -> Axis {
        let dots = chart
            .lines
            .iter()
            .flat_map(|line| line.dots.iter().flatten().chain(&line.aim));
        let (low, high) = dots
            .filter(|dot| fits(**dot))
            .fold((0.8, 2.0), |(low, high): (f64, f64), &dot| {
                (low.min(dot), high.max(dot))
            });
        Axis {
            low: low / 1.15,
            high: high * 1.3,
        }
    }

    fn x(&self, ratio: f64) -> f64 {
        let share = (ratio / self.low).ln() / (self.high / self.low).ln();
        LEFT + share.clamp(0.0, 1.0) * (WIDTH - LEFT - RIGHT)
    }

    fn ticks(&self) -> Vec<f64> {
        let decades = -3..6;
        let all = decades.flat_map(|decade| [1.0, 2.0, 5.0].map(|step: f64| step * 10_f64.powi(decade)));
        all.filter(|tick| (self.low..=self.high).contains(tick)).collect()
    }
}

fn grid(out: &mut String, axis: &Axis, bottom: f64) {
    for tick in axis.ticks() {
        let (x, is_one) = (axis.x(tick), (tick - 1.0).abs() < 1e-9);
        let (colour, width) = if is_one { ("#555555", 2) } else { ("#dddddd", 1) };
        // Writing to a String cannot fail.
        let _ = writeln!(
            out,
            "<line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{TOP}\" y2=\"{bottom}\" stroke=\"{colour}\" stroke-width=\"{width}\"/>"
        );
        let label = format!("{}×", (tick * 1000.0).round() / 1000.0);
        text(out, x, bottom + 18.0, "text-anchor=\"middle\"", &label);
    }
}

fn legend(out: &mut String, chart: &Chart) {
    let mut x = 22.0;
    for (number, name) in chart.systems.iter().enumerate() {
        if Some(number) == chart.base {
            continue;
        }
        dot(out, x, 74.0, number, Some(number) == chart.ours);
        text(out, x + 12.0, 78.5, "", name);
        x += 42.0 + 7.5 * name.chars().count() as f64;
    }
}

fn row(out: &mut String, chart: &Chart, axis: &Axis, line: &Line, y: f64) {
    let _ = writeln!(
        out,
        "<line x1=\"16\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#eeeeee\"/>",
        WIDTH - RIGHT
    );
    text(out, 16.0, y + 4.5, "", &line.label);
    text(
        out,
        LEFT - 12.0,
        y + 4.5,
        "text-anchor=\"end\" fill=\"#888888\" font-size=\"12\"",
        &line.note,
    );
    if let Some(aim) = line.aim.filter(|aim| fits(*aim)) {
        let x = axis.x(aim);
        let _ = writeln!(
            out,
            "<path d=\"M {:.1} {:.1} h 4 v 18 h -4\" stroke=\"#b00020\" stroke-width=\"1.6\" fill=\"none\"/>",
            x - 4.0,
            y - 9.0
        );
    }
    let others = (0..line.dots.len()).filter(|number| Some(*number) != chart.base && Some(*number) != chart.ours);
    // Ours comes last and so lies on top.
    for number in others.chain(chart.ours) {
        let Some(ratio) = line.dot(number) else {
            continue;
        };
        let is_ours = Some(number) == chart.ours;
        dot(out, axis.x(ratio), y, number, is_ours);
    }
    let ours = chart.ours.and_then(|ours| line.dot(ours));
    if let Some(ratio) = ours {
        let figure = if ratio < 9.95 {
            format!("{ratio:.2}×")
        } else {
            format!("{ratio:.0}×")
        };
        let style = format!("text-anchor=\"end\" fill=\"{}\" font-weight=\"bold\"", COLOURS[1]);
        text(out, WIDTH - 10.0, y + 4.5, &style, &figure);
    }
}

/// Ours is a full circle in a colour of its own, whatever its number; the others are smaller.
fn dot(out: &mut String, x: f64, y: f64, number: usize, is_ours: bool) {
    let (radius, colour) = if is_ours {
        (6.5, COLOURS[1])
    } else {
        (4.5, COLOURS[(number + usize::from(number == 1) * 7) % COLOURS.len()])
    };
    let _ = writeln!(
        out,
        "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\" fill=\"{colour}\" fill-opacity=\"0.85\" stroke=\"white\"/>"
    );
}

fn text(out: &mut String, x: f64, y: f64, style: &str, words: &str) {
    let words = escaped(words);
    let _ = writeln!(out, "<text x=\"{x:.1}\" y=\"{y:.1}\" {style}>{words}</text>");
}

/// Text as it may stand in an element. What XML has no way to say becomes a question mark.
pub fn escaped(words: &str) -> String {
    let mut out = String::with_capacity(words.len());
    for character in words.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            '\t' | '\n' => out.push(' '),
            it if it.is_control() || matches!(it, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            it => out.push(it),
        }
    }
    out
}
