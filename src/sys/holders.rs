//! Which processes have a file, by /proc: what fuser(1) does, for files without a name. Looks at what the caller of this program
//! may look at, and says whether that was all.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::os::linux::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::mountinfo::{Device, MountTable};
use super::remote::patiently;

/// How long a look at one process may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// A process that has a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holder {
    /// The process.
    pub pid: u32,
    /// What it calls itself.
    pub command: Vec<u8>,
    /// By which descriptor; `None` where it has it mapped.
    pub descriptor: Option<u32>,
}

/// Who has which file, by inode number.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Those that were found.
    pub found: HashMap<u64, Vec<Holder>>,
    /// Whether all processes could be looked at.
    pub complete: bool,
}

/// Looks for who has the files of a filesystem with these inode numbers.
pub fn holders(device: Device, inodes: &HashSet<u64>) -> Holders {
    let mut holders = Holders {
        complete: true,
        ..Holders::default()
    };
    let search = Arc::new(Search {
        device,
        inodes: inodes.clone(),
        table: MountTable::read().unwrap_or_default(),
    });
    let processes = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // What this process was started with it has only until it ends.
    let pids = pids.filter(|pid| *pid != std::process::id());
    for pid in pids {
        let path = PathBuf::from(format!("/proc/{pid}"));
        let search = Arc::clone(&search);
        // A process can be made to let whoever looks at it wait for ever.
        let look = patiently(PATIENCE, {
            let path = path.clone();
            move || search.in_process(&path)
        });
        match look.unwrap_or_else(|| Err(io::ErrorKind::TimedOut.into())) {
            Ok(found) if found.is_empty() => {}
            Ok(found) => {
                let mut command = fs::read(path.join("comm")).unwrap_or_default();
                command.pop();
                for (inode, descriptor) in found {
                    let command = command.clone();
                    let holder = Holder {
                        pid,
                        command,
                        descriptor,
                    };
                    holders.found.entry(inode).or_default().push(holder);
                }
            }
            Err(error) if has_ended(&error) => {}
            Err(_) => holders.complete = false,
        }
    }
    holders
}

/// Whether a process was there and is not any more.
fn has_ended(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESRCH))
}

struct Search {
    device: Device,
    inodes: HashSet<u64>,
    table: MountTable,
}

impl Search {
    /// The files that a process has: by descriptors, and those it only has mapped.
    fn in_process(&self, process: &Path) -> io::Result<Vec<(u64, Option<u32>)>> {
        let mut found = Vec::new();
        let descriptors = fs::read_dir(process.join("fdinfo"))?;
        for entry in descriptors.filter_map(Result::ok) {
            let Ok(info) = fs::read_to_string(entry.path()) else {
                continue;
            };
            let number = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok());
            let (Some(inode), Some(number)) = (field(&info, "ino:"), number) else {
                continue;
            };
            if self.inodes.contains(&inode) && self.is_ours(process, number, &info) {
                found.push((inode, Some(number)));
            }
        }
        let maps = fs::read(process.join("maps"))?;
        for inode in mapped(&String::from_utf8_lossy(&maps), self.device) {
            if self.inodes.contains(&inode) && !found.iter().any(|(other, _)| *other == inode) {
                found.push((inode, None));
            }
        }
        Ok(found)
    }

    /// Whether a descriptor is of our filesystem: other filesystems have the same numbers of inodes.
    fn is_ours(&self, process: &Path, descriptor: u32, info: &str) -> bool {
        match fs::metadata(process.join(format!("fd/{descriptor}"))) {
            Ok(metadata) => device_of(metadata.st_dev()) == self.device,
            // Root may not look into the mount of another.
            Err(_) => field(info, "mnt_id:").is_some_and(|id| self.table.is_mount_of(id, self.device)),
        }
    }
}

/// The parts of a device number as the C library packs it.
pub fn device_of(packed: u64) -> Device {
    Device(libc::major(packed), libc::minor(packed))
}

fn field(info: &str, name: &str) -> Option<u64> {
    let value = info.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().parse().ok()
}

/// The inodes of a filesystem among what is mapped: `7f00-7f10 rw-s 00000000 00:39 17 /path (deleted)`.
fn mapped(maps: &str, device: Device) -> Vec<u64> {
    let of_line = |line: &str| {
        let mut words = line.split_ascii_whitespace().skip(3);
        let (major, minor) = words.next()?.split_once(':')?;
        let number = |text| u32::from_str_radix(text, 16).ok();
        let its = Device(number(major)?, number(minor)?);
        let inode = words.next()?.parse().ok()?;
        (its == device).then_some(inode)
    };
    maps.lines().filter_map(of_line).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn lines_of_proc_are_read() {
        assert_eq!(field("pos:\t0\nmnt_id:\t29\nino:\t1187\n", "ino:"), Some(1187));
        assert_eq!(field("pos:\t0\n", "ino:"), None);
        let maps = "7f00-7f10 rw-s 00000000 00:39 17 /a b (deleted)\n7f20-7f30 r--p 0 fe:00 17 /lib\n7f40-7f50 rw-p 0 00:00 0\n";
        assert_eq!(mapped(maps, Device(0, 0x39)), [17]);
    }

    #[test]
    fn an_open_file_without_a_name_is_found() {
        let file = tempfile::tempfile().unwrap();
        let metadata = file.metadata().unwrap();
        let inodes = HashSet::from([metadata.st_ino()]);
        let mut child = Command::new("sleep").arg("100").stdin(file).spawn().unwrap();
        let found = holders(device_of(metadata.st_dev()), &inodes).found;
        let others = holders(Device(0, 0), &inodes).found;
        child.kill().unwrap();
        child.wait().unwrap();
        let of_file = &found[&metadata.st_ino()];
        assert!(
            of_file
                .iter()
                .any(|it| (it.pid, it.descriptor) == (child.id(), Some(0)))
        );
        assert!(others.is_empty() && of_file.iter().all(|it| it.pid != std::process::id()));
    }
}
