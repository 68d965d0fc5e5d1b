//! What the commands have in common that ask a daemon: which mount, the way to its daemon, and how things are shown to people.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, ErrorKind, Write as _};
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use serde::Serialize;

use crate::control::client::Client;
use crate::control::protocol::{Answer, Ask};
use crate::mount::{Error, place};
use crate::sys::holders::device_of;
use crate::sys::host;
use crate::sys::mountinfo::{Device, Mount, MountTable};

/// A mount to ask about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Target {
    /// Where it is.
    pub(super) place: PathBuf,
    /// Its filesystem.
    pub(super) device: Device,
    /// Who made it.
    owner: u32,
}

impl Target {
    fn of(mount: &Mount) -> Target {
        Target {
            place: mount.mountpoint.clone(),
            device: mount.device,
            // A FUSE mount always tells.
            owner: mount.user.unwrap_or_else(|| geteuid().as_raw()),
        }
    }

    /// The way to its daemon.
    pub(super) fn connect(&self) -> Result<Client, Error> {
        Client::connect(self.device, self.owner).map_err(self.failed())
    }

    /// Asks its daemon one thing.
    pub(super) fn ask(&self, ask: &Ask) -> Result<Answer, Error> {
        self.connect()?.ask(ask).map_err(self.failed())
    }

    /// For `map_err`.
    pub(super) fn failed(&self) -> impl Fn(crate::control::client::Error) -> Error {
        |error| Error::Control(self.place.clone(), error)
    }
}

fn table() -> Result<MountTable, Error> {
    MountTable::read().map_err(Error::system("/proc/self/mountinfo"))
}

/// All mounts of ours, each filesystem once.
pub(super) fn all() -> Result<Vec<Target>, Error> {
    let mut targets: Vec<Target> = Vec::new();
    for mount in table()?.ours() {
        if !targets.iter().any(|target| target.device == mount.device) {
            targets.push(Target::of(mount));
        }
    }
    match targets.is_empty() {
        true => Err(Error::NoMounts),
        false => Ok(targets),
    }
}

/// The mount at a path.
pub(super) fn mount_at(path: &Path) -> Result<Target, Error> {
    let real = place::find_mount(path)?;
    let table = table()?;
    let mount = table.at(&real).ok_or_else(|| Error::NotAMount(path.to_owned()))?;
    Ok(Target::of(mount))
}

/// The mount at a path, or the only one there is.
pub(super) fn one(path: Option<&Path>) -> Result<Target, Error> {
    if let Some(path) = path {
        return mount_at(path);
    }
    let mut all = all()?;
    match all.len() {
        1 => Ok(all.remove(0)),
        _ => Err(Error::SeveralMounts(
            all.into_iter().map(|target| target.place).collect(),
        )),
    }
}

/// The mount that a path is on, and which file of it, if it is not the mount itself.
pub(super) fn file_at(path: &Path) -> Result<(Target, Option<u64>), Error> {
    match mount_at(path) {
        Ok(target) => return Ok((target, None)),
        // It may be a file on one.
        Err(Error::NotAMount(_)) => {}
        Err(error) => return Err(error),
    }
    let metadata = fs::metadata(path).map_err(|error| Error::BadMountpoint(path.to_owned(), error))?;
    let table = table()?;
    let mount = table.of(device_of(metadata.st_dev())).filter(|mount| mount.is_owltmp());
    let mount = mount.ok_or_else(|| Error::NotOnAMount(path.to_owned()))?;
    Ok((Target::of(mount), Some(metadata.st_ino())))
}

/// Does something for each mount. Of several, those that are out of the caller's reach are passed over, and one that cannot be
/// asked for another reason is a warning, where any could be asked. Of a user whose daemon has let us wait no other is asked: he can have
/// very many.
pub(super) fn for_each(
    targets: &[Target],
    warn: &mut dyn FnMut(&str),
    mut act: impl FnMut(&Target) -> Result<(), Error>,
) -> Result<(), Error> {
    let (mut done, mut failed) = (false, Vec::new());
    let (mut silent, mut unasked) = (HashSet::new(), 0);
    for target in targets {
        if silent.contains(&target.owner) {
            unasked += 1;
            continue;
        }
        match act(target) {
            Ok(()) => done = true,
            Err(error) => {
                if matches!(&error, Error::Control(_, error) if error.is_silence()) && !is_ours(target.owner) {
                    silent.insert(target.owner);
                }
                failed.push(error);
            }
        }
    }
    if unasked > 0 {
        warn(&format!(
            "{unasked} more mounts of the same users were not asked: name them one by one"
        ));
    }
    let out_of_reach = |error: &Error| matches!(error, Error::Control(_, error) if error.is_out_of_reach());
    failed.sort_by_key(out_of_reach);
    if !done && !failed.is_empty() {
        return Err(failed.remove(0));
    }
    let told = failed.iter().filter(|error| !out_of_reach(error));
    told.for_each(|error| warn(&error.to_string()));
    Ok(())
}

/// Whether it is root, or whoever asks.
fn is_ours(uid: u32) -> bool {
    uid == 0 || uid == geteuid().as_raw()
}

/// Prints. Whoever does not want to read the rest need not.
pub(super) fn print(text: &str) -> Result<(), Error> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Error::System("standard output", error)),
        _ => Ok(()),
    }
}

/// Prints a line of JSON; false where nobody reads it any more.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(io::Error::from);
    print(&(text.map_err(Error::system("JSON"))? + "\n"))
}

/// A number of bytes, as people read it.
pub(super) fn bytes(count: u64) -> String {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut unit = 0;
    let mut tenths = u128::from(count) * 10 / 1024;
    while tenths >= 10240 && unit + 1 < UNITS.len() {
        tenths /= 1024;
        unit += 1;
    }
    format!("{}.{} {}", tenths / 10, tenths % 10, UNITS[unit])
}

/// A length of time, as people read it: its two largest parts.
pub(super) fn duration(milliseconds: u64) -> String {
    let seconds = milliseconds / 1000;
    match (seconds / 86400, seconds / 3600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, seconds) => format!("{seconds} s"),
        (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
        (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
        (days, hours, ..) => format!("{days} d {hours} h"),
    }
}

/// A point in time, in UTC.
pub(super) fn time(milliseconds: u64) -> String {
    let time = i64::try_from(milliseconds)
        .ok()
        .and_then(|it| jiff::Timestamp::from_millisecond(it).ok());
    time.map_or("?".to_owned(), |time| format!("{time:.3}"))
}

/// What a daemon escaped, as it was; `None` where that is no text.
pub(super) fn unescaped(text: &str) -> Option<String> {
    let mut all = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        all.push(match byte {
            b'\\' => match bytes.next()? {
                b't' => b'\t',
                b'n' => b'\n',
                b'r' => b'\r',
                b'x' => {
                    let digits = [bytes.next()?, bytes.next()?];
                    u8::from_str_radix(std::str::from_utf8(&digits).ok()?, 16).ok()?
                }
                itself => itself,
            },
            plain => plain,
        });
    }
    String::from_utf8(all).ok()
}

/// A user by name, or by number where he has none.
pub(super) fn user(uid: u32) -> String {
    host::name_of(uid).map_or_else(|| uid.to_string(), |name| name.escape_default().to_string())
}

/// Rows under a head, in columns that are as wide as need be. Of columns for which `right` holds the text stands on the right.
pub(super) fn columns(rows: &[Vec<String>], right: &dyn Fn(usize) -> bool) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| rows.iter().filter_map(|row| Some(row.get(column)?.len())).max();
    let widths: Vec<usize> = (0..count).map(|column| widest(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (column, cell) in row.iter().enumerate() {
            let width = widths[column];
            // Writing to a String cannot fail.
            let _ = match right(column) {
                true => write!(line, "{cell:>width$}  "),
                false => write!(line, "{cell:<width$}  "),
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_lets_us_wait_once_for_each_of_his_mounts() {
        let of = |owner, minor| Target {
            place: format!("/{minor}").into(),
            device: Device(0, minor),
            owner,
        };
        let targets = [of(7, 1), of(7, 2), of(0, 3), of(7, 4), of(8, 5)];
        let (mut asked, mut said) = (Vec::new(), Vec::new());
        let act = |target: &Target| {
            asked.push(target.device.1);
            match target.owner {
                7 => Err(target.failed()(io::Error::from(ErrorKind::WouldBlock).into())),
                8 => Err(target.failed()(crate::control::client::Error::Garbled)),
                _ => Ok(()),
            }
        };
        for_each(&targets, &mut |line| said.push(line.to_owned()), act).unwrap();
        assert_eq!(asked, [1, 3, 5]);
        assert!(said[0].starts_with("2 more mounts") && said[1].starts_with("/1: ") && said[2].starts_with("/5: "));
    }

    #[test]
    fn what_is_escaped_comes_back() {
        for text in ["", "exclude=\"a,b\"", "it's", "a\\b\\\\", "\t\r\n\x1b\x7f", "grün"] {
            assert_eq!(
                unescaped(&text.as_bytes().escape_ascii().to_string()).as_deref(),
                Some(text)
            );
        }
        for bad in ["\\", "\\x", "\\x1", "\\xgg", "\\xff"] {
            assert_eq!(unescaped(bad), None, "{bad}");
        }
    }

    #[test]
    fn figures_are_for_people() {
        assert_eq!([bytes(0), bytes(1023), bytes(1024)], ["0 B", "1023 B", "1.0 KiB"]);
        assert_eq!([bytes(1536 << 20), bytes(u64::MAX)], ["1.5 GiB", "15.9 EiB"]);
        assert_eq!([duration(999), duration(61_000)], ["0 s", "1 min 1 s"]);
        assert_eq!([duration(7_260_000), duration(90_000_000)], ["2 h 1 min", "1 d 1 h"]);
        assert_eq!(time(1_700_000_000_123), "2023-11-14T22:13:20.123Z");
    }

    #[test]
    fn columns_stand_under_each_other() {
        let rows = [
            vec!["A".to_owned(), "LONG".to_owned()],
            vec!["abc".to_owned(), "1".to_owned()],
        ];
        assert_eq!(columns(&rows, &|column| column == 1), "A    LONG\nabc     1\n");
    }
}
