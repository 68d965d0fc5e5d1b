//! Events to the log, by a thread of its own: where the log is slow, events pass it by and no request waits.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::events::{Events, Notice, Rule};

/// How long after the first event that is only counted the counts are told.
const SUMMARY_AFTER: Duration = Duration::from_secs(1);

/// Logs the events of a filesystem from now on, until the process ends.
pub fn report(events: &Arc<Events>) -> io::Result<()> {
    let (events, notices) = (Arc::clone(events), events.follow());
    thread::Builder::new()
        .name("events".to_owned())
        .spawn(move || log_all(&events, &notices))?;
    Ok(())
}

fn log_all(events: &Events, notices: &Receiver<Notice>) {
    let mut summary_due: Option<Instant> = None;
    loop {
        let notice = match summary_due {
            None => notices.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(due) => notices.recv_timeout(due.saturating_duration_since(Instant::now())),
        };
        match notice {
            Ok(Notice::Event(event)) if event.rule == Rule::MaxAge => log::info!("{event}"),
            Ok(Notice::Event(event)) => log::warn!("{event}"),
            Ok(Notice::Flood) => summary_due = summary_due.or(Some(Instant::now() + SUMMARY_AFTER)),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
        if summary_due.is_some_and(|due| due <= Instant::now()) {
            summary_due = None;
            log_summary(events);
        }
    }
}

fn log_summary(events: &Events) {
    for (uid, count) in events.take_suppressed() {
        match uid {
            Some(uid) => log::warn!("suppressed {count} events of uid {uid}"),
            None => log::warn!("suppressed {count} events of other users"),
        }
    }
}
