//! Where log lines go: standard error in the foreground, syslog for a daemon. Neither can lie below a mount of ours:
//! standard error is open before, and a syslog socket is /dev/log or in /run. `OWLTMP_LOG` filters both.

use std::panic;

/// The variable that says what is logged, as env_logger has it: `info`, or `owltmp::lock=debug,warn`.
const VARIABLE: &str = "OWLTMP_LOG";

/// Log lines go to standard error.
pub fn to_stderr() {
    let environment = env_logger::Env::new().filter_or(VARIABLE, "warn");
    // Fails only where a logger is there already.
    let _ = env_logger::Builder::from_env(environment).try_init();
    log_panics();
}

/// Log lines go to syslog; where there is none, nowhere.
pub fn to_syslog() {
    let level = std::env::var(VARIABLE).ok().and_then(|text| text.parse().ok());
    let _ = syslog::init_unix(syslog::Facility::LOG_DAEMON, level.unwrap_or(log::LevelFilter::Warn));
    log_panics();
}

/// A panic is a log line. The usual hook would also look for source files and symbols by path, perhaps below the
/// mount.
fn log_panics() {
    panic::set_hook(Box::new(|info| log::error!("{}", info.to_string().replace('\n', " "))));
}
