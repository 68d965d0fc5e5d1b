//! The terminal of `owltmp top`. It is given back as it was, however this ends: in Drop, on a panic, on the signals that end a
//! program. And a screen as text, for where there is no terminal.

use std::cell::{Cell, RefCell};
use std::fmt::Write as _;
use std::io::{self, IsTerminal};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::terminal;
use ratatui::style::{Color, Modifier};
use ratatui::{DefaultTerminal, Terminal};

use super::figures::Figures;
use super::view;
use crate::sys::signals;

/// What ends a program from outside.
const ENDING: [Signal; 4] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT, Signal::SIGQUIT];

/// The columns where there is no terminal.
const COLUMNS: u16 = 80;

/// What the user wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    End,
    Look,
    Slower,
    Faster,
    /// The terminal has another size.
    Resized,
}

/// The terminal, ours until dropped.
pub(super) struct Screen {
    terminal: RefCell<DefaultTerminal>,
    stale: Cell<bool>,
}

impl Screen {
    /// Takes the terminal. Preconditions: the process has one thread. Errors: standard output is none.
    pub(super) fn open() -> io::Result<Screen> {
        if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
            return Err(io::Error::other("standard input or output is no terminal"));
        }
        signals::block_only(&ENDING)?;
        // Which also gives it back on a panic.
        let terminal = ratatui::try_init()?;
        thread::Builder::new().name("signals".to_owned()).spawn(|| {
            if let Ok(signal) = signals::set_of(&ENDING).wait() {
                ratatui::restore();
                std::process::exit(128 + signal as i32);
            }
        })?;
        Ok(Screen {
            terminal: RefCell::new(terminal),
            stale: Cell::new(false),
        })
    }

    pub(super) fn draw(&self, figures: &Figures, every: Duration) -> io::Result<()> {
        self.stale.set(false);
        let mut terminal = self.terminal.borrow_mut();
        terminal.draw(|frame| view::draw(frame, figures, Some(every)))?;
        Ok(())
    }

    /// Whether something has changed by which it looks different.
    pub(super) fn is_stale(&self) -> bool {
        self.stale.get()
    }

    /// Waits a moment for what the user wants.
    pub(super) fn key(&self, wait: Duration) -> io::Result<Option<Key>> {
        if !event::poll(wait)? {
            return Ok(None);
        }
        let key = meaning(&event::read()?);
        self.stale.set(self.stale.get() || key.is_some());
        Ok(key)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

fn meaning(event: &Event) -> Option<Key> {
    let Event::Key(KeyEvent {
        code, modifiers, kind, ..
    }) = event
    else {
        return matches!(event, Event::Resize(..)).then_some(Key::Resized);
    };
    if *kind == KeyEventKind::Release {
        return None;
    }
    match code {
        KeyCode::Char('c' | 'd') if modifiers.contains(KeyModifiers::CONTROL) => Some(Key::End),
        KeyCode::Char('q' | 'Q') | KeyCode::Esc => Some(Key::End),
        KeyCode::Char(' ') | KeyCode::Enter => Some(Key::Look),
        KeyCode::Char('+') => Some(Key::Slower),
        KeyCode::Char('-') => Some(Key::Faster),
        _ => None,
    }
}

/// The columns of the terminal.
pub(super) fn columns() -> u16 {
    match io::stdout().is_terminal() {
        true => terminal::size().map_or(COLUMNS, |(columns, _)| columns.max(1)),
        false => COLUMNS,
    }
}

/// A screen as text: without what is empty at its end.
pub(super) fn as_text(figures: &Figures, (width, height): (u16, u16), color: bool) -> String {
    let Ok(mut terminal) = Terminal::new(TestBackend::new(width, height));
    let Ok(_) = terminal.draw(|frame| view::draw(frame, figures, None));
    let buffer = terminal.backend().buffer();
    let mut text = String::new();
    for y in 0..height {
        let line = if color { colored(buffer, y) } else { plain(buffer, y) };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn plain(buffer: &Buffer, y: u16) -> String {
    (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect()
}

/// A line with the colours of a terminal (SGR).
fn colored(buffer: &Buffer, y: u16) -> String {
    let mut line = String::new();
    let mut now = String::new();
    for x in 0..buffer.area.width {
        let cell = &buffer[(x, y)];
        let wanted = sgr(cell.fg, cell.bg, cell.modifier);
        if wanted != now {
            // Writing to a String cannot fail.
            let _ = write!(line, "\u{1b}[0{wanted}m");
            now = wanted;
        }
        line.push_str(cell.symbol());
    }
    if !now.is_empty() {
        line.push_str("\u{1b}[0m");
    }
    line
}

fn sgr(fg: Color, bg: Color, modifier: Modifier) -> String {
    let number = |color: Color| match color {
        Color::Black => Some(0),
        Color::Red => Some(1),
        Color::Green => Some(2),
        Color::Yellow => Some(3),
        Color::Cyan => Some(6),
        _ => None,
    };
    let colors = [(30, number(fg)), (40, number(bg))];
    let mut codes: String = colors
        .iter()
        .filter_map(|(base, color)| color.map(|color| format!(";{}", base + color)))
        .collect();
    for (flag, code) in [
        (Modifier::BOLD, ";1"),
        (Modifier::DIM, ";2"),
        (Modifier::REVERSED, ";7"),
    ] {
        if modifier.contains(flag) {
            codes.push_str(code);
        }
    }
    codes
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::sample;
    use super::*;

    #[test]
    fn a_screen_is_text_without_a_terminal() {
        let figures = Figures::of(&sample(60_000, 600), None);
        let text = as_text(&figures, (100, 40), false);
        assert!(text.starts_with(" owltmp top ") && text.ends_with("\n"), "{text}");
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
        assert!(!text.contains("q ends"), "nobody can press a key");
        let colored = as_text(&figures, (100, 40), true);
        assert!(colored.contains("\u{1b}[0;30;46m owltmp top \u{1b}[0m"), "{colored:?}");
    }

    #[test]
    fn keys_mean_what_they_say() {
        let press = |code, modifiers| meaning(&Event::Key(KeyEvent::new(code, modifiers)));
        let none = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), none), Some(Key::End));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::End));
        assert_eq!(press(KeyCode::Char('c'), none), None);
        assert_eq!(press(KeyCode::Char(' '), none), Some(Key::Look));
        assert_eq!(meaning(&Event::Resize(1, 1)), Some(Key::Resized));
    }
}
