//! Where log lines go: standard error in the foreground, syslog for a daemon. Neither can lie below a mount of ours:
//! standard error is open before, and a syslog socket is /dev/log or in /run. `OWLTMP_LOG` filters both.
//!
//! Once there are workers, lines are written by a thread of its own ([`detach`]): a full pipe or a stuck syslog holds up
//! nobody, and lines that find no room are only counted.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use log::{Level, LevelFilter, Log, Metadata, Record};

/// The variable that says what is logged, as env_logger has it: `info`, or `owltmp::lock=debug,warn`.
const VARIABLE: &str = "OWLTMP_LOG";

/// Lines that may wait to be written; further ones are only counted.
const BACKLOG: usize = 1024;

/// How long the end of the process waits for the last lines.
const LAST_LINES: Duration = Duration::from_millis(200);

static LOGGER: OnceLock<Arc<Relay>> = OnceLock::new();

enum Message {
    Line {
        level: Level,
        target: String,
        text: String,
    },
    /// Answered when everything before it is written.
    Flush(SyncSender<()>),
}

/// Passes lines on: to the writing thread if there is one.
struct Relay {
    writer: Box<dyn Log>,
    thread: OnceLock<SyncSender<Message>>,
    dropped: AtomicU64,
}

impl Log for Relay {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        self.writer.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let Some(thread) = self.thread.get() else {
            return self.writer.log(record);
        };
        let line = Message::Line {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
        };
        if thread.try_send(line).is_err() {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn flush(&self) {
        let Some(thread) = self.thread.get() else {
            return self.writer.flush();
        };
        let (done, written) = sync_channel(1);
        if thread.try_send(Message::Flush(done)).is_ok() {
            let _ = written.recv_timeout(LAST_LINES);
        }
    }
}

impl Relay {
    fn write(&self, level: Level, target: &str, text: std::fmt::Arguments<'_>) {
        self.writer
            .log(&Record::builder().level(level).target(target).args(text).build());
    }

    fn write_all(&self, messages: &Receiver<Message>) {
        for message in messages {
            match message {
                Message::Line { level, target, text } => self.write(level, &target, format_args!("{text}")),
                Message::Flush(done) => {
                    self.writer.flush();
                    let _ = done.send(());
                }
            }
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            if dropped > 0 {
                self.write(
                    Level::Warn,
                    module_path!(),
                    format_args!("{dropped} lines were not logged: the log was too slow"),
                );
            }
        }
    }
}

fn install(writer: Box<dyn Log>, level: LevelFilter) {
    let relay = Arc::new(Relay {
        writer,
        thread: OnceLock::new(),
        dropped: AtomicU64::new(0),
    });
    let relay = LOGGER.get_or_init(|| relay);
    // Fails only where a logger is there already.
    if log::set_boxed_logger(Box::new(Arc::clone(relay))).is_ok() {
        log::set_max_level(level);
    }
    log_panics();
}

/// Log lines go to standard error.
pub fn to_stderr() {
    let environment = env_logger::Env::new().filter_or(VARIABLE, "warn");
    let writer = env_logger::Builder::from_env(environment).build();
    let level = writer.filter();
    install(Box::new(writer), level);
}

/// syslog as it is now: who listens may come later than we do, and end and come again.
#[derive(Default)]
struct Syslog(Mutex<Option<Connection>>);

type Connection = syslog::Logger<syslog::LoggerBackend, syslog::Formatter3164>;

impl Syslog {
    fn connected() -> Option<Connection> {
        let formatter = syslog::Formatter3164 {
            facility: syslog::Facility::LOG_DAEMON,
            hostname: None,
            process: env!("CARGO_PKG_NAME").to_owned(),
            pid: std::process::id(),
        };
        syslog::unix(formatter).ok()
    }

    fn sent(to: &mut Connection, level: Level, text: &str) -> bool {
        let result = match level {
            Level::Error => to.err(text),
            Level::Warn => to.warning(text),
            Level::Info => to.info(text),
            Level::Debug | Level::Trace => to.debug(text),
        };
        result.is_ok()
    }
}

impl Log for Syslog {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= log::max_level()
    }

    fn log(&self, record: &Record<'_>) {
        let (level, text) = (record.level(), record.args().to_string());
        let Syslog(connection) = self;
        let mut connection = connection.lock().unwrap_or_else(PoisonError::into_inner);
        if !connection.as_mut().is_some_and(|it| Syslog::sent(it, level, &text)) {
            *connection = Syslog::connected();
            if let Some(anew) = connection.as_mut() {
                Syslog::sent(anew, level, &text);
            }
        }
    }

    // Each line is sent at once.
    fn flush(&self) {}
}

/// Log lines go to syslog; while there is none, nowhere.
pub fn to_syslog() {
    let level = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    install(Box::new(Syslog::default()), level.unwrap_or(LevelFilter::Warn));
}

/// From now on a thread of its own writes the lines.
pub fn detach() -> io::Result<()> {
    let Some(relay) = LOGGER.get() else { return Ok(()) };
    let (sender, receiver) = sync_channel(BACKLOG);
    let writer = Arc::clone(relay);
    thread::Builder::new()
        .name("log".to_owned())
        .spawn(move || writer.write_all(&receiver))?;
    // It is there already where a process serves a second time.
    let _ = relay.thread.set(sender);
    Ok(())
}

/// A panic is a log line. The usual hook would also look for source files and symbols by path, perhaps below the
/// mount.
fn log_panics() {
    panic::set_hook(Box::new(|info| log::error!("{}", info.to_string().replace('\n', " "))));
}
