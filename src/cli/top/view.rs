//! How `owltmp top` looks, in whatever room there is: what there is no room for is left out, the tables last.

use std::time::Duration;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line as Text, Span};
use ratatui::widgets::{Gauge, Paragraph, Row, Table};

use super::figures::{Figures, Line, Use};

/// Narrower than this, tables stand below each other.
const WIDE: u16 = 90;

/// The columns that requests take where there is room beside them.
const REQUESTS: u16 = 52;

/// How often it is looked, where that is shown.
pub(super) type Every = Option<Duration>;

const HEAD: Style = Style::new().fg(Color::Black).bg(Color::Cyan);
const LOUD: Style = Style::new().fg(Color::Yellow).add_modifier(Modifier::BOLD);
const TITLE: Style = Style::new().fg(Color::Cyan).add_modifier(Modifier::BOLD);
const DIM: Style = Style::new().add_modifier(Modifier::DIM);

/// Draws all of it.
pub(super) fn draw(frame: &mut Frame<'_>, figures: &Figures, every: Every) {
    let rows = [
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(u16::from(every.is_some())),
    ];
    let [title, facts, gauges, tables, keys] = Layout::vertical(rows).areas(frame.area());
    let name = Text::from(vec![
        Span::styled(" owltmp top ", HEAD),
        Span::raw(" "),
        Span::raw(&*figures.title),
    ]);
    frame.render_widget(Paragraph::new(name), title);
    frame.render_widget(Paragraph::new(&*figures.facts), facts);
    let [left, _, right] =
        Layout::horizontal([Constraint::Fill(3), Constraint::Length(1), Constraint::Fill(2)]).areas(gauges);
    gauge(frame, left, "size", &figures.bytes);
    gauge(frame, right, "inodes", &figures.inodes);
    draw_tables(frame, tables, figures);
    if let Some(every) = every {
        let text = format!("q ends, space looks now, + and - change {:.1} s", every.as_secs_f64());
        frame.render_widget(Paragraph::new(text).style(DIM), keys);
    }
}

fn gauge(frame: &mut Frame<'_>, area: Rect, name: &str, used: &Use) {
    let color = match used.part {
        part if part > 0.95 => Color::Red,
        part if part > 0.8 => Color::Yellow,
        _ => Color::Green,
    };
    let label = Span::raw(format!("{name} {}", used.text));
    let gauge = Gauge::default().ratio(used.part).label(label);
    // Of the text on the filled part the colours are exchanged.
    frame.render_widget(gauge.gauge_style(Style::new().fg(color).bg(Color::Black)), area);
}

fn draw_tables(frame: &mut Frame<'_>, area: Rect, figures: &Figures) {
    let requests = figures.requests.as_deref();
    // Above, who has what and what is asked for; below, what one looks for, which gets what is left.
    let most = figures.users.len().max(requests.map_or(0, <[Line]>::len));
    let wanted = u16::try_from(most).unwrap_or(u16::MAX).saturating_add(3);
    let is_wide = area.width >= WIDE;
    let above = if is_wide {
        wanted.min(area.height / 2)
    } else {
        area.height / 2
    };
    let events = u16::try_from(figures.events.len())
        .unwrap_or(u16::MAX)
        .saturating_add(2);
    let [above, below, last] = Layout::vertical([
        Constraint::Length(above),
        Constraint::Fill(1),
        Constraint::Length(events.min(area.height.saturating_sub(above) / 2)),
    ])
    .areas(area);
    let parts = [Constraint::Fill(1), Constraint::Length(1), Constraint::Length(REQUESTS)];
    let [left, _, right] = match (is_wide, requests) {
        (_, None) => [above, Rect::default(), Rect::default()],
        (true, _) => Layout::horizontal(parts).areas(above),
        (false, _) => Layout::vertical([Constraint::Fill(1), Constraint::Length(0), Constraint::Fill(1)]).areas(above),
    };
    table(frame, left, &["user", "bytes", "inodes"], &figures.users, &[10, 17, 8]);
    if let Some(requests) = requests {
        let since = if figures.since_mount { "since mount" } else { "request" };
        let head = [since, "in 1 s", "mean", "half <", "99 % <"];
        table(frame, right, &head, requests, &[12, 8, 9, 9, 9]);
    }
    let head = ["locks", "kind", "bytes", "process", "user", "for", "file"];
    table(frame, below, &head, &figures.locks, &[20, 16, 12, 16, 10, 10, 12]);
    table(frame, last, &["events", ""], &figures.events, &[24, 40]);
}

/// A table: the last column gets what is left.
fn table(frame: &mut Frame<'_>, area: Rect, head: &[&str], lines: &[Line], widths: &[u16]) {
    let room = usize::from(area.height.saturating_sub(1));
    let cut = lines.len() > room;
    let shown = if cut { room.saturating_sub(1) } else { lines.len() };
    let row = |line: &Line| {
        let row = Row::new(line.cells.clone());
        if line.loud { row.style(LOUD) } else { row }
    };
    let mut rows: Vec<Row<'_>> = lines.iter().take(shown).map(row).collect();
    if lines.is_empty() {
        rows.push(Row::new(["none"]).style(DIM));
    }
    let last = widths.len().saturating_sub(1);
    let widths = widths.iter().enumerate().map(|(column, width)| match column == last {
        true => Constraint::Min(*width),
        false => Constraint::Length(*width),
    });
    let table = Table::new(rows, widths).header(Row::new(head.iter().copied()).style(TITLE));
    frame.render_widget(table, area);
    if cut && room > 0 {
        let last = Rect {
            y: area.bottom() - 1,
            height: 1,
            ..area
        };
        let text = format!("... {} more", lines.len() - shown);
        frame.render_widget(Paragraph::new(text).style(DIM), last);
    }
}

#[cfg(test)]
mod tests {
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;

    use super::super::figures::tests::sample;
    use super::*;

    fn drawn(size: (u16, u16), figures: &Figures, every: Every) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(size.0, size.1)).unwrap();
        terminal.draw(|frame| draw(frame, figures, every)).unwrap();
        let buffer = terminal.backend().buffer().clone();
        let cells: Vec<&str> = buffer.content().iter().map(|cell| cell.symbol()).collect();
        cells
            .chunks(usize::from(size.0).max(1))
            .map(|row| row.concat())
            .collect()
    }

    #[test]
    fn all_of_it_is_there() {
        let figures = Figures::of(&sample(60_000, 600), None);
        let every = Some(Duration::from_secs(2));
        let text = drawn((120, 40), &figures, every).join("\n");
        for wanted in [
            " owltmp top  a\\u{1b}[2J",
            "size 512.0 MiB of 1.0 GiB",
            "inodes 7, no limit",
            "4000000001",
            "LOOKUP",
            "1.50 us",
            "waits behind 7",
            "holds",
            "refused a\\u{1b}",
            "q ends, space looks now, + and - change 2.0 s",
        ] {
            assert!(text.contains(wanted), "no {wanted:?} in\n{text}");
        }
    }

    #[test]
    fn every_size_will_do() {
        let figures = Figures::of(&sample(60_000, 600), None);
        for width in [0, 1, 2, 7, 20, 40, 80, 89, 90, 500] {
            for height in [0, 1, 2, 3, 4, 5, 8, 24, 200] {
                let lines = drawn((width, height), &figures, Some(Duration::from_secs(1)));
                let plain = |line: &String| line.chars().all(|c| !c.is_control() && c != '\u{202e}');
                assert!(lines.iter().all(plain), "{width}x{height}: {lines:?}");
            }
        }
    }

    #[test]
    fn what_finds_no_room_is_counted() {
        let mut figures = Figures::of(&sample(60_000, 600), None);
        figures.locks = vec![figures.locks[1].clone(); 500];
        let text = drawn((80, 24), &figures, None).join("\n");
        assert!(text.contains("... 49") && text.contains(" more "), "{text}");
        figures.requests = None;
        figures.users.clear();
        let text = drawn((80, 24), &figures, None).join("\n");
        assert!(text.contains("none") && !text.contains("since mount"), "{text}");
    }
}
