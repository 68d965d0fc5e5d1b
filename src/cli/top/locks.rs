//! The lines of `owltmp top` about locks.

use super::figures::{Line, Sample, safe};
use crate::cli::ask;
use crate::control::protocol::{Held, LockedFile, Locks};

/// Who waits, and then who holds what.
pub(super) fn lock_lines(locks: &Locks, now: &Sample) -> Vec<Line> {
    let time = now.status.started_ms.saturating_add(now.status.uptime_ms);
    let mut lines = Vec::new();
    for file in &locks.files {
        let path = file.path.as_deref().map_or(format!("inode {}", file.inode), safe);
        // Who waits is what one looks for.
        lines.extend(file.waiting.iter().map(|it| {
            let behind = it
                .blocked_by
                .as_ref()
                .map_or(String::new(), |by| format!(" behind {}", by.pid));
            Line {
                cells: vec![
                    format!("waits{behind}"),
                    kind(file, &it.lock, &it.mode),
                    range(it.first, it.last),
                    process(it.pid, it.command.as_deref()),
                    it.uid.map_or("?".to_owned(), |uid| safe(&ask::user(uid))),
                    ask::duration(time.saturating_sub(it.since_ms)),
                    path.clone(),
                ],
                loud: true,
            }
        }));
        lines.extend(file.held.iter().map(|held| held_line(file, held, &path, time)));
    }
    lines.sort_by_key(|line| !line.loud);
    lines
}

fn held_line(file: &LockedFile, held: &Held, path: &str, time: u64) -> Line {
    Line {
        cells: vec![
            "holds".to_owned(),
            kind(file, &held.lock, &held.mode),
            range(held.first, held.last),
            process(held.pid, held.command.as_deref()),
            safe(&ask::user(held.uid)),
            ask::duration(time.saturating_sub(held.since_ms)),
            path.to_owned(),
        ],
        loud: false,
    }
}

fn kind(file: &LockedFile, lock: &str, mode: &str) -> String {
    let mandatory = if file.mandatory { " mand" } else { "" };
    safe(&format!("{lock} {mode}{mandatory}"))
}

fn range(first: u64, last: Option<u64>) -> String {
    last.map_or(format!("{first}-"), |last| format!("{first}-{last}"))
}

fn process(pid: u32, command: Option<&str>) -> String {
    format!("{pid} {}", safe(command.unwrap_or("?")))
}
