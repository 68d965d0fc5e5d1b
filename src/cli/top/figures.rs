//! What `owltmp top` shows, from what the daemon answers. Whatever others chose (names, paths, commands) becomes text that no
//! terminal obeys: the daemon may be another user's, and is not believed.

use super::locks::lock_lines;
use crate::cli::ask;
use crate::control::protocol::{Event, Locks, Requests, Room, Statistics, Status};

/// The answers of one moment.
#[derive(Clone, Debug)]
pub(super) struct Sample {
    pub(super) status: Status,
    /// Only for who sees all.
    pub(super) statistics: Option<Statistics>,
    pub(super) locks: Option<Locks>,
    pub(super) events: Vec<Event>,
}

/// The parts of a table's row, and whether the row deserves a second look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) cells: Vec<String>,
    pub(super) loud: bool,
}

/// How much is used of what there may be.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Use {
    /// The part, from 0 to 1.
    pub(super) part: f64,
    pub(super) text: String,
}

/// All that is shown.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figures {
    pub(super) title: String,
    pub(super) facts: String,
    pub(super) bytes: Use,
    pub(super) inodes: Use,
    /// User, bytes, part of all bytes in use, inodes.
    pub(super) users: Vec<Line>,
    /// Kind, requests in a second, mean, half of them, all but a hundredth. `None` for who may not see them.
    pub(super) requests: Option<Vec<Line>>,
    /// Whether the requests are those since the mount.
    pub(super) since_mount: bool,
    /// State, kind, range, process, user, how long, path.
    pub(super) locks: Vec<Line>,
    /// When, what.
    pub(super) events: Vec<Line>,
}

/// Text in which nothing but plain characters is left as it is.
pub(super) fn safe(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            ' '..='~' => safe.push(c),
            c => safe.extend(c.escape_default()),
        }
    }
    safe
}

impl Figures {
    /// Of a moment; of what changes, since the one before, or since the mount.
    pub(super) fn of(now: &Sample, before: Option<&Sample>) -> Figures {
        let status = &now.status;
        let before = before.and_then(|before| before.statistics.as_ref());
        let rates = now.statistics.as_ref().map(|it| Rates::of(it, before));
        Figures {
            title: safe(&format!(
                "{}  up {}  {}  {} workers",
                status.mountpoint,
                ask::duration(status.uptime_ms),
                status.io,
                status.workers
            )),
            facts: facts(now, rates.as_ref()),
            bytes: used(status.bytes, ask::bytes),
            inodes: used(status.inodes, |count| count.to_string()),
            users: users(status),
            requests: rates.as_ref().map(Rates::lines),
            since_mount: before.is_none(),
            locks: now.locks.iter().flat_map(|locks| lock_lines(locks, now)).collect(),
            events: now.events.iter().rev().map(event_line).collect(),
        }
    }
}

fn facts(now: &Sample, rates: Option<&Rates>) -> String {
    let status = &now.status;
    let mut facts = Vec::new();
    if let Some(rates) = rates {
        facts.push(format!("{} requests/s", decimal(rates.per_second)));
        facts.push(format!("busy {:.0} %", rates.busy * 100.0));
    }
    if let Some(open) = status.open {
        facts.push(format!("{open} open"));
    }
    if let Some(deleted) = &status.deleted {
        let bytes = deleted.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        let count = (deleted.len() as u64).saturating_add(status.deleted_left_out);
        facts.push(format!("{count} deleted in use ({})", ask::bytes(bytes)));
    }
    facts.push(format!("{} waiting", status.waiting));
    if let Some(events) = &status.events {
        let some = events.iter().filter(|counted| counted.count > 0);
        facts.extend(some.map(|counted| safe(&format!("{} {}", counted.rule, counted.count))));
    }
    facts.join("  ")
}

fn used(room: Room, shown: impl Fn(u64) -> String) -> Use {
    match room.most.filter(|most| *most > 0) {
        Some(most) => Use {
            part: (room.used as f64 / most as f64).clamp(0.0, 1.0),
            text: format!("{} of {}", shown(room.used), shown(most)),
        },
        None => Use {
            part: 0.0,
            text: format!("{}, no limit", shown(room.used)),
        },
    }
}

fn users(status: &Status) -> Vec<Line> {
    let mut users = status.users.clone().unwrap_or_default();
    users.sort_by_key(|user| (std::cmp::Reverse(user.bytes.used), user.uid));
    let lines = users.iter().map(|user| {
        let part = |room: Room| room.most.map_or(0.0, |most| room.used as f64 / most.max(1) as f64);
        let of = |room: Room, text: String| match room.most {
            Some(_) => format!("{text} ({:.0} %)", part(room) * 100.0),
            None => text,
        };
        Line {
            cells: vec![
                safe(&ask::user(user.uid)),
                of(user.bytes, ask::bytes(user.bytes.used)),
                of(user.inodes, user.inodes.used.to_string()),
            ],
            loud: part(user.bytes) > 0.9 || part(user.inodes) > 0.9,
        }
    });
    lines.collect()
}

/// What was asked for in a time.
struct Rates {
    per_second: f64,
    /// The part of the time in which the workers were at requests.
    busy: f64,
    kinds: Vec<Kind>,
}

struct Kind {
    name: String,
    per_second: f64,
    mean_ns: f64,
    half_ns: Option<u64>,
    most_ns: Option<u64>,
}

impl Rates {
    fn of(now: &Statistics, before: Option<&Statistics>) -> Rates {
        let uptime = |statistics: &Statistics| statistics.uptime_ms;
        let milliseconds = now.uptime_ms.saturating_sub(before.map_or(0, uptime)).max(1);
        let seconds = milliseconds as f64 / 1000.0;
        let mut kinds: Vec<Kind> = now
            .requests
            .iter()
            .map(|kind| difference(kind, before))
            .filter(|kind| kind.count > 0)
            .map(|kind| Kind {
                name: safe(&kind.kind),
                per_second: kind.count as f64 / seconds,
                mean_ns: kind.busy_ns as f64 / kind.count as f64,
                half_ns: quantile(&kind.classes, &now.class_ends_ns, 0.5),
                most_ns: quantile(&kind.classes, &now.class_ends_ns, 0.99),
            })
            .collect();
        kinds.sort_by(|one, other| other.per_second.total_cmp(&one.per_second));
        let busy_ns = |statistics: &Statistics| {
            let workers = statistics.workers.iter();
            workers.fold(0_u64, |sum, worker| sum.saturating_add(worker.busy_ns))
        };
        let busy = busy_ns(now).saturating_sub(before.map_or(0, busy_ns));
        Rates {
            per_second: kinds.iter().map(|kind| kind.per_second).sum(),
            busy: (busy as f64 / 1e9 / seconds / now.workers.len().max(1) as f64).clamp(0.0, 1.0),
            kinds,
        }
    }

    fn lines(&self) -> Vec<Line> {
        let line = |kind: &Kind| Line {
            cells: vec![
                kind.name.clone(),
                decimal(kind.per_second),
                time(kind.mean_ns),
                kind.half_ns.map_or("?".to_owned(), |ns| time(ns as f64)),
                kind.most_ns.map_or("?".to_owned(), |ns| time(ns as f64)),
            ],
            loud: kind.mean_ns > 1e7,
        };
        self.kinds.iter().map(line).collect()
    }
}

/// What there was of a kind since before.
fn difference(now: &Requests, before: Option<&Statistics>) -> Requests {
    let before = before.and_then(|before| before.requests.iter().find(|it| it.kind == now.kind));
    let Some(before) = before else { return now.clone() };
    let classes = now.classes.iter().enumerate();
    Requests {
        kind: now.kind.clone(),
        count: now.count.saturating_sub(before.count),
        busy_ns: now.busy_ns.saturating_sub(before.busy_ns),
        classes: classes
            .map(|(class, count)| count.saturating_sub(before.classes.get(class).copied().unwrap_or(0)))
            .collect(),
    }
}

/// A time that so large a part of the requests did not take; `None` where there is no bound.
fn quantile(classes: &[u64], ends: &[u64], part: f64) -> Option<u64> {
    let all = classes.iter().fold(0_u64, |sum, count| sum.saturating_add(*count));
    let wanted = (all as f64 * part).ceil();
    let mut sum = 0_u64;
    let class = classes.iter().position(|count| {
        sum = sum.saturating_add(*count);
        sum as f64 >= wanted
    })?;
    ends.get(class).copied()
}

/// A number, with as many places as say something.
fn decimal(number: f64) -> String {
    match number {
        it if it >= 100.0 => format!("{it:.0}"),
        it if it >= 10.0 => format!("{it:.1}"),
        it => format!("{it:.2}"),
    }
}

/// A time given in nanoseconds.
fn time(ns: f64) -> String {
    let units = [(1e9, "s"), (1e6, "ms"), (1e3, "us")];
    match units.iter().find(|(unit, _)| ns >= *unit) {
        Some((unit, name)) => format!("{} {name}", decimal(ns / unit)),
        None => format!("{ns:.0} ns"),
    }
}

fn event_line(event: &Event) -> Line {
    Line {
        cells: vec![ask::time(event.time_ms), safe(&event.text)],
        loud: event.verb == "refused",
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::control::protocol::{Counted, Held, Kernel, LockedFile, User, Waiting, Worker, You};

    /// What one would like to have printed on a terminal of somebody else.
    pub(in crate::cli::top) const HOSTILE: &str = "a\u{1b}[2J\u{1b}]0;x\u{7}\n\u{202e}\u{9b}31m\u{fffd}\"";

    fn room(used: u64, most: u64) -> Room {
        Room { used, most: Some(most) }
    }

    fn held(pid: u32) -> Held {
        Held {
            lock: HOSTILE.to_owned(),
            mode: "write".to_owned(),
            mandatory: true,
            first: 0,
            last: Some(99),
            pid,
            command: Some(HOSTILE.to_owned()),
            uid: 4_000_000_000,
            since_ms: 1000,
        }
    }

    pub(in crate::cli::top) fn sample(uptime_ms: u64, lookups: u64) -> Sample {
        let waiting = Waiting {
            lock: "posix".to_owned(),
            mode: "read".to_owned(),
            first: 5,
            last: None,
            pid: 8,
            command: None,
            uid: None,
            since_ms: 500,
            blocked_by: Some(held(7)),
        };
        let file = LockedFile {
            inode: 9,
            path: Some(format!("/{HOSTILE}")),
            owner: 0,
            mandatory: true,
            held: vec![held(7)],
            held_left_out: 0,
            waiting: vec![waiting],
            waiting_left_out: 0,
        };
        let mut classes = vec![0; 4];
        classes[1] = lookups;
        Sample {
            status: status(uptime_ms),
            statistics: Some(Statistics {
                time_ms: uptime_ms,
                uptime_ms,
                parked: 1,
                workers: vec![
                    Worker {
                        count: lookups,
                        busy_ns: lookups.saturating_mul(1500)
                    };
                    2
                ],
                class_ends_ns: vec![1000, 2000, 4000],
                requests: vec![Requests {
                    kind: "LOOKUP".to_owned(),
                    count: lookups,
                    busy_ns: lookups.saturating_mul(1500),
                    classes,
                }],
            }),
            locks: Some(Locks {
                kept_by: "owltmp".to_owned(),
                files: vec![file],
                files_left_out: 0,
            }),
            events: vec![Event {
                time_ms: 1000,
                verb: "refused".to_owned(),
                rule: "symlinks".to_owned(),
                uid: 1,
                pid: 2,
                command: HOSTILE.to_owned(),
                path: None,
                kind: "symlink".to_owned(),
                inode: 3,
                owner: 4,
                errno: None,
                why: None,
                text: format!("refused {HOSTILE}"),
            }],
        }
    }

    fn status(uptime_ms: u64) -> Status {
        Status {
            device: "0:44".to_owned(),
            mountpoint: HOSTILE.to_owned(),
            uid: 0,
            pid: 1,
            program: "0".to_owned(),
            you: You { uid: 0, all: true },
            started_ms: 0,
            uptime_ms,
            options: vec![],
            flags: vec![],
            all_processes_seen: None,
            io: "cached".to_owned(),
            workers: 2,
            kernel: Kernel::default(),
            bytes: room(512 << 20, 1 << 30),
            inodes: Room { used: 7, most: None },
            users: Some(vec![User {
                uid: 4_000_000_001,
                bytes: room(95, 100),
                inodes: Room { used: 3, most: None },
            }]),
            users_left_out: 0,
            open: Some(3),
            deleted: Some(vec![]),
            deleted_left_out: 0,
            waiting: 1,
            events: Some(vec![Counted {
                rule: "symlinks".to_owned(),
                count: 5,
            }]),
        }
    }

    #[test]
    fn rates_are_of_the_time_between() {
        let (before, now) = (sample(10_000, 100), sample(12_000, 500));
        let since_mount = Figures::of(&before, None).requests.unwrap();
        assert_eq!(
            since_mount[0].cells,
            ["LOOKUP", "10.0", "1.50 us", "2.00 us", "2.00 us"]
        );
        let figures = Figures::of(&now, Some(&before));
        assert_eq!(figures.requests.as_ref().unwrap()[0].cells[1], "200");
        assert!(
            figures.facts.starts_with("200 requests/s  busy 0 %  3 open"),
            "{}",
            figures.facts
        );
        assert!(figures.facts.ends_with("1 waiting  symlinks 5"), "{}", figures.facts);
        assert_eq!(
            (figures.bytes.part, &*figures.bytes.text),
            (0.5, "512.0 MiB of 1.0 GiB")
        );
        assert_eq!(&*figures.inodes.text, "7, no limit");
    }

    #[test]
    fn who_waits_comes_first() {
        let figures = Figures::of(&sample(60_000, 1), None);
        assert_eq!(figures.locks[0].cells[0], "waits behind 7");
        assert_eq!(figures.locks[0].cells[2..4], ["5-", "8 ?"]);
        assert_eq!(figures.locks[1].cells[0], "holds");
        assert_eq!(figures.locks[1].cells[2], "0-99");
        assert!(figures.users[0].loud, "nearly all of what he may have");
    }

    #[test]
    fn nothing_reaches_the_terminal_that_it_would_obey() {
        let figures = Figures::of(&sample(60_000, 1), None);
        let lines = [&figures.users, &figures.locks, &figures.events];
        let cells = lines.into_iter().flatten().flat_map(|line| &line.cells);
        for text in cells.chain([&figures.title, &figures.facts]) {
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text:?}");
        }
    }

    #[test]
    fn figures_that_lie_do_no_harm() {
        let mut odd = sample(0, u64::MAX);
        let statistics = odd.statistics.as_mut().unwrap();
        statistics.workers.clear();
        statistics.class_ends_ns.clear();
        statistics.requests[0].classes = vec![u64::MAX; 3];
        odd.status.bytes = room(u64::MAX, 0);
        odd.status.started_ms = u64::MAX;
        let mut none = odd.clone();
        none.statistics.as_mut().unwrap().requests.clear();
        Figures::of(&odd, Some(&none));
        Figures::of(&none, Some(&odd));
        odd.statistics = None;
        assert_eq!(Figures::of(&odd, Some(&none)).requests, None);
    }
}
