//! `owltmp top`: a live view of a mount. Asks its daemon as any other command does; a thread waits for the answers, so the
//! keyboard never does.
//!
//! | file | owns |
//! |---|---|
//! | figures.rs | what is shown, from what the daemon answers: rates, latencies. Pure |
//! | locks.rs | the lines about locks. Pure |
//! | view.rs | how it looks, in whatever room there is. Pure |
//! | screen.rs | the terminal: set up, given back however this ends; and a screen as plain text |

mod figures;
mod locks;
mod screen;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;

use super::ask::{self, Target};
use crate::control::client::Client;
use crate::control::protocol::{Ask, Body};
use crate::mount::Error;

use figures::{Figures, Sample};
use screen::{Key, Screen};

/// Show a mount live: users, locks and who waits for them, requests with their latency, events
///
/// Keys: q or Ctrl-C ends, space looks again at once, + and - change how often it looks. Root and who made the mount see all,
/// others what is theirs.
#[derive(Debug, Args)]
pub struct Arguments {
    /// How often to look, in seconds, which may be a fraction
    #[arg(short, long, value_name = "SECONDS", default_value = "2", value_parser = delay)]
    delay: Duration,
    /// Print one screen as text and end
    #[arg(long, alias = "batch")]
    once: bool,
    /// With --once: in colour
    #[arg(long, requires = "once")]
    color: bool,
    /// With --once: so many columns; those of the terminal, or 80, where nothing is said
    #[arg(long, requires = "once", value_parser = clap::value_parser!(u16).range(1..=1000))]
    width: Option<u16>,
    /// With --once: so many lines
    #[arg(long, requires = "once", default_value_t = 40, value_parser = clap::value_parser!(u16).range(1..=1000))]
    height: u16,
    /// Where it is mounted; may be left out where there is one owltmp mount
    mountpoint: Option<PathBuf>,
}

/// The shortest and the longest time between two looks.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(3600);

/// How long it waits for a key before it looks whether there are new figures.
const GLANCE: Duration = Duration::from_millis(50);

fn delay(text: &str) -> Result<Duration, String> {
    let seconds = text.parse::<f64>().ok();
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .filter(|delay| (SHORTEST..=LONGEST).contains(delay))
        .ok_or_else(|| "want seconds, from 0.1 to 3600".to_owned())
}

/// Shows.
pub fn top(arguments: &Arguments) -> Result<ExitCode, Error> {
    let target = ask::one(arguments.mountpoint.as_deref())?;
    let mut client = target.connect()?;
    let first = sample(&target, &mut client)?;
    if arguments.once {
        let width = arguments.width.unwrap_or_else(screen::columns);
        let figures = Figures::of(&first, None);
        let text = screen::as_text(&figures, (width, arguments.height), arguments.color);
        return ask::print(&text).map(|()| ExitCode::SUCCESS);
    }
    let screen = Screen::open().map_err(Error::system("the terminal (owltmp top --once needs none)"))?;
    let shown = show(&target, client, first, arguments.delay, &screen);
    drop(screen);
    shown.map(|()| ExitCode::SUCCESS)
}

/// All that is shown, as it is now.
fn sample(target: &Target, client: &mut Client) -> Result<Sample, Error> {
    let status = client.status(false).map_err(target.failed())?;
    let mut ask = |ask: Ask| client.ask(&ask).map_err(target.failed()).map(|answer| answer.body);
    let statistics = match status.you.all {
        true => match ask(Ask::Statistics)? {
            Body::Statistics(statistics) => Some(statistics),
            _ => None,
        },
        false => None,
    };
    let locks = match ask(Ask::Locks { inode: None })? {
        Body::Locks(locks) => Some(locks),
        _ => None,
    };
    let events = match ask(Ask::Events { follow: false })? {
        Body::Events(events) => events.events,
        _ => Vec::new(),
    };
    Ok(Sample {
        status,
        statistics,
        locks,
        events,
    })
}

/// What the thread that asks is told.
enum Tell {
    /// To look at once.
    Look,
    /// To look so often.
    Every(Duration),
}

/// Asks over and over; ends when nobody listens, or with an error.
fn watch(
    target: &Target,
    mut client: Client,
    mut every: Duration,
    told: &Receiver<Tell>,
    samples: &Sender<Result<Sample, Error>>,
) {
    let mut next = Instant::now() + every;
    loop {
        match told.recv_timeout(next.saturating_duration_since(Instant::now())) {
            Ok(Tell::Every(new)) => {
                every = new;
                next = Instant::now() + every;
                continue;
            }
            Ok(Tell::Look) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        next = Instant::now() + every;
        let result = sample(target, &mut client);
        let failed = result.is_err();
        if samples.send(result).is_err() || failed {
            return;
        }
    }
}

/// Shows it until the user has seen enough, or the daemon does not answer.
fn show(target: &Target, client: Client, first: Sample, every: Duration, screen: &Screen) -> Result<(), Error> {
    let (teller, told) = channel();
    let (sender, samples) = channel();
    let of_thread = target.clone();
    thread::Builder::new()
        .name("ask".to_owned())
        .spawn(move || watch(&of_thread, client, every, &told, &sender))
        .map_err(Error::system("thread"))?;
    let mut every = every;
    let (mut before, mut now) = (None, first);
    let failed = Error::system::<std::io::Error>;
    screen
        .draw(&Figures::of(&now, None), every)
        .map_err(failed("the terminal"))?;
    loop {
        match screen.key(GLANCE).map_err(failed("the terminal"))? {
            Some(Key::End) => return Ok(()),
            Some(Key::Look) => drop(teller.send(Tell::Look)),
            Some(Key::Slower | Key::Faster) if every.is_zero() => {}
            Some(key @ (Key::Slower | Key::Faster)) => {
                every = if key == Key::Slower { every * 2 } else { every / 2 }.clamp(SHORTEST, LONGEST);
                let _ = teller.send(Tell::Every(every));
            }
            Some(Key::Resized) | None => {}
        }
        let mut fresh = false;
        while let Ok(sample) = samples.try_recv() {
            before = Some(std::mem::replace(&mut now, sample?));
            fresh = true;
        }
        if fresh || screen.is_stale() {
            screen
                .draw(&Figures::of(&now, before.as_ref()), every)
                .map_err(failed("the terminal"))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_are_seconds() {
        assert_eq!(delay("0.5"), Ok(Duration::from_millis(500)));
        for bad in ["0", "0.01", "-1", "nan", "1e9", "x", ""] {
            assert!(delay(bad).is_err(), "{bad}");
        }
    }
}
